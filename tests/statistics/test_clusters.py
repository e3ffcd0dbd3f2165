"""A fast version of what ``tests/statistics/clusters.py`` shows, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics.clusters import false_passes, few_positives, truth
from tests.statistics.owned import APART, FIVE, TWENTY, Apart, beyond, coverage
from tests.statistics.persons import DRAWS, Shape
from tests.statistics.tails import ERRORS, RANKS, at_the_floor, error_limit, rank_limit

SEED = 8
ROOM = 3.5


@pytest.mark.parametrize("kind", list(DRAWS))
def test_persons_with_several_rows_pass_falsely_no_more_often(kind: TargetKind) -> None:
    """As many as 1 to 20 rows each; the same floors pass two to six times as often where nobody knows the persons."""
    shape, runs = Shape(20, True), 30
    found = false_passes(kind, shape, truth(kind, shape, 200_000, SEED), 300, runs, SEED)
    assert [row["metric"] for row in found] == list(METRIC_NAMES[kind])
    most = 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs)
    for row in found:
        assert max(row["non-inferiority at the margin"], row["floor at the limit"]) <= most, row
    assert np.mean([row["floor, were rows independent"] for row in found]) > 0.1


@pytest.mark.parametrize(
    ("case", "runs"), [pytest.param(case, 120 if i in (1, 3) else 30, id=case.name) for i, case in enumerate(APART)]
)
def test_fairness_intervals_hold_where_persons_have_several_rows(case: Apart, runs: int) -> None:
    """Groups of persons and of visits; with fewer draws an interval than a gate takes."""
    row = coverage(case, "difference", FIVE, 300, runs, SEED, 5, 400, runs)
    assert row["holds"] >= 0.95 - ROOM * np.sqrt(0.05 * 0.95 / runs), row


@pytest.mark.parametrize("kind", ["probabilities", "numbers"])
def test_calibration_bounds_hold_where_persons_have_several_rows(kind: str) -> None:
    runs = 50
    for row in beyond(kind, TWENTY, 300, runs, SEED, 4):
        most = 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs)
        assert max(row["truth above the upper bound"], row["truth below the lower bound"]) <= most, row


@pytest.mark.parametrize(("law", "auc"), [("even", 0.95), ("spread", 0.98), ("exponential", 0.7)])
def test_an_auc_of_thirty_positives_passes_falsely_no_more_often(law: str, auc: float) -> None:
    runs = 200
    row = few_positives(law, auc, 30, 170, runs, SEED)
    assert row["passes"] <= 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs), row


@pytest.mark.parametrize("law", ["persons of 10 rows", "log-normal less its mean", "30 %, heavy tails"])
def test_floors_hold_under_laws_that_no_bound_was_made_by(law: str) -> None:
    runs = 150
    if law in ERRORS:
        sample, _ = ERRORS[law]
        row = at_the_floor("rmse", law, sample, 100, error_limit(sample, 100, SEED), runs, SEED)
    else:
        row = at_the_floor("average_precision", law, RANKS[law], 200, rank_limit(RANKS[law], SEED, 4), runs, SEED)
    assert row["passes"] <= 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs), row
