"""The whole examination of ``income`` against its training: ``python -m tests.benchmarks.examination``.

Ingest, prepare, train and evaluate run in a temporary clone of this repository's commit; then the estimator is fitted
again and every gate of the model's config is run, in one process, and both are timed. There is no peer that does the
same; the training is the yardstick.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.data import check_data
from tasks.science.data.tables import LABEL
from tasks.science.gates.run import run_gate
from tasks.science.models.estimators import build
from tasks.science.models.explanations import Explainer
from tasks.serving.release import load_release
from tasks.spec.base import load_yaml
from tasks.spec.model import load_model
from tasks.spec.models import model_folder
from tasks.spec.rules import ExpertRules
from tasks.stages.common import ModelPaths
from tests.statistics.shipped import examination

MODEL = "income"
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        for stage in ("ingest", "prepare", "train", "evaluate"):
            subprocess.run([sys.executable, "-m", f"tasks.stages.{stage}", "--model", MODEL], cwd=folder, check=True)
        return compare(ModelPaths(Path(folder), MODEL))


def readiness(paths: ModelPaths) -> dict[str, Any]:
    """As the flow measures it: in a process of its own."""
    out = paths.root / "readiness.json"
    subprocess.run(
        [sys.executable, "-m", "tasks.serving.readiness", "--model", str(paths.model), "--out", str(out)],
        cwd=paths.root,
        check=True,
    )
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def compare(paths: ModelPaths) -> int:
    config = load_model(paths.root, paths.name)
    features = list(config.features)
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    begun, spent = time.perf_counter(), time.process_time()
    build(config).fit(rows[features], rows[LABEL].to_numpy())
    training, worked = time.perf_counter() - begun, time.process_time() - spent
    release = load_release(paths.model)
    background = rows[features].sample(1000, random_state=config.seed)
    data, _ = check_data.fn(paths.root, MODEL)
    explainer = Explainer(release.pipeline, background)  # prepared when a gate first asks, so in the gate's time
    evidence = replace(
        examination(paths),
        attributions=pd.read_parquet(paths.evaluation / "attributions.parquet"),
        rules=load_yaml(model_folder(paths.root, MODEL) / "rules.yaml", ExpertRules),
        data_check=data,
        explain=lambda part, seed: explainer(part[features], seed),
        readiness=readiness(paths),
    )
    # The champion's part: the same model again, so that the paired comparisons have something to compare.
    evidence = replace(evidence, champion_score=evidence.score)
    whole = used = 0.0
    print(f"{'gate':32} {'state':24} {'wall s':>7} {'CPU s':>7}")
    for gate in config.gates:
        if getattr(gate, "benchmark", None) == "newest":  # nothing was collected here
            gate = gate.model_copy(update={"benchmark": "holdout"})
        begun, spent = time.perf_counter(), time.process_time()
        found = run_gate(gate, evidence)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
        whole, used = whole + seconds, used + cpu
        print(f"{gate.name:32} {found.state:24} {seconds:7.2f} {cpu:7.2f}")
    print(
        f"\nall {len(config.gates)} gates on {len(evidence.label):,} rows, training on {len(rows):,} rows; a ratio "
        "of at most 3 is asked"
    )
    print(f"wall: {whole:6.2f} s, training {training:6.2f} s, ratio {whole / training:.2f}")
    print(f"CPU:  {used:6.2f} s, training {worked:6.2f} s, ratio {used / worked:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
