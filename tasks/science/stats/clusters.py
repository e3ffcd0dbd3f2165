"""Rows of one entity are not independent: their sums by entity, and how many independent rows they are worth.

Whose row it is, is a number in (n,) ``owners``; None stands for rows that are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from tasks.science.stats.intervals import BOUND, moments, normal_quantile


def numbered(entity: np.ndarray) -> np.ndarray:
    """(n,) entity numbers; each unknown entity is one of its own."""
    code = pd.factorize(pd.Series(entity))[0]
    unknown = code < 0
    code[unknown] = code.max(initial=-1) + 1 + np.arange(int(unknown.sum()))
    return np.asarray(np.unique(code, return_inverse=True)[1])


def shared(owners: np.ndarray | None) -> np.ndarray | None:
    """The owners, numbered from 0 without gaps; None where no two rows have the same, so that all are independent."""
    if owners is None or not len(owners):
        return None
    rows = np.bincount(owners)
    return np.asarray((np.cumsum(rows > 0) - 1)[owners]) if rows.max() > 1 else None


def entities(owners: np.ndarray | None) -> int | None:
    """How many different entities the rows are of; None where that is not known."""
    return None if owners is None else len(np.unique(owners))


def totals(terms: np.ndarray, owners: np.ndarray | None) -> np.ndarray:
    """(g, ...) sums of (n, ...) terms by entity; the terms themselves where rows are independent."""
    if owners is None:
        return terms
    if terms.ndim == 1:
        return np.bincount(owners, terms)
    return np.column_stack([np.bincount(owners, column) for column in terms.T])


def gathered(terms: np.ndarray, owners: np.ndarray | None) -> np.ndarray:
    """(g,) values of entities, independent of each other, whose mean is that of the (n,) terms.

    Rows are drawn by entity, so a mean over rows is the ratio of two totals. An entity's value is the mean plus its sum
    of deviations from it over the average number of rows: linearisation of the ratio (Cochran 1977, section 6.3). The
    variance of the mean that follows is the cluster sandwich with its correction g / (g - 1) (Liang & Zeger 1986;
    Cameron & Miller 2015, CR1).
    """
    if owners is None:
        return terms
    mean = terms.mean()
    sums = np.bincount(owners, terms - mean)
    return np.asarray(mean + sums * (len(sums) / len(terms)))


@dataclass(frozen=True)
class Effect:
    """The design effect of an estimate, 1 or more, and the degrees of freedom that the entities leave to it."""

    value: float
    freedom: float

    def stretch(self, confidence: float) -> float:
        """Student's quantile over the normal one."""
        z = normal_quantile(confidence)
        return float(stdtrit(self.freedom, confidence)) / z if abs(z) > 1e-9 else 1.0

    def at(self, confidence: float = BOUND) -> float:
        """What numbers of rows are divided by before a bound for independent rows is taken at this confidence."""
        return self.value * self.stretch(confidence) ** 2


def design_effect(influence: np.ndarray, owners: np.ndarray, largest: float | None = None) -> Effect:
    """By how much entities enlarge the variance of an estimate with this (n,) influence of each row on it.

    Counts that are divided by it may be treated as those of independent rows (Rao & Scott 1992, Biometrics 48, 577).
    That keeps the exact methods for counts. Korn & Graubard (1998, Survey Methodology 24, 193) do so for Clopper and
    Pearson's bounds, and give the factor for degrees of freedom. Here these follow from the effect's own noise. It is
    the relative variance of the entities' variance, by their kurtosis (Satterthwaite 1946), less that of the rows'. The
    latter is what methods for counts know already.

    Half a row of the largest influence is added, of which nothing is known but that all rows of its entity would go its
    way. So where nothing was seen to vary, the rows are worth no more than they are if entities never vary within. It
    is never below 1.

    Args:
        owners: (n,) from 0 without gaps, as :func:`shared` gives them.
        largest: influence that a row may have; without it, the largest of those seen.
    """
    rows = np.bincount(owners)
    sums, few = np.bincount(owners, influence), len(rows)
    if few < 2:
        return Effect(float(len(owners)), 1.0)
    alike = float((rows.astype(float) ** 2).sum() / rows.sum())
    unseen = max(0.5 * (float(np.abs(influence).max()) if largest is None else largest) ** 2, 1e-300)
    seen = float((sums**2).sum()) * few / (few - 1)
    value = (seen + unseen * alike) / (float((influence**2).sum()) + unseen)
    noise = 1 / moments(sums)[2] - 1 / moments(influence)[2]
    return Effect(max(value, 1.0), float(np.clip(1 / max(noise, 1e-9), 2, max(few - 1, 2))))


def worth(influence: np.ndarray, owners: np.ndarray | None) -> Effect | None:
    """:func:`design_effect` of the rows of some entities; None where rows are independent."""
    alone = shared(owners)
    return None if alone is None else design_effect(influence, alone)
