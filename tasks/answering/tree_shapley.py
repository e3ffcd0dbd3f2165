"""Exact Shapley values of tree ensembles against a set of background rows.

The game is interventional (Lundberg et al. 2020; Janzing et al. 2020). A column in the coalition has the value of the
row that is explained, any other that of a background row. The payoff is the mean over the background.

In one tree and against one background row, a leaf is reached by the coalitions that hold a set A of columns and
none of a set B. At columns of A the way to the leaf is the row's and not the other's; at columns of B it is the other
way round. With a and b for the sizes, the leaf's value v gives each column of A ``v (a-1)! b! / (a+b)!``. From each of
B it takes ``v a! (b-1)! / (a+b)!``.

All background rows go down a tree together: which of them still follow a path is one word of 64 bits. So a path is
followed once, whatever number of rows share it, and only where some coalition leads.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from tasks.answering.trees import Trees

WORD = 64


class TreeShapley:
    """Shapley values of the columns behind an ensemble's prepared columns."""

    def __init__(self, trees: Trees, background: np.ndarray, owners: np.ndarray, columns: int) -> None:
        """
        Args:
            background: (b, width) prepared rows, at most 64.
            owners: (width,) the column behind each prepared column.
            columns: their number.

        Raises:
            ValueError: there are no background rows, or more than 64.
        """
        if not 0 < len(background) <= WORD:
            raise ValueError(f"{len(background)} background rows are given, and 1 to {WORD} are allowed")
        self.trees, self.rows, self.columns = trees, len(background), columns
        self.player = owners.take(trees.feature)
        self.words = -(-columns // WORD)
        self.right = np.zeros(len(trees.child), dtype=np.uint64)
        for at, row in enumerate(background):
            self.right |= self._right(row).astype(np.uint64) << np.uint64(at)
        self.all = np.uint64((1 << self.rows) - 1)
        self.number = _numbers(trees)
        self.reached = trees.leaves(background)
        """(b, trees) leaves of the background."""
        self.gives, self.takes = _weights(min(columns, trees.steps))

    def __call__(self, row: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Attributions of one prepared row.

        Args:
            row: (width,).
            values: (nodes,) what each leaf adds to the output.

        Returns:
            (columns,), whose sum is the row's sum of values less :meth:`base`.
        """
        found = np.zeros(self.columns)
        for leaf, inside, outside, followed in self._paths(row):
            a, b = _ones(inside), _ones(outside)
            value = values[leaf] * np.bitwise_count(followed) / self.rows
            found += (value * self.gives[a, b]) @ self._members(inside)
            found -= (value * self.takes[a, b]) @ self._members(outside)
        return found

    def base(self, values: np.ndarray) -> float:
        """The mean over the background of the sum of values."""
        return float(values.take(self.reached).sum(axis=1).mean())

    def _paths(self, row: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Leaves with the sets A and B of columns (n, words), and the background rows (n,) that share the path."""
        trees, to_right, done = self.trees, self._right(row), []
        at: Any = np.arange(trees.count)
        inside: Any = np.zeros((len(at), self.words), dtype=np.uint64)
        outside: Any = np.zeros_like(inside)
        follow: Any = np.full(len(at), self.all)
        while len(at):
            leaf = trees.leaf[at]
            if leaf.any():
                done.append((at[leaf], inside[leaf], outside[leaf], follow[leaf]))
                at, inside, outside, follow = (part[~leaf] for part in (at, inside, outside, follow))
            right, player = to_right[at], self.player[at]
            word, bit = player >> 6, np.uint64(1) << (player & 63).astype(np.uint64)
            every = np.arange(len(at))
            held, barred = inside[every, word] & bit != 0, outside[every, word] & bit != 0
            others = self.right[at] & follow
            agree = np.where(right, others, follow ^ others)
            part = follow ^ agree
            own = trees.child[at] + right
            other = trees.child[at] + ~right
            stay = np.flatnonzero(held | (agree != 0))  # a column of A leads where the row goes, whoever follows
            leave = np.flatnonzero(~held & (part != 0))
            joins = leave[~barred[leave]]
            grown, shrunk = inside[joins], outside[leave]
            grown[np.arange(len(joins)), word[joins]] |= bit[joins]
            shrunk[np.arange(len(leave)), word[leave]] |= bit[leave]
            at = np.concatenate([own[stay], own[joins], other[leave]])
            follow = np.concatenate([np.where(held, follow, agree)[stay], part[joins], part[leave]])
            inside = np.concatenate([inside[stay], grown, inside[leave]])
            outside = np.concatenate([outside[stay], outside[joins], shrunk])
        return done

    def _right(self, row: np.ndarray) -> np.ndarray:
        """(nodes,) whether a row goes right at each node."""
        asked = row.take(self.trees.feature)
        return np.asarray((asked > self.trees.threshold) | (np.isnan(asked) & self.trees.missing_right))

    def _members(self, sets: np.ndarray) -> np.ndarray:
        """(n, columns) 1.0 where a set holds a column."""
        octets = np.ascontiguousarray(sets, dtype="<u8").view(np.uint8)
        bits: np.ndarray = np.unpackbits(octets, axis=1, bitorder="little")
        return np.asarray(bits[:, : self.columns], dtype=np.float64)


def _numbers(trees: Trees) -> np.ndarray:
    """(nodes,) the number of each node's tree."""
    found = np.zeros(len(trees.child), dtype=np.int64)
    level = np.arange(trees.count)
    found[level] = level
    while len(inner := level[~trees.leaf[level]]):
        for side in (0, 1):
            found[trees.child[inner] + side] = found[inner]
        level = np.concatenate([trees.child[inner], trees.child[inner] + 1])
    return found


def _ones(sets: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(sets).sum(axis=1, dtype=np.int64))


def _weights(most: int) -> tuple[np.ndarray, np.ndarray]:
    """``(a-1)! b! / (a+b)!`` and ``a! (b-1)! / (a+b)!`` by a and b, together ``most`` columns of a path; else 0."""
    gives, takes = np.zeros((most + 1, most + 1)), np.zeros((most + 1, most + 1))
    for a in range(most + 1):
        for b in range(most + 1 - a):
            if a:
                gives[a, b] = factorial(a - 1) * factorial(b) / factorial(a + b)
            if b:
                takes[a, b] = factorial(a) * factorial(b - 1) / factorial(a + b)
    return gives, takes
