"""A fast version of the grouping studies: fixed seeds, two worlds, bounds with room for the noise of few runs."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tests.statistics import groupings as g

WORLDS = 2
NIGHTLY = pytest.mark.acceptance
MODELS = [g.MODELS[0], *(pytest.param(kind, marks=NIGHTLY) for kind in g.MODELS[1:])]
"""Every kind of model sees every planted event in each run; what must stay quiet is played for one, the rest nightly.
"""


@pytest.mark.parametrize("kind", MODELS)
def test_unchanged_windows_are_rarely_accused(kind: str) -> None:
    seen = g.play(kind, "", 500, 16, g.ALPHA, 1, WORLDS, g.SEED)
    assert seen["any alarm"] <= binom.ppf(0.999, 16, g.ALPHA)


@pytest.mark.parametrize("kind", g.MODELS)
@pytest.mark.parametrize("event", g.EVENTS)
def test_planted_events_are_found_by_name(kind: str, event: str) -> None:
    seen = g.play(kind, event, 500, 8, g.WATCHED, 2, WORLDS, g.SEED)
    assert seen[event] >= binom.ppf(0.001, 8, 0.9)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("event", g.NO_MERGERS)
def test_what_is_no_merger_is_not_called_one_but_by_its_own_name(kind: str, event: str) -> None:
    seen = g.play(kind, event, 500, 8, g.WATCHED, 3, WORLDS, g.SEED)
    assert seen["any pair merged"] <= binom.ppf(0.999, 8, 0.05)
    assert all(seen[own] >= binom.ppf(0.001, 8, 0.9) for own in g.NO_MERGERS[event])


def test_two_unequal_groups_that_did_not_change_are_found_again() -> None:
    """With two starts of k-means the mean of twelve resamples falls below 0.9 in every other window."""
    alarms, least = g.found_again(500, 12, g.SEED, 1)
    assert (alarms, least > 0.9) == (0, True), least
