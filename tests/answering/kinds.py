"""Small models of every kind that Assay builds, over columns of every type, as files with their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL, ROW
from tasks.science.models.estimators import build
from tasks.serving.release import load_pipeline, save_model
from tasks.spec.base import digest_file
from tasks.spec.manifest import Manifest
from tasks.spec.metrics import TargetKind
from tasks.spec.training import TrainingConfig, load_training
from tasks.stages.fitting import fit
from tasks.tables.typed import markers
from tests.stages.worlds import NAME, document, write

TOWNS = tuple(f"town {at}" for at in range(60))
ESTIMATORS: dict[str, dict[str, Any]] = {
    "linear": {},
    "hist_gradient_boosting": {"max_iter": 25, "max_leaf_nodes": 9, "min_samples_leaf": 10},
    "random_forest": {"n_estimators": 12, "min_samples_leaf": 5},
    "mlp": {"layers": [9, 4], "epochs": 30, "patience": 2},
}
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "type": "number", "minimum": 0, "maximum": 120, "nullable": True},
    {"name": "hours", "type": "integer", "minimum": 0, "maximum": 80},
    {"name": "never", "type": "number", "nullable": True},
    {"name": "since", "type": "date", "nullable": True},
    {"name": "seen", "type": "datetime", "zone": "Europe/Berlin"},
    {"name": "job", "type": "category", "nullable": True},
    {"name": "sex", "type": "category", "categories": ["f", "m"]},
    {"name": "owner", "type": "boolean", "nullable": True},
    {"name": "town", "type": "category", "nullable": True},
    {"name": "pay", "type": "number", "input": False},
    {"name": "level", "type": "category", "input": False},
]
MIXES: dict[str, tuple[str, ...]] = {
    "numbers": ("age", "hours", "since"),
    "names": ("job", "sex", "owner"),
    "all": ("age", "hours", "never", "since", "seen", "job", "sex", "owner", "town"),
}
"""Features; without names rows are dense, with them a linear model's are sparse."""


@dataclass
class Model:
    """A fitted model: its file, its manifest without a proof, the pipeline loaded from the file, and rows."""

    config: TrainingConfig
    content: bytes
    manifest: Manifest
    pipeline: Any
    rows: pd.DataFrame


def frame(rows: int, seed: int = 0, classes: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows in table form with gaps in every column that may have them, and what is learned of them."""
    rng = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "age": rng.uniform(18, 70, rows).round(1),
            "hours": rng.integers(5, 50, rows).astype(float),
            "never": np.full(rows, np.nan),
            "since": rng.integers(10_000, 20_000, rows).astype(float),
            "seen": rng.integers(1_500_000_000, 1_700_000_000, rows).astype(float),
            "job": pd.Series(
                rng.choice(["clerk", "driver", "nurse", "rare"], rows, p=[0.4, 0.3, 0.28, 0.02]), dtype="str"
            ),
            "sex": pd.Series(rng.choice(["f", "m"], rows), dtype="str"),
            "owner": pd.Series(rng.choice(["true", "false"], rows), dtype="str"),
            "town": pd.Series(rng.choice(TOWNS, rows, p=np.linspace(1, 3, 60) / 120), dtype="str"),
        }
    )
    drive = (
        0.05 * found["age"] + 0.1 * found["hours"] + (found["job"] == "nurse") - found["town"].str[5:].astype(int) / 30
    )
    for name in ("age", "since", "job", "owner", "town"):
        found.loc[rng.random(rows) < 0.06, name] = np.nan
    return found, (drive + rng.normal(size=rows)).to_numpy()


def made(
    root: Path, estimator: str, kind: TargetKind, mix: str, classes: int = 3, rows: int = 500, **parameters: Any
) -> Model:
    """Fit a model as the stage would, and read it back from its file."""
    model = document(kind)
    chosen = estimator if estimator != "linear" else ("ridge" if kind == "regression" else "logistic_regression")
    encoding = {"town": "target"} if mix == "all" else {}
    model["data"]["columns"] = COLUMNS
    if kind == "multiclass":
        model["data"]["target"] = model["data"]["target"] | {"classes": [f"class {at}" for at in range(classes)]}
    boosted = estimator == "hist_gradient_boosting"  # which cannot be fitted on a column without values
    model["features"] = [name for name in MIXES[mix] if not (boosted and name == "never")]
    model["gates"] = []
    key = "network" if estimator == "mlp" else "parameters"
    model["estimator"] = {"kind": chosen, key: ESTIMATORS[estimator] | parameters, "encoding": encoding}
    paths = write(root, model, pd.DataFrame({c["name"]: [] for c in COLUMNS}))
    config = load_training(paths.root, NAME)
    table, value = frame(rows)
    label: Any = value
    if kind == "binary":
        label = value > np.median(value)
    if kind == "multiclass":
        label = np.searchsorted(np.quantile(value, np.linspace(0, 1, classes + 1)[1:-1]), value)
    file = paths.root / "model.skops"
    pipeline = build(config, paths.root)
    named = np.array(config.classes, dtype=object)[label] if kind == "multiclass" else label
    fit(config, pipeline, table.assign(**{LABEL: named, ROW: np.arange(rows)}))
    save_model(pipeline, file)
    manifest = Manifest(
        model=NAME,
        title="",
        model_digest=digest_file(file),
        features=config.features,
        inputs=tuple(
            c.model_copy(update={"missing": markers(c, config.data.source.reading)}).model_dump(mode="json")
            for c in config.inputs
        ),
        kind=kind,
        classes=config.classes,
        decision_threshold=0.5 if kind == "binary" else None,
        seed=0,
        trained_rows=rows,
        libraries={},
    )
    content = file.read_bytes()
    return Model(config, content, manifest, load_pipeline(content, manifest), frame(200, seed=1)[0])
