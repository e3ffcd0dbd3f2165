"""The shipped models, laid out for the gates from a folder in which ingest, prepare, train and evaluate have run.

Measure by hand, in such a folder: ``python -m tests.statistics.shipped income``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import BENCHMARK, LABEL, ROW, label_array, score_array
from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.serving.release import load_release
from tasks.spec.gates import SliceMetric, SlicesGate
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths


def examination(paths: ModelPaths) -> Examination:
    """The evaluated candidate below ``place``; the replay rows of the first period stand for what was served."""
    config = load_model(paths.root, paths.name)
    rows = pd.read_parquet(paths.evaluation / "holdout_scored.parquet")
    train, replay = (pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "replay"))
    inputs = [c.name for c in config.inputs]
    keys: list[np.ndarray | None] = [None, None]
    if config.data.entity is not None:
        owners = pd.read_parquet(paths.ingested, columns=[config.data.entity])[config.data.entity]
        keys = [owners.reindex(side[ROW].to_numpy()).to_numpy() for side in (rows, train)]
    return Examination(
        rows=rows[inputs],
        label=label_array(config, rows[LABEL]),
        score=score_array(config, rows),
        kind=config.kind,
        classes=config.classes,
        champion_score=None,
        benchmark=rows[BENCHMARK].to_numpy(str),
        groups=protected_groups(config, rows),
        attributions=pd.DataFrame(),
        predict=load_release(paths.model).score,
        features=config.features,
        decision_threshold=config.threshold,
        seed=config.seed,
        rules=None,
        data_check=None,
        config=config,
        train=train[inputs],
        train_label=label_array(config, train[LABEL]),
        entity=keys[0],
        train_entity=keys[1],
        period=None if config.data.period is None else rows[config.data.period].to_numpy(object),
        train_period=None if config.data.period is None else train[config.data.period].to_numpy(object),
        served=replay[inputs].head(config.monitoring.window_rows),
    )


if __name__ == "__main__":
    evidence = examination(ModelPaths(Path.cwd(), sys.argv[1]))
    metric: SliceMetric = "squared_error" if evidence.kind == "regression" else "log_loss"
    for gate in (LeakageGate(name="leakage", kind="leakage"), SlicesGate(name="slices", kind="slices", metric=metric)):
        answer = run_gate(gate, evidence)
        print(answer.state, answer.reason)
        for m in answer.measurements:
            print("   ", m.state, m.label, m.value, m.low, m.high, m.limit, m.rows)
