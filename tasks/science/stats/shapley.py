"""How the difference between two ends is shared among what was changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import TypeVar

import numpy as np

P = TypeVar("P", bound=str)


def subsets(parts: Sequence[P]) -> list[frozenset[P]]:
    """All 2^k subsets, the empty one first and the full one last."""
    return [frozenset(chosen) for size in range(len(parts) + 1) for chosen in combinations(parts, size)]


def shapley(parts: Sequence[P], values: Mapping[frozenset[P], np.ndarray | float]) -> dict[P, np.ndarray]:
    """The Shapley value of each part: its mean contribution over all orders in which the parts can be changed.

    They sum to the value with all parts less the value with none (Shapley 1953, "A value for n-person games"). With k
    parts this takes all 2^k values, so nothing is sampled.

    Args:
        values: of every subset, a number or an array; arrays are shared out element by element.
    """
    count = len(parts)
    found: dict[P, np.ndarray] = {}
    for part in parts:
        others = [other for other in parts if other != part]
        total = np.asarray(0.0)
        for before in subsets(others):
            orders = factorial(len(before)) * factorial(count - len(before) - 1) / factorial(count)
            total = total + orders * (np.asarray(values[before | {part}]) - np.asarray(values[before]))
        found[part] = total
    return found
