"""``rules.yaml``: what an expert knows about the predictions, in words that a non-programmer can edit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.expressions import Expression

Value = int | float | str | None
OfClass = Annotated[str | None, Field(alias="class")]
"""Written ``class``: of a multiclass model, the class whose score the rule speaks of. Other models have one score, and
no class is named.
"""
Case = Annotated[dict[str, Value], Field(min_length=1)]
"""Columns and their values; None means that the value is missing."""
Tolerance = Annotated[float, Field(gt=0, lt=0.5)]
"""A share of rows that may break a rule. Zero is not allowed: no number of rows could show it."""


class ForbiddenDriver(Spec):
    """A column whose share of the attribution must stay under ``limit``."""

    rule: Literal["forbidden_driver"]
    column: str
    share: float = Field(ge=0, le=1)
    because: str


class RequiredDriver(Spec):
    """A column that must carry at least ``share`` of the attribution."""

    rule: Literal["required_driver"]
    column: str
    share: float = Field(gt=0, le=1)
    because: str


class Proxy(Spec):
    """Features that give away a protected column may together carry at most ``share`` of the attribution.

    A feature gives the column away when it alone tells one of its groups from the rest with a cross-fitted AUC above
    ``association``. ``allowed`` names features that may nevertheless be used, on the expert's word.
    """

    rule: Literal["proxy"]
    column: str
    association: float = Field(0.75, gt=0.5, lt=1)
    share: float = Field(0.05, ge=0, le=1)
    allowed: tuple[str, ...] = ()
    because: str


class Direction(Spec):
    """The score rises, or falls, with a numeric column, all else equal."""

    rule: Literal["direction"]
    column: str
    sign: Literal["rises", "falls"]
    tolerance: float = Field(0.05, ge=0, lt=0.5)
    """Share of rows that may go the other way."""
    of_class: OfClass = None
    rows: Expression = "all"
    """``all``, or a condition over input columns such as ``age >= 65``; see :mod:`tasks.spec.expressions`."""
    because: str


class Monotone(Spec):
    """The score never turns back by more than ``turn`` while a numeric column runs from ``low`` to ``high``, all else
    equal.
    """

    rule: Literal["monotone"]
    column: str
    sign: Literal["rises", "falls"]
    low: float | None = None
    high: float | None = None
    """Bounds of the path; without them, the 1st and 99th percentile of the rows."""
    turn: float = Field(0.01, gt=0)
    """Score by which a path may turn back."""
    of_class: OfClass = None
    tolerance: Tolerance = 0.05
    """Share of rows whose path may turn back by more."""
    rows: Expression = "all"
    because: str

    @model_validator(mode="after")
    def _ordered(self) -> Monotone:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be the smaller")
        return self


class ScoreRange(Spec):
    """Plausible scores for some rows."""

    rule: Literal["score_range"]
    rows: Expression = "all"
    low: float | None = None
    high: float | None = None
    """Either alone, or both; of probabilities from 0 to 1, of a regression in the target's unit."""
    of_class: OfClass = None
    tolerance: Tolerance = 0.05
    """Share of these rows whose score may lie outside."""
    because: str

    @model_validator(mode="after")
    def _ordered(self) -> ScoreRange:
        if self.low is None and self.high is None:
            raise ValueError("give low, high or both; without them every score is plausible")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be the smaller")
        return self


class Vignette(Spec):
    """A typical person changed into a case: scores above another case, or between two scores."""

    rule: Literal["vignette"]
    case: Case
    above: Case | None = None
    margin: float = Field(0.0, ge=0)
    """Score by which the case must lie above the other."""
    between: tuple[float, float] | None = None
    of_class: OfClass = None
    because: str

    @model_validator(mode="after")
    def _one(self) -> Vignette:
        if (self.above is None) == (self.between is None):
            raise ValueError("give either above (another case) or between (two scores)")
        if self.between is not None and self.between[0] >= self.between[1]:
            raise ValueError(f"between is {self.between[0]:g} to {self.between[1]:g}; the first must be the smaller")
        return self


class Invariance(Spec):
    """A change of this column alone moves the score by no more than ``at_most``."""

    rule: Literal["invariance"]
    column: str
    values: Annotated[tuple[Value, ...], Field(min_length=2)] | None = None
    """Values to change between; without them, those seen in the rows (of a number, five of its quantiles)."""
    at_most: float = Field(gt=0)
    """Largest allowed change of the score."""
    of_class: OfClass = None
    """Without it, a multiclass model's score of any class."""
    tolerance: Tolerance = 0.01
    """Share of rows whose score may move by more."""
    rows: Expression = "all"
    because: str


Rule = ForbiddenDriver | RequiredDriver | Proxy | Direction | Monotone | ScoreRange | Vignette | Invariance


class ExpertRules(Spec):
    """``rules.yaml``: what an expert knows about the predictions."""

    rules: tuple[Annotated[Rule, Field(discriminator="rule")], ...]
