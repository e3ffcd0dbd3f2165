"""Which allowed changes of a row change its decision.

A reason is a change of one column to a recorded value (:class:`~tasks.spec.manifest.ColumnBackground`), after which the
model decides otherwise. Where no change of the column alone does that, one or two changes of other columns come with
it, and each of them is needed. Changes of single columns are all tried; of larger sets those that should move the score
most. Of those that are found the least is named: of quantities the nearest value, of names the one that most people
have.

Each reason has a leading column of its own, and they stand in the order of weight: how much a column's attribution
speaks for the decision. A column that speaks against it leads only where no other does. So what comes first depends on
a sum over the whole background, which the next training moves little. Whether a change alone tips the decision depends
on how near the row is to the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from tasks.answering.encoding import Encoding
from tasks.spec.data import Column
from tasks.spec.manifest import ColumnBackground

MOST = 4
"""Reasons of one decision, and leading columns that sets of changes are looked for."""
COMPANIONS = {2: 8, 3: 5}
"""Columns that are tried beside a leading one, by the size of the set."""
LEVELS = {2: (0.34, 0.67, 1.0), 3: (0.6, 1.0)}
"""Of a column's largest gain: which parts of it are tried, by the size of the set."""


@dataclass(frozen=True)
class Change:
    column: int
    """Its place among the features."""
    value: Any
    """As JSON."""
    encoded: float
    steps: int
    """How many recorded values nearer there are."""


Reason = tuple[Change, ...]
"""Changes that are made together, that of the leading column first."""


@dataclass(frozen=True)
class Goal:
    """The other decision that reasons lead to."""

    reached: Callable[[np.ndarray], np.ndarray]
    """From the scores of rows, which of them are decided so."""
    distance: Callable[[np.ndarray], np.ndarray]
    """From the scores of rows, a number that rises with nearness to it."""


class Reasons:
    """The changes that one model's config allows."""

    def __init__(
        self, columns: Sequence[Column], background: Mapping[str, ColumnBackground], encoding: Encoding
    ) -> None:
        """
        Args:
            columns: of the features, in their order.
        """
        self.columns, self.known = columns, []
        for at, column in enumerate(columns):
            given = () if column.changes == "never" else background[column.name].steps
            values = [column.kind.to_json(step) for step in given]
            encoded = [encoding.value(column.name, value) for value in values]
            self.known.append([Change(at, *pair, 0) for pair in zip(values, encoded, strict=True)])

    @property
    def any(self) -> bool:
        """Whether anything may change at all."""
        return any(self.known)

    def allowed(self, at: int, value: Any, encoded: float) -> list[Change]:
        """Changes of one column from a value, the nearest first.

        Args:
            value: as JSON, None for missing.
        """
        column, known = self.columns[at], self.known[at]
        if column.changes == "free" and not column.kind.numeric:
            return _counted([c for c in known if c.value != value])
        places = {json: place for place, json in enumerate(self._ordered(column))}
        place = (lambda c, v: c) if column.kind.numeric else (lambda c, v: float(places.get(v, -1)))
        own = place(encoded, value)
        if value is None:  # nearer than another it is to nothing
            return _counted(known) if column.changes == "free" else []
        up = sorted((c for c in known if place(c.encoded, c.value) > own), key=lambda c: place(c.encoded, c.value))
        down = sorted((c for c in known if place(c.encoded, c.value) < own), key=lambda c: -place(c.encoded, c.value))
        if column.changes == "free":
            return sorted(_counted(up) + _counted(down), key=lambda c: c.steps)
        if own < 0 and not column.kind.numeric:  # a name without a place in the order
            return []
        return _counted(up if column.changes == "up" else down)

    @staticmethod
    def _ordered(column: Column) -> list[Any]:
        """Names as JSON in the order of their declaration; false before true."""
        return (
            sorted(column.kind.to_json(name) for name in ("true", "false"))
            if column.kind.operand == "truth"
            else [column.kind.to_json(name) for name in column.kind.known_names(column)]
        )

    def leading(self, weights: np.ndarray) -> list[int]:
        """The columns that may change, those first that speak most for the decision: places among the features."""
        return sorted((at for at, known in enumerate(self.known) if known), key=lambda at: -float(weights[at]))

    def search(
        self,
        row: Mapping[str, Any],
        vector: np.ndarray,
        weights: np.ndarray,
        goal: Goal,
        scores: Callable[[np.ndarray], np.ndarray],
    ) -> list[Reason]:
        """The reasons of one decision, the weightiest first.

        Args:
            row: JSON values.
            vector: (features,) the same row, encoded.
            weights: (features,) how much each column speaks for the decision.
            scores: of encoded rows.
        """
        allowed = {
            at: changes
            for at in self.leading(weights)
            if (changes := self.allowed(at, row[self.columns[at].name], float(vector[at])))
        }
        if not allowed:
            return []
        trial = _Trial(vector, allowed, goal, scores)
        found: dict[int, Reason] = {at: hit for at in allowed if (hit := trial.alone(at))}
        for size in COMPANIONS:
            leaders = [at for at in list(allowed)[:MOST] if at not in found]
            found |= trial.together(leaders, size)
        told: dict[frozenset[int], Reason] = {}
        for at in allowed:
            if at in found:  # the same columns are told once, under the weightiest
                told.setdefault(frozenset(c.column for c in found[at]), found[at])
        speaking = [reason for reason in told.values() if weights[reason[0].column] > 0]
        return (speaking or list(told.values()))[:MOST]


class _Trial:
    """One row's changes: which of them reach the goal alone, and how much nearer each of them comes."""

    def __init__(
        self,
        vector: np.ndarray,
        allowed: Mapping[int, Sequence[Change]],
        goal: Goal,
        scores: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.vector, self.allowed, self.goal, self.scores = vector, allowed, goal, scores
        singles: list[Reason] = [(change,) for changes in allowed.values() for change in changes]
        after = scores(np.concatenate([_changed(vector, singles), vector[None]]))
        nearness = goal.distance(after)
        self.tips = {s[0]: bool(hit) for s, hit in zip(singles, goal.reached(after[:-1]), strict=True)}
        self.gain = {s[0]: float(near - nearness[-1]) for s, near in zip(singles, nearness[:-1], strict=True)}

    def alone(self, at: int) -> Reason:
        """The least change of one column that reaches the goal; empty where none does."""
        return next(((change,) for change in self.allowed[at] if self.tips[change]), ())

    def together(self, leaders: Sequence[int], size: int) -> dict[int, Reason]:
        """For each leading column the least set of changes that reaches the goal together, and with none left out."""
        parts = {at: self._parts(at, size) for at in self.allowed}
        others = sorted((at for at in parts if parts[at]), key=lambda at: -max(self.gain[c] for c in parts[at]))
        sets: list[Reason] = []
        for leader in leaders:
            near = [at for at in others if at != leader][: COMPANIONS[size]]
            companions = [at for at in self.allowed if at in near]  # the weightier first
            for beside in combinations(companions, size - 1):
                sets += product(parts[leader], *(parts[at] for at in beside))
        if not sets:
            return {}
        hits = [sets[i] for i in np.flatnonzero(self._reach(sets)).tolist()]
        if size > 2 and hits:  # of two, neither reaches it alone
            fewer = [tuple(c for c in hit if c is not out) for hit in hits for out in hit]
            superfluous = np.flatnonzero(self._reach(fewer).reshape(len(hits), size).any(axis=1)).tolist()
            hits = [hit for at, hit in enumerate(hits) if at not in set(superfluous)]
        found: dict[int, Reason] = {}
        for hit in hits:
            least = found.setdefault(hit[0].column, hit)
            if sum(c.steps for c in hit) < sum(c.steps for c in least):
                found[hit[0].column] = hit
        return found

    def _parts(self, at: int, size: int) -> list[Change]:
        """Changes of one column that do not reach the goal alone: the least for each part of its largest gain."""
        changes = [c for c in self.allowed[at] if not self.tips[c] and self.gain[c] > 0]
        most = max((self.gain[c] for c in changes), default=0.0)
        parts = {next(c for c in changes if self.gain[c] >= level * most) for level in LEVELS[size]} if changes else ()
        return sorted(parts, key=lambda c: c.steps)

    def _reach(self, sets: Sequence[Reason]) -> np.ndarray:
        return self.goal.reached(self.scores(_changed(self.vector, sets)))


def _counted(changes: Sequence[Change]) -> list[Change]:
    return [Change(c.column, c.value, c.encoded, at) for at, c in enumerate(changes)]


def _changed(vector: np.ndarray, sets: Sequence[Reason]) -> np.ndarray:
    """(n, features) the row after each set of changes."""
    rows = np.repeat(vector[None], len(sets), axis=0)
    for at, changes in enumerate(sets):
        for change in changes:
            rows[at, change.column] = change.encoded
    return rows
