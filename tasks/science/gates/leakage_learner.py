"""A small learner that shows what a set of columns can give away, whatever estimator the model has."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from tasks.science.gates.leakage_checks import codes, rates

ROUNDS = {"max_iter": 50, "max_leaf_nodes": 15, "learning_rate": 0.15, "min_samples_leaf": 20, "early_stopping": False}


def encoded(train: pd.DataFrame, other: pd.DataFrame, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, c) and (n, c) numbers that trees can cut: quantile bins of numbers, label rates of categories, NaN.

    Args:
        label: (k,) of the rows ``train``, from which bins and rates are learned.
    """
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for name in train.columns:
        first, second = codes(train[name], other[name])
        if not pd.api.types.is_numeric_dtype(train[name]):
            first, second = rates(first, first, label), rates(first, second, label)
        for side, values, raw in zip(sides, (first, second), (train[name], other[name]), strict=True):
            side.append(np.where(raw.isna(), np.nan, values))
    return np.column_stack(sides[0]), np.column_stack(sides[1])


def learned(train: np.ndarray, label: np.ndarray, other: np.ndarray, seed: int) -> np.ndarray:
    """(n,) scores of the other rows: probabilities where ``label`` is bool, else numbers.

    Gradient-boosted trees, 50 of 15 leaves; where the training rows answer one way only, that answer.
    """
    if len(np.unique(label)) < 2:
        return np.full(len(other), float(label[0]))
    kind = HistGradientBoostingClassifier if label.dtype == bool else HistGradientBoostingRegressor
    with threadpool_limits(1, user_api="openmp"):  # small fits gain nothing from threads, and lose on a busy machine
        fitted = kind(random_state=seed, **ROUNDS).fit(train, label)
        found = fitted.predict_proba(other)[:, 1] if label.dtype == bool else fitted.predict(other)
    return np.asarray(found, float)
