"""What an explanation costs beside the answer: ``python -m tests.benchmarks.explanations``.

The shipped models, trained here on their own rows, and every family of estimators on the rows of one of them. Told are
milliseconds for one row, in one process: the answer, and what ``explain`` adds to it, by the wall clock and in CPU
time, in which the waiting for a processor is not counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tasks.serving.explaining import Explainer, explainer
from tasks.serving.release import load_release
from tasks.spec.models import model_names
from tasks.spec.training import TrainingConfig, load_training
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests.conftest import ROOT

LIMIT_MS = 20.0
"""That the 95th percentile of the CPU time has to stay under, of a shipped model."""
OF_FAMILIES = "care"
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("logistic_regression", {}),
    "boosting, 100 trees of 31 leaves": ("hist_gradient_boosting", {}),
    "forest, 100 trees 8 deep": ("random_forest", {"max_depth": 8}),
    "forest, 100 trees, 20 rows a leaf": ("random_forest", {"min_samples_leaf": 20}),
    "forest, 100 trees as deep as they go": ("random_forest", {}),
    "network of 100": ("mlp", {"layers": [100]}),
    "network of 100 and 50": ("mlp", {"layers": [100, 50]}),
}


def made(root: Path, name: str) -> ModelPaths:
    """A shipped model from its own rows, in a folder of its own."""
    paths = ModelPaths(root, name)
    for stage in (ingest, prepare, train):
        stage(paths, load_training(root, name))
    return paths


def again(paths: ModelPaths, kind: str, parameters: dict[str, Any]) -> TrainingConfig:
    """The same rows learned by another estimator; rows with gaps stay as they are."""
    path = paths.root / f"deployments/models/{paths.name}/model.yaml"
    document = yaml.safe_load(path.read_text())
    document["estimator"] = {"kind": kind, "network" if kind == "mlp" else "parameters": parameters}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    config = load_training(paths.root, paths.name)
    train(paths, config)
    return config


def measured(paths: ModelPaths, rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Milliseconds of an answer and of its explanation for recorded rows, (n, 2) each, and how many have reasons."""
    release = load_release(paths.model)
    explains = explainer(release)
    assert isinstance(explains, Explainer), explains
    sent = json.loads((paths.model / "requests.json").read_text())["rows"][:rows]
    answers, explanations, told = list[list[float]](), list[list[float]](), 0
    for row in sent:
        full = {c.name: row.get(c.name) for c in release.manifest.columns}
        begun = now()
        scores = release.answer([full])
        decision = release.decide(scores)[0]
        between = now()
        found = explains.explain(full, scores[0], decision)
        answers.append((between - begun).tolist())
        explanations.append((now() - between).tolist())
        told += bool(found.reasons)
    return np.array(answers), np.array(explanations), told


def now() -> np.ndarray:
    """Milliseconds by the wall clock, and of CPU time."""
    return np.array([time.perf_counter(), time.thread_time()]) * 1000


def line(name: str, found: tuple[np.ndarray, np.ndarray, int]) -> float:
    """Print one model's percentiles, and give the 95th of the CPU time of explanations."""
    answers, explanations, told = found
    shown = [*np.percentile(answers[:, 0], [50, 95]), *np.percentile(explanations, [50, 95], axis=0).T.ravel()]
    print(f"{name:42}" + "".join(f"{value:>8.2f}" for value in shown) + f"{told:>8} of {len(answers)}", flush=True)
    return float(shown[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200, help="that each model explains")
    rows = parser.parse_args().rows
    print(f"{'ms for one row, one process':42}{'answer':>16}{'explain':>16}{'in CPU time':>16}{'with':>10}")
    print(" " * 42 + f"{'p50':>8}{'p95':>8}" * 3 + f"{'reasons':>10}")
    slow = []
    with tempfile.TemporaryDirectory(prefix="assay-benchmark-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shutil.copytree(ROOT / "deployments", Path(folder) / "deployments")
        for name in model_names(ROOT):
            paths = made(Path(folder), name)
            p95 = line(name, measured(paths, rows))
            slow += [f"{name}: {p95:.1f} ms"] if p95 >= LIMIT_MS else []
        paths = ModelPaths(Path(folder), OF_FAMILIES)
        for title, (kind, parameters) in FAMILIES.items():
            again(paths, kind, parameters)
            line(f"{OF_FAMILIES}: {title}", measured(paths, rows))
    if slow:
        raise SystemExit(f"over {LIMIT_MS:g} ms at the 95th percentile: {', '.join(slow)}")


if __name__ == "__main__":
    main()
