"""A window as counts: what its monitors need, small, exactly mergeable, and without a single person's row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.monitors.profiles.counts import (
    COARSER,
    ODD,
    attribution_quantum,
    count_category,
    count_number,
    fixed_sum,
    group_codes,
    outcome_codes,
    smallest,
)
from tasks.science.monitors.profiles.layout import (
    NAMED_ROWS,
    Counted,
    Layout,
    NumberLayout,
    category_counts,
    readable,
)
from tasks.spec.errors import ConfigError
from tasks.spec.formats import PROFILE, refuse_other_format

ALL = "*"
"""The group of everybody, where outcomes are counted by group."""


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts of one window by one layout. Merging adds whole numbers, so any order of parts gives the same.

    ``counts``: int64 arrays by name: ``bins:x``, ``odd:x`` (see :data:`ODD`) of a number, ``names:x`` of a category,
    ``outcomes:attribute`` (groups + 1, scores, label states), ``grouping``, ``explained``.
    ``sums``: whole numbers of any size in fixed point. ``least``, ``most``: ends of the finite values.
    ``unseen``: names beyond the layout's, as many as are remembered.
    """

    layout: str
    rows: int
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    unseen: dict[str, dict[str, int]] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self._plain(1) == other._plain(1)

    def odd(self, name: str) -> dict[str, int]:
        """Cells of a number column that are missing, unreadable, infinite or out of range, and rows without the
        column."""
        return dict(zip(ODD, self.counts[f"odd:{name}"].tolist(), strict=True))

    def means(self, layout: NumberLayout) -> np.ndarray:
        """(bins,) mean of each bin's values, NaN where it has none."""
        rows, total = self.counts[f"bins:{layout.name}"], self.sums[f"bins:{layout.name}"]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(layout.center + total.astype(float) / rows * layout.quantum)

    def moments(self, layout: NumberLayout) -> tuple[float, float]:
        """Mean and standard deviation of the finite values (divided by n); NaN where there are none."""
        rows = int(self.counts[f"bins:{layout.name}"].sum())
        if not rows:
            return float("nan"), float("nan")
        total, squares = map(int, self.sums[f"powers:{layout.name}"])
        mean = total / rows
        variance = max(squares / rows * COARSER**2 - mean**2, 0.0)
        return layout.center + mean * layout.quantum, variance**0.5 * layout.quantum

    def attributions(self, layout: Layout) -> dict[str, tuple[float, float]]:
        """By feature the mean attribution and the mean of its size; empty where none were given."""
        rows = int(self.counts["explained"][0]) if "explained" in self.counts else 0
        found = {k.removeprefix("attribution:"): v for k, v in self.sums.items() if k.startswith("attribution:")}
        unit = attribution_quantum(layout) / max(rows, 1)
        return {name: (int(v[0]) * unit, int(v[1]) * unit) for name, v in found.items()} if rows else {}

    def _plain(self, at_least: int) -> dict[str, Any]:
        kept = {c: {n: k for n, k in sorted(names.items()) if k >= at_least} for c, names in self.unseen.items()}
        parts = (self.counts, self.sums)
        counts, sums = ({name: array.tolist() for name, array in sorted(part.items())} for part in parts)
        ends = {"least": dict(sorted(self.least.items())), "most": dict(sorted(self.most.items()))}
        return {
            "layout": self.layout,
            "rows": self.rows,
            "counts": counts,
            "sums": sums,
            **ends,
            "unseen": dict(sorted(kept.items())),
        }

    def document(self) -> dict[str, Any]:
        """JSON-able. New names that fewer than :data:`NAMED_ROWS` rows hold are withheld; they stay counted."""
        return {"format": PROFILE.number, **self._plain(NAMED_ROWS)}


def load_profile(document: dict[str, Any]) -> Profile:
    """Raises ConfigError where the profile was written in another format, or is none."""
    refuse_other_format(document, PROFILE, "Make the profile again from the window's rows.")
    try:
        counts = {name: np.array(value, np.int64) for name, value in document["counts"].items()}
        sums = {name: np.array(value, object) for name, value in document["sums"].items()}
        ends = {end: {name: float(v) for name, v in document[end].items()} for end in ("least", "most")}
        return Profile(document["layout"], int(document["rows"]), counts, sums, **ends, unseen=document["unseen"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the document is no profile ({type(error).__name__}: {error}). Make the profile again from the "
            "window's rows."
        ) from None


def merge(one: Profile, other: Profile) -> Profile:
    """Both windows together; exact, and the same in any order and grouping.

    Raises:
        ConfigError: the profiles count by different layouts.
    """
    if one.layout != other.layout:
        raise ConfigError(
            f"profiles of two layouts ({one.layout[:19]} and {other.layout[:19]}) cannot be put together; profile "
            "the rows of both by one."
        )
    unseen = {}
    for column in {*one.unseen, *other.unseen}:
        parts = one.unseen.get(column, {}), other.unseen.get(column, {})
        unseen[column] = smallest(
            {name: parts[0].get(name, 0) + parts[1].get(name, 0) for name in {*parts[0], *parts[1]}}
        )
    return Profile(
        one.layout,
        one.rows + other.rows,
        _joined(one.counts, other.counts, _added),
        _joined(one.sums, other.sums, _added),
        _joined(one.least, other.least, min),
        _joined(one.most, other.most, max),
        unseen,
    )


def _joined(one: dict[str, Any], other: dict[str, Any], both: Callable[[Any, Any], Any]) -> dict[str, Any]:
    return {
        k: both(one[k], other[k]) if k in one and k in other else one.get(k, other.get(k)) for k in {**one, **other}
    }


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groupings may have more groups in one part: what is not there is 0."""
    if one.shape == other.shape:
        return np.asarray(one + other)
    short, long = sorted((one, other), key=len)
    total = long.copy()
    total[: len(short)] += short
    return np.asarray(total)


def profile(
    layout: Layout,
    rows: pd.DataFrame,
    attributions: pd.DataFrame | None = None,
    groups: np.ndarray | None = None,
    counted: Counted | None = None,
) -> Profile:
    """Count one window, or any part of one.

    Args:
        layout: of the version's reference.
        rows: (n, columns) raw inputs, and as far as there are any ``_score`` and ``_label``. An input column that is
            not there counts as missing in every row, and as absent.
        attributions: (k, features) of these rows or a sample of them, in the unit of the score or in log-odds.
        groups: (n,) whole numbers from 0: the group of each row in the grouping that is followed; -1 for none.
        counted: the categories' counts of these rows, where :func:`fit_layout` made them.
    """
    counted = counted or {}
    found = Profile(layout.key, len(rows))
    for number in (*layout.numbers, *layout.scores, *([layout.label] if layout.label else [])):
        _add_number(found, number, rows)
    for category in layout.categories:
        values = rows[category.name] if category.name in rows else pd.Series([None] * len(rows), dtype=object)
        seen = counted.get(category.name) or category_counts(values)
        found.counts[f"names:{category.name}"], found.unseen[category.name] = count_category(category, *seen)
        found.counts[f"absent:{category.name}"] = np.array([0 if category.name in rows else len(rows)])
    if all(s.name in rows for s in layout.scores):
        _add_outcomes(found, layout, rows)
    if attributions is not None:
        unit = attribution_quantum(layout)
        known = attributions[np.isfinite(attributions.to_numpy(float)).all(axis=1)]
        found.counts["explained"] = np.array([len(known)])
        for name in known.columns:
            values = known[name].to_numpy(float)
            found.sums[f"attribution:{name}"] = _whole([fixed_sum(values, unit), fixed_sum(np.abs(values), unit)])
    if groups is not None:
        found.counts["grouping"] = np.bincount(np.asarray(groups, np.int64) + 1)
    return found


def _whole(values: list[int]) -> np.ndarray:
    return np.array(values, object)


def _add_number(found: Profile, layout: NumberLayout, rows: pd.DataFrame) -> None:
    name = layout.name
    values, unreadable = readable(rows[name]) if name in rows else (np.full(len(rows), np.nan), 0)
    counts, sums, powers, odd, least, most = count_number(layout, values)
    odd[0] -= unreadable
    odd[1], odd[-1] = unreadable, 0 if name in rows else len(rows)
    found.counts[f"bins:{name}"], found.counts[f"odd:{name}"] = counts, odd
    found.sums[f"bins:{name}"], found.sums[f"powers:{name}"] = sums, _whole(powers)
    if least <= most:
        found.least[name], found.most[name] = least, most


def _add_outcomes(found: Profile, layout: Layout, rows: pd.DataFrame) -> None:
    scores = {s.name: readable(rows[s.name])[0] for s in layout.scores}
    place, state, (places, states) = outcome_codes(layout, rows, scores)
    cell = place.astype(np.int32) * states + state
    found.counts[f"outcomes:{ALL}"] = np.bincount(cell, minlength=places * states).reshape(1, places, states)
    for attribute, codes in group_codes(layout, rows).items():
        known = layout.group_titles(attribute)
        code = np.where(codes < 0, len(known), codes).astype(np.int32)
        size = (len(known) + 1) * places * states
        found.counts[f"outcomes:{attribute}"] = np.bincount(code * (places * states) + cell, minlength=size).reshape(
            -1, places, states
        )


@dataclass(frozen=True)
class Outcomes:
    """What became of one group's rows."""

    group: str
    rows: int
    selected: int
    """Binary, and regression with a threshold: rows at or above it."""
    confusion: tuple[int, int, int, int] | None
    """Labelled rows: true negatives, false positives, false negatives, true positives."""
    decided: tuple[int, ...]
    """Multiclass: rows by class decided for."""


def outcomes(layout: Layout, found: Profile, attribute: str = ALL) -> list[Outcomes]:
    """By group of an attribute; of everybody without one. Empty where the window has no scores."""
    if f"outcomes:{attribute}" not in found.counts:
        return []
    names = ["all"] if attribute == ALL else layout.group_titles(attribute)
    cubes = found.counts[f"outcomes:{attribute}"]
    if layout.kind == "multiclass":
        return [
            Outcomes(n, int(c.sum()), 0, None, tuple(map(int, c.sum(axis=1)[:-1])))
            for n, c in zip(names, cubes, strict=False)
        ]
    edges = np.array(layout.scores[0].edges)
    first = len(edges) + 1 if layout.threshold is None else int(np.searchsorted(edges, layout.threshold)) + 1
    listed = []
    for name, cube in zip(names, cubes, strict=False):
        above, below = cube[first : len(edges) + 1].sum(axis=0), cube[:first].sum(axis=0)
        confusion = int(below[1]), int(above[1]), int(below[2]), int(above[2])
        listed.append(
            Outcomes(name, int(cube.sum()), int(above.sum()), None if layout.threshold is None else confusion, ())
        )
    return listed


def labels(layout: Layout, found: Profile) -> dict[str, int]:
    """Rows by label, and how many have none."""
    if f"outcomes:{ALL}" not in found.counts:
        return {}
    unknown, *known = found.counts[f"outcomes:{ALL}"][0].sum(axis=0).tolist()
    titles = layout.classes or (("negative", "positive") if layout.kind == "binary" else ("below", "above"))
    return {"unknown": unknown, **dict(zip(titles, known, strict=True))}
