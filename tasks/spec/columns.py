"""What a column's type means, for whoever reads, serves, stores, encodes or compares a column.

A column appears in three forms:

* **source**: cells of a source table or of a file to score, NaN where empty or a declared marker. A file of text gives
  dtype ``str``, others their own values (Parquet, JSON lines, pickles);
* **table**: what prepared tables hold, pipelines are fitted on and monitors count. The scale decides: float64 for
  quantities, text for names, NaN for missing;
* **JSON**: a value in a request, in ``requests.json`` and in the prediction log; None for missing.

To add a type, write one subclass of :class:`~tasks.spec.kind.ColumnKind` in this module and one entry in :data:`KINDS`.
No other module compares a column's type with a literal; ``tests/test_architecture.py`` holds that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from tasks.spec.cells import LARGEST, LARGEST_WHOLE, LONGEST, nameless, names, numbers
from tasks.spec.kind import ColumnKind, DeclaredColumn
from tasks.spec.moments import LEAST_DAY, MOST_DAY, day, day_text, moment, moment_text
from tasks.spec.wording import number

if TYPE_CHECKING:  # importing pandas takes half a second, and most readers of a config need none of it
    import pandas as pd


class Number(ColumnKind):
    """A real number."""

    name, noun, numeric, has_bounds, has_decimals, placeholder = "number", "finite number", True, True, True, 0.0
    largest: ClassVar[float] = LARGEST

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        return numbers(cells)

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return float, self._bounds(column) | {"allow_inf_nan": False}

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        ends = self._bounds(column)
        return values.clip(ends["ge"], ends["le"])

    def _bounds(self, column: DeclaredColumn) -> dict[str, Any]:
        return {
            "ge": -self.largest if column.low is None else column.low,
            "le": self.largest if column.high is None else column.high,
        }


class Integer(Number):
    """A whole number; in tables a float64, so that it can be missing. Longer ones are codes, and codes are names."""

    whole = True
    name, noun, largest = "integer", f"whole number up to {LARGEST_WHOLE}", LARGEST_WHOLE

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        import numpy as np

        found, wrong = numbers(cells)
        odd = (np.trunc(found) != found) & found.notna() | (found.abs() > LARGEST_WHOLE)
        return found.mask(odd), wrong | odd

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        ends = self._bounds(column)
        return int, {"ge": math.ceil(ends["ge"]), "le": math.floor(ends["le"])}  # the same whole numbers lie within

    def to_json(self, value: Any) -> Any:
        return int(value)

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return super().admissible(values.round(), column)


class Category(ColumnKind):
    """One of a few names, or of many; a code such as 01 is a name, too."""

    name, noun, numeric, has_categories, placeholder = "category", "category", False, True, "missing"
    advice = "Mend the value, or list it under missing"

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        return names(cells), nameless(cells)

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return (
            (Literal[tuple(column.categories)], {})
            if column.categories
            else (str, {"min_length": 1, "max_length": LONGEST})
        )

    def known_names(self, column: DeclaredColumn) -> tuple[str, ...]:
        return column.categories or ()

    def accepts_unseen(self, column: DeclaredColumn) -> bool:
        return column.categories is None


class Boolean(ColumnKind):
    """Yes or no: ``true``, ``yes`` or ``1`` in sources in any case, true or false in JSON, one of two names in
    tables."""

    name, noun, numeric, placeholder = "boolean", "true or false, yes or no, 1 or 0", False, "false"
    operand = "truth"
    words: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("true", "yes", "1"), "true"),
        **dict.fromkeys(("false", "no", "0"), "false"),
    }

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        given = names(cells)
        found = given.map({text: self.words.get(text.strip().lower()) for text in given.dropna().unique()})
        return found.astype("str"), found.isna() & given.notna()

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return bool, {}

    def from_json(self, values: pd.Series) -> pd.Series:
        if isinstance(values.dtype, str) or values.dtype == "float64":  # nothing but missing values, or a number
            return values
        known = {True: "true", False: "false", "True": "true", "False": "false"}
        return values.astype(object).map(lambda v: known.get(v, v) if isinstance(v, bool | str) else v)

    def to_json(self, value: Any) -> Any:
        return value == "true"

    def literal(self, value: str, column: DeclaredColumn) -> Any:
        known = self.words.get(value.strip().lower())
        if known is None:
            raise ValueError(f"{value!r} is no {self.noun}")
        return known

    def known_names(self, column: DeclaredColumn) -> tuple[str, ...]:
        return ("true", "false")


class Date(ColumnKind):
    """A calendar date; in tables the number of days since 1970-01-01, so that it has an order and distances."""

    name, noun, numeric, has_bounds, placeholder = "date", "date such as 2024-03-01", True, True, 0.0
    operand: Literal["day", "instant"] = "day"
    whole = True
    calendar = True
    declares: ClassVar[tuple[str, ...]] = ("format",)
    _json_format: ClassVar[str] = "date"
    advice = "Mend the value, declare the column's format, such as '%d.%m.%Y', or list the value under missing"

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        return _by_distinct(cells, lambda value: self._read(value, column, column.format))

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        allowed = f"Input should be a {self.noun}{self._range(column)}"

        def check(value: str) -> str:
            try:
                found = self._read(value, column, None)
            except ValueError:
                found = float("nan")
            if (
                not (-math.inf if column.low is None else column.low)
                <= found
                <= (math.inf if column.high is None else column.high)
            ):
                raise PydanticCustomError("moment", "{allowed}", {"allowed": allowed})
            return self._written(found)

        form = {"type": "string", "format": self._json_format}
        return Annotated[str, AfterValidator(check), WithJsonSchema(form)], {}

    def from_json(self, values: pd.Series) -> pd.Series:
        if values.dtype == "float64":
            return values
        found, wrong = _by_distinct(values, _read_text(self._parsed))
        return values.astype(object).where(wrong, found) if wrong.any() else found

    def from_request(self, value: Any) -> float:
        return value if isinstance(value, float) else self._parsed(value)

    def to_json(self, value: Any) -> Any:
        return self._written(value)

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return values.round().clip(LEAST_DAY, MOST_DAY).clip(column.low, column.high)

    def bound(self, value: float | str, column: DeclaredColumn) -> float:
        return self._read(value, column, None)

    def text(self, value: float) -> str:
        return day_text(value) if math.isfinite(value) else f"{value:g}"

    def distance(self, value: float) -> str:
        return f"{value:.4g} {'day' if value == 1 else 'days'}"

    def _range(self, column: DeclaredColumn) -> str:
        ends = [("from", column.low), ("to", column.high)]
        told = " ".join(f"{word} {self.text(end)}" for word, end in ends if end is not None)
        return f", {told}" if told else ""

    def _read(self, value: object, column: DeclaredColumn, layout: str | None) -> float:
        return day(value, layout)

    def _parsed(self, value: object) -> float:
        return day(value)

    def _written(self, value: float) -> str:
        return day_text(value)


class DateTime(Date):
    """A moment; in tables the number of seconds since 1970 in UTC, to the microsecond.

    A local time without an offset is in the column's zone, which is UTC where none is declared.
    """

    name, noun = "datetime", "moment such as 2024-03-01T12:30:00+01:00 that exists in the column's zone"
    advice = (
        "Mend the value, declare the column's format, such as '%d.%m.%Y %H:%M', or its zone, such as Europe/Berlin, or "
        "list the value under missing"
    )
    declares, _json_format = ("format", "zone"), "date-time"
    operand = "instant"
    whole = False

    def text(self, value: float) -> str:
        return f"{moment_text(round(value))[:19].replace('T', ' ')} UTC" if math.isfinite(value) else f"{value:g}"

    def distance(self, value: float) -> str:
        return number(value, "seconds")

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        within = values.round(6).clip(LEAST_DAY * 86400.0, MOST_DAY * 86400.0)
        return within.clip(column.low, column.high)

    def _read(self, value: object, column: DeclaredColumn, layout: str | None) -> float:
        return moment(value, column.zone or "UTC", layout)

    def _parsed(self, value: object) -> float:
        return moment(value)

    def _written(self, value: float) -> str:
        return moment_text(value)


def _by_distinct(cells: pd.Series, read: Callable[[Any], float]) -> tuple[pd.Series, pd.Series]:
    """Read each distinct cell once: (n,) float64, and (n,) bool where a cell cannot be read."""
    import numpy as np
    import pandas as pd

    codes, distinct = pd.factorize(cells.astype(object), use_na_sentinel=True)
    found = np.full(len(distinct) + 1, np.nan)
    wrong = np.zeros(len(distinct) + 1, bool)
    for at, value in enumerate(distinct):
        if isinstance(value, str) and not value.strip():
            continue
        try:
            found[at] = read(value)
        except ValueError:
            wrong[at] = True
    return pd.Series(found[codes], cells.index), pd.Series(wrong[codes], cells.index)


def _read_text(read: Callable[[Any], float]) -> Callable[[Any], float]:
    """Of JSON values: numbers are in table form already."""
    return lambda value: float(value) if isinstance(value, float) else read(value)


KINDS: dict[str, ColumnKind] = {
    kind.name: kind for kind in (Number(), Integer(), Category(), Boolean(), Date(), DateTime())
}
"""Every type that a column of ``model.yaml`` can have, by name."""


def known_type(name: str) -> str:
    """Check the name of a type, as a pydantic validator does.

    Raises:
        PydanticCustomError: there is no such type.
    """
    if name not in KINDS:
        *most, last = (repr(known) for known in KINDS)
        raise PydanticCustomError("column_type", "Input should be {known}", {"known": f"{', '.join(most)} or {last}"})
    return name


def decoded(columns: Iterable[DeclaredColumn], rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of JSON values, each column passed through its kind's ``from_json``; what is malformed stays visible.

    For rows of the prediction log, which monitors count as they came. Columns that are not declared stay as they are.
    """
    changed = {
        c.name: c.kind.from_json(rows[c.name])
        for c in columns
        if type(c.kind).from_json is not ColumnKind.from_json and c.name in rows
    }
    return rows.assign(**changed) if changed else rows


def to_table(columns: Iterable[DeclaredColumn], rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of JSON values in table form, as a pipeline takes them.

    Args:
        columns: the declared columns; others are dropped, and a declared column that is absent is missing in every row.
        rows: (n, any) values as a request or the log holds them, or in table form already.

    Returns:
        (n, columns) on the index of ``rows``.

    Raises:
        ValueError, TypeError: a value cannot be converted.
    """
    columns = tuple(columns)
    dtypes = {c.name: c.kind.dtype for c in columns}
    return decoded(columns, rows).reindex(columns=list(dtypes)).astype(dtypes)
