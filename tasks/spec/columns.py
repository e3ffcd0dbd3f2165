"""What a column's type means, for whoever reads, serves, stores, encodes or compares a column.

A column appears in three forms:

* **source**: cells of a source table or of a file to score, NaN where empty or a declared marker. A file of text gives
  dtype ``str``, others their own values (Parquet, JSON lines, pickles);
* **table**: what prepared tables hold, pipelines are fitted on and monitors count. The scale decides: float64 for
  quantities, text for names, NaN for missing;
* **JSON**: a value in a request, in ``requests.json`` and in the prediction log; None for missing.

To add a type, write one subclass of :class:`ColumnKind` in this module and one entry in :data:`KINDS`. No other module
compares a column's type with a literal; ``tests/test_architecture.py`` holds that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic_core import PydanticCustomError

from tasks.spec.cells import LARGEST, LARGEST_WHOLE, names, numbers

if TYPE_CHECKING:  # importing pandas takes half a second, and most readers of a config need none of it
    import pandas as pd


class ColumnKind(ABC):
    """One type of column. A kind has no state; what a single column declares is passed in as ``column``."""

    name: ClassVar[str]
    """The type as ``model.yaml`` writes it."""
    noun: ClassVar[str]
    """One value in an error message, such as "whole number"."""
    numeric: ClassVar[bool]
    """The scale of measurement: True for quantities, which have an order and distances; False for names.

    Quantities are scaled, binned by quantiles and compared by Kolmogorov-Smirnov; names are one-hot or ordinal encoded,
    counted and compared by chi-squared.
    """
    has_bounds: ClassVar[bool] = False
    """Whether a column may declare ``minimum`` and ``maximum``."""
    has_categories: ClassVar[bool] = False
    """Whether a column may declare ``categories``."""
    has_decimals: ClassVar[bool] = False
    """Whether cells of text are written with the decimal mark of their file."""
    advice: ClassVar[str] = "Mend the value, declare the column category, or list the value under missing"
    """What to do about a cell that is not a value of this kind."""
    placeholder: ClassVar[float | str]
    """A valid value in table form, for a first prediction that nobody waits for."""

    @property
    def dtype(self) -> str:
        """pandas dtype of the table form."""
        return "float64" if self.numeric else "str"

    @abstractmethod
    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        """Convert cells to table form; every reader goes through here, and requests are made by :meth:`to_json`.

        Args:
            cells: (n,) in source form; a decimal comma is a point already.

        Returns:
            (n,) values, NaN where missing or unreadable; (n,) bool, True where a cell is not a value of this kind.
        """

    @abstractmethod
    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        """The Python type of a JSON value in the service's schema, and the constraints of its pydantic field."""

    def from_json(self, values: pd.Series) -> pd.Series:
        """Convert JSON values to what ``astype(dtype)`` turns into table form; malformed values stay as they are.

        Columns that are in table form already are left unchanged. The prediction log returns a column of truths with
        missing values as text ("True", "False").
        """
        return values

    def to_json(self, value: Any) -> Any:
        """Convert one value in table form, not missing, to the value a client would send."""
        return value

    def accepts_unseen(self, column: DeclaredColumn) -> bool:
        """Whether the service accepts a name that training has never seen."""
        return False

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        """The nearest values that the service accepts, in table form."""
        return values


class DeclaredColumn(Protocol):
    """The part of a column's declaration that its kind reads; ``tasks.spec.model.Column`` has it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> ColumnKind: ...
    @property
    def minimum(self) -> float | None: ...
    @property
    def maximum(self) -> float | None: ...
    @property
    def categories(self) -> tuple[str, ...] | None: ...


class Number(ColumnKind):
    """A real number."""

    name, noun, numeric, has_bounds, has_decimals, placeholder = "number", "finite number", True, True, True, 0.0
    largest: ClassVar[float] = LARGEST

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        return numbers(cells)

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return float, self._bounds(column) | {"allow_inf_nan": False}

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return values.clip(column.minimum, column.maximum)

    def _bounds(self, column: DeclaredColumn) -> dict[str, Any]:
        return {
            "ge": -self.largest if column.minimum is None else column.minimum,
            "le": self.largest if column.maximum is None else column.maximum,
        }


class Integer(Number):
    """A whole number; in tables a float64, so that it can be missing. Longer ones are codes, and codes are names."""

    name, noun, largest = "integer", f"whole number up to {LARGEST_WHOLE}", LARGEST_WHOLE

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        found, wrong = numbers(cells)
        odd = (found % 1 != 0) & found.notna() | (found.abs() > LARGEST_WHOLE)
        return found.mask(odd), wrong | odd

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return int, self._bounds(column)

    def to_json(self, value: Any) -> Any:
        return int(value)

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return super().admissible(values.round(), column)


class Category(ColumnKind):
    """One of a few names, or of many; a code such as 01 is a name, too."""

    name, noun, numeric, has_categories, placeholder = "category", "category", False, True, "missing"

    def from_source(self, cells: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        found = names(cells)
        return found, found.isna() & False

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return Literal[tuple(column.categories)] if column.categories else str, {}

    def accepts_unseen(self, column: DeclaredColumn) -> bool:
        return column.categories is None


KINDS: dict[str, ColumnKind] = {kind.name: kind for kind in (Number(), Integer(), Category())}
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
