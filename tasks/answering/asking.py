"""What a score is where scikit-learn answers: the pipeline asked about one row.

The rows are prepared together, element by element, and the estimator is asked for one row at a time. In a batch its own
arithmetic is another: a matrix product of many rows rounds otherwise than one of a single row. A score must not depend
on what else was asked in the same request, so the row alone is the reference for everybody.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.spec.metrics import TargetKind


def one_by_one(kind: TargetKind, pipeline: Any, rows: Any, classes: int = 0) -> np.ndarray:
    """Scores of a fitted pipeline for a table of its features.

    Args:
        rows: (n, features) in table form, as a pandas DataFrame.
        classes: number of classes of a multiclass model, fitted on codes 0 to ``classes`` - 1; a class that training
            never saw has probability 0.

    Returns:
        binary: (n,) probability of the positive class; multiclass: (n, classes); regression: (n,).

    Raises:
        ValueError: the pipeline refuses a row.
    """
    if not len(rows):
        return np.empty((0, classes) if kind == "multiclass" else 0)
    prepared = rows
    for _, step in pipeline.steps[:-1]:
        prepared = step.transform(prepared)
    if isinstance(prepared, np.ndarray):  # a row of a table in columns' order has gaps, which BLAS sums otherwise
        prepared = np.ascontiguousarray(prepared)
    estimator = pipeline.steps[-1][1]
    ask = estimator.predict if kind == "regression" else estimator.predict_proba
    found = [np.asarray(ask(prepared[at : at + 1]), dtype=float) for at in range(len(rows))]
    return as_scores(kind, np.concatenate(found), estimator, classes)


def whole(kind: TargetKind, pipeline: Any, row: Any, classes: int = 0) -> np.ndarray:
    """The score of a table of one row by the whole pipeline, as :func:`one_by_one` gives it; slower by far."""
    found = pipeline.predict(row) if kind == "regression" else pipeline.predict_proba(row)
    return as_scores(kind, np.asarray(found, dtype=float), pipeline, classes)


def as_scores(kind: TargetKind, found: np.ndarray, estimator: Any, classes: int) -> np.ndarray:
    """Scores from what ``predict`` or ``predict_proba`` gave."""
    if kind == "regression":
        return found.reshape(-1)
    if kind == "binary":
        return np.ascontiguousarray(found[:, 1])
    scores = np.zeros((len(found), classes))
    scores[:, np.asarray(estimator.classes_, dtype=int)] = found
    return scores
