"""Rows that everybody can make again from the model file alone, for comparing two ways to answer.

They are drawn from what the model itself distinguishes: its thresholds and their neighbours, its names, what it never
saw, and gaps. The draws are raw output of numpy's PCG64, which is fixed, unlike the distributions above it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tasks.answering.compiling import Answering
from tasks.answering.estimators import Boosting, Forest
from tasks.answering.preparation import Quantities
from tasks.spec.cells import LARGEST

EXTREMES = (0.0, -0.0, 1.0, -1.0, 5e-324, LARGEST, -LARGEST)
SPREADS = (-3.0, -1.0, -0.25, 0.0, 0.5, 2.0)
MOST_THRESHOLDS, MOST_NAMES = 60, 200
GAP, STRANGE = 8, 16
"""One value in eight is missing; one in sixteen is extreme or unseen."""


def drawn(answering: Answering, count: int, seed: int) -> dict[str, list[Any]]:
    """Rows in table form: for each feature a column of ``count`` numbers, or of texts and NaN."""
    found: dict[str, list[Any]] = {}
    for at, column in enumerate(answering.encoding.columns):
        raw = np.random.PCG64([seed, at]).random_raw(count)
        common, strange = pools(answering, column.name)
        places = (raw >> np.uint64(16)).astype(np.int64)
        found[column.name] = [
            math.nan
            if draw % GAP == 0
            else strange[place % len(strange)]
            if draw % STRANGE == 1
            else common[place % len(common)]
            for draw, place in zip(raw.tolist(), places.tolist(), strict=True)
        ]
    return found


def every_value(answering: Answering) -> dict[str, list[Any]]:
    """Rows in table form in which each feature has every name it knows, an unseen one, a gap, and its numbers."""
    values = {}
    for column in answering.encoding.columns:
        common, strange = pools(answering, column.name, MOST_THRESHOLDS, None)
        values[column.name] = [*common, *strange, math.nan]
    longest = max(len(v) for v in values.values())
    return {name: [v[at % len(v)] for at in range(longest)] for name, v in values.items()}


def pools(
    answering: Answering, name: str, thresholds: int = MOST_THRESHOLDS, names: int | None = MOST_NAMES
) -> tuple[list[Any], list[Any]]:
    """Values of a feature: what a row usually has, and what it seldom has."""
    if name in answering.encoding.codes:
        known = [n for n in answering.encoding.codes[name] if n]
        return _spread(known, names or len(known)) or [unseen(known)], [unseen(known)]
    found: list[float] = []
    before = 0
    for part in answering.estimator.preparation.parts:
        if isinstance(part, Quantities):
            at = [answering.encoding.columns[c].name for c in part.columns]
            if name in at:
                found += _of_part(part, at.index(name))
                kept = list(range(len(at))) if part.kept is None else part.kept.tolist()
                if at.index(name) in kept:
                    found += _edges(answering, before + kept.index(at.index(name)), thresholds)
        before += part.width
    return found or [0.0], list(EXTREMES)


def _of_part(part: Quantities, at: int) -> list[float]:
    found = []
    if part.fills is not None and not np.isnan(part.fills[at]):
        found.append(float(part.fills[at]))
    if part.mean is not None and part.scale is not None:
        kept = list(range(len(part.columns))) if part.kept is None else part.kept.tolist()
        if at in kept:
            mean, scale = float(part.mean[kept.index(at)]), float(part.scale[kept.index(at)])
            found += [mean + scale * spread for spread in SPREADS]
    return found


def _edges(answering: Answering, prepared: int, most: int) -> list[float]:
    """Thresholds of a prepared column, and the next numbers on both sides, of doubles and of floats."""
    if not isinstance(answering.estimator, Boosting | Forest):
        return []
    trees = answering.estimator.trees
    asked = trees.threshold[~trees.leaf & (trees.feature == prepared)]
    chosen = _spread(np.unique(asked[np.isfinite(asked)]).tolist(), most)
    found = []
    for threshold in chosen:
        single = np.float32(threshold)
        found += [threshold, math.nextafter(threshold, -math.inf), math.nextafter(threshold, math.inf)]
        found += [float(np.nextafter(single, np.float32(side))) for side in (-np.inf, np.inf)]
    return [value for value in found if abs(value) <= LARGEST]


def _spread(values: list[Any], most: int) -> list[Any]:
    if len(values) <= most:
        return values
    return [values[at * len(values) // most] for at in range(most)]


def unseen(known: list[str]) -> str:
    """A name that is not among those."""
    name = "never seen"
    while name in known:
        name += "."
    return name
