"""Kinds of targets, and the metrics that models of each kind are measured by."""

from __future__ import annotations

from typing import Literal

TargetKind = Literal["binary", "multiclass", "regression"]
MetricName = Literal[
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
    "mae",
    "rmse",
    "r2",
]
METRIC_NAMES: dict[TargetKind, tuple[MetricName, ...]] = {
    "binary": (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "precision",
        "recall",
    ),
    "multiclass": ("roc_auc", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1"),
    "regression": ("mae", "rmse", "r2"),
}
"""What a kind of model is measured by.

Multiclass: AUC is the mean of one against the rest, Brier is over all classes, F1 is the mean over classes.
"""
