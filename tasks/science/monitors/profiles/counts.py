"""Counting the rows of a window by a layout: one pass a column, whole numbers only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tasks.science.data.protected import group_names, group_titles
from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.profiles.layout import (
    LARGEST,
    CategoryLayout,
    Layout,
    NumberLayout,
    bin_index,
    power_of_two,
    readable,
)

BLOCK = 2**14
"""Numbers looked at together: they stay in the cache, and their fixed-point sums are exact."""
COARSER, NEAR = 2.0**11, 2.0**30
"""Squares are summed in wider units; of numbers within the reference's range a block's sum is exact as it is."""
ODD = ("missing", "unreadable", "minus_infinity", "infinity", "under_minimum", "over_maximum", "absent")
"""What is counted of a number column beside its bins; the first four lie in no bin."""
REMEMBERED = 1000
"""Unlisted names that are remembered for a column: those of the smallest hashes, so that merging keeps the same
ones."""


def count_number(
    layout: NumberLayout, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray, float, float]:
    """Count one column of numbers.

    Args:
        values: (n,) numbers of any width, NaN where missing.

    Returns:
        (bins,) rows and (bins,) exact sums by bin; [sum, sum of squares]; (ODD,) counts; the smallest and the largest
        finite value.
    """
    places, size = bin_index(layout.edges), len(layout.edges) + 1
    counts, odd = np.zeros(size, np.int64), np.zeros(len(ODD), np.int64)
    sums, total, squares = np.zeros(size, object), np.zeros(size, np.int64), 0
    lowest, highest = np.inf, -np.inf
    for number, block in enumerate(_blocks(values)):
        low, high = block.min(), block.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            odd[[0, 2, 3]] += [np.isnan(block).sum(), (block == -np.inf).sum(), (block == np.inf).sum()]
            block = block[np.isfinite(block)]
            low, high = block.min(initial=np.inf), block.max(initial=-np.inf)
        if not len(block):
            continue
        lowest, highest = min(lowest, float(low)), max(highest, float(high))
        if layout.minimum is not None and low < layout.minimum:
            odd[4] += int((block < layout.minimum).sum())
        if layout.maximum is not None and high > layout.maximum:
            odd[5] += int((block > layout.maximum).sum())
        bins = places.bins(block)
        counts += np.bincount(bins, minlength=size)
        whole = fixed(block, layout.quantum, layout.center)
        far = max(abs(float(low) - layout.center), abs(float(high) - layout.center)) > NEAR * layout.quantum
        total += np.bincount(bins, weights=whole, minlength=size).astype(np.int64)
        squares += _square_sum(whole, far)
        if number % 1024 == 1023:  # 2**10 blocks of at most 2**52 each fit into 64 bits
            sums, total = sums + total.astype(object), np.zeros(size, np.int64)
    sums = sums + total.astype(object)
    return counts, sums, [int(sums.sum()), squares], odd, lowest, highest


def fixed(values: np.ndarray, quantum: float, center: float = 0.0) -> np.ndarray:
    """Differences to ``center`` as whole multiples of ``quantum``, held within :data:`LARGEST`."""
    with np.errstate(over="ignore"):  # what overflows is held at the limit like all that is too large
        whole = np.subtract(values, center)
        whole *= 1 / quantum
    np.rint(whole, out=whole)
    np.clip(whole, -LARGEST, LARGEST, out=whole)
    return np.asarray(whole)


def fixed_sum(values: np.ndarray, quantum: float) -> int:
    """The exact sum of (n,) numbers in fixed point."""
    return sum(int(fixed(block, quantum).sum()) for block in _blocks(values))


def _square_sum(whole: np.ndarray, far: bool) -> int:
    """Sum of squares in units of ``COARSER ** 2``.

    Where rows lie far out it is computed by halves of the bits, so that every partial sum is a whole number below
    2**53.
    """
    coarse = np.rint(whole * (1 / COARSER))
    if not far:
        return int(coarse.dot(coarse))
    upper = np.rint(coarse * 2.0**-14)
    lower = coarse - upper * 2.0**14
    return int(upper.dot(upper)) * 2**28 + int(upper.dot(lower)) * 2**15 + int(lower.dot(lower))


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(values), BLOCK):
        yield values[begin : begin + BLOCK].astype(float, copy=False)


def number_codes(layout: NumberLayout, values: np.ndarray) -> np.ndarray:
    """(n,) bins, the one after the last for what is no finite number; infinities go to the outer bins."""
    places, last = bin_index(layout.edges), len(layout.edges)
    codes = np.full(len(values), last + 1, np.int16)
    for number, block in enumerate(_blocks(values)):
        here = codes[number * BLOCK : number * BLOCK + len(block)]
        finite = np.isfinite(block)
        here[finite] = places.bins(block[finite])
        here[block == np.inf], here[block == -np.inf] = last, 0
    return codes


def count_category(layout: CategoryLayout, found: dict[str, int], missing: int) -> tuple[np.ndarray, dict[str, int]]:
    """(names + 2,) rows by name, then of unlisted names and of missing ones; and the unlisted names to remember."""
    listed, known = [found.get(name, 0) for name in layout.names], set(layout.names)
    other = {name: count for name, count in found.items() if name not in known}
    return np.array([*listed, sum(other.values()), missing], np.int64), smallest(other)


def smallest(names: dict[str, int]) -> dict[str, int]:
    """The names of the smallest hashes, a bottom-k sketch: that of a union follows from its parts' (Beyer et al.
    2007)."""
    if len(names) <= REMEMBERED:
        return names
    every = np.array(list(names), object)
    hashes = pd.util.hash_array(every)
    kept = np.lexsort((every.astype(str), hashes))[:REMEMBERED]
    return {name: names[name] for name in every[kept]}


def group_codes(layout: Layout, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """(n,) code of each row's group by attribute, -1 for none or where the column is absent.

    The groups are those of ``protected_groups``, computed through the distinct values.
    """
    found = {}
    for attribute, spec in layout.protected.items():
        if spec.column not in rows:
            found[attribute] = np.full(len(rows), -1)
            continue
        values, titles = rows[spec.column], group_titles(spec)
        if spec.edges is not None:
            numbers = readable(values)[0]
            band = np.searchsorted(np.array(spec.bands), numbers, side="right") - 1
            found[attribute] = np.where((band >= len(titles)) | np.isnan(numbers), -1, band)
            continue
        codes, distinct = pd.factorize(values)
        named = pd.Categorical(
            group_names(spec, pd.Series(np.asarray(distinct, object), dtype=object)), categories=titles
        ).codes.astype(np.int64)
        found[attribute] = np.append(named, -1)[codes]
    return found


def outcome_codes(
    layout: Layout, rows: pd.DataFrame, scores: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Every row's score bin (multiclass: decided class) and label state, and how many there are of each.

    Label states: 0 unknown; binary: 1 negative, 2 positive; multiclass: 1 + class; regression: 1 below the threshold,
    2 at or above it.
    """
    label = rows[LABEL] if LABEL in rows else pd.Series(np.nan, index=rows.index)
    if layout.kind == "multiclass":
        table = np.column_stack([scores[f"{SCORE}:{name}"].astype(float) for name in layout.classes])
        broken = np.isnan(table).any(axis=1)
        decided = np.where(broken, len(layout.classes), np.where(np.isnan(table), -np.inf, table).argmax(axis=1))
        known = np.asarray(pd.Categorical(label, categories=list(layout.classes)).codes, np.int64) + 1
        return decided, known, (len(layout.classes) + 1, len(layout.classes) + 1)
    numbers = readable(label)[0].astype(float, copy=False)
    cut = 0.5 if layout.kind == "binary" else np.nan if layout.threshold is None else layout.threshold
    state = np.where(np.isnan(numbers), 0, np.where(numbers >= cut, 2, 1)).astype(np.int8)
    return number_codes(layout.scores[0], scores[SCORE]), state, (len(layout.scores[0].edges) + 2, 3)


def attribution_quantum(layout: Layout) -> float:
    """Attributions are in the unit of the score, or in log-odds."""
    return layout.scores[0].quantum if layout.kind == "regression" else power_of_two(64.0)
