"""A fast version of every simulation of the live theme, with room for the noise of few runs."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tests.statistics import live

SEED = 11


def quiet(hits: int, runs: int, level: float = live.LEVEL) -> None:
    """So many false alarms, or fewer, come by chance once in a thousand where the level holds."""
    assert hits <= binom.ppf(0.999, runs, level), f"{hits} of {runs}"


@pytest.mark.parametrize("n", [200, 2000])
def test_rules_on_the_edge_are_quiet_where_nothing_changed(n: int) -> None:
    quiet(live.quiet_rules(n, 10, SEED)["any"], 10)


@pytest.mark.parametrize("n", [200, 500])
def test_attribution_is_quiet_where_nothing_changed(n: int) -> None:
    quiet(live.quiet_attribution(n, 60, SEED), 60)


@pytest.mark.parametrize("n", [200, 2000])
def test_expectations_on_the_edge_are_quiet(n: int) -> None:
    quiet(live.quiet_expectations(n, 500, SEED), 500)


@pytest.mark.parametrize(("windows", "spread"), [(5, 0.0), (5, 0.3), (30, 0.3)])
def test_the_feed_is_quiet_where_nothing_changed(windows: int, spread: float) -> None:
    quiet(live.quiet_feed(200, windows, spread, 100, SEED), 100)


@pytest.mark.parametrize("case", live.BROKEN)
def test_a_rule_broken_in_production_is_found_in_two_hundred_rows(case: str) -> None:
    assert live.broken_rules(case, 200, 4, SEED) == 4


def test_attribution_that_moved_is_found_and_named() -> None:
    assert live.moved_attribution(500, 5, SEED) == 5


@pytest.mark.parametrize("case", ["volume", "duplicates", "predictions"])
def test_a_broken_feed_is_found(case: str) -> None:
    assert live.broken_feed(case, 500, 20, SEED) >= 19


def test_a_broken_expectation_is_found() -> None:
    assert live.expectation_broken(500, 50, SEED) >= 48
