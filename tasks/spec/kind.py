"""What every type of column has to say: the protocol of :mod:`tasks.spec.columns`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

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
    whole: ClassVar[bool] = False
    """Whether quantities are whole, so that no smaller step than 1 is one."""
    has_bounds: ClassVar[bool] = False
    """Whether a column may declare ``minimum`` and ``maximum``."""
    has_categories: ClassVar[bool] = False
    """Whether a column may declare ``categories``."""
    declares: ClassVar[tuple[str, ...]] = ()
    """Further keys that a column of this kind may declare."""
    calendar: ClassVar[bool] = False
    """Whether quantities are places in the calendar, which people read as dates."""
    has_decimals: ClassVar[bool] = False
    """Whether cells of text are written with the decimal mark of their file."""
    advice: ClassVar[str] = "Mend the value, declare the column category, or list the value under missing"
    """What to do about a cell that is not a value of this kind."""
    placeholder: ClassVar[float | str]
    """A valid value in table form, for a first prediction that nobody waits for."""

    @property
    def operand(self) -> Literal["quantity", "name", "truth", "day", "instant"]:
        """What an expression may do with the column; see :mod:`tasks.spec.expression_types`."""
        return "quantity" if self.numeric else "name"

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

    def from_request(self, value: Any) -> float:
        """One quantity as JSON, valid and not missing, in table form, as :meth:`from_json` converts a column."""
        return float(value)

    def bound(self, value: float | str, column: DeclaredColumn) -> float:
        """A declared ``minimum`` or ``maximum`` in table form.

        Raises:
            ValueError: it is not a value of this kind.
        """
        if isinstance(value, str):
            raise ValueError(f"{value!r} is no {self.noun}")
        return value

    def literal(self, value: str, column: DeclaredColumn) -> Any:
        """A text beside the column in an expression, in table form; asked of kinds that JSON writes as another type.

        Raises:
            ValueError: it is not a value of this kind.
        """
        try:
            return self.bound(value, column) if self.numeric else value
        except ValueError:
            raise ValueError(f"{value!r} is no {self.noun}") from None

    def text(self, value: float) -> str:
        """One quantity in table form as people read it, on pages and in sentences."""
        return f"{value:.4g}"

    def distance(self, value: float) -> str:
        """The difference of two quantities as people read it, without the column's own unit."""
        return f"{value:.4g}"

    def known_names(self, column: DeclaredColumn) -> tuple[str, ...]:
        """The names that are allowed, of a kind of names whose values are a closed set."""
        return ()

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
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def categories(self) -> tuple[str, ...] | None: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def format(self) -> str | None: ...
