"""A fast version of what ``tests/statistics/outcomes.py`` shows, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.statistics.outcomes import FAULTS, HONEST, LIMIT, TARGETS, alarms, faults

SEED, ROOM = 3, 3.5


@pytest.mark.parametrize("kind", list(TARGETS))
def test_windows_in_which_nothing_changed_alarm_no_more_often_than_asked(kind: str) -> None:
    runs = 60
    found = alarms(kind, 500, runs, SEED)  # type: ignore[arg-type]
    assert max(found.values()) <= 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs), found


def test_a_version_at_its_limit_is_not_accused_and_one_far_beyond_is() -> None:
    runs = 60
    at = alarms("binary", 500, runs, SEED, gap=LIMIT)["realized fairness"]
    assert at <= 0.05 + ROOM * np.sqrt(0.05 * 0.95 / runs)
    assert alarms("binary", 2000, 10, SEED, 0.01 / 32, gap=0.5)["realized fairness"] == 1


@pytest.mark.parametrize("case", [*HONEST, *FAULTS])
def test_faults_are_told_from_worlds_that_changed(case: str) -> None:
    share = faults(case, 60, SEED)["taken for a fault"]
    least = 0.25 if case == "another meaning of yes" else 0.8
    assert share <= 0.05 if case in HONEST else share >= least, share
