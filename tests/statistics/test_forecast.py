"""A fast version of the simulations of the forecast and its trigger, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.statistics import forecast as f

RUNS = 80


def noise(rate: float, runs: int) -> float:
    return 3 * float(np.sqrt(rate * (1 - rate) / runs))


@pytest.mark.parametrize("world", f.WORLDS)
def test_eighty_percent_intervals_cover(world: str) -> None:
    """One to eight windows ahead together: these are not independent, so the noise is that of one window."""
    found = f.coverage(world, 30, RUNS, 5).mean()
    assert 0.75 - noise(0.75, RUNS) <= found <= 0.85 + noise(0.85, RUNS), found


def test_intervals_cover_where_the_newest_labels_are_missing_and_the_estimator_is_off() -> None:
    found = f.coverage("flat", 30, RUNS, 6, late=4, bias=2.0).mean()
    assert found >= 0.75 - noise(0.75, RUNS), found


@pytest.mark.parametrize(
    "world", ["flat, limit 4 away", "flat, limit 3 away", "flat, limit 4 away, labels 3 windows late"]
)
def test_a_flat_world_is_not_called(world: str) -> None:
    for found in f.calls(world, 40, 6, 7).values():
        assert found["judged"] > 100 and found["false"] <= found["judged"] * (0.05 + noise(0.05, found["judged"])), (
            found
        )


def test_a_trend_is_called_ahead_of_its_breach() -> None:
    found = f.calls("flat, then 0.6 a window", 40, 12, 8)
    assert found[0.3]["breaches"] == 12 and found[0.3]["ahead"] >= 8 and found[0.5]["ahead"] >= 3
    assert min(found[0.3]["leads"]) >= 1


def test_a_jump_is_missed_and_said_to_be() -> None:
    assert all(c["ahead"] == 0 and c["breaches"] == 4 for c in f.calls("a jump over the limit", 30, 4, 9).values())


def test_the_first_breach_comes_within_its_interval() -> None:
    found = f.first_passage("trend: 0.1, 0.2 or 0.4 a window", 3.0, 30, RUNS, 10)["rate"]
    assert found >= 0.75 - noise(0.75, RUNS), found


def test_too_little_history_is_no_forecast() -> None:
    assert [f.little(n, None)[0] for n in (0, 1, f.MINIMUM - 1, f.MINIMUM)] == [False, False, False, True]
