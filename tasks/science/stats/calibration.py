"""Are scores rates, or means? Recalibration slope and intercept, reliability by bin, and the debiased error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from tasks.science.stats.comparison import Interval
from tasks.science.stats.intervals import normal_quantile, wilson_share

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


def slope(label: np.ndarray, score: np.ndarray, confidence: float) -> Interval:
    """Cox's (1958) calibration slope: of the log-odds of ``score`` in a logistic regression on them; 1 is right.

    Below 1 the scores are too extreme, above 1 too timid. One-sided Wald bounds by the robust variance
    (White 1982); NaN where the fit does not exist.

    Args:
        label: (n,) bool.
        score: (n,) in [0, 1].
        confidence: of each bound alone.
    """
    odds = _odds(score)
    return _wald(np.column_stack([np.ones(len(odds)), odds]), np.zeros(len(odds)), label, 1, confidence)


def intercept(label: np.ndarray, score: np.ndarray, confidence: float) -> Interval:
    """Calibration in the large (Cox 1958): the shift in log-odds at slope 1 that makes the mean score the observed
    rate; 0 is right.

    Above 0 the scores are too low. Bounds and arguments as of :func:`slope`.
    """
    odds = _odds(score)
    return _wald(np.ones((len(odds), 1)), odds, label, 0, confidence)


def _odds(score: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(score, EDGE, 1 - EDGE)))


def _wald(design: np.ndarray, offset: np.ndarray, label: np.ndarray, which: int, confidence: float) -> Interval:
    """One coefficient of a logistic regression by Newton's method, halving steps that lower the likelihood."""
    method = "logistic recalibration (Cox 1958), robust Wald bounds"
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
            return Interval(float(beta[which]), float(beta[which]) - z * error, float(beta[which]) + z * error, method)
    return Interval(float("nan"), float("nan"), float("nan"), method)  # separated classes or constant scores


def _likelihood(odds: np.ndarray, label: np.ndarray) -> float:
    return float(-np.logaddexp(0, np.where(label, -odds, odds)).sum())


def _binned(score: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin number of each row in bins of about equal size, and the edges; equal scores share a bin."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)))
    inner = edges[1:-1]
    return np.searchsorted(inner, score, side="left"), edges


def reliability(label: np.ndarray, score: np.ndarray, bins: int, confidence: float) -> tuple[Bin, ...]:
    """Observed rate against mean score in bins of about equal size; one-sided bounds of Wilson (1927)."""
    number, edges = _binned(score, bins)
    table = []
    for k in np.unique(number):
        inside = number == k
        n, rate = int(inside.sum()), float(label[inside].mean())
        low, high = wilson_share(rate, n, confidence)
        ends = float(edges[k]), float(edges[min(k + 1, len(edges) - 1)])
        table.append(Bin(*ends, float(score[inside].mean()), rate, float(low), float(high), n))
    return tuple(table)


def calibration_error(label: np.ndarray, score: np.ndarray, bins: int, confidence: float, seed: int) -> Interval:
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

    Returns:
        The error in units of probability.
    """
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
    label: np.ndarray, score: np.ndarray, scale: float, bins: int, confidence: float, seed: int
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
    """
    return Means(
        _least_squares(label, score, confidence),
        _shift((label - score) / scale, confidence),
        _error_of_means((label - score) / scale, score, bins, confidence, seed),
    )


def _least_squares(label: np.ndarray, score: np.ndarray, confidence: float) -> Interval:
    method = "recalibration by least squares (Mincer & Zarnowitz 1969), robust Wald bounds"
    centred = score - score.mean()
    total = float((centred**2).sum())
    if not total > 0 or np.ptp(score) <= 1e-12 * max(float(np.abs(score).max()), 1e-300):
        return Interval(float("nan"), float("nan"), float("nan"), method)
    value = float((centred * label).sum() / total)
    residual = label - label.mean() - value * centred
    n = len(label)
    error, z = float(np.sqrt((centred**2 * residual**2).sum() * n / (n - 2)) / total), normal_quantile(confidence)
    return Interval(value, value - z * error, value + z * error, method)


def _shift(gap: np.ndarray, confidence: float) -> Interval:
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


def mean_reliability(label: np.ndarray, score: np.ndarray, bins: int, confidence: float) -> tuple[Bin, ...]:
    """Mean label against mean score in bins of about equal size; one-sided normal bounds."""
    number, edges = _binned(score, bins)
    z, table = normal_quantile(confidence), []
    for k in np.unique(number):
        inside = number == k
        n, mean = int(inside.sum()), float(label[inside].mean())
        half = z * float(label[inside].std(ddof=1)) / np.sqrt(n) if n > 1 else float("inf")
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
