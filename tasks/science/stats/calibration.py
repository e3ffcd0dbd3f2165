"""Are scores rates, or means? Recalibration slope and intercept, reliability by bin, and the debiased error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, stdtrit

from tasks.science.stats.clusters import shared, worth
from tasks.science.stats.comparison import Interval
from tasks.science.stats.intervals import moments, normal_quantile, wilson_share

REPLICATES = 1000
EDGE = 1e-6
"""Scores nearer to 0 or 1 are moved here before their log-odds are taken."""


@dataclass(frozen=True)
class Bin:
    """Rows of neighbouring scores: (low, high] of the score, mean score, observed rate with one-sided bounds, rows."""

    low: float
    high: float
    score: float
    rate: float
    rate_low: float
    rate_high: float
    rows: int


def slope(label: np.ndarray, score: np.ndarray, confidence: float, owners: np.ndarray | None = None) -> Interval:
    """Cox's (1958) calibration slope: of the log-odds of ``score`` in a logistic regression on them; 1 is right.

    Below 1 the scores are too extreme, above 1 too timid. One-sided Wald bounds by the robust variance
    (White 1982), of rows of entities by that of their sums (:func:`_reach`); NaN where the fit does not exist.

    Args:
        label: (n,) bool.
        score: (n,) in [0, 1].
        confidence: of each bound alone.
        owners: (n,) the number of the entity whose row it is; None where rows are independent.
    """
    odds = _odds(score)
    return _wald(np.column_stack([np.ones(len(odds)), odds]), np.zeros(len(odds)), label, 1, confidence, owners)


def intercept(label: np.ndarray, score: np.ndarray, confidence: float, owners: np.ndarray | None = None) -> Interval:
    """Calibration in the large (Cox 1958): the shift in log-odds at slope 1 that makes the mean score the observed
    rate; 0 is right.

    Above 0 the scores are too low. Bounds and arguments as of :func:`slope`.
    """
    odds = _odds(score)
    return _wald(np.ones((len(odds), 1)), odds, label, 0, confidence, owners)


def _odds(score: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(score, EDGE, 1 - EDGE)))


def _reach(influence: np.ndarray, confidence: float, owners: np.ndarray) -> float:
    """Half the width of an estimate's Wald bounds, from the (n,) influence of each row of g entities on it.

    The variance is that of sums by entity, times g / (g - 1) (Liang & Zeger 1986; Cameron & Miller 2015, CR1).
    Student's quantile has degrees of freedom by the sums' kurtosis (Satterthwaite 1946).
    """
    sums = np.bincount(owners, influence)
    few, quantile = len(sums), float(stdtrit(moments(sums)[2], confidence))
    return quantile * float(np.sqrt((sums**2).sum() * few / (few - 1))) if few > 1 else float("inf")


def _wald(
    design: np.ndarray,
    offset: np.ndarray,
    label: np.ndarray,
    which: int,
    confidence: float,
    owners: np.ndarray | None,
) -> Interval:
    """One coefficient of a logistic regression by Newton's method, halving steps that lower the likelihood."""
    method, alone = "logistic recalibration (Cox 1958), robust Wald bounds", shared(owners)
    beta = np.zeros(design.shape[1])
    beta[1:] = 1.0
    likelihood = _likelihood(design @ beta + offset, label)
    for _ in range(100):
        rate = expit(design @ beta + offset)
        information = design.T @ (design * (rate * (1 - rate))[:, None])
        if np.linalg.cond(information) > 1e12:
            break
        step = np.linalg.solve(information, design.T @ (label - rate))
        following = _likelihood(design @ (beta + step) + offset, label)
        while following < likelihood - 1e-9 and np.abs(step).max() > 1e-12:
            step = step / 2
            following = _likelihood(design @ (beta + step) + offset, label)
        beta, likelihood = beta + step, following
        if np.abs(step).max() < 1e-9:
            # Huber's and White's variance: a model that needs recalibrating in slope is not the one the plain variance
            # assumes.
            bread, filling = np.linalg.inv(information), design * (label - rate)[:, None]
            error, z = float(np.sqrt((bread @ filling.T @ filling @ bread)[which, which])), normal_quantile(confidence)
            reach = z * error if alone is None else _reach(filling @ bread[which], confidence, alone)
            return Interval(float(beta[which]), float(beta[which]) - reach, float(beta[which]) + reach, method)
    return Interval(float("nan"), float("nan"), float("nan"), method)  # separated classes or constant scores


def _likelihood(odds: np.ndarray, label: np.ndarray) -> float:
    return float(-np.logaddexp(0, np.where(label, -odds, odds)).sum())


def _binned(score: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin number of each row in bins of about equal size, and the edges; equal scores share a bin."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))
    inner = edges[1:-1]
    return np.searchsorted(inner, score, side="left"), edges


def reliability(
    label: np.ndarray, score: np.ndarray, bins: int, confidence: float, owners: np.ndarray | None = None
) -> tuple[Bin, ...]:
    """Observed rate against mean score in bins of about equal size; one-sided bounds of Wilson (1927).

    Rows of entities are divided by their design effect first (Rao & Scott 1992).
    """
    number, edges = _binned(score, bins)
    table = []
    for k in np.unique(number):
        inside = number == k
        n, rate = int(inside.sum()), float(label[inside].mean())
        effect = None if owners is None else worth(label[inside] - rate, owners[inside])
        low, high = wilson_share(rate, n if effect is None else n / effect.at(confidence), confidence)
        ends = float(edges[k]), float(edges[min(k + 1, len(edges) - 1)])
        table.append(Bin(*ends, float(score[inside].mean()), rate, float(low), float(high), n))
    return tuple(table)


def calibration_error(
    label: np.ndarray, score: np.ndarray, bins: int, confidence: float, seed: int, owners: np.ndarray | None = None
) -> Interval:
    """Root mean square gap between observed rate and mean score over bins of equal size, without the bias of small
    bins.

    The plain estimate is too large by the noise of each bin's rate, ``rate (1 - rate) / (rows - 1)``. That noise is
    taken off the squared gap (Bröcker 2011; Kumar, Liang & Ma 2019); what comes out below 0 is given as 0. Bounds are
    one-sided percentiles of a bootstrap of the counts of rows and positives per bin. They are shifted by the bias that
    resampling adds once more.

    Args:
        label: (n,) bool.
        score: (n,) in [0, 1].
        bins: asked for; fewer where scores are tied.
        confidence: of each bound alone.
        seed: of the bootstrap.
        owners: as of :func:`slope`.

    Returns:
        The error in units of probability.
    """
    owners = shared(owners)
    if owners is not None:
        return _clustered_error(label - score, score, bins, confidence, seed, owners)
    number, _ = _binned(score, bins)
    rows = np.bincount(number)
    kept = rows > 1
    positives, total = np.bincount(number, label)[kept], np.bincount(number, score)[kept]
    rows = rows[kept]
    mean = total / rows
    rng, n = np.random.default_rng(seed), int(rows.sum())
    drawn = np.maximum(rng.multinomial(n, rows / n, size=REPLICATES), 2)
    hits = rng.binomial(drawn, positives / rows)
    value = float(_debiased(rows, positives, mean))
    plain = float((rows / n * (positives / rows - mean) ** 2).sum())
    low, high = np.quantile(_debiased(drawn, hits, mean) - plain, [1 - confidence, confidence]) + value
    value, low, high = (float(np.sqrt(max(v, 0.0))) for v in (value, low, high))
    return Interval(
        value, low, high, "debiased calibration error (Bröcker 2011; Kumar et al. 2019), bootstrap of bin counts"
    )


def _debiased(rows: np.ndarray, positives: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Squared error over the last axis, the noise of each bin's rate taken off."""
    rate = positives / rows
    gaps = (rate - mean) ** 2 - rate * (1 - rate) / (rows - 1)
    return np.asarray((rows * gaps).sum(axis=-1) / rows.sum(axis=-1))


@dataclass(frozen=True)
class Means:
    """A predicted number held against the labels: intervals of its slope, its shift of the mean, and its error."""

    slope: Interval
    intercept: Interval
    error: Interval


def mean_calibration(
    label: np.ndarray,
    score: np.ndarray,
    scale: float,
    bins: int,
    confidence: float,
    seed: int,
    owners: np.ndarray | None = None,
) -> Means:
    """Whether predicted numbers are means of the labels: a recalibration by least squares (Mincer & Zarnowitz 1969).

    - The slope is that of the labels on the scores; 1 is right.
    - The intercept is the shift at slope 1 that makes the mean score the mean label; 0 is right.
    - The error is the root mean square gap between mean label and mean score over bins. The noise of each bin's mean,
      ``variance / rows``, is taken off as in :func:`calibration_error`.

    Slope and intercept have one-sided bounds by the robust variance (White 1982), since spread that grows with the
    number is the rule. The error's bounds are draws of the bins' means from their normal laws. Nothing is assumed of
    the law of the labels. NaN where the scores do not vary.

    Args:
        label, score: (n,) floats in one unit, n > 2.
        scale: what intercept and error are divided by, such as the standard deviation of all labels.
        confidence: of each bound alone.
        seed: of the draws.
        owners: as of :func:`slope`.
    """
    gap, alone = (label - score) / scale, shared(owners)
    return Means(
        _least_squares(label, score, confidence, alone),
        _shift(gap, confidence, alone),
        _error_of_means(gap, score, bins, confidence, seed)
        if alone is None
        else _clustered_error(gap, score, bins, confidence, seed, alone),
    )


def _least_squares(label: np.ndarray, score: np.ndarray, confidence: float, owners: np.ndarray | None) -> Interval:
    method = "recalibration by least squares (Mincer & Zarnowitz 1969), robust Wald bounds"
    centred = score - score.mean()
    total = float((centred**2).sum())
    if not total > 0 or np.ptp(score) <= 1e-12 * max(float(np.abs(score).max()), 1e-300):
        return Interval(float("nan"), float("nan"), float("nan"), method)
    value = float((centred * label).sum() / total)
    residual = label - label.mean() - value * centred
    n = len(label)
    if owners is not None:
        reach = _reach(centred * residual / total, confidence, owners)
        return Interval(value, value - reach, value + reach, method)
    error, z = float(np.sqrt((centred**2 * residual**2).sum() * n / (n - 2)) / total), normal_quantile(confidence)
    return Interval(value, value - z * error, value + z * error, method)


def _shift(gap: np.ndarray, confidence: float, owners: np.ndarray | None) -> Interval:
    if owners is not None:
        middle, reach = float(gap.mean()), _reach((gap - gap.mean()) / len(gap), confidence, owners)
        return Interval(middle, middle - reach, middle + reach, "mean of labels less scores, t bounds by entity")
    value, error = float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))
    z = normal_quantile(confidence)
    return Interval(value, value - z * error, value + z * error, "mean of labels less scores, normal bounds")


def _error_of_means(gap: np.ndarray, score: np.ndarray, bins: int, confidence: float, seed: int) -> Interval:
    number, _ = _binned(score, bins)
    rows = np.bincount(number)
    kept = rows > 1
    share = rows[kept] / rows[kept].sum()
    mean = np.bincount(number, gap)[kept] / rows[kept]
    square = np.bincount(number, gap**2)[kept] / rows[kept]
    noise = np.maximum(square - mean**2, 0.0) / (rows[kept] - 1)
    drawn = np.random.default_rng(seed).normal(mean, np.sqrt(noise), size=(REPLICATES, len(mean)))
    value, plain = float((share * (mean**2 - noise)).sum()), float((share * mean**2).sum())
    low, high = np.quantile((share * (drawn**2 - noise)).sum(axis=1) - plain, [1 - confidence, confidence]) + value
    value, low, high = (float(np.sqrt(max(v, 0.0))) for v in (value, low, high))
    return Interval(value, low, high, "debiased error of means by bins (as Bröcker 2011), draws of the bins' means")


def _clustered_error(
    gap: np.ndarray, score: np.ndarray, bins: int, confidence: float, seed: int, owners: np.ndarray
) -> Interval:
    """The debiased error where an entity's rows lie in several bins.

    The noise of the bins' mean gaps, and what they share, are those of sums by entity (Liang & Zeger 1986). Draws of
    all means together from their normal law give the bounds. A bin whose rows are of one entity alone says nothing.

    Args:
        gap: (n,) label less score.
        owners: (n,) from 0 without gaps.
    """
    number, _ = _binned(score, bins)
    every, few = len(np.bincount(number)), int(owners.max()) + 1
    known = np.bincount(np.unique(owners * every + number) % every, minlength=every) > 1
    rows = np.maximum(np.bincount(number), 1)
    mean = np.bincount(number, gap) / rows
    sums = np.bincount(owners * every + number, gap - mean[number], minlength=few * every).reshape(few, every)
    mean, share, influence = mean[known], rows[known] / rows[known].sum(), (sums / rows)[:, known]
    spread = np.asarray(influence.T @ influence * few / (few - 1))
    noise, drawn = np.diag(spread), np.random.default_rng(seed).standard_normal((REPLICATES, len(mean)))
    values, vectors = np.linalg.eigh(spread)
    drawn = mean + drawn @ (vectors * np.sqrt(np.maximum(values, 0))).T
    value, plain = float((share * (mean**2 - noise)).sum()), float((share * mean**2).sum())
    low, high = np.quantile((share * (drawn**2 - noise)).sum(axis=1) - plain, [1 - confidence, confidence]) + value
    value, low, high = (float(np.sqrt(max(v, 0.0))) for v in (value, low, high))
    return Interval(value, low, high, "debiased error by bins (Bröcker 2011), draws of the bins' means by entity")


def mean_reliability(
    label: np.ndarray, score: np.ndarray, bins: int, confidence: float, owners: np.ndarray | None = None
) -> tuple[Bin, ...]:
    """Mean label against mean score in bins of about equal size; one-sided normal bounds, of rows of entities by
    :func:`_reach`.
    """
    number, edges = _binned(score, bins)
    z, table = normal_quantile(confidence), []
    for k in np.unique(number):
        inside = number == k
        n, mean = int(inside.sum()), float(label[inside].mean())
        half = z * float(label[inside].std(ddof=1)) / np.sqrt(n) if n > 1 else float("inf")
        alone = shared(None if owners is None else owners[inside])
        if alone is not None:
            half = _reach((label[inside] - mean) / n, confidence, alone)
        table.append(
            Bin(
                float(edges[k]),
                float(edges[min(k + 1, len(edges) - 1)]),
                float(score[inside].mean()),
                mean,
                mean - half,
                mean + half,
                n,
            )
        )
    return tuple(table)
