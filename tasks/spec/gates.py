"""The gates that a model config may list; each kind has one function of its name in ``tasks.science.gates.run``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.metrics import MetricName, TargetKind


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
    measure: Literal[
        "selection_rate",
        "true_positive_rate",
        "false_positive_rate",
        "precision",
        "accuracy",
        "equalized_odds",
        "calibration",
        "mean_error",
        "mean_absolute_error",
    ]
    """The last two are of a regression, in the unit of its target; the rest of decisions."""
    class_name: str | None = None
    """Of a multiclass model: the class that is asked about, against the rest."""
    statistic: Literal["difference", "ratio"]
    limit: float = Field(ge=0)
    """At most 1, but for differences of errors, which have the target's unit."""
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
        if self.measure in ("calibration", "mean_error") and self.statistic == "ratio":
            raise ValueError(
                f"{self.measure} is a gap around 0, and a ratio of gaps means nothing; ask for statistic: difference"
            )
        if self.limit > 1 and (self.statistic == "ratio" or not self.of_errors):
            raise ValueError(f"limit is {self.limit:g}; a {self.statistic} of {self.measure} lies between 0 and 1")
        if self.class_name is not None and self.of_errors:
            raise ValueError(
                f"class_name goes with a multiclass model, and {self.measure} is of a regression; leave one out"
            )
        return self

    @property
    def of_errors(self) -> bool:
        """Whether the measure is of a regression's errors."""
        return self.measure in ("mean_error", "mean_absolute_error")

    @property
    def among(self) -> tuple[str, ...]:
        """The attributes whose groups, or intersections, are compared."""
        return self.attributes or (str(self.attribute),)


class RulesGate(Gate):
    """The expert rules in ``rules.yaml``."""

    kind: Literal["rules"]


class ReadinessGate(Gate):
    """The candidate answers recorded requests from its file, in a process without network, bit-equal and in time."""

    kind: Literal["readiness"]
    latency_ms: float = Field(250, gt=0)
    """What one row may take at the 95th percentile, validation of the row included."""
    memory_mb: float = Field(1024, gt=0)


class LeakageGate(Gate):
    """What the training data know and the world will not tell: leaks between the sides, in the columns, and in time.

    ``single_column_auc``: one column alone reaches it on the holdout. ``dominant_auc``: a column above it that also gives
    ``dominant_share`` of what the whole model has over 0.5 is a leak too. ``missingness_auc``: the same for the mere fact
    that a value is missing; 0.7 is a difference of 40 points between the classes' missing shares. ``duplicates``: row
    patterns on both sides beyond what a random split gives, as a share of the holdout's rows. ``label_jump``: Cohen's h
    between neighbouring stretches of the table, what the scores explain taken off; 0.2 is 30 % against 40 %, or 1 %
    against none. ``skew``: Jensen-Shannon distance between training and served rows above which they hardly share a value,
    as with another unit or code; a change of the world can reach 0.8, so smaller distances are told and never fail. ``minimum_rows``: training rows that each class
    and each protected group needs. Multiclass: the AUCs are the largest over each class against the rest. Regression: over
    being above each quartile of the labels; ``label_jump`` is then Cohen's d. ``excused``: columns that are known to predict this well, each with the reason why it
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


SliceMetric = Literal["log_loss", "brier", "error", "squared_error"]
SLICE_METRICS: dict[TargetKind, tuple[SliceMetric, ...]] = {
    "binary": ("log_loss", "brier", "error"),
    "multiclass": ("log_loss", "brier"),
    "regression": ("squared_error",),
}
"""Losses that a slice can be judged by. Multiclass: of each class against the rest, which have no threshold to be wrong about."""
FAIRNESS_MEASURES: dict[TargetKind, tuple[str, ...]] = {
    "binary": (
        "selection_rate",
        "true_positive_rate",
        "false_positive_rate",
        "precision",
        "accuracy",
        "equalized_odds",
        "calibration",
    ),
    "multiclass": (),
    "regression": (),
}
"""What groups can be compared by; a kind of model without any has no fairness gate yet, and a config that lists one is refused."""


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
    metric: SliceMetric = "log_loss"
    slices: tuple[NamedSlice, ...] = ()
    limit: float = Field(0.1, gt=0, le=10)
    search: bool = True
    columns: Literal["features", "inputs"] = "features"
    minimum_rows: int = Field(200, ge=40)


class StabilityGate(Gate):
    """Explanations agree between samples of rows and seeds."""

    kind: Literal["stability"]
    resamples: int = Field(10, ge=10, le=100)
    rows: int = Field(250, ge=50)
    """Rows explained in each sample."""
    top: int = Field(5, ge=1)
    rank_correlation: float = Field(0.8, gt=0, le=1)
    overlap: float = Field(0.6, gt=0, le=1)
    """Share of the first ``top`` drivers that two samples both name."""


class FaithfulnessGate(Gate):
    """Features with large attributions move the score more than random ones when they are replaced."""

    kind: Literal["faithfulness"]
    rows: int = Field(200, ge=50)
    limit: float = Field(0.0, ge=0, lt=1)
    """Score by which the mean move must be larger."""


class Perturbation(Spec):
    """One kind of damage to the rows, within what the model's columns declare.

    ``noise``: normal, ``strength`` interquartile ranges wide. The others hit a ``strength`` share of the cells:
    ``missing`` nullable columns, ``unseen`` categories of open category columns, ``out_of_range`` numbers far outside
    their range, ``unit`` numbers times 100 or divided by 1000. Numbers stay within their declared bounds.
    """

    kind: Literal["noise", "missing", "unseen", "out_of_range", "unit"]
    strength: float = Field(gt=0, le=1)
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

    kind: Literal["robustness"]
    metric: MetricName
    limit: float = Field(gt=0)
    perturbations: Annotated[tuple[Perturbation, ...], Field(min_length=1)] = DAMAGES
    rows: int = Field(5000, ge=100)
    """Rows of the holdout that are perturbed, drawn at random where there are more."""


class CalibrationGate(Gate):
    """Scores are rates: limits of the calibration error, slope and intercept, of all rows or of each group ``by``.

    Multiclass: of each class against the rest. Regression: scores are means; the slope is that of the labels on the
    scores, and error and intercept are in standard deviations of the labels, so that a limit means the same in any unit.
    """

    kind: Literal["calibration"]
    error: float = Field(0.05, gt=0, lt=1)
    """Largest debiased calibration error (root mean square over bins)."""
    slope: tuple[float, float] = (0.8, 1.25)
    intercept: float = Field(0.2, gt=0)
    """Largest shift in log-odds (regression: of the mean), either way, that would make the mean score right."""
    bins: int = Field(10, ge=2, le=50)
    by: str | None = None
    """A protected attribute: each of its groups is held to the limits instead of all rows."""
    benchmark: str = "all"

    @model_validator(mode="after")
    def _ordered(self) -> CalibrationGate:
        if not 0 < self.slope[0] < 1 < self.slope[1]:
            raise ValueError(
                f"slope is {self.slope[0]:g} to {self.slope[1]:g}; it must lie around 1, with a positive low bound"
            )
        return self


GateConfig = Annotated[
    DataGate
    | FloorGate
    | ComparisonGate
    | FairnessGate
    | RulesGate
    | ReadinessGate
    | StabilityGate
    | FaithfulnessGate
    | RobustnessGate
    | CalibrationGate
    | LeakageGate
    | SlicesGate,
    Field(discriminator="kind"),
]
