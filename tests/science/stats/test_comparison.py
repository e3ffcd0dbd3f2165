"""Metrics with bounds and paired differences: against other implementations, and where rows cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import average_precision_score, balanced_accuracy_score, f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tasks.science.stats.comparison import (
    mcnemar_mid_p,
    metric_estimate,
    metric_interval,
    paired_difference,
    paired_estimate,
    tango,
)
from tasks.science.stats.counts import COUNTED, from_confusion, joint_counts
from tasks.science.stats.jackknife import contributions
from tasks.science.stats.metrics import METRICS
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics.non_inferiority import DRAWS

EVERY: list[tuple[TargetKind, str]] = [(kind, metric) for kind, names in METRIC_NAMES.items() for metric in names]


def draw(kind: TargetKind, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return DRAWS[kind](np.random.default_rng(seed), n)


@pytest.mark.parametrize(("gained", "lost"), [(12, 2), (30, 19), (5, 5), (0, 7)])
def test_tango_excludes_zero_just_where_mcnemars_statistic_does(gained: int, lost: int) -> None:
    """At a difference of 0 Tango's score is McNemar's, so the bound is 0 at the confidence of that statistic."""
    chi = mcnemar([[0, gained], [lost, 0]], exact=False, correction=False).statistic
    confidence = max(float(norm.cdf(np.sqrt(chi))), 0.5000001)
    low, high = tango(gained, lost, 200, confidence)
    assert (low if gained >= lost else high) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("gained", "lost"), [(12, 2), (30, 19), (5, 5), (0, 7)])
def test_mcnemars_mid_p_is_the_exact_one_of_statsmodels_less_half_of_what_was_seen(gained: int, lost: int) -> None:
    exact = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue
    point = 0.0 if gained == lost else float(binom.pmf(min(gained, lost), gained + lost, 0.5))
    assert mcnemar_mid_p(gained, lost) == pytest.approx(min(exact - point, 1.0), abs=1e-12)


@pytest.mark.parametrize("metric", ["average_precision", "rmse", "r2", "roc_auc"])
def test_contributions_are_the_metric_without_each_row_in_turn(metric: str) -> None:
    """Ties, an order and every row: n times the metric less n - 1 times that of the rest, computed by scikit-learn one
    by one."""
    label, score, _ = draw("regression" if metric in ("rmse", "r2") else "binary", 60, 3)
    score, compute, n = score.round(1), METRICS[metric].compute, 60
    value, terms = contributions(metric, label, score, 0.5)
    assert value == pytest.approx(compute(label, score, 0.5), abs=1e-12)
    if metric == "roc_auc":  # a U-statistic: the components' mean is the value itself
        assert terms.mean() == pytest.approx(value, abs=1e-12)
        return
    one_by_one = [n * value - (n - 1) * compute(np.delete(label, i), np.delete(score, i), 0.5) for i in range(n)]
    assert terms == pytest.approx(np.array(one_by_one), abs=1e-10)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
@pytest.mark.parametrize("metric", [*COUNTED, "accuracy"])
def test_metrics_of_counts_are_those_of_rows(kind: TargetKind, metric: str) -> None:
    if metric not in METRIC_NAMES[kind]:
        return
    label, score, _ = draw(kind, 300, 2)
    decision = score >= 0.4 if kind == "binary" else score.argmax(axis=1)
    counts = joint_counts(label, [decision], 2 if kind == "binary" else 3)
    assert float(from_confusion(metric, counts)) == pytest.approx(METRICS[metric].compute(label, score, 0.4), abs=1e-12)


def _macro_f1(label: np.ndarray, score: np.ndarray) -> float:
    return float(f1_score(label, score.argmax(axis=1), average="macro"))


@pytest.mark.parametrize(
    ("kind", "metric", "compute"),
    [
        ("binary", "average_precision", average_precision_score),
        ("binary", "balanced_accuracy", lambda y, s: balanced_accuracy_score(y, s >= 0.5)),
        ("multiclass", "f1", _macro_f1),
    ],
)
def test_bounds_are_near_those_of_sklearn_on_resampled_rows(kind: TargetKind, metric: str, compute: object) -> None:
    label, challenger, champion = draw(kind, 400, 5)
    found = paired_difference(metric, label, challenger, champion, 0.5, 0.95, 0)
    rng = np.random.default_rng(9)
    draws = [
        compute(label[i], challenger[i]) - compute(label[i], champion[i]) for i in rng.integers(400, size=(500, 400))
    ]
    room = 0.02 if metric == "average_precision" else 0.015  # its bounds hold half of a row that was not seen, too
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])), abs=room)


@pytest.mark.parametrize(
    ("metric", "hits", "among"),
    [
        ("precision", lambda y, d: (y & d).sum(), lambda y, d: d.sum()),
        ("recall", lambda y, d: (y & d).sum(), lambda y, d: y.sum()),
    ],
)
def test_shares_of_rows_have_the_exact_bounds_of_statsmodels(metric: str, hits: object, among: object) -> None:
    label, score, _ = draw("binary", 300, 2)
    found = metric_interval(metric, label, score, 0.5, 0.975, 0)
    expected = proportion_confint(
        int(hits(label, score >= 0.5)), int(among(label, score >= 0.5)), alpha=0.05, method="beta"
    )
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_differences_turn_round_with_the_models_and_equal_scores_differ_by_nothing(
    kind: TargetKind, metric: str
) -> None:
    label, challenger, champion = draw(kind, 300, 4)
    gap = paired_difference(metric, label, challenger, champion, 0.5, 0.95, 0)
    back = paired_difference(metric, label, champion, challenger, 0.5, 0.95, 0)
    assert gap.low < gap.value < gap.high
    assert gap.value == pytest.approx(
        METRICS[metric].compute(label, challenger, 0.5) - METRICS[metric].compute(label, champion, 0.5), abs=1e-12
    )
    assert (gap.value, gap.low) == pytest.approx((-back.value, -back.high), abs=1e-9)
    same = paired_difference(metric, label, champion, champion.copy(), 0.5, 0.95, 0)
    assert (same.low, same.value, same.high) == (0, 0, 0)


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_a_metric_lies_in_its_bounds_and_rows_in_another_order_give_the_same(kind: TargetKind, metric: str) -> None:
    label, score, _ = draw(kind, 300, 6)
    order = np.random.default_rng(1).permutation(300)
    found = metric_interval(metric, label, score, 0.5, 0.95, 0)
    again = metric_interval(metric, label[order], score[order], 0.5, 0.95, 0)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(METRICS[metric].compute(label, score, 0.5), abs=1e-12)
    assert (found.value, found.low, found.high) == pytest.approx((again.value, again.low, again.high), abs=1e-9)


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_the_p_value_of_a_limit_is_the_confidence_at_which_the_bound_meets_it(kind: TargetKind, metric: str) -> None:
    label, challenger, champion = draw(kind, 300, 4)
    better = METRICS[metric].greater_is_better
    for estimate in (
        metric_estimate(metric, label, challenger, 0.5, 0),
        paired_estimate(metric, label, challenger, champion, 0.5, 0),
    ):
        low, high = estimate.bounds(0.98)
        assert estimate.refuted(high if better else low, better) == pytest.approx(0.02, abs=0.003)
        assert estimate.refuted(low if better else high, better) == 1.0


@pytest.mark.parametrize("metric", COUNTED)
def test_decisions_that_never_differ_leave_room_for_the_next_row(metric: str) -> None:
    label, _, champion = draw("binary", 300, 4)
    found = paired_difference(metric, label, np.where(champion >= 0.5, 0.9, 0.1), champion, 0.5, 0.95, 0)
    assert found.value == 0 and -0.03 < found.low < 0 < found.high < 0.03


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "precision", "log_loss", "average_precision"])
def test_where_there_is_no_number_there_are_no_bounds_and_nothing_is_proven(metric: str) -> None:
    label = np.zeros(50, bool)
    score = np.full(50, np.nan) if metric == "log_loss" else np.linspace(0, 1, 50)
    found = metric_estimate(metric, label, score, 0.5, 0)
    low, high = found.bounds(0.95)
    assert np.isnan(found.value) and (low, high) == (-np.inf, np.inf) and found.refuted(0.7, True) == 1.0
