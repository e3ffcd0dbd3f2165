"""The service's input schema, made from the model's manifest."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, NotRequired, get_origin

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from tasks.serving.problems import MOST_TOLD, printable, problem
from tasks.serving.quick_rows import MOST_ROWS, QuickRows
from tasks.serving.release import Release
from tasks.spec.cells import LARGEST_WHOLE, rounded
from tasks.spec.data import Column
from tasks.spec.manifest import Manifest

LATE = (
    "the column is declared available: after, that is known only after the prediction is made, so no prediction may "
    "rest on it; leave it out"
)
MOST_UNSCORED = 5
"""Rows that are looked for where a model fails on a request; each takes a few scorings."""


class RowSchema:
    """What one input row of a model may hold: a closed set of fields; optional ones may be null or left out.

    A column's name is a key of a dict here and never an attribute, so ``class``, ``copy`` or ``model_config`` is a
    name as good as any.
    """

    def __init__(self, manifest: Manifest) -> None:
        fields: dict[str, Any] = {}
        quick: dict[str, tuple[Any, dict[str, Any], bool]] = {}
        markers: dict[str, set[Any]] = {}
        checks: dict[str, Callable[[Any], Any]] = {}
        for column in manifest.columns:
            value: Any
            value, constraints = column.kind.request_field(column)
            unit = f" ({column.unit})" if column.unit else ""
            annotated: Any = Annotated[value, Field(description=column.description + unit, **constraints)]
            markers[column.name] = _markers(column)
            if check := _reading(column, markers[column.name]):
                annotated = Annotated[annotated, BeforeValidator(check)]
            quick[column.name] = (value, constraints, column.nullable)
            if get_origin(value) is Annotated:
                one: TypeAdapter[Any] = TypeAdapter(annotated, config=ConfigDict(strict=True))
                checks[column.name] = one.validate_python
            fields[column.name] = NotRequired[annotated | None] if column.nullable else annotated
        self.name = "".join(part.title() for part in manifest.model.split("_")) + "Row"
        self.columns, self._late = tuple(fields), manifest.late
        self._missing: dict[str, Any] = dict.fromkeys(fields)
        row: Any = TypedDict(self.name, fields)  # type: ignore[misc]
        self._adapter: TypeAdapter[Any] = TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True))(row))

        self.quick = QuickRows(quick, markers, checks, MOST_ROWS)

    def json_schema(self) -> dict[str, Any]:
        return self._adapter.json_schema()

    def check(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Validate rows, up to a little more than the number of problems that are told.

        Returns:
            The validated rows, each with every column, and one dict a problem: row, field, value, message.
        """
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for index, row in enumerate(rows):
            if len(bad) > MOST_TOLD:
                break
            unknown = list(islice((name for name in row if name not in self._missing), MOST_TOLD + 1))
            if len(unknown) > MOST_TOLD:  # pydantic would make an error of each of a million
                bad += [self._unknown(index, name, row[name]) for name in unknown]
                continue
            try:
                good.append(self._missing | self._adapter.validate_python(row))
            except ValidationError as error:
                bad += [self._problem(index, item) for item in error.errors(include_url=False)]
        return good, bad

    def _problem(self, index: int, item: Any) -> dict[str, Any]:
        name = str(item["loc"][0]) if item["loc"] else "row"
        if item["type"] == "extra_forbidden":
            return self._unknown(index, name, item["input"])
        if item["type"] == "missing":
            return problem(index, name, None, "required field is missing")
        return problem(index, name, item["input"], item["msg"])

    def _unknown(self, index: int, name: str, value: Any) -> dict[str, Any]:
        if name in self._late:
            return problem(index, name, value, LATE)
        near = difflib.get_close_matches(name[:100], self.columns, n=1)
        did = f"; did you mean {near[0]!r}?" if near else "."
        return problem(index, name, value, f"unknown field{did} Allowed: {', '.join(self.columns)}")


def _markers(column: Column) -> set[Any]:
    """Values that mean missing in the model's files. A declared category is a value, whatever older configs say."""
    texts = set(column.missing) - set(column.categories or ())
    if not column.kind.numeric or column.kind.calendar:
        return set(texts)
    return {n for n in map(_float, texts) if n is not None}


def _reading(column: Column, markers: set[Any]) -> Callable[[Any], Any] | None:
    """Refuses what is another value in a file than in a request: a marker of what is missing, a number that is rounded.

    None where a column has no such values.
    """
    decimals = column.kind.has_decimals
    if not markers and (not decimals or column.kind.whole):
        return None
    instead = "send null" if column.nullable else "a value is required"

    def check(value: Any) -> Any:
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value in markers:
            raise PydanticCustomError("marker", "{said}", {"said": f"it means missing in the model's files; {instead}"})
        if decimals and isinstance(value, int) and not -LARGEST_WHOLE <= value <= LARGEST_WHOLE and rounded(value):
            raise PydanticCustomError("rounded", "a float would round this whole number; declare the column category")
        return value

    return check


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def outcome_problems(labels: Sequence[bool | float | str], manifest: Manifest) -> list[dict[str, Any]]:
    """Outcomes that the model cannot have, by its kind: one dict a problem: row, field, value, message."""
    found = (problem(i, "label", label, wrong) for i, label in enumerate(labels) if (wrong := _unfit(label, manifest)))
    return list(islice(found, MOST_TOLD + 1))


def _unfit(label: bool | float | str, manifest: Manifest) -> str:
    if manifest.kind == "binary":
        allowed = f"true ({manifest.positive}) or false ({manifest.negative})"
        return "" if isinstance(label, bool) else f"allowed: {allowed}; send a JSON boolean"
    if manifest.kind == "multiclass":
        if isinstance(label, str) and label in manifest.classes:
            return ""
        near = difflib.get_close_matches(label, manifest.classes, n=1) if isinstance(label, str) else []
        return f"allowed: {', '.join(manifest.classes)}; " + (
            f"did you mean {near[0]!r}?" if near else "send the name of one of them"
        )
    low, high = (
        (-math.inf if manifest.minimum is None else manifest.minimum),
        (math.inf if manifest.maximum is None else manifest.maximum),
    )
    if isinstance(label, float) and math.isfinite(label) and low <= label <= high:
        return ""
    ends = [f"from {manifest.minimum:g}"] if manifest.minimum is not None else []
    ends += [f"to {manifest.maximum:g}"] if manifest.maximum is not None else []
    return f"allowed: a finite number {' '.join([*ends, ''])}in {manifest.unit}; send it as a JSON number in this unit"


def scored(release: Release, rows: list[dict[str, Any]]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The scores of validated rows, and the first rows that the model cannot score, by halving.

    A schema's bounds do not say what a model computes: a power of a large number is infinite all the same.
    """
    try:
        scores = release.answer(rows)
    except (ValueError, ArithmeticError) as error:
        if len(rows) > 1:
            half = len(rows) // 2
            parts = [(rows[:half], 0), (rows[half:], half)]
            bad: list[dict[str, Any]] = []
            for part, before in parts:
                found = scored(release, part)[1] if len(bad) < MOST_UNSCORED else []
                bad += [p | {"row": p["row"] + before} for p in found]
            return np.empty(0), bad
        return np.empty(0), [_unscored(0, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")]
    finite = np.isfinite(scores).reshape(len(rows), -1).all(axis=1)
    return scores, [_unscored(int(i), "the score is not finite") for i in np.flatnonzero(~finite)[:MOST_UNSCORED]]


def _unscored(row: int, why: str) -> dict[str, Any]:
    message = f"the model cannot score this row ({printable(why)}); send values within the range it was trained on"
    return problem(row, "row", None, message)
