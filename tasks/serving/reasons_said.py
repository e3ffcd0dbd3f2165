"""Reasons in words, from the names, descriptions and units that a model's config gives its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.answering.reasons import Change
from tasks.serving.problems import printable
from tasks.spec.data import Column
from tasks.spec.manifest import Manifest

LONGEST = 60
"""Characters of a description that stands for a column's name."""


class Words:
    """How one model's columns and decisions are called."""

    def __init__(self, manifest: Manifest, columns: Sequence[Column]) -> None:
        self.manifest, self.columns = manifest, columns
        short = [c.description.partition(",")[0].partition(";")[0].strip() for c in columns]
        self.names = [
            text if 0 < len(text) <= LONGEST and short.count(text) == 1 else column.name.replace("_", " ")
            for text, column in zip(short, columns, strict=True)
        ]

    def reason(self, changes: Sequence[Change], row: Mapping[str, Any], decision: bool | str) -> str:
        """One reason, such as "Weeks worked is 20 weeks; at 38 weeks the decision would be yes."."""
        end = f"the decision would be {self.decision(decision)}."
        first, *more = changes
        column = self.columns[first.column]
        now, to = self._value(column, row[column.name], 7), self._value(column, first.value)
        beside = f", together with {' and '.join(self._part(change, row) for change in more)}," if more else ""
        preposition = "at" if column.kind.numeric else "with"
        return f"{_begin(self.names[first.column])} is {now}; {preposition} {to}{beside} {end}"

    def _part(self, change: Change, row: Mapping[str, Any]) -> str:
        column = self.columns[change.column]
        now, to = self._value(column, row[column.name], 7), self._value(column, change.value)
        return f"{self.names[change.column]} at {to} (now {now})"

    def decision(self, decision: bool | str) -> str:
        """A decision as people read it: the class's name in quotes, or yes and no."""
        if isinstance(decision, str):
            return f'"{decision}"'
        name = self.manifest.positive if decision else self.manifest.negative
        return f'"{name}"' if name else "yes" if decision else "no"

    def output(self, place: int | None, forest: bool) -> str:
        """What attributions are of."""
        if place is not None:
            name = f'"{self.manifest.classes[place]}"'
            return f"probability of {name}" if forest else f"logit of {name} less the mean logit of all classes"
        if self.manifest.kind == "binary":
            name = f'"{self.manifest.positive}"' if self.manifest.positive else "the positive class"
            return f"probability of {name}" if forest else f"log-odds of {name}"
        return self.manifest.unit or "the predicted number"

    def _value(self, column: Column, value: Any, digits: int = 17) -> str:
        """A JSON value with its unit. What a change leads to is not rounded, since the sentence has to hold."""
        if value is None:
            return "missing"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return printable(value) if column.kind.numeric else f'"{printable(value)}"'
        if value == int(value) and abs(value) < 2**53:
            text = f"{int(value):,}"
        else:
            text = f"{float(f'{value:.{digits}g}'):,}"
        return f"{text} {column.unit}" if column.unit else text


def _begin(name: str) -> str:
    return name[:1].upper() + name[1:]
