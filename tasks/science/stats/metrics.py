"""What a model is measured by; the direction lives on the metric, and the arrays' shapes tell the kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as sk

from tasks.spec.metrics import METRIC_NAMES, TargetKind

Compute = Callable[[np.ndarray, np.ndarray, float], float]


@dataclass(frozen=True)
class Metric:
    """``compute(label, score, threshold)`` gives one number in ``unit``.

    Binary: label (n,) bool, score (n,) in [0, 1]. Multiclass: label (n,) int codes, score (n, k), rows that sum to 1;
    no threshold, the most probable class is the decision. Regression: label and score (n,) float. n is above 0.

    NaN, without a warning, where a score is no finite number, or a class is missing that the metric needs.

    Raises:
        ValueError: arrays of a kind of model that this metric does not measure.
    """

    name: str
    greater_is_better: bool
    unit: str
    compute: Compute


def kind_of(label: np.ndarray, score: np.ndarray) -> TargetKind:
    """The kind of model that such arrays come from."""
    if score.ndim == 2:
        return "multiclass"
    return "binary" if label.dtype == bool else "regression"


NEED_CLASSES = ("roc_auc", "average_precision", "balanced_accuracy", "f1", "precision", "recall")


def measurable(name: str, label: np.ndarray, score: np.ndarray) -> bool:
    """Whether the metric has a value: scores are finite, no class is missing that it needs, and for R² labels vary.

    Raises:
        ValueError: arrays of a kind of model that this metric does not measure.
    """
    kind = kind_of(label, score)
    if name not in METRIC_NAMES[kind]:
        raise ValueError(
            f"{name} is asked of a {kind} model (labels of {label.dtype}, scores of {score.ndim} dimensions); "
            f"allowed: {', '.join(METRIC_NAMES[kind])}"
        )
    if not np.isfinite(score).all():
        return False
    if name == "r2":
        return bool(np.ptp(label) > 0)
    if name not in NEED_CLASSES:
        return True
    if kind == "binary":
        return bool(label.any()) and not bool(label.all())
    return bool(len(np.unique(label)) == score.shape[1])


def _checked(name: str, by_kind: dict[TargetKind, Compute]) -> Compute:
    """The metric of the kind at hand; NaN where a class is missing, where scikit-learn warns or answers 0 or 1."""

    def compute(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
        return (
            float(by_kind[kind_of(label, score)](label, score, threshold))
            if measurable(name, label, score)
            else float("nan")
        )

    return compute


def _each(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """The mean over classes of the AUC of one against the rest (Provost & Domingos 2000, unweighted)."""
    return float(np.mean([sk.roc_auc_score(label == c, score[:, c]) for c in range(score.shape[1])]))


def _chosen(compute: Callable[[np.ndarray, np.ndarray], float]) -> Compute:
    return lambda y, s, t: compute(y, s.argmax(axis=1))


def _decided(compute: Callable[[np.ndarray, np.ndarray], float]) -> Compute:
    return lambda y, s, t: compute(y, s >= t)


def _precision(label: np.ndarray, decision: np.ndarray) -> float:
    return float(sk.precision_score(label, decision)) if decision.any() else float("nan")


def _log_loss(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    return float(sk.log_loss(label, score, labels=np.arange(score.shape[1])))


def _brier(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    return float(sk.brier_score_loss(label, score, labels=np.arange(score.shape[1])))


_ALL: tuple[tuple[str, bool, str, dict[TargetKind, Compute]], ...] = (
    ("roc_auc", True, "share of pairs", {"binary": lambda y, s, t: sk.roc_auc_score(y, s), "multiclass": _each}),
    ("average_precision", True, "precision", {"binary": lambda y, s, t: sk.average_precision_score(y, s)}),
    (
        "log_loss",
        False,
        "nats a row",
        {"binary": lambda y, s, t: sk.log_loss(y, s, labels=[False, True]), "multiclass": _log_loss},
    ),
    ("brier", False, "squared error", {"binary": lambda y, s, t: sk.brier_score_loss(y, s), "multiclass": _brier}),
    (
        "accuracy",
        True,
        "share of rows",
        {"binary": _decided(sk.accuracy_score), "multiclass": _chosen(sk.accuracy_score)},
    ),
    (
        "balanced_accuracy",
        True,
        "share of rows",
        {"binary": _decided(sk.balanced_accuracy_score), "multiclass": _chosen(sk.balanced_accuracy_score)},
    ),
    (
        "f1",
        True,
        "harmonic mean of shares",
        {"binary": _decided(sk.f1_score), "multiclass": _chosen(lambda y, d: sk.f1_score(y, d, average="macro"))},
    ),
    ("precision", True, "share of selected rows", {"binary": _decided(_precision)}),
    ("recall", True, "share of positives", {"binary": _decided(sk.recall_score)}),
    ("mae", False, "unit of the target", {"regression": lambda y, s, t: sk.mean_absolute_error(y, s)}),
    ("rmse", False, "unit of the target", {"regression": lambda y, s, t: sk.root_mean_squared_error(y, s)}),
    ("r2", True, "share of variance", {"regression": lambda y, s, t: sk.r2_score(y, s)}),
)

METRICS: dict[str, Metric] = {
    name: Metric(name, greater, unit, _checked(name, by_kind)) for name, greater, unit, by_kind in _ALL
}
