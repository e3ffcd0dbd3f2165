"""Shapley values against the mean over all orders, and against games whose solution is known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tasks.science.stats.shapley import shapley, subsets


def by_orders(parts: list[str], values: dict[frozenset[str], float]) -> dict[str, float]:
    """The definition: what each part adds, over every order in which they can come."""
    found = dict.fromkeys(parts, 0.0)
    orders = list(permutations(parts))
    for order in orders:
        there: frozenset[str] = frozenset()
        for part in order:
            found[part] += (values[there | {part}] - values[there]) / len(orders)
            there |= {part}
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_values_are_those_of_all_orders_and_sum_to_the_difference(count: int) -> None:
    parts = ["code", "data", "parameters", "environment"][:count]
    rng = np.random.default_rng(count)
    values = {some: float(rng.normal()) for some in subsets(parts)}
    found = {part: float(share) for part, share in shapley(parts, values).items()}
    assert found == pytest.approx(by_orders(parts, values))
    assert sum(found.values()) == pytest.approx(values[frozenset(parts)] - values[frozenset()])


def test_gloves_and_arrays() -> None:
    """One left glove and two right ones, of which a pair is worth 1: two thirds, and a sixth each."""
    parts = ["left", "right", "other"]
    values = {some: np.array([1.0, 10.0]) * ("left" in some and len(some) > 1) for some in subsets(parts)}
    found = shapley(parts, values)
    assert found["left"] == pytest.approx([2 / 3, 20 / 3])
    assert found["right"] == pytest.approx([1 / 6, 10 / 6]) == found["other"]
