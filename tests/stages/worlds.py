"""A small generated world in three versions, one for each kind of target, laid out as a checkout of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig, load_model
from tasks.stages.common import ModelPaths
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train

NAME = "small"
CLASSES = ("low", "middle", "high")
JOBS = ("clerk", "driver", "nurse", "smith")
ESTIMATORS: dict[TargetKind, tuple[str, dict[str, Any]]] = {
    "binary": ("logistic_regression", {}),
    "multiclass": ("hist_gradient_boosting", {"max_iter": 40, "max_leaf_nodes": 5, "min_samples_leaf": 40}),
    "regression": ("ridge", {}),
}
TARGETS: dict[TargetKind, dict[str, Any]] = {
    "binary": {
        "kind": "binary",
        "expression": "pay > 30",
        "positive": "over 30",
        "negative": "up to 30",
        "decision_threshold": 0.5,
    },
    "multiclass": {"kind": "multiclass", "expression": "level", "classes": list(CLASSES)},
    "regression": {"kind": "regression", "expression": "pay / 10", "unit": "tens", "minimum": -5, "maximum": 20},
}
FAIRNESS: dict[TargetKind, dict[str, Any]] = {
    "binary": {"measure": "true_positive_rate", "limit": 0.2},
    "multiclass": {"measure": "equalized_odds", "class_name": "high", "limit": 0.2},
    "regression": {"measure": "mean_absolute_error", "limit": 0.15},
}
METRICS: dict[TargetKind, str] = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "mae"}


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Pay that rises with age and hours, by a job's level and noise; sex has no part in it, some ages are missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(18, 70, rows).round(1),
            "hours": rng.integers(5, 50, rows),
            "job": rng.choice(JOBS, rows),
            "sex": rng.choice(["f", "m"], rows),
        }
    )
    pay = 0.3 * frame["age"] + 0.5 * frame["hours"] + 3 * frame["job"].map(JOBS.index) + rng.normal(scale=5, size=rows)
    frame["pay"] = pay.round(2)
    frame["level"] = np.select([pay < 25, pay < 33], CLASSES[:2], CLASSES[2])
    frame.loc[rng.random(rows) < 0.03, "age"] = np.nan
    return frame


def document(kind: TargetKind) -> dict[str, Any]:
    """``model.yaml`` with a gate of every kind that this kind of model knows."""
    estimator, parameters = ESTIMATORS[kind]
    metric = METRICS[kind]
    gates: list[dict[str, Any]] = [
        {"name": "data", "kind": "data"},
        {"name": "floor", "kind": "floor", "metric": metric, "limit": 0.8},
        {"name": "comparison", "kind": "comparison", "metric": metric, "margin": 0.05},
        {"name": "rules", "kind": "rules"},
        {"name": "readiness", "kind": "readiness", "latency_ms": 5000},
        {"name": "transparency", "kind": "transparency"},
        {"name": "calibration", "kind": "calibration", "error": 0.15, "slope": [0.6, 1.7], "intercept": 0.6},
        {"name": "robustness", "kind": "robustness", "metric": metric, "limit": 0.2},
        {"name": "stability", "kind": "stability", "rank_correlation": 0.4, "top": 2},
        {"name": "faithfulness", "kind": "faithfulness"},
        {"name": "leakage", "kind": "leakage", "label_jump": 0.4},
        {
            "name": "slices",
            "kind": "slices",
            "metric": "squared_error" if kind == "regression" else "log_loss",
            "limit": 0.4,
            "slices": [{"name": "old", "rows": "age >= 50"}],
        },
        {"name": "fairness", "kind": "fairness", "attribute": "sex", "statistic": "difference", **FAIRNESS[kind]},
    ]
    columns: list[dict[str, Any]] = [
        {"name": "age", "type": "number", "minimum": 0, "maximum": 120, "nullable": True},
        {"name": "hours", "type": "integer", "minimum": 0, "maximum": 80},
        {"name": "job", "type": "category"},
        {"name": "sex", "type": "category", "categories": ["f", "m"]},
        {"name": "pay", "type": "number", "input": False},
        {"name": "level", "type": "category", "input": False},
    ]
    return {
        "name": NAME, "title": "Small", "purpose": "A test.", "owner": "t@example.org",
        "materiality": "low", "seed": 7,
        "data": {
            "source": {"kind": "file", "path": f"data/{NAME}/source/table.csv", "format": "csv"}, "columns": columns,
            "target": TARGETS[kind],
            "split": {"train": 0.5, "holdout": 0.4, "replay": 0.1},
        },
        "protected": {"sex": {"column": "sex", "groups": {"f": ["f"], "m": ["m"]}}},
        "features": ["age", "hours", "job"],
        "estimator": {"kind": estimator, "parameters": parameters},
        "gates": gates,
        "card": dict.fromkeys(
            ("intended_use", "limits", "out_of_scope", "ethics", "contact", "oversight", "risks"), "It is a test's own."
        ),
    }  # fmt: skip


def rules(kind: TargetKind) -> dict[str, Any]:
    """Right ones: the score, or that of the highest class, rises with hours; sex moves nothing."""
    of = {"class": "high"} if kind == "multiclass" else {}
    low, high = (-1, 12) if kind == "regression" else (0, 1)
    made: list[dict[str, Any]] = [
        {"rule": "direction", "column": "hours", "sign": "rises", "tolerance": 0.2, **of},
        {"rule": "monotone", "column": "hours", "sign": "rises", "turn": 0.1, "tolerance": 0.2, **of},
        {"rule": "score_range", "low": low, "high": high, **of},
        {"rule": "vignette", "case": {"hours": 45}, "above": {"hours": 10}, **of},
        {"rule": "invariance", "column": "sex", "at_most": 0.01},
        {"rule": "forbidden_driver", "column": "sex", "share": 0.0},
        {"rule": "required_driver", "column": "hours", "share": 0.1},
        {"rule": "proxy", "column": "sex", "share": 0.05},
    ]
    return {"rules": [r | {"because": "so it was made"} for r in made]}


def write(root: Path, config: dict[str, Any], frame: pd.DataFrame) -> ModelPaths:
    """A checkout with one model's ``model.yaml`` and the file of its source; nothing has run in it."""
    folder = root / "deployments/models" / config["name"]
    folder.mkdir(parents=True)
    (root / "deployments/models.yaml").write_text(f"models: [{config['name']}]\n")
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    source = root / config["data"]["source"]["path"]
    source.parent.mkdir(parents=True)
    frame.to_csv(source, index=False)
    return ModelPaths(root, config["name"])


def run_stages(paths: ModelPaths) -> None:
    """All stages, as DVC runs them."""
    config: ModelConfig = load_model(paths.root, paths.name)
    for stage in (ingest, prepare, train, evaluate):
        stage(paths, config)


def lay_out(root: Path, kind: TargetKind, rows: int = 3000, **changes: Any) -> ModelPaths:
    """A checkout with the generated table, and the stages run in it."""
    paths = write(root, document(kind) | changes, table(rows))
    (root / "deployments/models" / NAME / "rules.yaml").write_text(yaml.safe_dump(rules(kind)))
    run_stages(paths)
    return paths
