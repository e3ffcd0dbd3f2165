"""Rates by group, and the largest difference or smallest ratio between groups with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

REPLICATES = 4000


@dataclass(frozen=True)
class GroupRate:
    group: str
    selected: int
    rows: int
    """Rows that the rate is a share of: all for the selection rate, positives for the true-positive rate."""

    @property
    def rate(self) -> float:
        return self.selected / self.rows if self.rows else float("nan")


def group_rates(measure: str, label: np.ndarray, decision: np.ndarray, groups: pd.Series) -> list[GroupRate]:
    """Selection rate or true-positive rate by group, as in fairlearn's ``MetricFrame``.

    Args:
        label, decision: (n,) bool.
        groups: (n,) names; rows without a group are left out.
    """
    table = pd.DataFrame({"group": groups.to_numpy(), "label": label, "decision": decision}).dropna()
    if measure == "true_positive_rate":
        table = table[table["label"]]
    every = sorted(groups.dropna().unique())
    sums = table.groupby("group")["decision"].agg(["sum", "size"]).reindex(every, fill_value=0)
    return [GroupRate(str(name), int(row["sum"]), int(row["size"])) for name, row in sums.iterrows()]


def disparity(rates: list[GroupRate], statistic: str) -> float:
    """Largest minus smallest rate, or smallest over largest (demographic parity, equal opportunity).

    NaN where a group has no rows, and for the ratio where nobody is selected in any group.
    """
    return float(_spread(np.array([[r.rate for r in rates]]), statistic)[0])


def disparity_interval(rates: list[GroupRate], statistic: str, confidence: float, seed: int) -> tuple[float, float]:
    """One-sided bounds of :func:`disparity`.

    Parametric bootstrap of the group counts: given the group sizes, the counts are independent binomials, so drawing
    them anew is the row bootstrap within groups, at the cost of a few numbers. The extreme of several noisy groups is
    biased away from parity, and so is its bootstrap; the percentile bounds therefore err to the strict side (Efron &
    Tibshirani 1993, chapter 13), as simulated in docs/evidence.md. A draw in which nobody is selected counts as a ratio
    of 0. Rates are drawn from the Jeffreys posterior mean so that a rate of 0 or 1 still varies.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([r.rows for r in rates])
    centre = np.array([(r.selected + 0.5) / (r.rows + 1) for r in rates])
    draws = rng.binomial(sizes, centre, size=(REPLICATES, len(rates))) / sizes
    low, high = np.quantile(np.nan_to_num(_spread(draws, statistic), nan=0.0), [1 - confidence, confidence])
    return float(low), float(high)


def _spread(rates: np.ndarray, statistic: str) -> np.ndarray:
    high, low = rates.max(axis=1), rates.min(axis=1)
    if statistic == "difference":
        return np.asarray(high - low)
    return np.asarray(np.divide(low, high, out=np.full_like(low, np.nan), where=high > 0))
