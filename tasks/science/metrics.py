"""Metrics of a binary classifier; the direction lives on the metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as sk


@dataclass(frozen=True)
class Metric:
    """``compute(label (n,) bool, score (n,) in [0, 1], threshold)`` gives one number in ``unit``."""

    name: str
    greater_is_better: bool
    unit: str
    compute: Callable[[np.ndarray, np.ndarray, float], float]


def _accuracy(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    return float(sk.accuracy_score(label, score >= threshold))


def _balanced(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    return float(sk.balanced_accuracy_score(label, score >= threshold))


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("roc_auc", True, "share of pairs", lambda y, s, t: float(sk.roc_auc_score(y, s))),
        Metric("average_precision", True, "precision", lambda y, s, t: float(sk.average_precision_score(y, s))),
        Metric("log_loss", False, "nats a row", lambda y, s, t: float(sk.log_loss(y, s, labels=[False, True]))),
        Metric("brier", False, "squared error", lambda y, s, t: float(sk.brier_score_loss(y, s))),
        Metric("accuracy", True, "share of rows", _accuracy),
        Metric("balanced_accuracy", True, "share of rows", _balanced),
    )
}
