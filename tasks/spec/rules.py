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
    """Chooses this kind of rule."""
    column: str
    """The column that may not drive the scores."""
    share: float = Field(ge=0, le=1)
    """Share of the attribution that it must stay under."""
    because: str
    """Why, in words."""


class RequiredDriver(Spec):
    """A column that must carry at least ``share`` of the attribution."""

    rule: Literal["required_driver"]
    """Chooses this kind of rule."""
    column: str
    """The column that has to drive the scores."""
    share: float = Field(gt=0, le=1)
    """Share of the attribution that it must have."""
    because: str
    """Why, in words."""


class Proxy(Spec):
    """Features that give away a protected column may together carry at most ``share`` of the attribution.

    A feature gives the column away when it alone tells one of its groups from the rest with a cross-fitted AUC above
    ``association``. ``allowed`` names features that may nevertheless be used, on the expert's word.
    """

    rule: Literal["proxy"]
    """Chooses this kind of rule."""
    column: str
    """The protected column that features may give away."""
    association: float = Field(0.75, gt=0.5, lt=1)
    """AUC from which a feature gives it away."""
    share: float = Field(0.05, ge=0, le=1)
    """Share of the attribution that such features may have together."""
    allowed: tuple[str, ...] = ()
    """Features that may be used nevertheless."""
    because: str
    """Why, in words."""


class Direction(Spec):
    """The score rises, or falls, with a numeric column, all else equal."""

    rule: Literal["direction"]
    """Chooses this kind of rule."""
    column: str
    """The column that is raised."""
    sign: Literal["rises", "falls"]
    """Which way the score goes."""
    tolerance: float = Field(0.05, ge=0, lt=0.5)
    """Share of rows that may go the other way."""
    of_class: OfClass = None
    """Of a multiclass model, the class whose score is meant."""
    rows: Expression = "all"
    """``all``, or a condition over input columns such as ``age >= 65``; see :mod:`tasks.spec.expressions`."""
    because: str
    """Why, in words."""


class Monotone(Spec):
    """The score never turns back by more than ``turn`` while a numeric column runs from ``low`` to ``high``, all else
    equal.
    """

    rule: Literal["monotone"]
    """Chooses this kind of rule."""
    column: str
    """The column that is run through."""
    sign: Literal["rises", "falls"]
    """Which way the score goes."""
    low: float | None = None
    """Bounds of the path; without them, the 1st and 99th percentile of the rows."""
    high: float | None = None
    """Bounds of the path; without them, the 1st and 99th percentile of the rows."""
    turn: float = Field(0.01, gt=0)
    """Score by which a path may turn back."""
    of_class: OfClass = None
    """Of a multiclass model, the class whose score is meant."""
    tolerance: Tolerance = 0.05
    """Share of rows whose path may turn back by more."""
    rows: Expression = "all"
    """``all``, or a condition such as ``age >= 65``."""
    because: str
    """Why, in words."""

    @model_validator(mode="after")
    def _ordered(self) -> Monotone:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be the smaller")
        return self


class ScoreRange(Spec):
    """Plausible scores for some rows."""

    rule: Literal["score_range"]
    """Chooses this kind of rule."""
    rows: Expression = "all"
    """``all``, or a condition such as ``age >= 65``."""
    low: float | None = None
    """Either alone, or both; of probabilities from 0 to 1, of a regression in the target's unit."""
    high: float | None = None
    """Either alone, or both; of probabilities from 0 to 1, of a regression in the target's unit."""
    of_class: OfClass = None
    """Of a multiclass model, the class whose score is meant."""
    tolerance: Tolerance = 0.05
    """Share of these rows whose score may lie outside."""
    because: str
    """Why, in words."""

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
    """Chooses this kind of rule."""
    case: Case
    """Columns and their values that make the case."""
    above: Case | None = None
    """The case that it has to score above."""
    margin: float = Field(0.0, ge=0)
    """Score by which the case must lie above the other."""
    between: tuple[float, float] | None = None
    """Scores that it has to lie between."""
    of_class: OfClass = None
    """Of a multiclass model, the class whose score is meant."""
    because: str
    """Why, in words."""

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
    """Chooses this kind of rule."""
    column: str
    """The column that is changed."""
    values: Annotated[tuple[Value, ...], Field(min_length=2)] | None = None
    """Values to change between; without them, those seen in the rows (of a number, five of its quantiles)."""
    at_most: float = Field(gt=0)
    """Largest allowed change of the score."""
    of_class: OfClass = None
    """Without it, a multiclass model's score of any class."""
    tolerance: Tolerance = 0.01
    """Share of rows whose score may move by more."""
    rows: Expression = "all"
    """``all``, or a condition such as ``age >= 65``."""
    because: str
    """Why, in words."""


Rule = ForbiddenDriver | RequiredDriver | Proxy | Direction | Monotone | ScoreRange | Vignette | Invariance


class ExpertRules(Spec):
    """``rules.yaml``: what an expert knows about the predictions."""

    rules: tuple[Annotated[Rule, Field(discriminator="rule")], ...]
    """The rules, each with its reason."""
