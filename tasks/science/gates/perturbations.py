"""Damage to raw rows, within what the model's columns declare: what a service would let in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.spec.data import Column
from tasks.spec.gates import Perturbation

UNSEEN = "a category never seen before"
FAR = 10.0
"""Interquartile ranges beyond the quartiles at which an out-of-range value lies, before the declared bounds cut it."""
UNITS = (100.0, 1 / 1000)


def touched(kind: str, columns: list[Column]) -> list[Column]:
    """The columns that a perturbation can reach.

    A column with declared categories is closed: the service refuses others, so the model never sees one. The same
    holds for a missing value in a column that is not nullable. A date or a moment has no unit that could be mistaken.
    """
    if kind == "missing":
        return [c for c in columns if c.nullable]
    if kind == "unseen":
        return [c for c in columns if c.kind.accepts_unseen(c)]
    if kind == "unit":
        return [c for c in columns if c.kind.operand == "quantity"]
    if kind == "swapped":
        return columns
    return [c for c in columns if c.kind.numeric]


def perturb(rows: pd.DataFrame, columns: list[Column], perturbation: Perturbation, seed: int) -> pd.DataFrame:
    """A damaged copy of the rows.

    Args:
        rows: (n, inputs) raw rows.
        columns: the model's features.
        perturbation: kind and strength; see :class:`tasks.spec.gates.Perturbation`.
        seed: of the cells that are hit and of the noise.

    Returns:
        (n, inputs) on the index of ``rows``; numbers stay within declared bounds, integers stay whole.
    """
    rng = np.random.default_rng(seed)
    damaged = rows.copy()
    for column in touched(perturbation.kind, columns):
        values = rows[column.name]
        if perturbation.kind == "noise":
            # The noise is drawn for every cell, a missing one too, so that the draw does not depend on the data.
            noisy = values + rng.normal(scale=perturbation.strength * _width(values), size=len(values))
            damaged[column.name] = column.kind.admissible(noisy, column)
            continue
        hit = rng.random(len(rows)) < perturbation.strength
        if perturbation.kind == "missing":
            damaged[column.name] = values.mask(hit)
        elif perturbation.kind == "unseen":
            damaged[column.name] = values.mask(hit, UNSEEN)
        elif perturbation.kind == "swapped":
            damaged[column.name] = values.mask(hit, values.iloc[rng.permutation(len(values))].set_axis(values.index))
        elif perturbation.kind == "unit":
            factor = rng.choice(UNITS, size=len(rows))
            damaged[column.name] = values.astype(float).mask(
                hit & values.notna(), column.kind.admissible(values * factor, column)
            )
        else:
            side = np.where(rng.random(len(rows)) < 0.5, -1.0, 1.0)
            far = values.median() + side * (FAR + 0.5) * max(_width(values), 1.0)
            damaged[column.name] = values.astype(float).mask(
                hit & values.notna(), column.kind.admissible(pd.Series(far, index=rows.index), column)
            )
    return damaged


def _width(values: pd.Series) -> float:
    """The interquartile range; of the non-zero values where most are zero."""
    for part in (values, values[values != 0]):
        width = float(part.quantile(0.75) - part.quantile(0.25)) if part.notna().any() else 0.0
        if width > 0:
            return width
    return 0.0
