"""What every profile of one reference counts by: bin edges, known categories, groups, and the unit of each sum."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.science.data.protected import group_titles
from tasks.science.data.tables import LABEL, SCORE, score_columns
from tasks.spec.base import Spec, validate
from tasks.spec.cells import category_text
from tasks.spec.formats import LAYOUT, refuse_other_format
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig, Protected

FINE, COARSE = 100, 10
"""Quantile bins of a number, for Kolmogorov-Smirnov and Wasserstein; and wider ones, unions of these, for
divergences."""
BIN_ROWS = 5
"""Reference rows that a fine bin should hold at least."""
NAMED = 256
"""Categories of a column that are counted by name at most, the most frequent ones."""
NAMED_ROWS = 5
"""Rows that must share a category before its name is written down: what fewer people hold may tell who they are."""
CROSSING = 0.005
"""Share of rows that may move between listed and unlisted names by chance alone.

Where names are many and equally frequent, those that happened to be frequent in the reference would otherwise all seem
to have become rarer since."""
EDGE_ROWS = 20_000
"""Rows of a larger reference, evenly spaced, from which edges are taken; ends and counts are of all rows."""
SPIKE = 0.01
"""Share of equal values from which the smallest or largest one bounds a wide cell of its own."""
CELLS = 2048
BITS = 30
"""Bits of a fixed-point number that cover the reference's range; 8 more are headroom, see :data:`LARGEST`."""
LARGEST = 2.0**38
"""Fixed-point numbers are held within this, 256 times the reference's range: a sum of 2**14 is exact in a float64."""


class NumberLayout(Spec):
    """How one column of numbers is counted.

    Bin i holds [edges[i-1], edges[i]); bin 0 and the last lie outside the reference.
    """

    name: str
    edges: tuple[float, ...]
    """Ascending, from the reference's minimum to the next float after its maximum; empty where no value is finite."""
    coarse: tuple[int, ...]
    """Which of the edges bound the wide cells."""
    center: float
    quantum: float
    """Sums of differences to ``center`` are whole multiples of this power of two, so they are exact in any order."""
    minimum: float | None = None
    maximum: float | None = None
    """The declared range."""
    unit: str = ""


class CategoryLayout(Spec):
    name: str
    names: tuple[str, ...]
    """Categories counted by name: the declared ones, then the reference's, most frequent first."""
    fresh_share: float
    """Expected share of new rows with an unlisted name where nothing changed: Good's (1953) estimate from rare
    names."""


class Layout(Spec):
    """Fitted once on the reference of a version; profiles of different layouts are never put together."""

    format: int = LAYOUT.number
    model: str
    kind: TargetKind
    classes: tuple[str, ...]
    threshold: float | None
    reference_rows: int
    absent: tuple[str, ...]
    """Input columns that the reference does not have."""
    numbers: tuple[NumberLayout, ...]
    categories: tuple[CategoryLayout, ...]
    scores: tuple[NumberLayout, ...]
    """Of ``_score``; for a multiclass model of each class's score too."""
    label: NumberLayout | None
    """Regression: of the outcome."""
    protected: dict[str, Protected]

    def document(self) -> dict[str, object]:
        return self.model_dump(mode="json")

    @cached_property
    def key(self) -> str:
        """The digest by which profiles know their layout."""
        return self.digest()

    def group_titles(self, attribute: str) -> list[str]:
        return group_titles(self.protected[attribute])

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*(n.name for n in self.numbers), *(c.name for c in self.categories))


def load_layout(document: dict[str, object]) -> Layout:
    """Raises ConfigError where the layout was written in another format."""
    refuse_other_format(document, LAYOUT, "Fit it again on the version's reference.")
    return validate(document, Layout, "the profile layout")


Counted = dict[str, tuple[dict[str, int], int]]
"""By column what :func:`category_counts` gives."""


def fit_layout(config: ModelConfig, reference: pd.DataFrame, counted: Counted | None = None) -> Layout:
    """Choose edges, names and units on the reference.

    Args:
        config: the model's config.
        reference: (n, columns) raw inputs, the scores and ``_label``. A column that is absent, or holds nothing
            readable, is kept as such and reported where windows are compared.
        counted: filled with the categories' counts, for who profiles the same rows next.
    """
    counted = {} if counted is None else counted
    there = [c for c in config.inputs if c.name in reference]
    numbers = tuple(
        number_layout(c.name, readable(reference[c.name])[0], minimum=c.low, maximum=c.high, unit=c.unit or "")
        for c in there
        if c.kind.numeric
    )
    counted |= {c.name: category_counts(reference[c.name]) for c in there if not c.kind.numeric}
    categories = tuple(
        _category_layout(c.name, counted[c.name][0], len(reference), c.kind.known_names(c))
        for c in there
        if not c.kind.numeric
    )
    columns = dict.fromkeys([SCORE, *score_columns(config)])
    cut = () if config.decision_threshold is None else (config.decision_threshold,)
    scores = tuple(
        number_layout(name, _numbers_of(reference, name), also=cut if name == SCORE else ()) for name in columns
    )
    label = number_layout(LABEL, _numbers_of(reference, LABEL)) if config.kind == "regression" else None
    return Layout(
        model=config.name,
        kind=config.kind,
        classes=config.classes,
        threshold=config.decision_threshold,
        reference_rows=len(reference),
        absent=tuple(c.name for c in config.inputs if c.name not in reference),
        numbers=numbers,
        categories=categories,
        scores=scores,
        label=label,
        protected=config.protected,
    )


def _numbers_of(rows: pd.DataFrame, name: str) -> np.ndarray:
    return readable(rows[name])[0] if name in rows else np.empty(0)


def number_layout(
    name: str,
    values: np.ndarray,
    also: tuple[float, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
) -> NumberLayout:
    """Edges at quantiles that are values of the reference; a value that many rows share has a bin of its own.

    Args:
        values: (n,) numbers of any width, NaN where missing.
        also: edges asked for, whatever the values.
    """
    lowest, highest = _ends(values)
    if lowest > highest:
        return NumberLayout(
            name=name, edges=(), coarse=(), center=0.0, quantum=2.0**-BITS, minimum=minimum, maximum=maximum, unit=unit
        )
    sample = values[:: max(1, len(values) // EDGE_ROWS)].astype(float)
    sample = np.sort(sample[np.isfinite(sample)])
    sample = sample if len(sample) else np.array([lowest])
    fine = int(np.clip(len(sample) // BIN_ROWS // COARSE * COARSE, COARSE, FINE))
    wide = _quantile_edges(sample, COARSE)
    spiked = [np.mean(sample == end) >= SPIKE for end in (sample[0], sample[-1])]
    # some new rows always lie beyond an end that is no spike; a cell of them alone would be news in every large window
    wide = wide[(spiked[0] | (wide > sample[0])) & (spiked[1] | (wide < sample[-1]))]
    after = np.nextafter(highest, np.inf)
    wide = np.append(wide, after) if spiked[1] else wide
    edges = np.unique(np.concatenate([_quantile_edges(sample, fine), wide, [lowest, after], also]))
    center = float(sample[len(sample) // 2])
    spread = max(highest - center, center - lowest) or abs(center) or 1.0
    return NumberLayout(
        name=name,
        edges=tuple(map(float, edges)),
        coarse=tuple(int(i) for i in np.flatnonzero(np.isin(edges, wide))),
        center=center,
        quantum=power_of_two(spread),
        minimum=minimum,
        maximum=maximum,
        unit=unit,
    )


def power_of_two(spread: float) -> float:
    """The unit in which numbers up to ``spread`` take :data:`BITS` bits."""
    return float(2.0 ** (np.clip(np.ceil(np.log2(min(spread, 1e300))), -900, 900) - BITS))


def _quantile_edges(ordered: np.ndarray, bins: int) -> np.ndarray:
    at = ordered[np.round(np.linspace(0, len(ordered) - 1, bins + 1)).astype(int)]
    distinct, repeats = np.unique(at, return_counts=True)
    return np.union1d(distinct, np.nextafter(distinct[repeats > 1], np.inf))


def _ends(values: np.ndarray) -> tuple[float, float]:
    lowest, highest = np.inf, -np.inf
    for begin in range(0, len(values), 2**16):
        block = values[begin : begin + 2**16].astype(float, copy=False)
        low, high = block.min(), block.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            block = block[np.isfinite(block)]
            low, high = block.min(initial=np.inf), block.max(initial=-np.inf)
        lowest, highest = min(lowest, low), max(highest, high)
    return float(lowest), float(highest)


def _category_layout(name: str, seen: dict[str, int], rows: int, declared: tuple[str, ...]) -> CategoryLayout:
    ordered = sorted(seen, key=lambda v: (-seen[v], v))
    limit = max(NAMED_ROWS, seen[ordered[NAMED]] + 1) if len(ordered) > NAMED else NAMED_ROWS
    alike = Counter(seen.values())
    while limit * alike[limit] > CROSSING * rows:
        limit += 1
    kept = dict.fromkeys([*declared, *(v for v in ordered if seen[v] >= limit)])
    fresh = sum(count for v, count in seen.items() if v not in kept or (count <= limit and v not in declared))
    return CategoryLayout(name=name, names=tuple(kept), fresh_share=fresh / max(rows, 1))


def category_counts(values: pd.Series) -> tuple[dict[str, int], int]:
    """Rows by category, written as in training, and how many have none."""
    if isinstance(values.dtype, pd.StringDtype):
        found = pc.value_counts(pa.array(values))
        pairs = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    else:
        counted = values.value_counts(dropna=False)
        pairs = zip(counted.index.tolist(), counted.tolist(), strict=True)
    rows: dict[str, int] = {}
    missing = 0
    for value, count in pairs:
        if value is None or value is pd.NaT or value is pd.NA or value != value:
            missing += count
        elif count:  # a declared category of pandas may have no rows
            text = category_text(value)
            rows[text] = rows.get(text, 0) + count
    return rows, missing


def readable(values: pd.Series) -> tuple[np.ndarray, int]:
    """The column as numbers, without a copy where it holds numbers, and how many cells are unreadable.

    Returns:
        (n,) numbers of any width, NaN where missing or unreadable; the count of unreadable cells.
    """
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        return np.full(len(values), np.nan), int(values.notna().sum())
    if not pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(values.astype(object), errors="coerce")
        return numbers.to_numpy(float, na_value=np.nan), int((numbers.isna() & values.notna()).sum())
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "fiu":
        return values.to_numpy(), 0
    return values.to_numpy(float, na_value=np.nan), 0


@dataclass(frozen=True)
class BinIndex:
    """Lookup of a number's bin: even cells over the edges, each with its first bin and the first two edges within it.

    A row needs two comparisons at most. Rows of cells with more edges are searched by bisection, and they are few.
    """

    edges: np.ndarray
    low: float
    factor: float
    base: np.ndarray
    edge: np.ndarray
    second: np.ndarray
    crowded: np.ndarray
    some_second: bool
    some_crowded: bool

    def bins(self, block: np.ndarray) -> np.ndarray:
        """(n,) finite numbers to (n,) bins, as ``np.searchsorted(edges, block, side="right")``."""
        if not self.factor:
            return np.searchsorted(self.edges, block, side="right")
        cell = _cells(block, self.low, self.factor)
        found = self.base.take(cell)
        found += block >= self.edge.take(cell)
        if self.some_second:
            found += block >= self.second.take(cell)
        if self.some_crowded and (many := self.crowded.take(cell)).any():
            found[many] = np.searchsorted(self.edges, block[many], side="right")
        return found


def _cells(block: np.ndarray, low: float, factor: float) -> np.ndarray:
    """The first cell lies below ``low``; products may overflow, and are then as far out as they should be."""
    with np.errstate(over="ignore"):
        place = np.multiply(block, factor)
    place += 1 - low * factor
    np.clip(place, 0, CELLS + 1, out=place)
    return np.asarray(place, np.intp)


@lru_cache(maxsize=4096)
def bin_index(edges: tuple[float, ...]) -> BinIndex:
    """The index spans all but the outer bins, which in a long tail are as wide as all others together."""
    array = np.array(edges)
    inner = array[1:-1] if len(array) > 3 else array
    low, high = (float(inner[0]), float(inner[-1])) if len(inner) else (0.0, 0.0)
    factor = CELLS / (high - low) if high > low and np.isfinite(high - low) else 0.0
    if not factor or not np.isfinite(factor) or not np.isfinite(low * factor):
        return BinIndex(array, low, 0.0, *(np.empty(0, int),) * 4, some_second=False, some_crowded=False)
    cells = _cells(array, low, factor)
    base = np.searchsorted(cells, np.arange(CELLS + 2), side="left").astype(np.intp)
    within, beyond = np.bincount(cells, minlength=CELLS + 2), np.append(array, [np.inf, np.inf])
    second = np.where(within > 1, beyond[base + 1], np.inf)
    return BinIndex(
        array,
        low,
        factor,
        base,
        np.where(within > 0, beyond[base], np.inf),
        second,
        within > 2,
        bool((within > 1).any()),
        bool((within > 2).any()),
    )
