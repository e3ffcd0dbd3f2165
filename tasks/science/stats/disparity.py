"""The largest difference, or smallest ratio, between groups, and an interval for it that holds near parity too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tasks.science.stats.intervals import wilson_share

REPLICATES = 2000
AT_ONCE = 20_000
"""Replicates held in memory together."""
STEPS = 12
"""Halvings in the search for a bound: finer than the noise of the replicates."""
NEAR = 1.4
"""Standard errors; see :func:`_gather`."""
LEAST = 1e-6
"""The ratio that stands for 0 where a logarithm is asked."""


@dataclass(frozen=True)
class Sample:
    """One number per measure and group, and how it varies.

    ``values`` (m, g): rates, or gaps in calibration. ``rows`` (m, g): rows that each is a mean over. ``spread`` (m, g):
    standard deviation of one row where it is not a yes or no; None for rates, where the rate itself gives it.
    ``effective`` (m, g): how many independent rows they are worth, whole numbers from 1 (Rao & Scott 1992); None where
    all are independent. ``entities`` (m, g): how many entities' rows they are, where that is known.
    """

    values: np.ndarray
    rows: np.ndarray
    spread: np.ndarray | None = None
    effective: np.ndarray | None = None
    entities: np.ndarray | None = None

    @property
    def size(self) -> np.ndarray:
        """(m, g) independent rows that each number is worth."""
        return self.rows if self.effective is None else self.effective

    @property
    def centre(self) -> np.ndarray:
        """Where replicates are drawn: the Jeffreys posterior mean of a rate, so that a rate of 0 or 1 varies too."""
        return self.values if self.spread is not None else (self.values * self.size + 0.5) / (self.size + 1)

    def error(self, values: np.ndarray) -> np.ndarray:
        """Standard error (m, g) of each number, were ``values`` the truth."""
        return np.asarray((np.sqrt(values * (1 - values)) if self.spread is None else self.spread) / np.sqrt(self.size))

    def deviations(self, replicates: int, rng: np.random.Generator) -> np.ndarray:
        """(replicates, m, g) bootstrap deviations in units of the standard error.

        Given the groups' sizes their counts are independent binomials, so drawing the counts anew is the bootstrap of
        the rows within groups, at the cost of a few numbers. Means that are no rates vary as Student's t.
        """
        shape = (replicates, *self.size.shape)
        if self.spread is not None:
            return rng.standard_t(np.maximum(self.size - 1, 1), size=shape)
        drawn = rng.binomial(self.size.astype(np.int64), self.centre, size=shape) / self.size
        return np.asarray((drawn - self.centre) / self.error(self.centre))


def disparity(values: np.ndarray, statistic: str) -> np.ndarray:
    """Largest minus smallest, or smallest over largest, over the last axis; the worst of the measures on the axis
    before.

    As in fairlearn: demographic parity, equal opportunity and, with true- and false-positive rate on the axis of
    measures, equalized odds (``agg="worst_case"``). NaN where every rate is 0 and a ratio has no meaning.
    """
    high, low = values.max(axis=-1), values.min(axis=-1)
    if statistic == "difference":
        return np.asarray((high - low).max(axis=-1))
    ratio = np.full(np.shape(high), np.nan)
    return np.asarray(np.divide(low, high, out=ratio, where=high > 0).min(axis=-1))


def disparity_interval(
    sample: Sample, statistic: str, confidence: float, seed: int, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Two-sided interval for :func:`disparity`; it always holds the estimate.

    The largest difference of several noisy groups is biased away from parity and bounded by it. The percentile
    bootstrap therefore misses near parity, and intervals for every pair are too wide far from it. Instead the test is
    inverted by resampling (hybrid resampling; Chuang & Lai 2000, Statistica Sinica 10, 1-50).

    For each disparity t, replicates are drawn under the group values nearest to the observed ones whose disparity is t.
    t belongs to the interval unless the estimate is further from t than all but ``1 - confidence`` of the replicates.
    All groups and measures enter each replicate, so the interval is simultaneous over them. The same replicates, in
    units of the standard error, serve every t. ``tests/statistics/fairness.py`` measures the coverage.
    """
    estimate = float(disparity(sample.values, statistic))
    rng = np.random.default_rng(seed)
    deviations = sample.deviations(replicates, rng)
    observed = _comparable(sample, sample.values, statistic)

    def holds(t: float) -> bool:
        truth = _nearest(sample, statistic, t)
        centre = t if statistic == "difference" else np.log(max(t, LEAST))
        drawn = _comparable(sample, truth + deviations * sample.error(truth), statistic)
        return bool(np.mean(np.abs(drawn - centre) >= np.abs(observed - centre) - 1e-12) > 1 - confidence)

    reach = 8 * float(sample.error(sample.centre).max()) if statistic == "difference" else 1.0
    highest = np.inf if sample.spread is not None and statistic == "difference" else 1.0
    return _bound(holds, estimate, max(estimate - reach, 0.0)), _bound(holds, estimate, min(estimate + reach, highest))


def limit_p_value(sample: Sample, statistic: str, limit: float, seed: int, level: float) -> float:
    """Two-sided p-value of "the disparity is ``limit``", by the resampling of :func:`disparity_interval`.

    The estimate counts as one of the replicates (Davison & Hinkley 1997, section 4.2). Where the first
    :data:`REPLICATES` do not decide at ``level``, so many follow that the smallest p-value is a twentieth of it.
    """
    rng = np.random.default_rng(seed)
    truth = _nearest(sample, statistic, limit)
    centre = limit if statistic == "difference" else np.log(max(limit, LEAST))
    away, error = np.abs(_comparable(sample, sample.values, statistic) - centre) - 1e-12, sample.error(truth)
    further, drawn, wanted = 0, 0, int(np.ceil(20 / level))
    while drawn < wanted:
        deviations = sample.deviations(min(REPLICATES if not drawn else AT_ONCE, wanted - drawn), rng)
        found = _comparable(sample, truth + deviations * error, statistic)
        further, drawn = further + int((np.abs(found - centre) >= away).sum()), drawn + len(deviations)
        if further > 2 * level * wanted:  # twice what the whole run may hold: it is not refuted
            break
    return (1 + further) / (drawn + 1)


def _comparable(sample: Sample, values: np.ndarray, statistic: str) -> np.ndarray:
    """The disparity on the scale on which distances are taken: plain for differences, logarithmic for ratios.

    A plain ratio ends at 1, where a chance equality of a few rows would look like proof of parity. Half a row is added
    to both sides of every rate, so that a count of 0 has a logarithm.
    """
    if sample.spread is None:
        values = np.clip(values, 0, 1)
    if statistic == "difference":
        return disparity(values, statistic)
    if sample.spread is not None:  # means above 0, such as absolute errors
        return np.asarray(
            np.log(np.maximum(disparity(np.maximum(values, LEAST * sample.values.max()), statistic), LEAST))
        )
    return np.asarray(np.log(disparity((values * sample.size + 0.5) / (sample.size + 1), statistic)))


def _bound(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """The furthest t towards ``outside`` that still holds, by halving."""
    if inside == outside or holds(outside):
        return outside
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return outside


def _nearest(sample: Sample, statistic: str, t: float) -> np.ndarray:
    """Group values (m, g) with disparity ``t``, nearest to the observed ones in units of their standard errors."""
    centre, rate = sample.centre, sample.spread is None
    # One variance for all groups of a measure: weights from their own rates would draw the nearest values off to one
    # side.
    pooled = (centre * sample.size).sum(axis=1, keepdims=True) / sample.size.sum(axis=1, keepdims=True)
    variance = sample.error(pooled) ** 2
    if statistic == "difference":
        span, place, bottom, top = t, centre, 0.0 if rate else -np.inf, 1.0 if rate else np.inf
    else:
        span, place, variance, bottom, top = (
            -np.log(max(t, LEAST)),
            np.log(centre),
            variance / pooled**2,
            -np.inf,
            0.0 if rate else np.inf,
        )
    ranges = np.ptp(place, axis=1)
    if ranges.max() >= span:
        near = np.array(
            [_squeeze(p, v, span) if r > span else p for p, v, r in zip(place, variance, ranges, strict=True)]
        )
    else:
        options = [_stretch(p, v, span, bottom, top) for p, v in zip(place, variance, strict=True)]
        chosen = int(np.argmin([cost for cost, _ in options]))
        near = place.copy()
        near[chosen] = options[chosen][1]
    near = _gather(near, np.sqrt(variance))
    return np.asarray(near if statistic == "difference" else np.exp(near))


def _gather(place: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Groups within ``NEAR`` standard errors of the nearer end are put there.

    Observed groups scatter although their truths may be equal. The largest of scattered ones is drawn less far out than
    the largest of equal ones, so replicates would understate the bias. As moments are selected in Andrews & Soares
    (2010, Econometrica 78, 119-157); the constant is chosen by the simulations.
    """
    low, high = place.min(axis=1, keepdims=True), place.max(axis=1, keepdims=True)
    end = np.where(place - low < high - place, low, high)
    return np.where(np.abs(place - end) < NEAR * error, end, place)


def _squeeze(place: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    """Nearest places no further apart than ``span``: all are clipped into one band, placed by least squares."""
    starts = np.sort(np.concatenate([place, place - span]))
    below = np.maximum(starts[:, None] - place, 0) / variance
    above = np.maximum(place - span - starts[:, None], 0) / variance
    start = float(np.interp(0, (below - above).sum(axis=1), starts))
    return np.asarray(np.clip(place, start, start + span))


def _stretch(
    place: np.ndarray, variance: np.ndarray, span: float, bottom: float, top: float
) -> tuple[float, np.ndarray]:
    """Nearest places exactly ``span`` apart, and their cost: the cheapest pair is pushed apart, the rest clipped
    between.
    """
    lacking = span - (place[None, :] - place[:, None])  # (low, high)
    low = place[:, None] - lacking * variance[:, None] / (variance[:, None] + variance[None, :])
    low = np.clip(low, bottom, top - span)
    band = np.clip(place, low[..., None], low[..., None] + span)  # (low, high, group)
    every = np.arange(len(place))
    band[every, :, every] = low
    band[:, every, every] = low + span
    cost = ((band - place) ** 2 / variance).sum(axis=-1)
    np.fill_diagonal(cost, np.inf)
    best = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(cost[best]), band[best]


def parity_p_value(sample: Sample, seed: int, replicates: int = REPLICATES) -> float:
    """P-value of "all groups are equal in every measure", by simulation under the pooled values.

    The statistic is the largest, over groups, of the sum over measures of squared standardised distances from the
    pooled value. One odd group is held against all others together and not against the most extreme of them. Its true-
    and false-positive rate count together. Both give more power than the largest difference of two noisy groups. The
    sample counts as one of the replicates (Davison & Hinkley 1997, section 4.2), so the level holds at any number of
    them.
    """
    rng, rows = np.random.default_rng(seed), sample.size
    total = rows.sum(axis=-1, keepdims=True)

    def pooled(values: np.ndarray) -> np.ndarray:
        return np.asarray((values * rows).sum(axis=-1, keepdims=True) / total)

    def oddest(values: np.ndarray) -> np.ndarray:
        middle = pooled(values)
        share = (middle * total + 0.5) / (total + 1)
        variance = (share * (1 - share) if sample.spread is None else sample.spread**2) / rows * (1 - rows / total)
        return np.asarray(((values - middle) ** 2 / variance).sum(axis=-2).max(axis=-1))

    shape = (replicates, *rows.shape)
    if sample.spread is None:
        drawn = rng.binomial(rows.astype(np.int64), pooled(sample.values), size=shape) / rows
    else:
        drawn = rng.standard_t(np.maximum(rows - 1, 1), size=shape) * sample.error(sample.values)
    return float((1 + (oddest(drawn) >= oddest(sample.values) - 1e-9).sum()) / (replicates + 1))


def group_intervals(sample: Sample, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (m, g), simultaneous over all groups and measures by Šidák's correction.

    Wilson's score interval for rates (Wilson 1927), Student's t for other means.
    """
    level = 0.5 + confidence ** (1 / sample.size.size) / 2
    if sample.spread is not None:
        half = stats.t.ppf(level, np.maximum(sample.size - 1, 1)) * sample.error(sample.values)
        return sample.values - half, sample.values + half
    return wilson_share(sample.values, sample.size, level)
