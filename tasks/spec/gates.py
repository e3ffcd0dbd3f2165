"""The gates that a model config may list.

A kind of gate is one class here, one function in ``tasks/science/gates`` and one entry in
:data:`tasks.science.gates.run.GATES`. The class declares the target kinds that the gate can judge, and what it can be
asked about each. It also declares from which materiality on a model must list it. The config, the gates and the docs
read that declaration.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.expressions import Expression
from tasks.spec.gate import MATERIALITIES, Gate, Materiality
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.metrics import METRIC_NAMES, MetricName, TargetKind


class DataGate(Gate):
    """The expectation suite in ``expectations.yaml``, on the ingested and the prepared table."""

    needed_from = "low"

    kind: Literal["data"]


class FloorGate(Gate):
    """The metric on one benchmark is at least (or, where lower is better, at most) ``limit``, interval included."""

    needed_from = "low"
    asks = "metric"
    takes = METRIC_NAMES

    kind: Literal["floor"]
    metric: MetricName
    """What is measured."""
    limit: float
    """The worst value that passes."""
    benchmark: str = "holdout"
    """The rows that are answered."""


class ComparisonGate(Gate):
    """Challenger against champion on the same rows: not worse than ``margin`` (in the metric's unit)."""

    needed_from = "medium"
    asks = "metric"
    takes = METRIC_NAMES

    kind: Literal["comparison"]
    metric: MetricName
    """What is measured."""
    margin: float = Field(ge=0)
    """How much worse than the champion is tolerated; at 0 only what is better passes, or answers every row alike."""
    benchmark: str = "holdout"
    """The rows that both answer."""


DecisionMeasure = Literal[
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "precision",
    "accuracy",
    "equalized_odds",
    "calibration",
]
ErrorMeasure = Literal["mean_error", "mean_absolute_error"]


class FairnessGate(Gate):
    """Largest difference, or smallest ratio, between groups of one protected attribute or intersections of several.

    ``confidence`` is that of a two-sided interval, simultaneous over all groups and measures of the gate.
    """

    needed_from = "medium"
    of_groups = True
    asks = "measure"
    takes = {
        "binary": get_args(DecisionMeasure),
        "multiclass": get_args(DecisionMeasure),
        "regression": get_args(ErrorMeasure),
    }
    """Multiclass: of the decision for one class, ``class_name``, against the rest."""

    kind: Literal["fairness"]
    attribute: str | None = None
    """The protected attribute whose groups are compared."""
    attributes: tuple[str, ...] = ()
    """Two or more: their intersections are compared."""
    measure: Literal[DecisionMeasure, ErrorMeasure]
    """Of decisions, or of a regression's errors in the unit of its target."""
    class_name: str | None = None
    """Of a multiclass model: the class that is asked about, against the rest."""
    statistic: Literal["difference", "ratio"]
    """How two groups are compared."""
    limit: float = Field(ge=0)
    """At most 1, but for differences of errors, which have the target's unit."""
    minimum_rows: int = Field(30, ge=10)
    """Rows (positives for true-positive rates, and so on) below which a group is not judged."""
    unjudged_share: float = Field(0.05, ge=0, lt=1)
    """Share of rows that intersections under ``minimum_rows`` may hold.

    A group of a single attribute may never be under ``minimum_rows``.
    """
    missing_share: float = Field(0.05, ge=0, lt=1)
    """Share of rows that may lack an attribute."""

    @model_validator(mode="after")
    def _one(self) -> FairnessGate:
        if (self.attribute is None) == (not self.attributes):
            raise ValueError("give either attribute, or attributes for intersections")
        if self.attributes and (len(self.attributes) < 2 or len(set(self.attributes)) < len(self.attributes)):
            raise ValueError("attributes are two or more, each other than the rest; for one write attribute")
        if self.measure in ("calibration", "mean_error") and self.statistic == "ratio":
            raise ValueError(
                f"{self.measure} is a gap around 0, and a ratio of gaps means nothing; ask for statistic: difference"
            )
        if self.limit > 1 and (self.statistic == "ratio" or not self.of_errors):
            raise ValueError(f"limit is {self.limit:g}; a {self.statistic} of {self.measure} lies between 0 and 1")
        return self

    def problem(self, target: TargetKind, classes: tuple[str, ...] = ()) -> str:
        """As :meth:`Gate.problem`; of a multiclass model, ``class_name`` must be one of its classes."""
        wrong = super().problem(target, classes)
        if wrong or (target != "multiclass" and self.class_name is None):
            return wrong
        if target != "multiclass":
            return (
                f"gate {self.name} names the class {self.class_name!r}, and a {target} model has no classes to compare "
                "with the rest; leave class_name out"
            )
        if self.class_name is None:
            return f"gate {self.name} names no class; give class_name, one of: {', '.join(classes)}"
        if self.class_name not in classes:
            return f"gate {self.name} names the class {self.class_name!r}; allowed: {', '.join(classes)}"
        return ""

    @property
    def of_errors(self) -> bool:
        """Whether the measure is of a regression's errors."""
        return self.measure in get_args(ErrorMeasure)

    @property
    def among(self) -> tuple[str, ...]:
        """The attributes whose groups, or intersections, are compared."""
        return self.attributes or (str(self.attribute),)


class RulesGate(Gate):
    """The expert rules in ``rules.yaml``."""

    needed_from = "low"

    kind: Literal["rules"]


class ReadinessGate(Gate):
    """The candidate answers recorded requests from its file, in a process without network, bit-equal and in time."""

    needed_from = "low"

    kind: Literal["readiness"]
    latency_ms: float = Field(250, gt=0)
    """CPU time that one row may take at the 95th percentile, validation of the row included.

    Time in which the process waits for a processor is not counted, so that a busy machine refuses nobody.
    """
    memory_mb: float = Field(1024, gt=0)
    """What the process may take at its peak."""


SliceMetric = Literal["log_loss", "brier", "error", "squared_error"]


class NamedSlice(Spec):
    """The raw rows that fulfil the condition ``rows``, over input columns."""

    name: str = Field(min_length=1, max_length=60)
    """Its name on the verdict."""
    rows: Expression
    """A condition over input columns that its rows fulfil."""


class SlicesGate(Gate):
    """No slice has excess loss: loss that a recalibration of the model's own scores in the slice would win back."""

    needed_from = "high"
    asks = "metric"
    takes = {
        "binary": ("log_loss", "brier", "error"),
        "multiclass": ("log_loss", "brier"),
        "regression": ("squared_error",),
    }
    """Multiclass: losses of each class against the rest, which has no threshold to be wrong about."""

    kind: Literal["slices"]
    metric: SliceMetric = "log_loss"
    """The loss that is looked at."""
    slices: tuple[NamedSlice, ...] = ()
    """Sets of rows that are always looked at."""
    limit: float = Field(0.1, gt=0, le=10)
    """Tolerated excess loss in a slice, as a share of the mean loss of all rows."""
    search: bool = True
    """Look for weak slices of up to three conditions too."""
    columns: Literal["features", "inputs"] = "features"
    """Columns to search in. By inputs that the model may not use, loss can be found that it could not have avoided."""
    minimum_rows: int = Field(200, ge=40)
    """Rows of a slice (of a model with ``data.entity``, entities) below which nothing is concluded."""


class StabilityGate(Gate):
    """Explanations agree between samples of rows and seeds."""

    needed_from = "high"

    kind: Literal["stability"]
    resamples: int = Field(10, ge=10, le=100)
    """Samples that are compared."""
    rows: int = Field(250, ge=50)
    """Rows explained in each sample."""
    top: int = Field(5, ge=1)
    """First drivers whose names are compared."""
    rank_correlation: float = Field(0.8, gt=0, le=1)
    """Smallest mean rank correlation between two samples."""
    overlap: float = Field(0.6, gt=0, le=1)
    """Share of the first ``top`` drivers that two samples both name."""


class FaithfulnessGate(Gate):
    """Features with large attributions move the score more than random ones when they are replaced."""

    needed_from = "high"

    kind: Literal["faithfulness"]
    rows: int = Field(200, ge=50)
    """Rows whose drivers are replaced."""
    limit: float = Field(0.0, ge=0, lt=1)
    """Score by which the mean move must be larger."""


class Perturbation(Spec):
    """One kind of damage to the rows; numbers stay within the bounds that the model's columns declare."""

    kind: Literal["noise", "missing", "unseen", "out_of_range", "unit", "swapped"]
    """``noise``: normal, added to every number. The others hit a share of the cells.

    ``missing``: nullable columns. ``unseen``: categories of open category columns. ``out_of_range``: numbers far
    outside their range. ``unit``: numbers times 100 or divided by 1000. ``swapped``: cells of any column get the value
    of another row.
    """
    strength: float = Field(gt=0, le=1)
    """Share of cells that are hit; of ``noise``, its standard deviation in interquartile ranges."""
    limit: float | None = Field(None, gt=0)
    """Tolerated worsening, where it is another than the gate's."""


DAMAGES = (
    Perturbation(kind="noise", strength=0.1),
    Perturbation(kind="missing", strength=0.05),
    Perturbation(kind="unseen", strength=0.05),
    Perturbation(kind="out_of_range", strength=0.01),
    Perturbation(kind="unit", strength=0.01),
)


class RobustnessGate(Gate):
    """Under each perturbation the metric worsens by no more than ``limit``, and every score stays a number."""

    needed_from = "medium"
    asks = "metric"
    takes = METRIC_NAMES

    kind: Literal["robustness"]
    metric: MetricName
    """What is measured."""
    limit: float = Field(gt=0)
    """Tolerated worsening of the metric."""
    perturbations: Annotated[tuple[Perturbation, ...], Field(min_length=1)] = DAMAGES
    """Kinds of damage that are done to the rows."""
    rows: int = Field(5000, ge=100)
    """Rows of the holdout that are perturbed, drawn at random where there are more."""


class CalibrationGate(Gate):
    """Scores are rates: limits of the calibration error, slope and intercept, of all rows or of each group ``by``.

    Multiclass: of each class against the rest. Regression: scores are means, and the slope is that of the labels on
    the scores. Error and intercept are then in standard deviations of the labels, so that a limit means the same in any
    unit.
    """

    needed_from = "medium"

    kind: Literal["calibration"]
    error: float = Field(0.05, gt=0, lt=1)
    """Largest debiased calibration error (root mean square over bins)."""
    slope: tuple[float, float] = (0.8, 1.25)
    """Bounds of the slope of labels on scores; 1 is right."""
    intercept: float = Field(0.2, gt=0)
    """Largest shift in log-odds (regression: of the mean), either way, that would make the mean score right."""
    bins: int = Field(10, ge=2, le=50)
    """Bins of scores that the error is taken over."""
    by: str | None = None
    """A protected attribute: each of its groups is held to the limits instead of all rows."""
    benchmark: str = "all"
    """The rows that are answered."""

    @model_validator(mode="after")
    def _ordered(self) -> CalibrationGate:
        if not 0 < self.slope[0] < 1 < self.slope[1]:
            raise ValueError(
                f"slope is {self.slope[0]:g} to {self.slope[1]:g}; it must lie around 1, with a positive low bound"
            )
        return self


class TransparencyGate(Gate):
    """The model card is whole: all texts that the materiality asks for, and no statement that stopped following.

    The texts stand under ``card`` in ``model.yaml``. Where a ``card.json`` stands beside it, each statement there is
    recomputed from the records that it names.
    """

    needed_from = "medium"

    kind: Literal["transparency"]


GateConfig = Annotated[
    DataGate
    | FloorGate
    | RulesGate
    | ReadinessGate
    | ComparisonGate
    | FairnessGate
    | CalibrationGate
    | RobustnessGate
    | TransparencyGate
    | LeakageGate
    | SlicesGate
    | StabilityGate
    | FaithfulnessGate,
    Field(discriminator="kind"),
]
GATE_KINDS: dict[str, type[Gate]] = {
    str(get_args(gate.model_fields["kind"].annotation)[0]): gate for gate in get_args(get_args(GateConfig)[0])
}
"""Every kind of gate by the name that ``kind`` gives it."""


def needed_kinds(materiality: Materiality, grouped: bool = True) -> tuple[str, ...]:
    """Kinds of gates that a model of this materiality must list as mandatory, what every model needs first.

    Args:
        grouped: whether the model has protected groups; without any, no gate that compares them is needed.
    """
    asked = MATERIALITIES[: MATERIALITIES.index(materiality) + 1]
    return tuple(
        kind
        for level in asked
        for kind, gate in GATE_KINDS.items()
        if gate.needed_from == level and (grouped or not gate.of_groups)
    )
