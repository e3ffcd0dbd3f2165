"""Shares of a difference among changes, their intervals, and what is not told apart from chance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t

from tasks.science.examination import causes
from tasks.science.examination.causes import World, attributed

PARTS = ("code", "data")


def subsets() -> list[frozenset[str]]:
    return [frozenset(some) for size in range(3) for some in combinations(PARTS, size)]


def worlds(shift: dict[str, float], jitter: dict[str, float], rows: int = 400, seeds: int = 5) -> list[World]:
    """Errors of a regression that each change moves by so much, and by so much chance from seed to seed."""
    made = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        label = np.random.default_rng(99).normal(size=rows)
        noise = np.abs(np.random.default_rng(98).normal(size=rows)) + 1
        chance = {part: rng.normal() * jitter.get(part, 0.0) for part in PARTS}
        answers = {
            some: label + noise + sum(shift.get(part, 0.0) + chance[part] for part in some) for some in subsets()
        }
        made.append(World(label, np.arange(rows), answers))
    return made


def test_a_change_that_moves_every_row_alike_gets_what_it_moved() -> None:
    found = attributed(PARTS, worlds({"code": 0.5}, {}), "mae", 1)
    first, second = found.shares
    assert (first.cause, first.moved, second.moved) == ("code", True, False)
    assert first.value == pytest.approx(0.5) and (first.low, first.high) == pytest.approx((0.5, 0.5))
    assert (second.value, second.low, second.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert found.new - found.old == pytest.approx(0.5) and found.rows == 400 and found.spread == pytest.approx(0.0)


def test_what_differs_from_seed_to_seed_alone_is_chance() -> None:
    found = attributed(PARTS, worlds({}, {"code": 0.3, "data": 0.3}), "mae", 1)
    assert not any(share.moved for share in found.shares) and found.spread > 0.1
    by_seed = [found_one(world, "code") for world in worlds({}, {"code": 0.3, "data": 0.3})]
    share = next(share for share in found.shares if share.cause == "code")
    half = t.ppf(1 - 0.05 / 2 / 2, 4) * np.std(by_seed, ddof=1) / np.sqrt(5)
    assert share.high is not None and share.high - share.value == pytest.approx(half, rel=0.01)


def found_one(world: World, part: str) -> float:
    """The share of a seed: here the changes do not act on each other."""
    errors = [np.abs(world.answers[some] - world.label).mean() for some in (frozenset(), frozenset({part}))]
    return float(errors[1] - errors[0])


def test_rows_of_one_owner_are_drawn_together() -> None:
    """Every row four times over says no more than once."""
    rng = np.random.default_rng(3)
    label = rng.normal(size=100)
    answers = {some: label + rng.normal(size=100) * (1 + len(some)) for some in subsets()}
    once = World(label, np.arange(100), answers)
    four = World(np.tile(label, 4), np.tile(np.arange(100), 4), {k: np.tile(v, 4) for k, v in answers.items()})
    alone = World(four.label, np.arange(400), four.answers)
    widths = [attributed(PARTS, [world, world], "mae", 1).shares[0] for world in (once, four, alone)]
    one, together, apart = (share.high - share.value for share in widths if share.high is not None)
    assert together == pytest.approx(one) and apart < 0.7 * one


def test_few_rows_and_metrics_without_a_value_tell_nothing() -> None:
    with pytest.raises(ValueError, match="at least two seeds"):
        attributed(PARTS, worlds({}, {}, seeds=1), "mae", 1)
    few = attributed(PARTS, worlds({"code": 5.0}, {}, rows=causes.MINIMUM - 1), "mae", 1)
    assert few.shares[0].low is None and not few.shares[0].moved
    one_class = [World(np.zeros(40, bool), np.arange(40), {s: np.full(40, 0.5) for s in subsets()})] * 2
    with pytest.raises(ValueError, match="roc_auc has no value on the rows of one of the seeds"):
        attributed(PARTS, one_class, "roc_auc", 1)
