"""What a column's type means, for whoever reads, serves, stores, encodes or compares a column.

A column appears in three forms:

* **source**: cells of a source table or of a file to score, of whatever pandas type they were read as;
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
    placeholder: ClassVar[float | str]
    """A valid value in table form, for a first prediction that nobody waits for."""

    @property
    def dtype(self) -> str:
        """pandas dtype of the table form."""
        return "float64" if self.numeric else "str"

    @abstractmethod
    def from_source(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Convert a source column to table form.

        Returns:
            (n,) values, NaN where missing or unreadable; (n,) bool, True where a cell is not a value of this kind.
        """

    @abstractmethod
    def to_request(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        """Convert a column of a file to score to JSON values, missing ones still as pandas has them.

        Returns:
            (n,) values; (n,) bool, True where a cell is not a value of this kind.
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

    name, noun, numeric, has_bounds, placeholder = "number", "number", True, True, 0.0

    def from_source(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        numbers, wrong = _parsed(values)
        return numbers.astype("float64"), wrong

    def to_request(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        return _number_requests(values, "Float64")

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return float, _bounds(column) | {"allow_inf_nan": False}

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return values.clip(column.minimum, column.maximum)


class Integer(Number):
    """A whole number; in tables a float64, so that it can be missing."""

    name, noun = "integer", "whole number"

    def to_request(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        return _number_requests(values, "Int64")

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return int, _bounds(column)

    def to_json(self, value: Any) -> Any:
        return int(value)

    def admissible(self, values: pd.Series, column: DeclaredColumn) -> pd.Series:
        return super().admissible(values.round(), column)


class Category(ColumnKind):
    """One of a few names, or of many; a code such as 01 is a name, too."""

    name, noun, numeric, has_categories, placeholder = "category", "category", False, True, "missing"

    def from_source(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        # Through the distinct values: a category has few of them, a table has many rows.
        names = {value: category_text(value).strip() for value in values.dropna().unique()}
        return values.map(names).astype("str"), _none_wrong(values)

    def to_request(self, values: pd.Series) -> tuple[pd.Series, pd.Series]:
        from pandas.api.types import is_float_dtype

        # pandas reads whole-number codes as floats where others are missing
        text = category_text if is_float_dtype(values) else str
        return values.astype(object).map(text, na_action="ignore"), _none_wrong(values)

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return Literal[tuple(column.categories)] if column.categories else str, {}

    def accepts_unseen(self, column: DeclaredColumn) -> bool:
        return column.categories is None


def category_text(value: Any) -> str:
    """The name of a category, whatever a reader made of it: the code 1 is "1", also where it was read as 1.0."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _bounds(column: DeclaredColumn) -> dict[str, Any]:
    return {key: value for key, value in (("ge", column.minimum), ("le", column.maximum)) if value is not None}


def _parsed(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The numbers of a column, NaN where missing or unreadable, and which cells are unreadable."""
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    return numbers, numbers.isna() & values.notna()


def _number_requests(values: pd.Series, dtype: Literal["Int64", "Float64"]) -> tuple[pd.Series, pd.Series]:
    """Numbers of a nullable pandas type; booleans stay, for the service to refuse in its own words."""
    from pandas.api.types import is_bool_dtype

    if is_bool_dtype(values):
        return values, _none_wrong(values)
    numbers, wrong = _parsed(values)
    if dtype == "Int64":
        wrong = wrong | ((numbers % 1 != 0) & numbers.notna())
    return (numbers if wrong.any() else numbers.astype(dtype)), wrong


def _none_wrong(values: pd.Series) -> pd.Series:
    import pandas as pd

    return pd.Series(False, index=values.index)


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
