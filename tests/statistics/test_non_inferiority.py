"""A fast version of what ``tests/statistics/non_inferiority.py`` shows, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics.non_inferiority import DRAWS, accuracy_size, false_passes, family, truth

SEED = 7


@pytest.mark.parametrize("kind", list(DRAWS))
def test_a_challenger_at_the_margin_or_the_limit_rarely_passes(kind: TargetKind) -> None:
    """At 5 %, 150 runs give at most 16 false passes in all but one case of 500."""
    runs = 150
    found = false_passes(kind, truth(kind, 10, SEED), 200, runs, SEED)
    assert [row["metric"] for row in found] == list(METRIC_NAMES[kind])
    for row in found:
        assert max(row["non-inferiority at the margin"], row["floor at the limit"]) <= 0.05 + 3.5 * np.sqrt(
            0.05 * 0.95 / runs
        ), row


@pytest.mark.parametrize("margin", [0.002, 0.01, 0.05])
def test_tangos_test_of_accuracy_keeps_its_level_however_many_rows_disagree(margin: float) -> None:
    assert accuracy_size(200, margin)["largest"] <= 0.06


def test_of_eight_gates_on_their_limits_hardly_ever_one_fails_or_all_pass() -> None:
    for row in family(truth("binary", 10, SEED), 200, 40, SEED):
        assert max(row["any gate fails wrongly"], row["all pass wrongly"]) <= 0.05 + 3.5 * np.sqrt(0.05 * 0.95 / 40), (
            row
        )
