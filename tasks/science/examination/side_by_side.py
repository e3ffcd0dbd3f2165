"""Two models on the same rows: metrics, groups and decisions, each as a paired difference with its interval.

Intervals hold at 95 % each, two-sided, and are not adjusted for their number: they say how sure each number is, and
nothing is judged by them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.stats.clusters import numbered
from tasks.science.stats.comparison import MetricEstimate, metric_estimate, paired_estimate
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.metrics import METRICS, measurable
from tasks.spec.metrics import METRIC_NAMES, TargetKind

TWO_SIDED = 0.975
"""Of each of the two bounds."""
DECIDED = {"accuracy", "balanced_accuracy", "f1", "precision", "recall"}
"""Metrics of decisions; each model decides by its own threshold."""


@dataclass(frozen=True)
class Sides:
    """What both models say of the same rows.

    Args:
        label: (n,) as :func:`tasks.science.data.tables.label_array` gives them.
        old, new: (n,) or (n, k) scores.
        old_threshold, new_threshold: None where nothing is decided.
        groups: (n, attributes) names, missing where a row is in none.
        entity: (n,) whose row it is; None where rows are independent.
    """

    kind: TargetKind
    classes: tuple[str, ...]
    label: np.ndarray
    old: np.ndarray
    new: np.ndarray
    old_threshold: float | None
    new_threshold: float | None
    groups: pd.DataFrame
    entity: np.ndarray | None
    seed: int

    @property
    def owners(self) -> np.ndarray | None:
        return None if self.entity is None else numbered(self.entity)


@dataclass(frozen=True)
class Effect:
    """One number of both models on the same rows, and how it moved."""

    name: str
    """A metric, or a rate of decisions: ``selection_rate``, ``true_positive_rate``, ``false_positive_rate``."""
    rows: int
    old: float
    new: float
    difference: float
    low: float | None
    high: float | None
    """None where so few rows give no interval."""
    method: str


@dataclass(frozen=True)
class GroupEffects:
    attribute: str
    group: str
    rows: int
    effects: tuple[Effect, ...]
    flipped_up: int
    """Rows that the newer model selects and the older did not; of several classes, all that are decided otherwise."""
    flipped_down: int


@dataclass(frozen=True)
class Flips:
    """Decisions that changed, as counts; nobody's row is named."""

    rows: int
    up: int
    down: int
    moves: tuple[tuple[str, str, int], ...] = ()
    """Of several classes: from, to and how many, the most frequent first."""


def metric_effects(sides: Sides) -> list[Effect]:
    """Every metric of this kind of model that has a value on these rows."""
    return [found for name in METRIC_NAMES[sides.kind] if (found := _metric(name, sides)) is not None]


def _metric(name: str, sides: Sides) -> Effect | None:
    old, new, threshold = sides.old, sides.new, 0.5
    if sides.kind == "binary" and name in DECIDED:
        old, new = (part.astype(float) for part in _decisions(sides))
    if not measurable(name, sides.label, old) or not measurable(name, sides.label, new):
        return None
    owners = sides.owners
    values = [METRICS[name].compute(sides.label, part, threshold) for part in (old, new)]
    if not np.isfinite(values).all():
        return None
    return _effect(
        name, len(sides.label), values, paired_estimate(name, sides.label, new, old, threshold, sides.seed, owners)
    )


def _effect(name: str, rows: int, values: list[float], found: MetricEstimate) -> Effect:
    interval = found.interval(TWO_SIDED)
    ends = [end if np.isfinite(end) and rows >= MINIMUM else None for end in (interval.low, interval.high)]
    return Effect(name, rows, values[0], values[1], values[1] - values[0], ends[0], ends[1], found.method)


def _decisions(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """(n,) what each decides: selected or not, or the class."""
    if sides.kind == "multiclass":
        return sides.old.argmax(axis=1), sides.new.argmax(axis=1)
    limits = (sides.old_threshold, sides.new_threshold)
    return tuple(  # type: ignore[return-value]
        np.zeros(len(part), bool) if limit is None else part >= limit
        for part, limit in zip((sides.old, sides.new), limits, strict=True)
    )


def decides(sides: Sides) -> bool:
    """Whether both decide anything."""
    return sides.kind == "multiclass" or None not in (sides.old_threshold, sides.new_threshold)


def flips(sides: Sides) -> Flips | None:
    """Decisions that changed; None where nothing is decided."""
    if not decides(sides):
        return None
    old, new = _decisions(sides)
    changed = old != new
    if sides.kind != "multiclass":
        return Flips(len(old), int((changed & new).sum()), int((changed & old).sum()))
    pairs = Counter(zip(old[changed].tolist(), new[changed].tolist(), strict=True)).most_common()
    moves = tuple((sides.classes[one], sides.classes[other], count) for (one, other), count in pairs)
    return Flips(len(old), int(changed.sum()), 0, moves)


def group_effects(sides: Sides) -> list[GroupEffects]:
    """By protected group: what fairness gates measure, and decisions that changed."""
    return list(_groups(sides))


def _groups(sides: Sides) -> Iterator[GroupEffects]:
    old, new = _decisions(sides) if decides(sides) else (np.zeros(len(sides.label), bool),) * 2
    for attribute in sides.groups:
        for group in sorted(sides.groups[attribute].dropna().unique()):
            inside = (sides.groups[attribute] == group).to_numpy(bool)
            changed = (old != new) & inside
            up = changed if sides.kind == "multiclass" else changed & new.astype(bool)
            down = np.zeros_like(changed) if sides.kind == "multiclass" else changed & old.astype(bool)
            effects = tuple(_rates(sides, inside))
            yield GroupEffects(str(attribute), str(group), int(inside.sum()), effects, int(up.sum()), int(down.sum()))


def _rates(sides: Sides, inside: np.ndarray) -> Iterator[Effect]:
    if sides.kind == "binary" and decides(sides):
        old, new = _decisions(sides)
        for name, rows in (
            ("selection_rate", inside),
            ("true_positive_rate", inside & sides.label.astype(bool)),
            ("false_positive_rate", inside & ~sides.label.astype(bool)),
        ):
            if rows.any():
                yield _share(name, old[rows], new[rows], sides, rows)
        return
    part = Sides(
        sides.kind, sides.classes, sides.label[inside], sides.old[inside], sides.new[inside], sides.old_threshold,
        sides.new_threshold, sides.groups[inside], None if sides.entity is None else sides.entity[inside], sides.seed,
    )  # fmt: skip
    found = _metric("accuracy" if sides.kind == "multiclass" else "mae", part) if inside.any() else None
    if found is not None:
        yield found


def _share(name: str, old: np.ndarray, new: np.ndarray, sides: Sides, rows: np.ndarray) -> Effect:
    """A share of selected rows: the accuracy where every label is "selected", so that its paired interval holds."""
    owners = sides.owners
    ones = np.ones(len(old), bool)
    found = paired_estimate(
        "accuracy",
        ones,
        new.astype(float),
        old.astype(float),
        0.5,
        sides.seed,
        None if owners is None else owners[rows],
    )
    return _effect(name, len(old), [float(old.mean()), float(new.mean())], found)


def value_interval(name: str, sides: Sides) -> tuple[float, float] | None:
    """The interval of the newer model's metric; None where it has none."""
    new, threshold = sides.new, 0.5
    if sides.kind == "binary" and name in DECIDED:
        new = _decisions(sides)[1].astype(float)
    interval = metric_estimate(name, sides.label, new, threshold, sides.seed, sides.owners).interval(TWO_SIDED)
    return (interval.low, interval.high) if np.isfinite([interval.low, interval.high]).all() else None
