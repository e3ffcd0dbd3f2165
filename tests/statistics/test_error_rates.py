"""A fast version of every simulation in docs/evidence, with room for the noise of few runs."""

from __future__ import annotations

import pytest

from tests.statistics import simulations as s

SEED = 7
NOISE = 3.0
"""Standard errors that a rate may be off; a count that is right fails one case in 700."""


def at_most(count: s.Count) -> None:
    assert count.nominal is not None
    # One event is always possible where few are expected.
    assert count.happened <= max(1, count.runs * (count.nominal + NOISE * count.error)), count


def at_least(count: s.Count) -> None:
    assert count.nominal is not None and count.rate >= count.nominal - NOISE * count.error, count


@pytest.mark.parametrize(("rows", "runs"), [(200, 20), (500, 20), (2000, 12), (20_000, 3)])
def test_a_window_in_which_nothing_changed_is_quiet(rows: int, runs: int) -> None:
    for count in s.false_alarms(rows, runs, SEED):
        at_most(count)


@pytest.mark.parametrize("case", ["30 categories, long tail", "52 categories, flat", "mostly zeros"])
def test_the_test_of_one_column_holds_its_level(case: str) -> None:
    for count in s.drift_level(case, 200, 100, SEED):
        at_most(count)


@pytest.mark.parametrize(
    ("change", "kind"), [(s.category_shift, "data_drift"), (s.covariate_shift, "prediction_drift retraining"), (s.concept_drift, "realized_performance")]
)
def test_a_large_change_is_seen_in_two_thousand_rows(change: s.Change, kind: str) -> None:
    for count in s.power(change, tuple(kind.split()), "", 2000, 6, SEED):
        assert count.happened == count.runs, count


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier", "accuracy"])
def test_labels_fall_into_the_interval_of_the_estimate(metric: str) -> None:
    for count in s.coverage(metric, 300, 50, SEED):
        at_least(count)


@pytest.mark.parametrize(("metric", "runs"), [("roc_auc", 400), ("log_loss", 1000), ("brier", 1000), ("accuracy", 400), ("balanced_accuracy", 100), ("average_precision", 80)])
def test_a_challenger_at_the_margin_rarely_passes(metric: str, runs: int) -> None:
    for count in s.non_inferiority(metric, 300, runs, SEED):
        at_most(count)


@pytest.mark.parametrize("statistic", ["difference", "ratio"])
@pytest.mark.parametrize("case", list(s.FAIRNESS))
def test_fairness_bounds_hold(statistic: str, case: str) -> None:
    for count in s.fairness(statistic, case, 150, SEED):
        at_least(count)
