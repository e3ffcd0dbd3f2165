"""Paired differences: against other implementations, by simulation, and where rows cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from statsmodels.stats.contingency_tables import mcnemar

from tasks.science.comparison import metric_interval, paired_difference, tango
from tasks.science.metrics import METRICS

EVERY = sorted(METRICS)


def pair(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and the scores of a challenger that is a little worse than its champion and correlated with it."""
    label, shared = rng.random(n) < 0.4, rng.normal(size=n)
    champion = 1.5 * (label - 0.5) + shared
    challenger = 1.2 * (label - 0.5) + 0.6 * shared + 0.8 * rng.normal(size=n)
    return label, 1 / (1 + np.exp(-challenger)), 1 / (1 + np.exp(-champion))


@pytest.mark.parametrize(("gained", "lost"), [(12, 2), (30, 19), (5, 5), (0, 7)])
def test_tango_excludes_zero_just_where_mcnemars_statistic_does(gained: int, lost: int) -> None:
    """At a difference of 0 Tango's score is McNemar's, so the bound is 0 at the confidence of that statistic."""
    chi = mcnemar([[0, gained], [lost, 0]], exact=False, correction=False).statistic
    confidence = max(float(norm.cdf(np.sqrt(chi))), 0.5000001)
    low, high = tango(gained, lost, 200, confidence)
    assert (low if gained >= lost else high) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("metric", "compute"), [("average_precision", average_precision_score), ("balanced_accuracy", lambda y, s: balanced_accuracy_score(y, s >= 0.5))])
def test_the_bootstrap_is_that_of_sklearn_on_resampled_rows(metric: str, compute: object) -> None:
    label, challenger, _ = pair(np.random.default_rng(5), 300)
    found = metric_interval(metric, label, challenger, 0.5, 0.95, 0)
    rng = np.random.default_rng(9)
    draws = [compute(label[i], challenger[i]) for i in rng.integers(300, size=(600, 300))]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])), abs=0.015)


@pytest.mark.parametrize("metric", EVERY)
def test_differences_turn_round_with_the_models_and_equal_scores_differ_by_nothing(metric: str) -> None:
    label, challenger, champion = pair(np.random.default_rng(4), 300)
    gap = paired_difference(metric, label, challenger, champion, 0.5, 0.95, 0)
    back = paired_difference(metric, label, champion, challenger, 0.5, 0.95, 0)
    assert gap.low < gap.value < gap.high
    assert gap.value == pytest.approx(METRICS[metric].compute(label, challenger, 0.5) - METRICS[metric].compute(label, champion, 0.5), abs=1e-12)
    assert (gap.value, gap.low) == pytest.approx((-back.value, -back.high), abs=1e-9)
    same = paired_difference(metric, label, champion, champion.copy(), 0.5, 0.95, 0)
    assert (same.low, same.value, same.high) == (0, 0, 0)
