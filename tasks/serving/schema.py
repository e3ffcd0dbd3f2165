"""The service's input schema, made from the model's manifest."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from tasks.spec.columns import to_table
from tasks.spec.manifest import Manifest


def row_model(manifest: Manifest) -> type[BaseModel]:
    """A closed pydantic model of one input row; optional columns may be null or left out."""
    fields: dict[str, Any] = {}
    for column in manifest.columns:
        value: Any
        value, constraints = column.kind.request_field(column)
        unit = f" ({column.unit})" if column.unit else ""
        annotated = Annotated[value, Field(description=column.description + unit, **constraints)]
        fields[column.name] = (annotated | None, None) if column.nullable else (annotated, ...)
    name = "".join(part.title() for part in manifest.model.split("_")) + "Row"
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def problems(rows: list[dict[str, Any]], model: type[BaseModel]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Validate rows.

    Returns:
        The validated rows, and one dict a problem: row, field, value, message.
    """
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        try:
            good.append(model.model_validate(row).model_dump())
        except ValidationError as error:
            bad += [_problem(index, item, model) for item in error.errors()]
    return good, bad


def outcome_problems(labels: Sequence[bool | float | str], manifest: Manifest) -> list[dict[str, Any]]:
    """Outcomes that the model cannot have, by its kind: one dict a problem: row, field, value, message."""
    return [
        {"row": i, "field": "label", "value": _shown(label), "message": wrong}
        for i, label in enumerate(labels)
        if (wrong := _unfit(label, manifest))
    ]


def _shown(label: bool | float | str) -> bool | float | str:
    """The value as JSON can hold it: neither NaN nor a book."""
    return (
        str(label)
        if isinstance(label, float) and not math.isfinite(label)
        else label[:80]
        if isinstance(label, str)
        else label
    )


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


def table(rows: list[dict[str, Any]], manifest: Manifest) -> pd.DataFrame:
    """Validated rows as the table that a model scores."""
    return to_table(manifest.columns, pd.DataFrame(rows, columns=[c.name for c in manifest.columns]))


def _problem(index: int, item: Any, model: type[BaseModel]) -> dict[str, Any]:
    name = str(item["loc"][0]) if item["loc"] else "row"
    known = list(model.model_fields)
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        message = f"unknown field{f'; did you mean {near[0]!r}?' if near else ''} Allowed: {', '.join(known)}"
    elif item["type"] == "missing":
        message = "required field is missing"
    else:
        message = item["msg"]
    value = None if item["type"] == "missing" else item.get("input")
    return {
        "row": index,
        "field": name,
        "value": value if isinstance(value, str | int | float | bool | None) else str(value)[:80],
        "message": message,
    }
