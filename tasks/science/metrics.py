"""Metrics of a binary classifier; the direction lives on the metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as sk

Compute = Callable[[np.ndarray, np.ndarray, float], float]


@dataclass(frozen=True)
class Metric:
    """``compute(label (n,) bool, score (n,) in [0, 1], threshold)`` gives one number in ``unit``.

    NaN, without a warning, where the labels hold one class and the metric needs both; n is above 0.
    """

    name: str
    greater_is_better: bool
    unit: str
    compute: Compute


def _of_both(compute: Compute) -> Compute:
    """scikit-learn warns, or answers 0 or 1, where a class is missing; here that is no number."""

    def checked(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
        both = bool(np.any(label)) and not bool(np.all(label))
        return float(compute(label, score, threshold)) if both else float("nan")

    return checked


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("roc_auc", True, "share of pairs", _of_both(lambda y, s, t: sk.roc_auc_score(y, s))),
        Metric("average_precision", True, "precision", _of_both(lambda y, s, t: sk.average_precision_score(y, s))),
        Metric("log_loss", False, "nats a row", lambda y, s, t: float(sk.log_loss(y, s, labels=[False, True]))),
        Metric("brier", False, "squared error", lambda y, s, t: float(sk.brier_score_loss(y, s))),
        Metric("accuracy", True, "share of rows", lambda y, s, t: float(sk.accuracy_score(y, s >= t))),
        Metric("balanced_accuracy", True, "share of rows", _of_both(lambda y, s, t: sk.balanced_accuracy_score(y, s >= t))),
    )
}
