"""Whether labels and scores are what a kind of target promises: the one place that says so for gates, rules and
monitors.

The prediction service may not import science; what it refuses is in :mod:`tasks.serving.release`.
"""

from __future__ import annotations

import numpy as np

from tasks.spec.metrics import TargetKind

SUM = 1e-6
"""How far the probabilities of a row's classes may sum from 1."""


def score_shape(kind: TargetKind, classes: int, rows: int) -> tuple[int, ...]:
    """The shape of the scores of so many rows: (rows, classes) of a multiclass model, (rows,) of others."""
    return (rows, classes) if kind == "multiclass" else (rows,)


def usable_scores(kind: TargetKind, scores: np.ndarray) -> np.ndarray:
    """Which scores, in their own shape, are a probability (regression: a finite number)."""
    return np.asarray(np.isfinite(scores) if kind == "regression" else (scores >= 0) & (scores <= 1))


def score_fault(kind: TargetKind, scores: np.ndarray, classes: int = 0, rows: int | None = None) -> str:
    """What is wrong with the scores of such a model.

    Args:
        kind: of the target.
        scores: binary: (n,) in [0, 1]. Multiclass: (n, k) in [0, 1], each row sums to 1. Regression: (n,) finite.
        classes: k, of a multiclass model.
        rows: n, where it is known.

    Returns:
        A clause such as "2 of 500 scores are NaN or outside 0 to 1", or an empty text.
    """
    scores = np.asarray(scores, dtype=float)
    wanted = score_shape(kind, classes, len(scores) if rows is None and scores.ndim else rows or 0)
    if scores.shape != wanted:
        return f"scores have shape {scores.shape}; a {kind} model needs {wanted}"
    usable = usable_scores(kind, scores)
    if not usable.all():
        allowed = "infinite" if kind == "regression" else "outside 0 to 1"
        return f"{int((~usable).sum()):,} of {scores.size:,} scores are NaN or {allowed}"
    if kind == "multiclass":
        odd = np.abs(scores.sum(axis=1) - 1) > SUM
        if odd.any():
            return f"{int(odd.sum()):,} of {len(scores):,} rows have scores that do not sum to 1 over the classes"
    return ""


def label_fault(kind: TargetKind, label: np.ndarray, classes: int = 0) -> str:
    """What is wrong with the labels of such a model.

    Args:
        kind: of the target.
        label: binary: (n,) bool. Multiclass: (n,) int codes from 0 to ``classes`` - 1. Regression: (n,) finite.
        classes: of a multiclass model.

    Returns:
        A clause such as "2 of 500 labels are NaN or infinite", or an empty text.
    """
    label = np.asarray(label)
    if kind == "multiclass":
        usable, allowed = (label >= 0) & (label < classes), "of no known class"
    else:
        usable, allowed = np.isfinite(label.astype(float)), "NaN or infinite"
    return "" if usable.all() else f"{int((~usable).sum()):,} of {len(label):,} labels are {allowed}"
