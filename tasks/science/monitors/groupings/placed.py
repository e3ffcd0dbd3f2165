"""A window placed in the model's own view of its inputs, beside the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.monitors.groupings.events import Sides

FEWEST = 50
"""Rows, or labelled rows, below which nothing is concluded."""


@dataclass(frozen=True)
class PlacedWindow:
    """The rows of a window that are looked at and have a place."""

    sides: Sides
    """Their places, and those of the reference."""
    rows: pd.DataFrame
    """(n, columns) raw inputs, scores and labels."""
    asked: int
    """Rows of the whole window."""
    unplaced: int
    """Rows that were looked at and have no finite numbers in the embedding."""

    @property
    def n(self) -> int:
        """Rows that have a place."""
        return len(self.rows)


def mean_of_known(values: np.ndarray) -> float | None:
    """The mean of the finite values; None where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
