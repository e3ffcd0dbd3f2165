"""What a row is compared with where its decision is explained, and to which values reasons may name a change.

Both are recorded with the model and are read by everybody who reads its manifest. So they are made of each column by
itself: quantiles, shares of names, and rounded steps. No row of anybody is among them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.answering.encoding import Encoding, Table
from tasks.spec.data import Column
from tasks.spec.manifest import ColumnBackground

ROWS = 64
"""Background rows: as many as a machine word has bits."""
STEPS, NAMES = 20, 30
"""Values of a column of quantities, and of names, that reasons may name at most."""
FEW = 20
"""A value that fewer training rows have is none that reasons name."""
DAY = 86400.0


def recorded(columns: Sequence[Column], table: Table) -> dict[str, ColumnBackground]:
    """The background of each column from the training rows.

    Args:
        columns: of the features.
        table: (n, features) in table form.
    """
    return {c.name: (_quantities if c.kind.numeric else _names)(c, table[c.name]) for c in columns}


def _quantities(column: Column, cells: Any) -> ColumnBackground:
    found = np.asarray(cells, dtype=np.float64)
    known = np.sort(found[~np.isnan(found)])
    places = ((np.arange(ROWS) + 0.5) / ROWS * len(found)).astype(int)
    values = tuple(float(known[at]) if at < len(known) else None for at in places)
    return ColumnBackground(values=values, steps=steps(column, known) if column.changes != "never" else ())


def _names(column: Column, cells: Any) -> ColumnBackground:
    listed = cells.tolist() if hasattr(cells, "tolist") else list(cells)
    counts = Counter(None if v is None or v != v else str(v) for v in listed)
    ordered = sorted(counts, key=lambda name: (name is None, -counts[name], name or ""))
    ends = np.cumsum([counts[name] for name in ordered])
    places = np.searchsorted(ends, (np.arange(ROWS) + 0.5) / ROWS * len(listed), side="right")
    allowed = column.kind.known_names(column)
    may = [n for n in ordered if n is not None and counts[n] >= FEW and (not allowed or n in allowed)]
    return ColumnBackground(
        values=tuple(ordered[at] for at in places.tolist()),
        steps=tuple(may[:NAMES]) if column.changes != "never" else (),
    )


def steps(column: Column, known: np.ndarray) -> tuple[float, ...]:
    """Coarse values of a column, within its bounds and what training saw.

    Where many rows have one value, such as 0, the others are looked at by themselves, so that there are steps among
    them. Rounding makes them easy to say, and alike from one training to the next.

    Args:
        known: (n,) ascending values of the training rows.
    """
    distinct, counts = np.unique(known, return_counts=True)
    if not len(distinct):
        return ()
    if len(distinct) <= STEPS:
        return tuple(distinct[counts >= FEW].tolist())
    usual = distinct[counts.argmax()]
    rest = known[known != usual] if counts.max() > len(known) / STEPS else known
    places = ((np.arange(STEPS) + 0.5) / STEPS * len(rest)).astype(int)
    chosen = np.unique(rest[places])
    middles = (chosen[1:] + chosen[:-1]) / 2
    lows, highs = np.concatenate([chosen[:1], middles]), np.concatenate([middles, chosen[-1:]])
    unit = (1.0 if column.kind.whole else DAY) if column.kind.calendar else 0.0
    found = {_simplest(*each, unit, column.kind.whole) for each in zip(chosen, lows, highs, strict=True)}
    low = max(known[0], -math.inf if column.low is None else column.low)
    high = min(known[-1], math.inf if column.high is None else column.high)
    if counts.max() >= FEW:
        found.add(float(usual))
    return tuple(sorted(v for v in found if low <= v <= high))


def _simplest(near: float, low: float, high: float, unit: float, whole: bool) -> float:
    """The number with the fewest digits between two others; the nearest of them to a third."""
    if unit:
        return round(near / unit) * unit
    if low == high or near == 0:
        return float(near)
    exponent = math.floor(math.log10(max(abs(low), abs(high), high - low))) + 1
    for power in range(exponent, exponent - 16, -1):
        for digit in (5, 2, 1):
            step = digit * 10.0**power
            found = round(near / step) * digit * (10**power if power >= 0 else 1)
            value = float(found) if power >= 0 else found / 10**-power
            if low <= value <= high and not (whole and value != int(value)):
                return value
    return float(near)


def background_rows(encoding: Encoding, background: dict[str, ColumnBackground]) -> np.ndarray:
    """The rows that stand for all: each column's values, shuffled independently of the other columns.

    Returns:
        (rows, features) encoded. The same for everybody who has the manifest.

    Raises:
        ValueError: a feature has no background, or another number of values.
    """
    columns: dict[str, list[Any]] = {}
    for at, column in enumerate(encoding.columns):
        if column.name not in background or len(background[column.name].values) != ROWS:
            raise ValueError(f"the manifest's background does not hold {ROWS} values of {column.name}")
        order = np.argsort(np.random.PCG64([ROWS, at]).random_raw(ROWS), kind="stable")
        given = background[column.name].values
        columns[column.name] = [math.nan if given[i] is None else given[i] for i in order.tolist()]
    return encoding.table(columns)
