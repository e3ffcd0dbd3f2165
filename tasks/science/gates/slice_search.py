"""Where a model is worse than it should be: excess loss by slice, and a search for slices that have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from tasks.science.gates.excess_loss import (
    RATES,
    RIDGE,
    Law,
    Loss,
    correction,
    excess_loss,
    halves,
    judged,
    law,
    losses,
    scaled,
)
from tasks.science.stats.multiplicity import holm
from tasks.spec.columns import KINDS
from tasks.spec.kind import ColumnKind

NONE_DECLARED: Mapping[str, ColumnKind] = MappingProxyType({})
BINS = 6
CATEGORIES = 12
DEPTH = 3
"""Conditions of a slice at most."""
BEAM = 24
CANDIDATES = 5
OVERLAP = 0.5
"""Rows in common, as a share of the smaller slice, above which two slices are the same finding."""


@dataclass(frozen=True)
class Condition:
    """Rows whose code in ``column`` (its position) is from ``low`` to ``high``, ends included."""

    column: int
    low: int
    high: int


@dataclass(frozen=True)
class Codes:
    """The (n, c) table as small integers; ``names`` says for each column how a range of codes reads.

    ``ordered[j]`` is the number of codes that have an order; a category has none, and the last code is a missing value.
    """

    table: np.ndarray
    sizes: tuple[int, ...]
    ordered: tuple[int, ...]
    columns: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]
    categories: tuple[tuple[str, ...], ...]
    texts: tuple[Callable[[float], str], ...]
    """How a quantity of each column is written."""

    def mask(self, conditions: tuple[Condition, ...]) -> np.ndarray:
        """(n,) bool."""
        inside = np.ones(len(self.table), bool)
        for c in conditions:
            inside &= (self.table[:, c.column] >= c.low) & (self.table[:, c.column] <= c.high)
        return inside

    def sentence(self, conditions: tuple[Condition, ...]) -> str:
        return " and ".join(self._words(c) for c in sorted(conditions, key=lambda c: c.column))

    def _words(self, c: Condition) -> str:
        name, last = self.columns[c.column], self.sizes[c.column] - 1
        if c.low == last:
            return f"{name} missing"
        if not self.ordered[c.column]:
            return f"{name} {self.categories[c.column][c.low]}"
        text = self.texts[c.column]
        edges = self.edges[c.column]  # open ends, so that no single row's extreme value is shown
        if c.low == 0:
            return f"{name} under {text(edges[c.high])}"
        if c.high == self.ordered[c.column] - 1:
            return f"{name} at least {text(edges[c.low - 1])}"
        return f"{name} {text(edges[c.low - 1])} to under {text(edges[c.high])}"


@dataclass(frozen=True)
class Weakness:
    """A candidate of the search with what the other half of the rows says; ``p_value`` is Holm-adjusted."""

    sentence: str
    conditions: tuple[Condition, ...]
    loss: Loss
    p_value: float
    confirmed: bool


def discretise(rows: pd.DataFrame, kinds: Mapping[str, ColumnKind] = NONE_DECLARED) -> Codes:
    """Six quantile bins a number, the twelve most frequent values a category, and missing values apart.

    Args:
        rows: (n, c) raw rows.
        kinds: of the columns, by name; a column without one is written as a number.
    """
    written = tuple(kinds.get(str(name), KINDS["number"]).text for name in rows.columns)
    table, sizes, ordered, edges, categories = [], [], [], [], []
    for name in rows.columns:
        values, names = rows[name], pd.Index([])
        if pd.api.types.is_numeric_dtype(values):
            numbers = values.to_numpy(float, na_value=np.nan)
            known = numbers[~np.isnan(numbers)]
            # an edge at the minimum would leave nothing below it
            inner = (
                [
                    e
                    for e in np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="nearest"))
                    if e > known.min()
                ]
                if len(known)
                else []
            )
            code, count = np.searchsorted(np.array(inner), numbers, side="right"), len(inner) + 1
            ordered.append(count)
        else:
            texts = values if isinstance(values.dtype, pd.StringDtype) else values.astype(str).where(values.notna())
            kept = texts.value_counts().index[:CATEGORIES]
            place, different = pd.factorize(texts)
            found = np.append(kept.get_indexer(different), -1)[place]  # the last is for a missing value
            code, count, inner, names = (
                np.where(found < 0, len(kept), found),
                len(kept) + 1,
                [],
                kept.append(pd.Index(["of another value"])),
            )
            ordered.append(0)
        table.append(np.where(values.isna(), count, code))
        sizes.append(count + 1)
        edges.append(tuple(float(e) for e in inner))
        categories.append(tuple(str(v) for v in names))
    stacked = np.column_stack(table).astype(np.int64) if table else np.zeros((len(rows), 0), np.int64)
    names_of = tuple(map(str, rows.columns))
    return Codes(stacked, tuple(sizes), tuple(ordered), names_of, tuple(edges), tuple(categories), written)


@dataclass(frozen=True)
class _Ranges:
    """Every condition that one column can give, as positions in the histograms of all columns laid end to end."""

    column: np.ndarray
    low: np.ndarray
    high: np.ndarray
    offset: np.ndarray

    def condition(self, i: int) -> Condition:
        start = int(self.offset[self.column[i]])
        return Condition(int(self.column[i]), int(self.low[i]) - start, int(self.high[i]) - start)


def _ranges(codes: Codes) -> _Ranges:
    offset = np.concatenate([[0], np.cumsum(codes.sizes)])[:-1].astype(np.int64)
    found = []
    for j, (size, ordered) in enumerate(zip(codes.sizes, codes.ordered, strict=True)):
        spans = [(a, b) for a in range(ordered) for b in range(a, ordered) if b - a < ordered - 1]
        found += [(j, offset[j] + a, offset[j] + b) for a, b in [*spans, *((v, v) for v in range(ordered, size))]]
    table = np.array(found, np.int64).reshape(-1, 3)
    return _Ranges(table[:, 0], table[:, 1], table[:, 2], offset)


def _statistics(flat: np.ndarray, weights: np.ndarray, ranges: _Ranges, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and chi-squared of every condition, within the rows given.

    Rao's score test (1948) of intercept and slope at no correction. To first order it is twice the log likelihood that
    :func:`correction` would win in the slice, without fitting it and with the same prior.

    Args:
        flat: (m, c) codes with their column's offset.
        weights: (6, m).
    """
    every = flat.ravel()
    sums = [np.bincount(every, minlength=size)] + [
        np.bincount(every, np.repeat(w, flat.shape[1]), size) for w in weights
    ]
    running = np.concatenate([np.zeros((7, 1)), np.cumsum(np.array(sums), axis=1)], axis=1)
    n, u0, u1, v00, v01, v11, l2 = running[:, ranges.high + 1] - running[:, ranges.low]
    v00, v11 = v00 + RIDGE, v11 + RIDGE * l2 / np.maximum(n, 1) + 1e-9
    determinant = np.maximum(v00 * v11 - v01**2, 1e-6 * v00 * v11)
    return n, (u0**2 * v11 - 2 * u0 * u1 * v01 + u1**2 * v00) / determinant


def search(
    codes: Codes, label: np.ndarray, odds: np.ndarray, minimum: int, least: float, around: Law = RATES
) -> list[tuple[Condition, ...]]:
    """Slices of up to three conditions that look weakest: a beam search, as in slice finding (Chung et al. 2019).

    Each step adds one condition to the most conspicuous slices so far and scores all that arise from histograms.

    Args:
        label, odds: (n,) as :func:`tasks.science.gates.excess_loss.scaled` gives them, calibrated on the whole.
        minimum: rows of a slice at least.
        least: excess loss in nats a row below which a slice is no candidate.

    Returns:
        Up to 5 slices, the most conspicuous first, no two of them mostly the same rows.
    """
    p = around.mean(odds)
    u: np.ndarray = np.asarray(label - p)
    v: np.ndarray = around.variance(p)
    weights = np.array([u, u * odds, v, v * odds, v * odds**2, odds**2])
    ranges = _ranges(codes)
    if not len(ranges.column):
        return []
    flat, size = codes.table + ranges.offset, int(sum(codes.sizes))
    beam: list[tuple[Condition, ...]] = [()]
    pool: dict[frozenset[Condition], float] = {}
    for _ in range(DEPTH):
        level: dict[frozenset[Condition], float] = {}
        for parent in beam:
            rows = np.flatnonzero(codes.mask(parent))
            n, chi = _statistics(flat[rows], weights[:, rows], ranges, size)
            used = np.isin(ranges.column, [c.column for c in parent])
            able = (n >= minimum) & (n < len(rows)) & ~used
            # two degrees of freedom are won by chance
            strong = able & ((chi - 2) / np.maximum(2 * n, 1) >= least)
            for i in np.flatnonzero(able)[np.argsort(-chi[able], kind="stable")[: 4 * BEAM]]:
                level[frozenset((*parent, ranges.condition(i)))] = float(chi[i])
            for i in np.flatnonzero(strong)[np.argsort(-chi[strong], kind="stable")[: 4 * CANDIDATES]]:
                pool[frozenset((*parent, ranges.condition(i)))] = float(chi[i])
        beam = _varied(level)
    return _apart(codes, pool)


def _varied(level: dict[frozenset[Condition], float]) -> list[tuple[Condition, ...]]:
    """The most conspicuous slices, at most two by the same columns: ranges of one column are much alike."""
    seen: dict[frozenset[int], int] = {}
    kept: list[tuple[Condition, ...]] = []
    for conditions in sorted(level, key=lambda k: -level[k]):
        columns = frozenset(c.column for c in conditions)
        seen[columns] = seen.get(columns, 0) + 1
        if seen[columns] <= 2:
            kept.append(tuple(conditions))
        if len(kept) == BEAM:
            break
    return kept


def _apart(codes: Codes, pool: dict[frozenset[Condition], float]) -> list[tuple[Condition, ...]]:
    kept: list[tuple[tuple[Condition, ...], np.ndarray]] = []
    for conditions in sorted(pool, key=lambda k: -pool[k]):
        mask = codes.mask(tuple(conditions))
        if all((mask & other).sum() <= OVERLAP * min(mask.sum(), other.sum()) for _, other in kept):
            kept.append((tuple(conditions), mask))
        if len(kept) == CANDIDATES:
            break
    return [conditions for conditions, _ in kept]


def weak_slices(
    rows: pd.DataFrame,
    label: np.ndarray,
    score: np.ndarray,
    entity: np.ndarray | None,
    metric: str,
    threshold: float,
    limit: float,
    minimum: int,
    confidence: float,
    seed: int,
    kinds: Mapping[str, ColumnKind] = NONE_DECLARED,
) -> list[Weakness]:
    """Find weak slices on one random half of the rows and confirm them on the other.

    The scores are recalibrated as a whole first, so that a slice is weak against the rest and not for a fault that all
    rows share. A candidate is confirmed if its excess loss on the unseen half is above ``limit``, a share of the mean
    loss of all rows. Its p-value, adjusted for all candidates (Holm 1979), must also be under 1 - ``confidence``.

    Args:
        rows: (n, c) raw rows.
        label, score: (n,) bool and in [0, 1], or both numbers (``squared_error``).
        entity: (n,), or None.
        minimum: rows of a slice at least; half as many in each half.
        kinds: of the columns, by name, for the words of what is found.
    """
    first = halves(len(rows), entity, seed)
    around, whole = law(metric), float(losses(metric, label, score, threshold).mean())
    label, raw, size = scaled(metric, label, score)
    a, b = correction(label[first], raw[first], around)
    odds, whole = a + b * raw, whole * size
    nats = whole / 2 if metric == "squared_error" else float(losses("log_loss", label, score, threshold).mean())
    codes = discretise(rows, kinds)
    half = replace(codes, table=codes.table[first])
    found = search(half, label[first], odds[first], minimum // 2, limit * nats, around)
    tested = []
    for conditions in found:
        inside = codes.mask(conditions)
        fit, unseen = inside & first, inside & ~first
        gain = excess_loss(metric, label, odds, fit, unseen, threshold)
        tested.append(judged(gain, whole, None if entity is None else entity[unseen]))
    adjusted = holm([loss.p_value for loss in tested])
    return [
        Weakness(
            codes.sentence(c), c, loss, p, bool(p < 1 - confidence and loss.value > limit and loss.rows >= minimum // 4)
        )
        for c, loss, p in zip(found, tested, adjusted, strict=True)
    ]
