"""Has a column, or the score, another distribution than in the reference window?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact, ks_2samp

BINS = 10
RARE = 5


@dataclass(frozen=True)
class Shift:
    """``distance`` is the Jensen-Shannon distance (base 2, 0 to 1); ``excess`` is it less what sampling alone gives."""

    column: str
    p_value: float
    distance: float
    excess: float
    missing_reference: float
    missing_window: float
    missing_p: float


def shift(reference: pd.Series, window: pd.Series, name: str) -> Shift:
    """Compare one column.

    Numbers: two-sample Kolmogorov-Smirnov. Categories: chi-squared on the contingency table with rare ones put
    together (Pearson 1900). The distance is taken over reference deciles or categories, missing values as one more;
    its expectation under no change is about ``sqrt((k - 1) / (8 ln 2) (1/n + 1/m))`` and is taken off in ``excess``.
    """
    missing = float(reference.isna().mean()), float(window.isna().mean())
    counts = [[int(s.isna().sum()), int(s.notna().sum())] for s in (reference, window)]
    missing_p = float(fisher_exact(counts).pvalue) if counts[0][0] + counts[1][0] else 1.0
    number = pd.api.types.is_numeric_dtype(reference) and pd.api.types.is_numeric_dtype(window)
    table = _numeric_table(reference, window) if number else _category_table(reference, window)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:  # a constant column that stayed as it was
        return Shift(name, 1.0, 0.0, 0.0, *missing, missing_p)
    if number and reference.notna().any() and window.notna().any():
        p_value = float(ks_2samp(reference.dropna(), window.dropna(), method="asymp").pvalue)
    else:
        p_value = float(chi2_contingency(table).pvalue)
    distance = float(jensenshannon(table[0], table[1], base=2))
    expected = np.sqrt((table.shape[1] - 1) / (8 * np.log(2)) * (1 / len(reference) + 1 / len(window)))
    return Shift(name, p_value, distance, max(distance - float(expected), 0.0), *missing, missing_p)


def discoveries(p_values: list[float], alpha: float) -> list[bool]:
    """Which p-values stand with the false discovery rate at ``alpha`` (Benjamini & Hochberg 1995)."""
    return [bool(p <= alpha) for p in false_discovery_control(p_values)] if p_values else []


def _numeric_table(reference: pd.Series, window: pd.Series) -> np.ndarray:
    known = reference.dropna().to_numpy(float)
    inner = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))) if len(known) else np.array([0.0])
    # each distinct edge is a bin of its own start, so that a spike at the minimum is not hidden in the first decile
    rows = []
    for series in (reference, window):
        values = series.dropna().to_numpy(float)
        places = np.searchsorted(inner, values, side="right")
        rows.append(np.append(np.bincount(places, minlength=len(inner) + 1), series.isna().sum()))
    return np.array(rows)


def _category_table(reference: pd.Series, window: pd.Series) -> np.ndarray:
    both = [s.astype(object).where(s.notna(), "missing").value_counts() for s in (reference, window)]
    table = pd.concat(both, axis=1).fillna(0).to_numpy().T
    rare = table.sum(axis=0) < RARE
    return np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)]) if rare.any() else table
