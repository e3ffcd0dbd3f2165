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


class ReadinessGate(Gate):
    """The candidate answers recorded requests from its file, in a process without network, bit-equal and in time."""

    kind: Literal["readiness"]
    latency_ms: float = Field(250, gt=0)
    """What one row may take at the 99th percentile, validation of the row included."""
    memory_mb: float = Field(1024, gt=0)


GateConfig = Annotated[DataGate | FloorGate | ComparisonGate | FairnessGate | RulesGate | ReadinessGate, Field(discriminator="kind")]


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
