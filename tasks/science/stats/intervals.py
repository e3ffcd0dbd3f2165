"""Quantiles and bounds that several estimators share, each said once."""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtri

BOUND = 0.975
"""Confidence of each bound of an interval that a page shows; both bounds together hold at 95 %."""


def normal_quantile(confidence: float) -> float:
    """The standard normal quantile: standard errors from the estimate to a one-sided bound at this confidence."""
    return float(ndtri(confidence))


Z = normal_quantile(BOUND)
"""1.959964 standard errors."""


def exact_share(count: float, rows: float, confidence: float = BOUND) -> tuple[float, float]:
    """Exact bounds of a binomial share (Clopper & Pearson 1934).

    Args:
        count: rows that are counted, out of ``rows`` > 0.
        confidence: of each bound alone.

    Returns:
        Low and high bound; 0 where nothing is counted, 1 where everything is.
    """
    low = float(betaincinv(count, rows - count + 1, 1 - confidence)) if count > 0 else 0.0
    high = float(betaincinv(count + 1, rows - count, confidence)) if count < rows else 1.0
    return low, high


def wilson_share(
    share: np.ndarray | float, rows: np.ndarray | float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Score bounds of binomial shares (Wilson 1927); they always hold the share.

    Args:
        share, rows: of one shape; NaN and 0 of no rows.
        confidence: of each bound alone.

    Returns:
        Low and high bounds in the shape of ``share``; NaN of no rows.
    """
    z, p, n = normal_quantile(confidence), np.asarray(share, float), np.asarray(rows, float)
    middle = (n * p + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(n * p * (1 - p) + z**2 / 4) / (n + z**2)
    return np.clip(middle - half, 0, p), np.clip(middle + half, p, 1)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of (n,) replicates; those without a value are left out, and of none the bounds are NaN."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def moments(terms: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation and skewness of (n,) terms, and the degrees of freedom that their kurtosis leaves to their
    variance.

    As many as give a chi-squared variate the relative variance of the sample variance (Satterthwaite 1946); n - 1 for
    normal terms.
    """
    n, gap = len(terms), terms - terms.mean()
    square = gap * gap
    variance = float(square.mean())
    if n < 2 or not variance > 0 or np.ptp(terms) == 0:
        return (0.0 if n > 1 else float("nan")), 0.0, max(n - 1, 1)
    skewness, heaviness = float((square * gap).mean()) / variance**1.5, float((square * square).mean()) / variance**2
    return (
        float(np.sqrt(variance * n / (n - 1))),
        skewness,
        float(np.clip(2 * n / max(heaviness - 1, 1e-9), min(2, n - 1), n - 1)),
    )
