"""Has a column, or the score, another distribution than in the reference window?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

BINS = 10
SPIKE = 0.05
"""Share of rows at the largest value from which it is a bin of its own."""
EXPECTED = 5
"""Smallest expected count of a cell, in either sample, for which chi-squared holds its level (Cochran 1954)."""


@dataclass(frozen=True)
class Shift:
    """One column in two windows.

    ``distance`` is the Jensen-Shannon distance (base 2, 0 to 1) as it is; ``excess`` is it without what sampling adds.
    ``missing_*`` are shares of rows; ``missing_p`` is the p-value of their difference.
    """

    column: str
    p_value: float
    distance: float
    excess: float
    missing_reference: float
    missing_window: float
    missing_p: float


def shift(reference: pd.Series, window: pd.Series, name: str) -> Shift:
    """Compare one column.

    Numbers: two-sample Kolmogorov-Smirnov; with ties it is conservative (Noether 1963). Categories:
    :func:`category_p_value`. The distance is taken over reference deciles or categories, missing values as one more.
    Sampling alone adds about ``(k - 1) / (8 ln 2) (1/n + 1/m)`` to its square, the divergence. This is the chi-squared
    approximation behind the G-test. ``excess`` takes that off the square, where it adds up, and not off the distance.

    Args:
        reference, window: (n,) and (m,) raw values, both with rows.
    """
    if pd.api.types.is_numeric_dtype(reference):
        window = pd.to_numeric(window, errors="coerce")  # a column of nothing but None comes without a number type
    missing = float(reference.isna().mean()), float(window.isna().mean())
    counts = [[int(s.isna().sum()), int(s.notna().sum())] for s in (reference, window)]
    missing_p = float(fisher_exact(counts).pvalue) if counts[0][0] + counts[1][0] else 1.0
    number = pd.api.types.is_numeric_dtype(reference)
    table = _numeric_table(reference, window) if number else _category_table(reference, window)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:  # a constant column that stayed as it was
        return Shift(name, 1.0, 0.0, 0.0, *missing, missing_p)
    if number and reference.notna().any() and window.notna().any():
        p_value = float(ks_2samp(reference.dropna(), window.dropna(), method="asymp").pvalue)
    else:
        p_value = category_p_value(table)
    distance = float(jensenshannon(table[0], table[1], base=2))
    sampling = (table.shape[1] - 1) / (8 * np.log(2)) * (1 / len(reference) + 1 / len(window))
    return Shift(name, p_value, distance, float(np.sqrt(max(distance**2 - sampling, 0.0))), *missing, missing_p)


def category_p_value(table: np.ndarray) -> float:
    """Do two samples fall into categories in the same shares?

    Chi-squared (Pearson 1900) over categories of which both samples should hold :data:`EXPECTED` rows; rarer ones are
    put together, most frequent first, until they do. What is left over is held against all the rest by Fisher's exact
    test (1935); twice the smaller p-value where there are both (Bonferroni). Chi-squared over rare cells rejects far
    more often than it says, and leaving them out would be blind to a category that is new.

    Args:
        table: (2, k) counts, no empty column. The grouping looks at the sums of columns only, so it does not know
            which sample they came from and leaves the test its level.
    """
    total = np.sort(table.sum(axis=0))[::-1]
    ordered = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    needed = EXPECTED * table.sum() / table.sum(axis=1).min()
    starts, held = [0], 0
    for i, count in enumerate(total[:-1]):
        held += count
        if held >= needed:
            starts, held = [*starts, i + 1], 0
    grouped = np.add.reduceat(ordered, starts, axis=1)
    left = grouped[:, -1].sum() < needed
    parts = [grouped[:, :-1] if left else grouped]
    p_values = [float(chi2_contingency(p, correction=False).pvalue) for p in parts if p.shape[1] >= 2]
    if left and len(starts) > 1:
        p_values.append(float(fisher_exact(np.column_stack([grouped[:, :-1].sum(axis=1), grouped[:, -1]])).pvalue))
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0


def _numeric_table(reference: pd.Series, window: pd.Series) -> np.ndarray:
    known = reference.dropna().to_numpy(float)
    inner = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))) if len(known) else np.array([0.0])
    # each distinct edge is a bin of its own start, so that a spike at the minimum is not hidden in the first decile;
    # a spike at the maximum ends there, so that a constant that moves up does not stay in its bin
    if len(known) and np.mean(known == known.max()) >= SPIKE:
        inner = np.append(inner, np.nextafter(known.max(), np.inf))
    rows = []
    for series in (reference, window):
        values = series.dropna().to_numpy(float)
        places = np.searchsorted(inner, values, side="right")
        rows.append(np.append(np.bincount(places, minlength=len(inner) + 1), series.isna().sum()))
    return np.array(rows)


def _category_table(reference: pd.Series, window: pd.Series) -> np.ndarray:
    texts = [
        s if isinstance(s.dtype, pd.StringDtype) else s.astype(object) for s in (reference, window)
    ]  # strings stay as they are: objects cost ten times the count
    counted = pd.concat([s.value_counts() for s in texts], axis=1).fillna(0).to_numpy().T
    missing = np.array([s.isna().sum() for s in texts])  # apart from a category that is called "missing"
    return np.column_stack([counted, missing]) if missing.any() else np.asarray(counted)
