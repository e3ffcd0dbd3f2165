"""Folds of training rows, and an interval for a mean over them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from tasks.science.stats.folds import Fold, by_chance, by_class, by_owner, corrected_interval, forward


def parts(folds: list[Fold], rows: int) -> None:
    """Every row is predicted once, by what never saw it."""
    assert sorted(np.concatenate([f.predicted for f in folds])) == list(range(rows))
    assert all(not set(f.learned) & set(f.predicted) for f in folds)


def test_folds_hold_classes_and_owners_together() -> None:
    rng = np.random.default_rng(1)
    code, owner = rng.random(500) < 0.1, rng.integers(0, 60, 500)
    parts(found := by_class(code, 5, 3), 500)
    assert max(code[f.predicted].mean() for f in found) - min(code[f.predicted].mean() for f in found) < 0.02
    parts(found := by_owner(owner, 5, 3), 500)
    assert all(not set(owner[f.learned]) & set(owner[f.predicted]) for f in found)
    parts(by_chance(500, 7, 3), 500)


def test_time_goes_forward() -> None:
    rng = np.random.default_rng(2)
    when, owner = rng.integers(0, 24, 600).astype(float), rng.integers(0, 300, 600)
    folds = forward(when, 4, owner)
    assert len(folds) == 4
    for f in folds:
        assert when[f.learned].max() < when[f.predicted].min()
        assert not set(owner[f.learned]) & set(owner[f.predicted])
    before = [f.predicted for f in folds]
    assert all(when[a].max() < when[b].min() for a, b in zip(before, before[1:], strict=False))
    assert len(forward(np.array([1.0, 2, 3, 3]), 4)) == 2
    assert forward(np.array([1.0, 1, 2]), 4) == []


def test_one_large_moment_leaves_no_empty_fold() -> None:
    folds = forward(np.repeat([1.0, 2, 3, 4], [5, 500, 5, 5]), 3)
    assert len(folds) >= 2 and all(len(f.learned) and len(f.predicted) for f in folds)


def test_the_interval_is_the_papers_formula() -> None:
    """Equation 7 of Nadeau and Bengio: J = 5 means of folds of 20 rows, each learned from 80."""
    values, fold = np.array([0.7, 0.72, 0.69, 0.75, 0.71]), Fold(np.arange(80), np.arange(20))
    low, high = corrected_interval(values, [fold] * 5)
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 20 / 80) * values.var(ddof=1))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_the_interval_covers_what_cross_validation_estimates() -> None:
    """Logistic regression on 120 rows of a world, 200 times: the plain t interval misses the mean more often."""
    rng = np.random.default_rng(3)
    weights = np.array([1.0, -0.7, 0.5, 0.0])

    def world(rows: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(rows, 4))
        return x, rng.random(rows) < 1 / (1 + np.exp(-x @ weights))

    truth, covered, plain = [], 0, 0
    x_far, y_far = world(20_000)
    samples = []
    for _ in range(200):
        x, y = world(120)
        folds = by_class(y, 5, 0)
        models = [LogisticRegression().fit(x[f.learned], y[f.learned]) for f in folds]
        truth += [m.score(x_far, y_far) for m in models]
        samples.append((np.array([m.score(x[f.predicted], y[f.predicted]) for m, f in zip(models, folds)]), folds))  # noqa: B905
    for values, folds in samples:
        low, high = corrected_interval(values, folds)
        covered += low <= np.mean(truth) <= high
        half = stats.t.ppf(0.975, 4) * values.std(ddof=1) / np.sqrt(5)
        plain += abs(values.mean() - np.mean(truth)) <= half
    assert covered >= 185 and plain < covered
