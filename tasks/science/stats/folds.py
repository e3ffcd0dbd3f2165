"""Cross-fitting: what is learned on some folds of the rows is applied to the rows of another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def folds(rows: int, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """(rows,) the fold of each row; sizes differ by at most one.

    Args:
        count: of folds.
        rng: draws the folds; without it the rows are in random order already and are dealt out in turn.
    """
    return (np.arange(rows) if rng is None else rng.permutation(rows)) % count


def splits(fold: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each fold, (n,) bool: the rows to learn from, and the held-out rows to apply it to."""
    for k in range(count):
        yield fold != k, fold == k
