"""A fast version of the grouping studies: fixed seeds, bounds with room for the noise of few runs."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tests.statistics import groupings as g


@pytest.mark.parametrize("kind", g.MODELS)
def test_unchanged_windows_are_rarely_accused(kind: str) -> None:
    seen = g.play(kind, "", 500, 16, g.ALPHA, 1)
    assert seen["any alarm"] <= binom.ppf(0.999, 16, g.ALPHA)


@pytest.mark.parametrize("kind", g.MODELS)
@pytest.mark.parametrize("event", g.EVENTS)
def test_planted_events_are_found_by_name(kind: str, event: str) -> None:
    seen = g.play(kind, event, 500, 8, g.WATCHED, 2)
    assert seen["found"] >= binom.ppf(0.001, 8, 0.9)
