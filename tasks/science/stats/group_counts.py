"""Rows counted once by protected group, label and decision, and the rates that follow from the counts.

Names and definitions are fairlearn's (Weerts et al. 2023, JMLR 24, 257), with one exception. A rate over no rows is NaN
here; fairlearn's 0 would let a group without positives pass for one that is never selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tasks.science.stats.clusters import design_effect, shared
from tasks.science.stats.disparity import Sample

RATES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    name: (np.array(counted, float), np.array(among, float))
    for name, counted, among in (
        ("selection_rate", [0, 1, 0, 1], [1, 1, 1, 1]),
        ("true_positive_rate", [0, 0, 0, 1], [0, 0, 1, 1]),
        ("false_positive_rate", [0, 1, 0, 0], [1, 1, 0, 0]),
        ("false_negative_rate", [0, 0, 1, 0], [0, 0, 1, 1]),
        ("precision", [0, 0, 0, 1], [0, 1, 0, 1]),
        ("accuracy", [1, 0, 0, 1], [1, 1, 1, 1]),
    )
}
"""Which of a group's four counts (true negatives, false positives, false negatives, true positives) a rate counts,
among which.
"""

AMONG = {
    "true_positive_rate": "positives",
    "false_positive_rate": "negatives",
    "false_negative_rate": "positives",
    "precision": "selected rows",
}
"""What the rows are called that a rate is a share of, where not all."""

MEASURES: dict[str, tuple[str, ...]] = {name: (name,) for name in RATES} | {
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
    "calibration": ("calibration",),
    "mean_error": ("mean_error",),
    "mean_absolute_error": ("mean_absolute_error",),
}
"""What a gate may ask for, and the numbers by group that it is made of."""


@dataclass(frozen=True)
class Owned:
    """The rows behind :class:`Groups`, one by one, where their entities are known.

    ``place`` (n,): which of the groups a row belongs to, -1 for none. ``cell`` (n,): which of the four counts it is
    in. ``gap`` (n,): what ``gaps`` sums. ``owners`` (n,): the number of its entity.
    """

    place: np.ndarray
    cell: np.ndarray
    gap: np.ndarray
    owners: np.ndarray

    def select(self, kept: np.ndarray) -> Owned:
        """Rows of the groups that are kept, which are numbered anew."""
        place = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)[self.place]
        inside = place >= 0
        return Owned(place[inside], self.cell[inside], self.gap[inside], self.owners[inside])


@dataclass(frozen=True)
class Groups:
    """The counts of g groups, or intersections of groups.

    ``names``: the groups, alphabetical by attribute. ``counts`` (g, 4): true negatives, false positives, false
    negatives, true positives. ``gaps`` (g,) and ``squares`` (g,): sums of score minus label and of its square.
    ``missing``: rows left out because an attribute is missing. ``owned``: the rows and their entities; without it rows
    are independent.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    gaps: np.ndarray
    squares: np.ndarray
    missing: int
    owned: Owned | None = None

    @property
    def rows(self) -> np.ndarray:
        """(g,) rows of each group."""
        return np.asarray(self.counts.sum(axis=1))

    def sample(self, measure: str) -> Sample:
        """The measure by group, (m, g), with the rows that it is a mean over; NaN over no rows.

        ``calibration`` is mean score minus observed rate (calibration-in-the-large within the group), ``mean_error``
        and ``mean_absolute_error`` the mean of what :func:`count_errors` was given.
        """
        found = self._independent(measure)
        return found if self.owned is None else _owned_sample(found, measure, self.owned)

    def _independent(self, measure: str) -> Sample:
        if measure not in RATES and measure != "equalized_odds":
            rows = self.rows.astype(float)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = self.gaps / rows
                spread = np.sqrt(np.maximum(self.squares - rows * mean**2, 0) / np.maximum(rows - 1, 1))
            return Sample(mean[None], rows[None], spread[None])
        parts = [RATES[name] for name in MEASURES[measure]]
        counted = np.array([self.counts @ part for part, _ in parts])
        among = np.array([self.counts @ part for _, part in parts])
        with np.errstate(invalid="ignore"):
            return Sample(counted / among, among)

    def select(self, kept: np.ndarray) -> Groups:
        """These groups alone; ``kept`` (g,) bool."""
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        owned = None if self.owned is None else self.owned.select(kept)
        return Groups(names, self.counts[kept], self.gaps[kept], self.squares[kept], self.missing, owned)


def _owned_sample(sample: Sample, measure: str, rows: Owned) -> Sample:
    """The sample with the number of entities, and of the independent rows that all are worth (Rao & Scott 1992).

    The design effects of a measure's groups are their own. An entity may have rows in several groups, or count in two
    measures. Where that moves two numbers against each other, both are worth less, until their difference varies as
    much as it does by sums over entities.
    """
    names = MEASURES[measure]
    effective, entities = np.ones(sample.rows.shape), np.zeros(sample.rows.shape)
    known, of_rates = int(rows.owners.max(initial=-1)) + 1, measure in RATES or measure == "equalized_odds"
    for m, name in enumerate(names):
        inside = RATES[name][1][rows.cell] > 0 if of_rates else np.ones(len(rows.cell), bool)
        place, owners = rows.place[inside], rows.owners[inside]
        influence = (RATES[name][0][rows.cell[inside]] if of_rates else rows.gap[inside]) - sample.values[m, place]
        sums = np.bincount(place * known + owners, influence, minlength=known * sample.rows.shape[1])
        apart = _against(sums.reshape(-1, known) / np.maximum(sample.rows[m], 1)[:, None])
        for g in range(sample.rows.shape[1]):
            own = owners[place == g]
            entities[m, g] = len(np.unique(own))
            alone = shared(own)
            effect = 1.0 if alone is None else design_effect(influence[place == g], alone).at()
            effective[m, g] = max(np.floor(sample.rows[m, g] / (effect * apart[g])), 1.0)
    return replace(sample, effective=effective, entities=entities)


def _against(sums: np.ndarray) -> np.ndarray:
    """(g,) by how much each group's variance falls short of its share in the variance of a difference; 1 or more.

    Args:
        sums: (g, entities) contributions to the groups' numbers.
    """
    shared_variance = sums @ sums.T
    own = np.diag(shared_variance)
    both = own[:, None] + own
    ratio = np.divide(both - 2 * shared_variance, both, out=np.ones_like(both), where=both > 0)
    np.fill_diagonal(ratio, 1.0)
    return np.asarray(np.maximum(ratio.max(axis=1), 1.0))


@dataclass(frozen=True)
class Cube:
    """Counts over all attributes at once; every attribute and intersection follows without another look at the rows.

    ``levels``: names by attribute. ``table`` (levels + 1 for each attribute, 6): the four counts and two sums of
    :class:`Groups`; the last level of an attribute holds the rows where it is missing.
    """

    levels: dict[str, tuple[str, ...]]
    table: np.ndarray
    owned: Owned | None = None
    """With the cell of the whole table as each row's place."""

    def groups(self, *attributes: str) -> Groups:
        """Groups of one attribute, or the intersections of several that hold rows."""
        axes = [list(self.levels).index(a) for a in attributes]
        others = tuple(i for i in range(len(self.levels)) if i not in axes)
        table = self.table.sum(axis=others)
        order = sorted(axes)
        table = np.moveaxis(table, [order.index(a) for a in axes], range(len(axes)))
        known = table[tuple(slice(-1) for _ in axes)].reshape(-1, 6)
        names = pd.MultiIndex.from_product([self.levels[a] for a in attributes])
        filled = known[:, :4].sum(axis=1) > 0
        kept = [" and ".join(map(str, name)) for name, full in zip(names, filled, strict=True) if full]
        missing = int(round(table[..., :4].sum() - known[:, :4].sum()))
        owned = None if self.owned is None else self._placed(axes, filled)
        return Groups(tuple(kept), known[filled, :4], known[filled, 4], known[filled, 5], missing, owned)

    def _placed(self, axes: list[int], filled: np.ndarray) -> Owned:
        """The rows, placed by some attributes alone; those where one is missing are left out."""
        assert self.owned is not None
        at = np.unravel_index(self.owned.place, self.table.shape[:-1])
        sizes = [len(list(self.levels.values())[i]) for i in axes]
        missing = np.any([at[i] == size for i, size in zip(axes, sizes, strict=True)], axis=0)
        place = np.ravel_multi_index([np.minimum(at[i], n - 1) for i, n in zip(axes, sizes, strict=True)], sizes)
        return replace(self.owned, place=np.where(missing, -1, place)).select(filled)


def count_groups(
    label: np.ndarray,
    decision: np.ndarray,
    groups: pd.DataFrame,
    score: np.ndarray | None = None,
    owners: np.ndarray | None = None,
) -> Cube:
    """Count rows by protected groups, label and decision in one pass.

    Args:
        label, decision: (n,) bool.
        groups: (n, attributes) names, or missing.
        score: (n,) in [0, 1], for calibration; without it the sums stay 0.
        owners: (n,) the number of the entity whose row it is; None where rows are independent.
    """
    code = np.zeros(len(groups), np.intp)
    levels: dict[str, tuple[str, ...]] = {}
    for attribute in groups.columns:
        codes, found = _encode(groups[attribute])
        levels[str(attribute)] = tuple(str(name) for name in found)
        code *= len(found) + 1
        code += np.where(codes < 0, len(found), codes)
    shape = tuple(len(found) + 1 for found in levels.values())
    cells = int(np.prod(shape))
    cell = 2 * np.asarray(label, bool) + np.asarray(decision, bool)
    table = np.zeros((cells, 6))
    table[:, :4] = np.bincount(code * 4 + cell, minlength=4 * cells).reshape(cells, 4)
    gap = np.zeros(len(code)) if score is None else score - np.asarray(label, float)
    if score is not None:
        table[:, 4] = np.bincount(code, gap, minlength=cells)
        table[:, 5] = np.bincount(code, gap**2, minlength=cells)
    owned = None if owners is None else Owned(code, np.asarray(cell, np.intp), gap, owners)
    return Cube(levels, table.reshape(*shape, 6), owned)


def count_errors(
    label: np.ndarray,
    predicted: np.ndarray,
    groups: pd.DataFrame,
    absolute: bool,
    owners: np.ndarray | None = None,
) -> Cube:
    """Sums of a regression's errors (predicted minus true, or their absolute values) by protected groups.

    Args:
        label, predicted: (n,) finite numbers. groups: (n, attributes) names, or missing.
    """
    error = np.asarray(predicted, float) - np.asarray(label, float)
    nothing = np.zeros(len(groups), bool)
    return count_groups(nothing, nothing, groups, np.abs(error) if absolute else error, owners)


def _encode(values: pd.Series) -> tuple[np.ndarray, Sequence[object]]:
    """Codes (n,), -1 where missing, and the names they stand for; a categorical column has them already."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy(), list(values.cat.categories)
    codes, found = pd.factorize(values, sort=True)
    return codes, list(found)
