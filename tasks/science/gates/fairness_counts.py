"""Rows counted once by protected group, label and decision, and the rates that follow from the counts.

Names and definitions are fairlearn's (Weerts et al. 2023, JMLR 24, 257), with one exception. A rate over no rows is NaN
here; fairlearn's 0 would let a group without positives pass for one that is never selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

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
class Groups:
    """The counts of g groups, or intersections of groups.

    ``names``: the groups, alphabetical by attribute. ``counts`` (g, 4): true negatives, false positives, false
    negatives, true positives. ``gaps`` (g,) and ``squares`` (g,): sums of score minus label and of its square.
    ``missing``: rows left out because an attribute is missing.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    gaps: np.ndarray
    squares: np.ndarray
    missing: int

    @property
    def rows(self) -> np.ndarray:
        """(g,) rows of each group."""
        return np.asarray(self.counts.sum(axis=1))

    def sample(self, measure: str) -> Sample:
        """The measure by group, (m, g), with the rows that it is a mean over; NaN over no rows.

        ``calibration`` is mean score minus observed rate (calibration-in-the-large within the group), ``mean_error``
        and ``mean_absolute_error`` the mean of what :func:`count_errors` was given.
        """
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
        return Groups(names, self.counts[kept], self.gaps[kept], self.squares[kept], self.missing)


@dataclass(frozen=True)
class Cube:
    """Counts over all attributes at once; every attribute and intersection follows without another look at the rows.

    ``levels``: names by attribute. ``table`` (levels + 1 for each attribute, 6): the four counts and two sums of
    :class:`Groups`; the last level of an attribute holds the rows where it is missing.
    """

    levels: dict[str, tuple[str, ...]]
    table: np.ndarray

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
        return Groups(tuple(kept), known[filled, :4], known[filled, 4], known[filled, 5], missing)


def count_groups(
    label: np.ndarray, decision: np.ndarray, groups: pd.DataFrame, score: np.ndarray | None = None
) -> Cube:
    """Count rows by protected groups, label and decision in one pass.

    Args:
        label, decision: (n,) bool.
        groups: (n, attributes) names, or missing.
        score: (n,) in [0, 1], for calibration; without it the sums stay 0.
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
    counts = np.bincount(
        code * 4 + 2 * np.asarray(label, bool) + np.asarray(decision, bool), minlength=4 * cells
    ).reshape(cells, 4)
    table = np.zeros((cells, 6))
    table[:, :4] = counts
    if score is not None:
        gap = score - np.asarray(label, float)
        table[:, 4] = np.bincount(code, gap, minlength=cells)
        table[:, 5] = np.bincount(code, gap**2, minlength=cells)
    return Cube(levels, table.reshape(*shape, 6))


def count_errors(label: np.ndarray, predicted: np.ndarray, groups: pd.DataFrame, absolute: bool) -> Cube:
    """Sums of a regression's errors (predicted minus true, or their absolute values) by protected groups.

    Args:
        label, predicted: (n,) finite numbers. groups: (n, attributes) names, or missing.
    """
    error = np.asarray(predicted, float) - np.asarray(label, float)
    nothing = np.zeros(len(groups), bool)
    return count_groups(nothing, nothing, groups, np.abs(error) if absolute else error)


def _encode(values: pd.Series) -> tuple[np.ndarray, Sequence[object]]:
    """Codes (n,), -1 where missing, and the names they stand for; a categorical column has them already."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy(), list(values.cat.categories)
    codes, found = pd.factorize(values, sort=True)
    return codes, list(found)
