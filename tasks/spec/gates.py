"""The gates that a model config may list; each kind has one function of its name in ``tasks.science.gates``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.spec.base import Spec

MetricName = Literal["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy"]


class Gate(Spec):
    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{1,59}$")
    mandatory: bool = True
    confidence: float = Field(0.95, gt=0.5, lt=1)


class DataGate(Gate):
    """The expectation suite in ``expectations.yaml``, on the ingested and the prepared table."""

    kind: Literal["data"]


class FloorGate(Gate):
    """The metric on one benchmark is at least (or, where lower is better, at most) ``limit``, interval included."""

    kind: Literal["floor"]
    metric: MetricName
    limit: float
    benchmark: str = "holdout"


class ComparisonGate(Gate):
    """Challenger against champion on the same rows: not worse than ``margin`` (in the metric's unit)."""

    kind: Literal["comparison"]
    metric: MetricName
    margin: float = Field(gt=0)
    benchmark: str = "holdout"


class FairnessGate(Gate):
    """Largest difference, or smallest ratio, between groups of one protected attribute."""

    kind: Literal["fairness"]
    attribute: str
    measure: Literal["selection_rate", "true_positive_rate"]
    statistic: Literal["difference", "ratio"]
    limit: float = Field(ge=0, le=1)


class RulesGate(Gate):
    """The expert rules in ``rules.yaml``."""

    kind: Literal["rules"]


class LeakageGate(Gate):
    """What the training data know and the world will not tell: leaks between the sides, in the columns, and in time.

    ``single_column_auc``: one column alone reaches it on the holdout. ``dominant_auc``: a column above it that also gives
    ``dominant_share`` of what the whole model has over 0.5 is a leak too. ``missingness_auc``: the same for the mere fact
    that a value is missing; 0.7 is a difference of 40 points between the classes' missing shares. ``duplicates``: row
    patterns on both sides beyond what a random split gives, as a share of the holdout's rows. ``label_jump``: Cohen's h
    between neighbouring stretches of the table, what the scores explain taken off; 0.2 is 30 % against 40 %, or 1 %
    against none. ``skew``: Jensen-Shannon distance between training and served rows above which they hardly share a value,
    as with another unit or code; a change of the world can reach 0.8, so smaller distances are told and never fail. ``minimum_rows``: training rows that each class
    and each protected group needs. ``excused``: columns that are known to predict this well, each with the reason why it
    is no leak.
    """

    kind: Literal["leakage"]
    single_column_auc: float = Field(0.95, gt=0.5, le=1)
    dominant_auc: float = Field(0.85, gt=0.5, le=1)
    dominant_share: float = Field(0.9, gt=0, le=1)
    missingness_auc: float = Field(0.7, gt=0.5, le=1)
    duplicates: float = Field(0.02, gt=0, lt=1)
    label_jump: float = Field(0.2, gt=0, le=3)
    skew: float = Field(0.85, gt=0, le=1)
    minimum_rows: int = Field(50, ge=10)
    excused: dict[str, str] = {}


class NamedSlice(Spec):
    """The raw rows for which the pandas expression ``rows`` is true."""

    name: str = Field(min_length=1, max_length=60)
    rows: str


class SlicesGate(Gate):
    """No slice in which the model loses what a correction of its own scores would win back.

    ``limit``: tolerated avoidable loss in a slice, as a share of the mean loss of all rows. ``search``: look for weak
    slices of up to three conditions too, in the model's ``features`` or in all ``inputs``; by a column that the model
    may not use, loss can be found that it could not have avoided. ``minimum_rows``: rows of a slice below which nothing is concluded.
    """

    kind: Literal["slices"]
    metric: Literal["log_loss", "brier", "error"] = "log_loss"
    slices: tuple[NamedSlice, ...] = ()
    limit: float = Field(0.1, gt=0, le=10)
    search: bool = True
    columns: Literal["features", "inputs"] = "features"
    minimum_rows: int = Field(200, ge=40)


GateConfig = Annotated[
    DataGate | FloorGate | ComparisonGate | FairnessGate | RulesGate
    | LeakageGate
    | SlicesGate,
    Field(discriminator="kind"),
]


class ForbiddenDriver(Spec):
    """A column whose share of the attribution must stay under ``limit``."""

    rule: Literal["forbidden_driver"]
    column: str
    share: float = Field(ge=0, le=1)
    because: str


class Direction(Spec):
    """The score rises, or falls, with a numeric column, all else equal."""

    rule: Literal["direction"]
    column: str
    sign: Literal["rises", "falls"]
    tolerance: float = Field(0.05, ge=0, lt=0.5)
    """Share of rows that may go the other way."""
    because: str


class ExpertRules(Spec):
    """``rules.yaml``: what an expert knows about the predictions."""

    rules: tuple[Annotated[ForbiddenDriver | Direction, Field(discriminator="rule")], ...]
