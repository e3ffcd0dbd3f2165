"""What a model's data must look like: the schema of ``deployments/models/<name>/expectations.yaml``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasks.spec.base import Spec
from tasks.spec.errors import ConfigError
from tasks.spec.kind import DeclaredColumn

PLACES = ("_min_", "_max_", "_mean_", "_median_")
"""Parts of the names of expectations that observe a value of their column."""


class Expectations(Spec):
    """Great Expectations by their own names, each a mapping of ``type`` and its arguments, for two tables.

    Bounds and values of a date or datetime column are ISO text.
    """

    ingested: tuple[dict[str, Any], ...] = ()
    """Of the whole source table."""
    prepared: tuple[dict[str, Any], ...] = ()
    """Of the labelled training and holdout rows."""


def in_table_form(table: str, item: dict[str, Any], columns: Iterable[DeclaredColumn]) -> dict[str, Any]:
    """An expectation whose ISO dates are the days or seconds that the table counts its column by.

    Raises:
        ConfigError: a text is no date of the column's type.
    """
    column = _calendar(item, columns)
    if column is None:
        return item

    def placed(value: Any) -> Any:
        try:
            return column.kind.bound(value, column) if isinstance(value, str) else value
        except ValueError:
            where = f"expectations.yaml, {table}, {item.get('type')} on {column.name!r}"
            raise ConfigError(f"{where}: {value!r} is no {column.kind.noun}. Write one.") from None

    single = {key: placed(item[key]) for key in ("min_value", "max_value") if key in item}
    values = item.get("value_set")
    return item | single | ({"value_set": [placed(v) for v in values]} if isinstance(values, list | tuple) else {})


def observed_text(kind: str, item: dict[str, Any], value: float, columns: Iterable[DeclaredColumn]) -> str:
    """What an expectation of some kind observed, as people read it: of dates, a date."""
    column = _calendar(item, columns)
    return column.kind.text(value) if column is not None and any(p in kind for p in PLACES) else f"{value:.4g}"


def _calendar(item: dict[str, Any], columns: Iterable[DeclaredColumn]) -> DeclaredColumn | None:
    return next((c for c in columns if c.name == item.get("column") and c.kind.calendar), None)
