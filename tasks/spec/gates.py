"""The gates that a model config may list; each kind has one function of its name in ``tasks.science.gates``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
    """Largest difference, or smallest ratio, between groups of one protected attribute or intersections of several.

    ``confidence`` is that of a two-sided interval, simultaneous over all groups and measures of the gate.
    """

    kind: Literal["fairness"]
    attribute: str | None = None
    attributes: tuple[str, ...] = ()
    """Two or more: their intersections are compared."""
    measure: Literal["selection_rate", "true_positive_rate", "false_positive_rate", "precision", "accuracy", "equalized_odds", "calibration"]
    statistic: Literal["difference", "ratio"]
    limit: float = Field(ge=0, le=1)
    minimum_rows: int = Field(30, ge=10)
    """Rows (positives for true-positive rates, and so on) below which a group is not judged."""
    unjudged_share: float = Field(0.05, ge=0, lt=1)
    """Share of rows that intersections under ``minimum_rows`` may hold; a group of a single attribute may never be under it."""
    missing_share: float = Field(0.05, ge=0, lt=1)
    """Share of rows that may lack an attribute."""

    @model_validator(mode="after")
    def _one(self) -> FairnessGate:
        if (self.attribute is None) == (not self.attributes):
            raise ValueError("give either attribute, or attributes for intersections")
        if self.attributes and (len(self.attributes) < 2 or len(set(self.attributes)) < len(self.attributes)):
            raise ValueError("attributes are two or more, each other than the rest; for one write attribute")
        if self.measure == "calibration" and self.statistic == "ratio":
            raise ValueError("calibration is a gap around 0, and a ratio of gaps means nothing; ask for statistic: difference")
        return self

    @property
    def among(self) -> tuple[str, ...]:
        """The attributes whose groups, or intersections, are compared."""
        return self.attributes or (str(self.attribute),)


class RulesGate(Gate):
    """The expert rules in ``rules.yaml``."""

    kind: Literal["rules"]


GateConfig = Annotated[DataGate | FloorGate | ComparisonGate | FairnessGate | RulesGate, Field(discriminator="kind")]


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
