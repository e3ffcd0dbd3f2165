"""A fast version of what ``tests/statistics/clusters.py`` shows, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics.clusters import false_passes, few_positives, truth
from tests.statistics.owned import APART, TWENTY, Apart, beyond, coverage
from tests.statistics.persons import DRAWS, Shape

SEED = 8
ROOM = 3.5


@pytest.mark.parametrize("kind", list(DRAWS))
def test_persons_with_several_rows_pass_falsely_no_more_often(kind: TargetKind) -> None:
    """As many as 1 to 20 rows each; the same floors pass two to six times as often where nobody knows the persons."""
    shape, runs = Shape(20, True), 60
    found = false_passes(kind, shape, truth(kind, shape, 200_000, SEED), 300, runs, SEED)
    assert [row["metric"] for row in found] == list(METRIC_NAMES[kind])
    most = 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs)
    for row in found:
        assert max(row["non-inferiority at the margin"], row["floor at the limit"]) <= most, row
    assert np.mean([row["floor, were rows independent"] for row in found]) > 0.1


@pytest.mark.parametrize("case", (APART[0], APART[2], APART[4]), ids=lambda case: case.name)
def test_fairness_intervals_hold_where_persons_have_several_rows(case: Apart) -> None:
    runs = 60
    row = coverage(case, "difference", TWENTY, 300, runs, SEED, 8)
    assert row["holds"] >= 0.95 - ROOM * np.sqrt(0.05 * 0.95 / runs), row


@pytest.mark.parametrize("kind", ["probabilities", "numbers"])
def test_calibration_bounds_hold_where_persons_have_several_rows(kind: str) -> None:
    runs = 100
    for row in beyond(kind, TWENTY, 300, runs, SEED, 4):
        most = 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs)
        assert max(row["truth above the upper bound"], row["truth below the lower bound"]) <= most, row


@pytest.mark.parametrize(("law", "auc"), [("even", 0.95), ("spread", 0.98), ("exponential", 0.7)])
def test_an_auc_of_thirty_positives_passes_falsely_no_more_often(law: str, auc: float) -> None:
    runs = 200
    row = few_positives(law, auc, 30, 170, runs, SEED)
    assert row["passes"] <= 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs), row
