"""The table that a model is made from: ``data`` of ``model.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from tasks.spec.base import Spec, registered
from tasks.spec.columns import KINDS, known_type
from tasks.spec.data_source import Source
from tasks.spec.expressions import Expression
from tasks.spec.kind import ColumnKind
from tasks.spec.models import Name
from tasks.spec.moments import zone_named
from tasks.spec.targets import Target

Share = Annotated[float, Field(ge=0, le=1)]

YEAR = re.compile("%[YyGcx]")


def _two_readings(column: str, both: set[str]) -> str:
    told = ", ".join(map(repr, sorted(both)))
    return (
        f"column {column} has {told} among its categories, and such a cell means missing; take it out of categories "
        "and say nullable: true, or out of missing"
    )


class Column(Spec):
    """One column of the table, as the source gives it and as the service accepts it."""

    name: Name
    """Its name here, in requests and on pages."""
    type: Annotated[str, AfterValidator(known_type)]
    """One of :data:`tasks.spec.columns.KINDS`."""
    source: str | None = Field(None, min_length=1)
    """Its name in the source, where that is another one, such as "Alter (Jahre)".

    A name that occurs twice is ``x`` and ``x.1`` there, as pandas counts; one that is empty is ``Unnamed: 0`` by its
    place.
    """
    missing: tuple[str, ...] = ()
    """Cells that mean "missing" in this column, beside those of ``data.source.missing``; 9 also means 9.0."""
    input: bool = True
    """False: known only to training (the target's source, weights, periods); the service refuses it."""
    available: Literal["before", "after"] = "before"
    """``after``: known only after the prediction is made, such as how a stay ended.

    It may make the target, the period and the choice of rows. It is never an input or a feature, whatever ``input``
    says, and the service refuses it.
    """
    minimum: float | str | None = None
    """The smallest value allowed, in training and in requests; of a date or datetime, ISO text."""
    maximum: float | str | None = None
    """Bounds of its values, of training rows and of requests alike."""
    zone: str | None = None
    """Of a datetime: the IANA name of the zone in which times without an offset are, such as Europe/Berlin; default
    UTC."""
    format: str | None = None
    """Of a date or datetime whose source is not written in ISO 8601: the directives of strptime, such as
    ``%d.%m.%Y``."""
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """All names that are allowed; without them, any name is."""
    nullable: bool = False
    """Whether a value may be missing."""
    unit: str | None = None
    """The unit of its numbers, for people; cells of text may carry it, so with ``%`` the cell 12.5% is 12.5."""
    description: str = ""
    """What it says, for people and for the service's schema."""
    changes: Literal["free", "up", "down", "never"] = "never"
    """Whether a reason for a decision may name a change of it, and which way.

    ``up`` is towards larger or later values, or later ones of the declared ``categories``; ``down`` is the other way.
    What is not said to change is never named.
    """

    @model_validator(mode="after")
    def _bounds(self, info: ValidationInfo) -> Column:
        if not self.kind.has_bounds and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"column {self.name} is of type {self.type}, which has no minimum or maximum")
        if not self.kind.has_categories and self.categories is not None:
            raise ValueError(f"column {self.name} is of type {self.type}, which has no categories")
        for key in ("zone", "format"):
            if getattr(self, key) is not None and key not in self.kind.declares:
                raise ValueError(f"column {self.name} is of type {self.type}, which has no {key}")
        if self.zone is not None:
            zone_named(self.zone)
        if not registered(info):
            self._one_meaning()
        for key, value in (("minimum", self.minimum), ("maximum", self.maximum)):
            try:
                if value is not None:
                    self.kind.bound(value, self)
            except ValueError:
                raise ValueError(f"column {self.name} has {key} {value!r}, which is no {self.kind.noun}") from None
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"column {self.name} has minimum {self.minimum}, which is above maximum {self.maximum}")
        if self.changes != "never":
            self._changeable()
        return self

    def _changeable(self) -> None:
        said = f"column {self.name} has changes {self.changes!r}, and"
        if not self.served:
            raise ValueError(f"{said} no request holds it, so that no reason can name it; leave changes out")
        if self.changes != "free" and not (self.kind.numeric or self.kind.known_names(self)):
            raise ValueError(f"{said} its values have no order; declare its categories in order, or say changes: free")

    def _one_meaning(self) -> None:
        both = {"", *self.missing} & set(self.categories or ())
        if both:
            raise ValueError(_two_readings(self.name, both))
        if self.format is not None and not YEAR.search(self.format.replace("%%", "")):
            raise ValueError(
                f"column {self.name} has format {self.format!r}, which has no year; write %Y or %y where the source "
                "has it, or declare the column category"
            )

    @property
    def low(self) -> float | None:
        """``minimum`` in table form."""
        return None if self.minimum is None else self.kind.bound(self.minimum, self)

    @property
    def high(self) -> float | None:
        """``maximum`` in table form."""
        return None if self.maximum is None else self.kind.bound(self.maximum, self)

    @property
    def original(self) -> str:
        """Its name in the source."""
        return self.name if self.source is None else self.source

    @property
    def served(self) -> bool:
        """Whether a request can hold it."""
        return self.input and self.available == "before"

    @property
    def kind(self) -> ColumnKind:
        """What the type means: how values are converted, served, encoded and compared."""
        return KINDS[self.type]


class Split(Spec):
    """Shares of the base rows; rows of one entity never train and examine."""

    by: Literal["hash", "time"] = "hash"
    """``hash``: rows, or entities, at random. ``time``: in the order of ``data.period``, the earliest train.

    By time, rows of one period stay together, and an entity keeps the rows of one side; the others are dropped and
    counted.
    """
    train: Share
    """Share of the base rows that are trained on."""
    holdout: Share
    """Share of the base rows that gates look at."""
    replay: Share
    """Share of the base rows that neither sees."""

    @model_validator(mode="after")
    def _whole(self) -> Split:
        total = self.train + self.holdout + self.replay
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + holdout + replay is {total:g}; the shares must sum to 1")
        return self


class Data(Spec):
    source: Source
    """Where the table comes from."""
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    """The columns that are read; others are left out."""
    rows: Expression | None = None
    """A condition over columns: rows that do not fulfil it are outside the model's population.

    What an expression may hold, and what missing values mean in it, is in :mod:`tasks.spec.expressions`."""
    base: Expression | None = None
    """A condition over columns: rows that fulfil it are split; the rest are kept for replay."""
    period: str | None = None
    """A column that says when a row is from: a quantity such as a year or a date, or a category whose declared
    ``categories`` stand in order of time. Label rates are watched along it."""
    entity: str | None = None
    """A column that says whose row it is."""
    weight: str | None = None
    """A numeric column, such as a survey's, that says how much a row weighs in training. Gates count every row once."""
    target: Target
    """What is predicted."""
    split: Split
    """Which rows are trained on, examined on and replayed."""
    holdout: Literal["open", "sealed"] = "open"
    """``sealed``: nothing that is measured on the holdout is shown, and its gates answer pass or fail together.

    What that guarantees, and what it cannot keep from whoever may read the rows, is in docs/holdout.md.
    """
    holdout_sha256: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the base holdout's content; once pinned, ``prepare`` refuses any other."""

    @model_validator(mode="after")
    def _one_reading(self, info: ValidationInfo) -> Data:
        if registered(info):
            return self
        for column in self.columns:
            both = set(self.source.missing) & set(column.categories or ())
            if both:
                raise ValueError(_two_readings(column.name, both))
        return self

    @model_validator(mode="after")
    def _order(self) -> Data:
        if self.split.by == "time" and self.period is None:
            raise ValueError("split.by is 'time' and no period says when a row is from; name its column in data.period")
        for key in ("entity", "period"):
            named = next((c for c in self.columns if c.name == getattr(self, key) and c.changes != "never"), None)
            if named is not None:
                raise ValueError(
                    f"data.{key} is {named.name}, which has changes {named.changes!r}; a reason never names it, so "
                    "leave changes out"
                )
        column = next((c for c in self.columns if c.name == self.period), None)
        if self.split.by == "time" and column is not None and not (column.kind.numeric or column.categories):
            raise ValueError(
                f"split.by is 'time', and period {column.name} is a {column.type} without an order; declare its "
                "categories in order of time, or declare it as a quantity such as integer"
            )
        return self
