"""Fast versions of the studies of drift, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tests.statistics import drift as d

SEED = 11


@pytest.mark.parametrize("n", [1000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])
def test_the_tests_hold_their_level_at_every_window_size(n: int) -> None:
    for rates in d.false_alarms(n, 25, SEED):
        assert rates.happened <= binom.ppf(0.998, rates.runs, d.LEVEL)


def test_a_fixed_threshold_is_no_better_at_its_own_rate_of_false_alarms() -> None:
    column, moved, _ = d.SHIFTS[0]
    found = d.power(1000, column, moved, 40, SEED)
    assert found["ours, at 1 %"][1] > 0.9
    for name, threshold in d.THRESHOLDS:
        assert found[f"ours, at the rate of {name} {threshold}"][1] >= found[f"{name} {threshold}"][1] - 0.1


def test_over_many_windows_few_alarms_are_false() -> None:
    share = [f / max(f + t, 1) for f, _, t, _ in (d.stream(150, 0.03, True, SEED + i) for i in range(20))]
    assert np.mean(share) <= d.FALSE_SHARE + 3 * np.std(share) / np.sqrt(len(share))


def test_all_inputs_together_hold_their_level() -> None:
    for rates in d.together(300, 0.0, 25, SEED).values():
        assert rates.happened <= binom.ppf(0.998, rates.runs, d.LEVEL)
