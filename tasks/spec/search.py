"""What is searched, ``search`` of ``model.yaml``, and how one configuration is drawn from it (docs/search.md)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Finite, Spec, digest_json, problems_of
from tasks.spec.line import Line
from tasks.spec.metrics import MetricName
from tasks.spec.training import Placed, TrainingConfig, no_inputs

KIND, FEATURES, THRESHOLD = "estimator.kind", "features", "data.target.decision_threshold"
PARAMETERS, ENCODING, CLASS_WEIGHT = "estimator.parameters.", "estimator.encoding.", "estimator.class_weight"
NETWORK = "estimator.network."
ALLOWED = (KIND, f"{PARAMETERS}NAME", f"{NETWORK}NAME", CLASS_WEIGHT, f"{ENCODING}COLUMN", FEATURES, THRESHOLD)
"""Places of ``model.yaml`` that may be searched: those that make a model and leave its rows as they are."""
_PLACE = re.compile("|".join(re.escape(place).replace("NAME", r"\w+").replace("COLUMN", ".+") for place in ALLOWED))


class _Dimension(Spec):
    """What the kinds of dimensions share."""

    place: str
    """The key of ``model.yaml`` that is drawn, its parts joined by dots."""
    kinds: tuple[str, ...] = ()
    """Estimator kinds for which it is drawn; none: for all."""

    def applies(self, kind: str) -> bool:
        return not self.kinds or kind in self.kinds

    @property
    def name(self) -> str:
        """What tells it from the other dimensions of its place."""
        return f"{self.place} ({', '.join(self.kinds)})" if self.kinds else self.place


class Choice(_Dimension):
    """One of several values; ``null`` leaves the key out."""

    draw: Literal["choice"]
    of: Annotated[tuple[Any, ...], Field(min_length=2)]
    """The values."""

    @property
    def edges(self) -> tuple[Any, ...]:
        """Values that stand for all when a space is checked."""
        return self.of


class Number(_Dimension):
    """A number between two bounds, both inclusive."""

    draw: Literal["number"]
    low: Finite
    """The smallest value."""
    high: Finite
    """The largest value."""
    log: bool = False
    """Whether it is drawn evenly by its logarithm."""

    @model_validator(mode="after")
    def _rising(self) -> Number:
        _check_bounds(self)
        return self

    @property
    def edges(self) -> tuple[Any, ...]:
        return (self.low, self.high)


class Whole(_Dimension):
    """A whole number between two bounds, both inclusive."""

    draw: Literal["integer"]
    low: int
    """The smallest value."""
    high: int
    """The largest value."""
    log: bool = False
    """Whether it is drawn evenly by its logarithm."""

    @model_validator(mode="after")
    def _rising(self) -> Whole:
        _check_bounds(self)
        return self

    @property
    def edges(self) -> tuple[Any, ...]:
        return (self.low, self.high)


class Subset(_Dimension):
    """Input columns of which each may be a feature or not; the other features always stay."""

    draw: Literal["subset"]
    of: Annotated[tuple[str, ...], Field(min_length=1)]
    """The columns that are drawn, whether or not they are features now."""

    @property
    def edges(self) -> tuple[Any, ...]:
        return (list(self.of), [])


def _check_bounds(dimension: Number | Whole) -> None:
    if not dimension.low < dimension.high:
        raise ValueError(f"low is {dimension.low:g} and high {dimension.high:g}; low has to be the smaller one")
    if dimension.log and dimension.low <= 0:
        raise ValueError(f"low is {dimension.low:g}, and a logarithm needs numbers over 0; leave log out, or raise low")


Dimension = Annotated[Choice | Number | Whole | Subset, Field(discriminator="draw")]


class Search(Spec):
    """Configurations that are tried by cross-validation inside the training rows."""

    metric: MetricName
    """What is made as good as can be: its mean over the folds."""
    fairness: str | None = None
    """The name of a fairness gate whose measure is a second objective; the result is a front of compromises."""
    space: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    """What is drawn, and from where."""
    folds: int = Field(5, ge=2, le=20)
    """Parts of the training rows, each of which is predicted by a model of the others."""
    trials: int = Field(30, ge=1, le=2000)
    """Configurations that a study tries at most."""
    minutes: float = Field(60, gt=0, le=10_080)
    """Time of one run; a study goes on in the next."""
    parallel: int = Field(1, ge=1, le=16)
    """Trials that run side by side."""
    sampler: Literal["tpe", "random"] = "tpe"
    """``tpe``: later trials learn from earlier ones (Bergstra et al. 2011). ``random``: none does."""
    pruning: bool = True
    """Whether a trial ends early when its mean over the first folds is worse than the median of the others there.

    Never with ``fairness``.
    """

    def kinds(self, own: str) -> tuple[str, ...]:
        """The estimator kinds that can be drawn.

        Args:
            own: the one that ``estimator.kind`` says.
        """
        drawn = next((d for d in self.space if d.place == KIND), None)
        return tuple(map(str, drawn.edges)) if drawn else (own,)

    def dimensions(self, kind: str) -> Iterator[Choice | Number | Whole | Subset]:
        """What is drawn beside the kind itself once that is known."""
        return (d for d in self.space if d.place != KIND and d.applies(kind))


def drawn(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that drawn values make.

    What ``model.yaml`` says of parameters, network, factory and class weights holds for its own kind alone.

    Args:
        document: ``model.yaml`` as a mapping, or the part of it that makes a model.
        values: by place; None leaves the key out. Of ``features``, all of them.
    """
    made: dict[str, Any] = copy.deepcopy(dict(document))
    estimator, kind = made["estimator"], values.get(KIND, made["estimator"]["kind"])
    if kind != estimator["kind"]:
        made["estimator"] = {key: value for key, value in estimator.items() if key == "encoding"} | {"kind": kind}
    for place, value in values.items():
        part = next((p for p in (PARAMETERS, NETWORK, ENCODING) if place.startswith(p)), None)
        if part is not None:
            _put(made["estimator"].setdefault(part.split(".")[1], {}), place.removeprefix(part), value)
        elif place == CLASS_WEIGHT:
            _put(made["estimator"], "class_weight", value)
        elif place == THRESHOLD:
            _put(made["data"]["target"], "decision_threshold", value)
        elif place == FEATURES:
            made["features"] = list(value)
    encoding = made["estimator"].get("encoding") or {}
    if FEATURES in values and set(encoding) - set(made["features"]):
        made["estimator"]["encoding"] = {name: how for name, how in encoding.items() if name in made["features"]}
    return made


def _put(where: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        where.pop(key, None)
    else:
        where[key] = value


def configured(document: Mapping[str, Any]) -> TrainingConfig:
    """A drawn document as a configuration.

    Raises:
        ValidationError: its parts do not fit each other.
    """
    return TrainingConfig.model_validate_json(json.dumps(document))


def making(config: TrainingConfig) -> dict[str, Any]:
    """The part of a configuration that makes a model, as a mapping with just what is not the default."""
    return config.model_dump(mode="json", include=set(TrainingConfig.model_fields), exclude_defaults=True)


def configuration_digest(config: TrainingConfig) -> str:
    """What two configurations share that make the same model of the same rows."""
    found = making(config)
    kept = {key: found[key] for key in ("features", "estimator", "seed")}
    return digest_json(kept | {"target": found["data"]["target"], "weight": found["data"].get("weight")})


def corners(search: Search, document: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Drawn values that together show every kind and every edge of a space, each with the place that it is about."""
    own, at = document["estimator"]["kind"], {d.name: i for i, d in enumerate(search.space)}
    for kind in search.kinds(own):
        base = {KIND: kind} | {d.place: _whole(d, d.edges[0], document) for d in search.dimensions(kind)}
        yield ("search", "space"), base
        for d in search.dimensions(kind):
            for edge in d.edges[1:]:
                yield ("search", "space", at[d.name]), base | {d.place: _whole(d, edge, document)}


def _whole(dimension: Any, value: Any, document: Mapping[str, Any]) -> Any:
    """A drawn value as :func:`drawn` takes it: of a subset, all features that stay."""
    return staying(dimension, value, document["features"]) if isinstance(dimension, Subset) else value


def staying(dimension: Subset, kept: Iterable[str], features: Sequence[str]) -> list[str]:
    """All features where ``kept`` of those that may go were drawn; new ones stand behind."""
    chosen = set(kept)
    there = [name for name in features if name not in dimension.of or name in chosen]
    return there + [name for name in dimension.of if name in chosen and name not in features]


def space_problems(search: Search, config: TrainingConfig) -> list[Placed]:
    """What is wrong with a space, each with its place; what only the estimator's library knows is not asked here."""
    found = [*_place_problems(search, config), *_kind_problems(search, config)]
    if found:
        return found
    document, said = making(config), set[str]()
    for where, values in corners(search, document):
        _, problems = problems_of(drawn(document, values), TrainingConfig)
        for problem in problems[:1]:
            if problem.sentence not in said:
                told = f"search draws what no model can be made of: {problem.sentence} (with {shown(values)})"
                found.append((where, told))
            said.add(problem.sentence)
    return found


def shown(values: Mapping[str, Any]) -> str:
    """Drawn values in a sentence; features are left out, since they are many."""
    listed = {place: value for place, value in values.items() if place != FEATURES}
    return ", ".join(f"{place} {json.dumps(value)}" for place, value in listed.items())


def _place_problems(search: Search, config: TrainingConfig) -> list[Placed]:
    found: list[Placed] = []
    seen: list[tuple[str, str]] = []
    kinds = search.kinds(config.estimator.kind)
    for at, d in enumerate(search.space):
        where = ("search", "space", at)
        if not _PLACE.fullmatch(d.place):
            found.append(((*where, "place"), f"search.space names {d.place!r}; allowed: {', '.join(ALLOWED)}"))
        if (d.place == FEATURES) != isinstance(d, Subset):
            said = f"search.space draws {d.place} by {d.draw}; features go with draw: subset, and only they"
            found.append(((*where, "draw"), said))
        if d.place == KIND and (not isinstance(d, Choice) or d.kinds):
            found.append((where, f"search.space draws {KIND}, which takes draw: choice and no kinds"))
        for kind in kinds:
            if d.applies(kind) and (d.place, kind) in seen:
                said = f"search.space draws {d.place} twice for {kind}; name other kinds in each, or remove one"
                found.append(((*where, "place"), said))
                break
            seen += [(d.place, kind)] if d.applies(kind) else []
        if isinstance(d, Subset):
            found += no_inputs("search.space", [((*where, "of", i), name) for i, name in enumerate(d.of)], config)
            if set(d.of) >= set(config.features):
                found.append(((*where, "of"), "search.space may leave out every feature; keep one at least out of it"))
    return found


def _kind_problems(search: Search, config: TrainingConfig) -> list[Placed]:
    known = search.kinds(config.estimator.kind)
    return [
        (
            ("search", "space", at, "kinds"),
            f"search.space draws {d.place} for {', '.join(sorted(set(d.kinds) - set(known)))}, which is never drawn; "
            f"allowed: {', '.join(known)}",
        )
        for at, d in enumerate(search.space)
        if set(d.kinds) - set(known)
    ]


TrialState = Literal["complete", "pruned", "failed", "interrupted"]


class Estimate(Spec):
    """A mean over folds, or a measure of all rows, with its interval where one can be given."""

    value: Finite
    low: Finite | None = None
    high: Finite | None = None


class Trial(Spec):
    """One configuration that was tried."""

    number: int
    state: TrialState
    values: dict[str, Any]
    """What was drawn, by place."""
    configuration: str
    """Digest of what makes the model (:func:`configuration_digest`); empty where nothing was drawn."""
    metrics: dict[str, Estimate] = {}
    """Mean over the folds and Nadeau and Bengio's interval."""
    fairness: Estimate | None = None
    """The second objective, of all rows that were predicted."""
    folds: tuple[Finite, ...] = ()
    """The objective in each fold."""
    began: str
    seconds: float
    seed: int
    commit: str
    """The commit that the configuration was drawn from and fitted with."""
    said: str = ""
    """Why there is no result."""


Folded = Literal["time", "entities", "classes", "chance"]
"""How training rows are parted: in order of time, by entity, at random with each class in its share, or at random."""


class StudyRecord(Spec):
    """A study as it stands: what was asked, of which rows, and every trial."""

    study: str
    model: str
    commit: str
    data: str
    """Digest of the training rows."""
    code: str
    """Digest of the code that trains."""
    space: str
    """Digest of what is searched: space, objectives, folds, and the configuration that values are put into."""
    metric: MetricName
    greater_is_better: bool
    fairness: str | None = None
    """The gate of the second objective."""
    fairness_greater: bool = False
    folds: int
    folded: Folded
    rows: int
    trials: tuple[Trial, ...]

    @property
    def finished(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.state == "complete")

    def front(self) -> tuple[Trial, ...]:
        """Trials than which none is better: one, or with two objectives those that no other dominates.

        In the order of the first objective, the best first; of equal ones the earlier stands for all.
        """
        found: list[Trial] = []
        for one in sorted(self.finished, key=lambda t: (*self._losses(t), t.number)):
            losses = self._losses(one)
            if not any(all(a <= b for a, b in zip(self._losses(t), losses, strict=True)) for t in found):
                found.append(one)
        return tuple(found)

    def _losses(self, trial: Trial) -> tuple[float, ...]:
        """The objectives, each so that less is better."""
        metric = trial.metrics[self.metric].value
        found = [-metric if self.greater_is_better else metric]
        if self.fairness is not None and trial.fairness is not None:
            found.append(-trial.fairness.value if self.fairness_greater else trial.fairness.value)
        return tuple(found)


class SearchOrigin(Spec):
    """The trial of a study that tried a candidate's configuration first; on its verdict."""

    study: Line
    trial: int
    trials: int
    """Finished ones of the study: so many chances had the best to be lucky."""
    metric: MetricName
    estimate: Estimate
