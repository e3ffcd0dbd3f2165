"""A set of rows in words: the columns in which it differs most from other rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tasks.spec.kind import ColumnKind
from tasks.spec.model import ModelConfig

MOST = 3
DIFFERENCE = 0.15
"""Smallest difference of shares that is worth a word."""
FEW = 10
"""Rows below which a description would be of persons, not of a group."""


def apart(config: ModelConfig, inside: pd.DataFrame, outside: pd.DataFrame) -> tuple[str, ...]:
    """What sets rows apart from others, most distinguishing first, at most three columns.

    Of each input column, one statement is taken: the one whose share differs most between the two sets of rows. It is a
    category, a missing value, or a range from the 10 % to the 90 % quantile of the rows inside, open at one end or
    closed. No single row's value is shown.

    Args:
        inside, outside: (n, columns), (m, columns) raw inputs.
    """
    if len(inside) < FEW or len(outside) < FEW:
        return (f"too few rows to describe ({min(len(inside), len(outside))}; {FEW} are needed)",)
    found = [
        _column(c.name, c.kind, inside[c.name], outside[c.name])
        for c in config.inputs
        if c.name in inside and c.name in outside
    ]
    found = sorted((f for f in found if f[0] - f[1] >= DIFFERENCE), key=lambda f: f[1] - f[0])[:MOST]
    return tuple(f"{words} ({a:.0%} of it, {b:.0%} of the rest)" for a, b, words in found) or (
        "like the rest in every column",
    )


def _column(name: str, kind: ColumnKind, inside: pd.Series, outside: pd.Series) -> tuple[float, float, str]:
    """Share inside, share outside, and the statement."""
    missing = (float(inside.isna().mean()), float(outside.isna().mean()), f"{name} missing")
    options = _ranges(name, kind.text, inside, outside) if kind.numeric else _categories(name, inside, outside)
    return max([missing, *options], key=lambda o: o[0] - o[1])


def _categories(name: str, inside: pd.Series, outside: pd.Series) -> list[tuple[float, float, str]]:
    a, b = (s.value_counts(normalize=True) * float(s.notna().mean()) for s in (inside, outside))
    if a.empty:
        return []
    gain = a - b.reindex(a.index, fill_value=0.0)
    at = int(gain.to_numpy().argmax())
    share = float(a.iloc[at])
    return [(share, share - float(gain.iloc[at]), f"{name} {str(a.index[at])[:60]}")]


def _ranges(
    name: str, said: Callable[[float], str], inside: pd.Series, outside: pd.Series
) -> list[tuple[float, float, str]]:
    a, b = (pd.to_numeric(s, errors="coerce").to_numpy(float) for s in (inside, outside))
    known = a[np.isfinite(a)]
    if not len(known):
        return []
    low, high = np.quantile(known, [0.1, 0.9], method="inverted_cdf")
    words = {
        (low, high): f"{name} {said(low)}" + (f" to {said(high)}" if high > low else ""),
        (low, np.inf): f"{name} at least {said(low)}",
        (-np.inf, high): f"{name} at most {said(high)}",
    }
    return [
        (float(((a >= x) & (a <= y)).mean()), float(((b >= x) & (b <= y)).mean()), told)
        for (x, y), told in words.items()
    ]
