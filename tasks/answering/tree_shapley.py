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
        player = owners.take(trees.feature).astype(np.uint64)
        bit = np.uint64(1) << (player & np.uint64(WORD - 1))
        self.bits = [np.where(player >> np.uint64(6) == word, bit, np.uint64(0)) for word in range(-(-columns // WORD))]
        """(nodes,) for each word of a set of columns, the bit of the column that a node asks about."""
        self.right = np.zeros(len(trees.child), dtype=np.uint64)
        """(nodes,) which background rows go right."""
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
        leaf, inside, outside, followed = self._paths(row)
        value = values.take(leaf) * np.bitwise_count(followed) / self.rows
        place = _ones(inside) * len(self.gives) + _ones(outside)
        given, taken = value * self.gives.ravel().take(place), value * self.takes.ravel().take(place)
        return np.asarray(_shares(inside, given, self.columns) - _shares(outside, taken, self.columns))

    def base(self, values: np.ndarray) -> float:
        """The mean over the background of the sum of values."""
        return float(values.take(self.reached).sum(axis=1).mean())

    def _paths(self, row: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Leaves (n,), the words (n,) of their sets A and B, and the background rows (n,) that share each path."""
        right, child = self._right(row), self.trees.child
        own, both = child + right, 2 * child + 1
        same = np.where(right, self.right, ~self.right)
        words = range(len(self.bits))
        at: np.ndarray = np.arange(self.trees.count)
        state = [np.full(len(at), self.all), *(np.zeros(len(at), dtype=np.uint64) for _ in range(2 * len(words)))]
        ended: list[list[np.ndarray]] = []
        while len(at):
            leaf = self.trees.leaf.take(at)
            if leaf.any():
                done, on = np.flatnonzero(leaf), np.flatnonzero(~leaf)
                ended.append([at.take(done), *(part.take(done) for part in state)])
                at, state = at.take(on), [part.take(on) for part in state]
            follow, inside, outside = state[0], state[1 : 1 + len(words)], state[1 + len(words) :]
            bits = [bit.take(at) for bit in self.bits]
            held = _any([part & bit for part, bit in zip(inside, bits, strict=True)])
            agree = np.where(held, follow, follow & same.take(at))  # a column of A leads everybody where the row goes
            part = follow ^ agree
            stay, leave = np.flatnonzero(agree), np.flatnonzero(part)
            barred = _any([outside[w].take(leave) & bits[w].take(leave) for w in words])
            join = leave[~barred]
            ahead = own.take(at)
            at = np.concatenate([ahead.take(stay), ahead.take(join), (both.take(at) - ahead).take(leave)])
            state = [
                np.concatenate([agree.take(stay), part.take(join), part.take(leave)]),
                *(
                    np.concatenate([inside[w].take(stay), (inside[w] | bits[w]).take(join), inside[w].take(leave)])
                    for w in words
                ),
                *(
                    np.concatenate([outside[w].take(stay), outside[w].take(join), (outside[w] | bits[w]).take(leave)])
                    for w in words
                ),
            ]
        leaves, followed, *sets = (np.concatenate(parts) for parts in zip(*ended, strict=True))
        return leaves, sets[: len(words)], sets[len(words) :], followed

    def _right(self, row: np.ndarray) -> np.ndarray:
        """(nodes,) whether a row goes right at each node."""
        asked = row.take(self.trees.feature)
        return np.asarray((asked > self.trees.threshold) | (np.isnan(asked) & self.trees.missing_right))


def _any(words: list[np.ndarray]) -> np.ndarray:
    """(n,) whether a set, given by its words, holds anything."""
    found = words[0] != 0
    for word in words[1:]:
        found |= word != 0
    return np.asarray(found)


def _shares(sets: list[np.ndarray], values: np.ndarray, columns: int) -> np.ndarray:
    """(columns,) the sum of the values (n,) of all sets that hold a column."""
    found = np.zeros(len(sets) * WORD)
    for at, word in enumerate(sets):
        octets = np.ascontiguousarray(word, dtype="<u8").view(np.uint8).reshape(-1, WORD // 8)
        for place, octet in enumerate(octets.T):  # 256 sums for eight columns at a time
            by_octet = np.bincount(octet, values, 256)
            found[at * WORD + place * 8 :][:8] = by_octet @ OCTETS
    return found[:columns]


OCTETS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.float64)


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


def _ones(sets: list[np.ndarray]) -> np.ndarray:
    """(n,) how many columns each set holds."""
    return np.asarray(sum(np.bitwise_count(word).astype(np.int64) for word in sets))


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
