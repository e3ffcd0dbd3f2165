"""A row's score by array code, against scikit-learn's pipeline: ``python -m tests.benchmarks.answering``.

The shipped models' columns and estimators, fitted on drawn rows (``--rows``). One row and 1,000 rows, from validated
JSON values to scores, the pipeline's by a DataFrame. They take turns; told is the least CPU time of many calls.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.answering.proving import opened, prove
from tasks.science.data.tables import as_requests
from tasks.science.models.estimators import build
from tasks.serving.release import load_pipeline, save_model, table
from tasks.spec.base import digest_file
from tasks.spec.manifest import Manifest
from tasks.spec.models import model_names
from tasks.spec.training import TrainingConfig, load_training
from tests.conftest import ROOT

BATCH = 1000


def drawn(config: TrainingConfig, rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of a shipped model's columns in table form, and a label that depends on some of them."""
    rng = np.random.default_rng(0)
    found = {}
    for column in config.inputs:
        if column.kind.numeric:
            low, high = 0 if column.low is None else column.low, 100 if column.high is None else column.high
            values = rng.uniform(low, high, rows)
            found[column.name] = pd.Series(np.round(values) if column.kind.whole else values)
        else:
            names = column.kind.known_names(column) or [f"name {at}" for at in range(12)]
            found[column.name] = pd.Series(rng.choice(names, rows), dtype=column.kind.dtype)
    frame = pd.DataFrame(found)
    drive = rng.normal(size=rows) + sum(
        pd.Series(frame[name].factorize()[0] if frame[name].dtype == "str" else frame[name]).rank(pct=True)
        for name in config.features[:4]
    )
    if config.kind == "regression":
        return frame, drive.to_numpy()
    places = max(len(config.classes), 2)
    label = np.searchsorted(np.quantile(drive, np.linspace(0, 1, places + 1)[1:-1]), drive)
    return frame, label > 0 if config.kind == "binary" else label


def least(jobs: dict[str, Callable[[], Any]], times: dict[str, int]) -> dict[str, float]:
    """Microseconds of CPU a call, the least of some; the jobs take turns."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(7):
        for name, job in jobs.items():
            begun = time.process_time()
            for _ in range(times[name]):
                job()
            found[name].append((time.process_time() - begun) / times[name] * 1e6)
    return {name: min(taken) for name, taken in found.items()}


def measured(name: str, rows: int, folder: Path) -> dict[str, float]:
    config = load_training(ROOT, name)
    frame, label = drawn(config, rows)
    file = folder / "model.skops"
    save_model(build(config, ROOT).fit(frame[list(config.features)], label), file)
    manifest = Manifest(
        model=name, title="", model_digest=digest_file(file), features=config.features, kind=config.kind,
        inputs=tuple(c.model_dump(mode="json") for c in config.inputs), classes=config.classes,
        decision_threshold=config.decision_threshold, seed=0, trained_rows=rows, libraries={},
    )  # fmt: skip
    content = file.read_bytes()
    pipeline = load_pipeline(content, manifest)
    manifest = manifest.model_copy(update={"answering": prove(content, manifest, pipeline)})
    begun = time.process_time()
    answering = opened(content, manifest).answering
    loaded = time.process_time() - begun
    assert answering is not None, manifest.answering
    blank: dict[str, Any] = dict.fromkeys(c.name for c in config.data.columns if c.name not in frame)
    requests = as_requests(config, frame.head(BATCH).assign(**blank))
    predict = pipeline.predict if config.kind == "regression" else pipeline.predict_proba
    features, of_rows = list(config.features), answering.of_rows
    jobs: dict[str, Callable[[], Any]] = {
        "ours, a row": lambda: of_rows(requests[:1]),
        "pipeline, a row": lambda: predict(table(requests[:1], manifest)[features]),
        "ours, 1,000 rows": lambda: of_rows(requests),
        "pipeline, 1,000 rows": lambda: predict(table(requests, manifest)[features]),
    }
    times = dict(zip(jobs, (200, 5, 5, 2), strict=True))
    return least(jobs, times) | {"load": loaded * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=8000, help="that each model is fitted on")
    rows = parser.parse_args().rows
    print(f"CPU microseconds a call, the least of some; {rows:,} drawn rows each, one process")
    print(f"{'model':10} {'':14} {'array code':>12} {'pipeline':>12} {'ratio':>8}")
    for name in model_names(ROOT):
        with tempfile.TemporaryDirectory(prefix="assay-benchmark-") as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = measured(name, rows, Path(folder))
        for what in ("a row", "1,000 rows"):
            ours, theirs = found[f"ours, {what}"], found[f"pipeline, {what}"]
            print(f"{name:10} {what:14} {ours:>12,.0f} {theirs:>12,.0f} {theirs / ours:>8.0f}")
        print(f"{name:10} {'load and prove':14} {found['load']:>12,.0f}")


if __name__ == "__main__":
    main()
