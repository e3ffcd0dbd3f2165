"""Rows with scores and labels for tests of what watches them, for every kind of model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tasks.science.data.tables import with_scores
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.targets import MulticlassTarget, RegressionTarget
from tests.conftest import ROOT

CLASSES = ("low", "middle", "high")


def config(kind: str = "binary", threshold: float | None = None, **monitoring: Any) -> ModelConfig:
    care = load_model(ROOT, "care")
    if monitoring:
        care = care.model_copy(update={"monitoring": care.monitoring.model_copy(update=monitoring)})
    if kind == "binary":
        return care
    target = (
        MulticlassTarget(kind="multiclass", expression="site", classes=CLASSES)
        if kind == "multiclass"
        else RegressionTarget(kind="regression", expression="income", unit="dollars")
    )
    target = target.model_copy(update={"decision_threshold": threshold})
    return care.model_copy(update={"data": care.data.model_copy(update={"target": target})})


def rows(config: ModelConfig, n: int, seed: int) -> pd.DataFrame:
    """Numbers of several shapes, categories of a long tail, some missing values and labels, and calibrated scores."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 21) ** 1.5
    frame = pd.DataFrame(
        {
            c.name: rng.choice([f"c{i}" for i in range(20)], n, p=shares / shares.sum())
            if c.type == "category"
            else rng.normal(50, 10, n)
            for c in config.inputs
        }
    )
    frame["female"] = rng.choice(["0", "1"], n)
    frame["xage"] = rng.integers(18, 90, n).astype(float)
    frame["income"] = np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(8, 1, n))
    if "mdeoff" in frame:
        frame["mdeoff"] = np.where(rng.random(n) < 0.1, np.nan, frame["mdeoff"])
    known = rng.random(n) < 0.7
    if config.kind == "multiclass":
        scores = rng.dirichlet([2, 2, 2], n)
        label = np.array(CLASSES, object)[(scores.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, 2)]
        return with_scores(config, frame, scores).assign(_label=pd.Series(label, dtype=object).where(known))
    if config.kind == "regression":
        score = rng.lognormal(8, 1, n)
        return frame.assign(_score=score, _label=np.where(known, score + rng.normal(0, 100, n), np.nan))
    score = rng.beta(2, 3, n)
    return frame.assign(_score=score, _label=np.where(known, (rng.random(n) < score).astype(float), np.nan))
