"""The part of ``model.yaml`` that makes a model: all that the DVC stages read.

It stands apart from the gates and the monitoring of :class:`tasks.spec.model.ModelConfig`, so that a change of what
judges or watches a model does not retrain it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationInfo, model_validator

from tasks.spec.base import Spec, read_yaml, refuse, registered, validate
from tasks.spec.data import Column, Data
from tasks.spec.data_source import misplaced, source_folder
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import ESTIMATORS, FORMER, Estimator, renamed
from tasks.spec.expression_types import columns_named, condition_fault, label_fault, operands, resolve
from tasks.spec.metrics import TargetKind
from tasks.spec.models import Name, model_file
from tasks.spec.moments import layout_fault
from tasks.spec.targets import BinaryTarget, MulticlassTarget

BESIDE = "decision_threshold"


class TrainingConfig(Spec):
    """What DVC makes a model from."""

    name: Name
    """The name of its folder: small letters, digits and underscores."""
    title: str
    """What the model predicts; the service says it, so it is part of the manifest."""
    seed: int = Field(ge=0, lt=2**32)
    """Of the split, of the estimator, and of the rows that are drawn for explanations."""
    data: Data
    """The table that it is made from."""
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    """Input columns that the estimator sees."""
    estimator: Estimator
    """What is fitted."""

    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Registered versions from before 2026-11-28 have ``decision_threshold`` beside ``data``, not in
        ``data.target``; those from before 2026-12-01 may call an mlp ``neural_network``."""
        data, estimator = document.get("data"), document.get("estimator")
        if isinstance(estimator, dict) and estimator.get("kind") == FORMER:
            document = document | {"estimator": renamed(estimator)}
        if BESIDE not in document or not isinstance(data, dict) or not isinstance(data.get("target"), dict):
            return document
        kept = {key: value for key, value in document.items() if key != BESIDE}
        return kept | {"data": data | {"target": data["target"] | {BESIDE: document[BESIDE]}}}

    @model_validator(mode="after")
    def _check_columns(self) -> TrainingConfig:
        names = [c.name for c in self.data.columns]
        found: list[Placed] = [
            (("data", "columns", at, "name"), f"column {name} is declared twice; remove one, or give it another name")
            for at, name in _again(names)
        ]
        found += [
            (("features", at), f"features names {name!r} more than once; name it once")
            for at, name in _again(self.features)
        ]
        found += self._source_problems()
        found += no_inputs("features", [(("features", i), name) for i, name in enumerate(self.features)], self)
        for key in ("period", "entity", "weight"):
            named = getattr(self.data, key)
            if named is not None and named not in names:
                said = f"data names {named!r}, which is no column; allowed: {', '.join(names)}"
                found.append((("data", key), said))
        refuse(type(self).__name__, found)
        return self

    def _source_problems(self) -> list[Placed]:
        """Two columns of one name in the source, and names where the source has none."""
        found: list[Placed] = []
        seen: dict[str, str] = {}
        for at, column in enumerate(self.data.columns):
            where = ("data", "columns", at, "source")
            other = seen.setdefault(column.original, column.name)
            if other != column.name:
                found.append((where, f"columns {other} and {column.name} are both {column.original!r} in the source"))
            if column.source is not None and not self.data.source.reading.header:
                found.append(
                    (where, f"column {column.name} names a source, and data.source.header is false; remove it")
                )
        return found

    @model_validator(mode="after")
    def _check_target(self) -> TrainingConfig:
        refuse(type(self).__name__, self._target_problems())
        return self

    @model_validator(mode="after")
    def _check_expressions(self, info: ValidationInfo) -> TrainingConfig:
        if registered(info):
            return self
        data = self.data
        label = label_fault(data.target.kind, data.target.expression, data.columns)
        faults: list[Placed] = [(("data", "target", "expression"), label)]
        for key in ("rows", "base"):
            text = getattr(data, key)
            if text is not None:
                faults.append((("data", key), condition_fault(f"data.{key}", text, data.columns)))
        refuse(type(self).__name__, [(place, fault) for place, fault in faults if fault])
        return self

    @model_validator(mode="after")
    def _check_fitting(self) -> TrainingConfig:
        refuse(type(self).__name__, [*self._weight_problems(), *self._encoding_problems()])
        return self

    def _weight_problems(self) -> list[Placed]:
        found: list[Placed] = []
        weight, weights = self.data.weight, self.estimator.class_weight
        column = next((c for c in self.data.columns if c.name == weight), None)
        if column is not None and column.kind.operand != "quantity":
            said = f"data.weight names {weight}, which is a {column.type}; allowed are columns of numbers"
            found.append((("data", "weight"), said))
        if weight is not None and weight in self.features:
            said = f"data.weight names {weight}, which is a feature; a row's weight says nothing about its label"
            found.append((("data", "weight"), said))
        place = ("estimator", "class_weight")
        if weights is not None and self.kind == "regression":
            found.append((place, "class_weight is given, and a regression model has no classes; remove it"))
        elif isinstance(weights, dict) and set(weights) != set(self.class_names):
            said = f"class_weight names {', '.join(weights)}; allowed: each of {', '.join(self.class_names)}"
            if {"true", "false"} & set(weights) - set(self.class_names):
                said += ". YAML reads yes and no without quotes as true and false, so quote them: 'yes', 'no'"
            found.append((place, said))
        return found

    def _encoding_problems(self) -> list[Placed]:
        found: list[Placed] = []
        for name in self.estimator.encoding:
            if name not in self.category_features:
                said = (
                    f"estimator.encoding names {name!r}, which is no category among the features; allowed: "
                    f"{', '.join(self.category_features) or 'none'}"
                )
                found.append((("estimator", "encoding", name), said))
        return found

    def _target_problems(self) -> list[Placed]:
        kind, threshold, where = self.kind, self.decision_threshold, f"data.target.{BESIDE}"
        place, found = ("data", "target", BESIDE), list[Placed]()
        if kind == "binary" and (threshold is None or not 0 < threshold < 1):
            found.append((place, f"{where} is {threshold}; a binary model needs one between 0 and 1, both exclusive"))
        if kind == "multiclass" and threshold is not None:
            found.append(
                (place, f"{where} is given, and a multiclass model decides for its most probable class; remove it")
            )
        if kind == "regression" and threshold is not None and not math.isfinite(threshold):
            said = (
                f"{where} is {threshold}; of a regression model it is a number in the target's unit, or left out "
                "where nothing is decided"
            )
            found.append((place, said))
        if self.estimator.kind not in ESTIMATORS[kind]:
            said = (
                f"estimator.kind is {self.estimator.kind!r}; allowed for a {kind} model: {', '.join(ESTIMATORS[kind])}"
            )
            found.append((("estimator", "kind"), said))
        return found

    @property
    def kind(self) -> TargetKind:
        return self.data.target.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a multiclass model, in the order of its scores; of others, none."""
        return self.data.target.classes if isinstance(self.data.target, MulticlassTarget) else ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by label: of a binary model, negative and positive; of a regression, none."""
        target = self.data.target
        return (target.negative, target.positive) if isinstance(target, BinaryTarget) else self.classes

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
        return tuple(c for c in self.data.columns if c.served)

    @property
    def numeric_features(self) -> list[str]:
        return [f for f in self.features if self.column(f).kind.numeric]

    @property
    def category_features(self) -> list[str]:
        return [f for f in self.features if not self.column(f).kind.numeric]


def _again(names: Iterable[str]) -> list[tuple[int, str]]:
    """Each name that came before, with its place in the list."""
    seen, found = set[str](), list[tuple[int, str]]()
    for at, name in enumerate(names):
        if name in seen:
            found.append((at, name))
        seen.add(name)
    return found


Placed = tuple[tuple[str | int, ...], str]
"""Where a problem stands in ``model.yaml``, and a sentence."""


def no_inputs(part: str, named: Iterable[Placed], config: TrainingConfig) -> list[Placed]:
    """Names that are of no input column, each with what is allowed.

    Args:
        part: which part of the config names them.
        named: where each stands, and the name.
    """
    inputs = [c.name for c in config.inputs]
    late = {c.name for c in config.data.columns if c.available == "after"}
    allowed = f"allowed: {', '.join(inputs)}"
    why = {
        column: "is available: after, that is known only after the prediction, so a request cannot hold it"
        for column in late
    }
    return [
        (where, f"{part} names {column!r}, which {why.get(column, 'is no input column')}; {allowed}")
        for where, column in named
        if column not in inputs or column in late
    ]


NOT_OF_TRAINING = (
    "purpose", "owner", "materiality", "protected", "unprotected", "benchmarks", "gates", "monitoring", "labels",
    "search", "holdout_budget", "card", "envelope",
)  # fmt: skip
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
    if found := beside(raw):
        raise ConfigError(f"{path}: {'; '.join(said for _, said in found)}.")
    config = validate(raw, schema, str(path))
    if found := misfits(config, name):
        raise ConfigError(f"{path}: {'; '.join(said for _, said in found)}.")
    return config


def beside(raw: Mapping[str, Any]) -> list[Placed]:
    """What a registered version may say in a way of its time, and nothing that is trained now.

    The threshold beside ``data``, where DVC does not see it change; and the former name of an mlp.
    """
    found: list[Placed] = []
    if BESIDE in raw:
        found.append(((BESIDE,), f"{BESIDE} stands beside data, where DVC does not see it. Move it into data.target"))
    estimator = raw.get("estimator")
    if isinstance(estimator, dict) and estimator.get("kind") == FORMER:
        said = (
            f"estimator.kind is {FORMER!r}, which is called mlp now. Write kind: mlp, and say its layers and how it is "
            "trained under estimator.network"
        )
        found.append((("estimator", "kind"), said))
    return found


def misfits(config: TrainingConfig, name: str) -> list[Placed]:
    """What does not fit the folder that a config stands in, and what configs of registered versions may still say."""
    found: list[Placed] = []
    if place := misplaced(config.data.source, name):
        said = (
            f"data.source names {place!r}, and only a change below {source_folder(name)}/ is seen. Move the file "
            "there, name it there, and add it with 'dvc add' (or, if it is small, with git)"
        )
        found.append((("data", "source"), said))
    found += [*_column_problems(config), *_target_column_problems(config)]
    if config.name != name:
        said = f"name is {config.name!r}, and the folder says {name!r}. Make them the same"
        found.append((("name",), said))
    return found


def _column_problems(config: TrainingConfig) -> list[Placed]:
    """Bounds, names and formats of columns that contradict their type, or that no date can be read by."""
    found: list[Placed] = []
    for at, column in enumerate(config.data.columns):
        for key, bound in (("minimum", column.low), ("maximum", column.high)):
            if bound is not None and not (math.isfinite(bound) and (not column.kind.whole or bound == int(bound))):
                said = f"column {column.name} has {key} {getattr(column, key)}, which is no {column.kind.noun}"
                found.append((("data", "columns", at, key), f"{said}; write one, or leave {key} out"))
        listed = column.categories or ()
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            said = f"column {column.name} lists the categories {', '.join(twice)} more than once; list each once"
            found.append((("data", "columns", at, "categories"), said))
        if column.format is not None and (wrong := layout_fault(column.format)):
            said = f"column {column.name} has format {column.format!r}, {wrong}"
            found.append((("data", "columns", at, "format"), said))
    return found


def _target_column_problems(config: TrainingConfig) -> list[Placed]:
    """Columns that the target is computed from: as features they give the label away."""
    text = config.data.target.expression
    known = columns_named(resolve(text, operands(config.data.columns)))
    place, found = ("data", "target", "expression"), list[Placed]()
    if given := [name for name in config.features if name in known]:
        said = (
            f"data.target.expression is {text!r}, and {', '.join(given)} is among the features, so the label would be "
            "known from what the model sees. Remove it from features; where the target is a difference to it, such "
            "as a change, let the source hold the difference as a column"
        )
        found.append((place, said))
    if config.data.weight in known:
        said = f"data.weight names {config.data.weight}, which data.target.expression is computed from; choose another"
        found.append((("data", "weight"), said))
    return found
