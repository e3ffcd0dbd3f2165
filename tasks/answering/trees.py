"""All trees of an ensemble in four flat arrays, followed level by level.

The nodes of all trees lie in order of their depth, the two children of a node side by side. So one step of all trees
is ``child[node] + (value > threshold[node])``, and a leaf leads to itself. Only numpy's bounds-checked ``take``
follows an index.

Plain numpy was chosen because it is quick enough: a row takes tens of microseconds. numba would follow a row faster
and cost every start half a second of import, a second of compilation and 110 MB. treelite would be a new dependency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CELLS = 2**14
"""Rows times trees that are followed at once: what they need stays in the processor's cache."""

FEW_NODES = 15_000
"""Up to so many a single row asks all nodes at once."""


@dataclass(frozen=True)
class Split:
    """The nodes of one tree: (n,) arrays, children -1 in leaves; and the leaf values (n, k)."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray


class Trees:
    """Checked trees (see :mod:`tasks.answering.soundness`) of one ensemble, in the order in which they are summed."""

    def __init__(self, splits: Sequence[Split]) -> None:
        sizes = [len(split.left) for split in splits]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        left, right = (
            np.concatenate([np.where(a < 0, -1, a + s) for a, s in zip(arrays, starts, strict=True)])
            for arrays in ([s.left.astype(np.int64) for s in splits], [s.right.astype(np.int64) for s in splits])
        )
        levels, level = [], starts
        while len(level):
            levels.append(level)
            inner = level[left[level] >= 0]
            level = np.stack([left[inner], right[inner]], axis=1).ravel()
        order = np.concatenate(levels)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        leaf = left[order] < 0
        joined = {name: np.concatenate([getattr(s, name) for s in splits])[order] for name in KEPT}
        self.count, self.steps = len(splits), len(levels) - 1
        self.child = np.where(leaf, np.arange(len(order)), place[left[order]])
        self.feature = np.where(leaf, 0, joined["feature"]).astype(np.int64)
        self.threshold = np.where(leaf, np.inf, joined["threshold"])
        self.missing_right = ~leaf & (joined["missing_left"] == 0)
        self.values = np.ascontiguousarray(joined["values"])
        self.leaf = leaf

    def leaves(self, rows: np.ndarray) -> np.ndarray:
        """Where each row ends in each tree.

        Args:
            rows: (n, features) float64 in C order.

        Returns:
            (n, trees) indices into ``values``.
        """
        size, roots = max(1, CELLS // self.count), np.arange(self.count)
        if len(rows) <= size:
            return self.followed(rows, roots)
        return np.concatenate([self.followed(rows[at : at + size], roots) for at in range(0, len(rows), size)])

    def followed(self, rows: np.ndarray, roots: np.ndarray) -> np.ndarray:
        """Where each row ends from each of the roots, (n, roots); the root of a tree is its number.

        A missing value is larger than nothing, so it goes left unless its node sends it right.
        """
        if len(rows) == 1 and len(self.child) <= FEW_NODES:
            return self._followed_alone(rows[0], roots)
        flat, gaps = rows.ravel(), bool(np.isnan(rows).any())
        before = np.arange(0, flat.size, rows.shape[1])[:, None]
        at = np.broadcast_to(roots, (len(rows), len(roots)))
        for _ in range(self.steps):
            asked = flat.take(self.feature.take(at) + before)
            right = asked > self.threshold.take(at)
            if gaps:
                right |= np.isnan(asked) & self.missing_right.take(at)
            at = self.child.take(at) + right
        return np.asarray(at)

    def _followed_alone(self, row: np.ndarray, roots: np.ndarray) -> np.ndarray:
        """One row, by first asking every node of every tree: that is less work than asking level by level."""
        asked = row.take(self.feature)
        right = asked > self.threshold
        if np.isnan(row).any():
            right |= np.isnan(asked) & self.missing_right
        after, at = self.child + right, roots
        for _ in range(self.steps):
            at = after.take(at)
        return at[None]

    def levels(self, root: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The inner nodes of one tree, level by level, with the place of each among the children of the level before.

        All left children of that level's inner nodes come first, then all right ones.
        """
        level = np.array([root])
        while len(places := np.flatnonzero(~self.leaf[level])):
            inner = level[places]
            yield inner, places
            level = np.concatenate([self.child[inner], self.child[inner] + 1])


KEPT = ("feature", "threshold", "missing_left", "values")
