"""Performance without labels: what the scores themselves say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from tasks.science.monitors.performance.calibration import Calibration
from tasks.science.monitors.performance.expected_metrics import CELLS, Expected, Ranked, expected, realized
from tasks.science.stats.intervals import Z, percentiles

REPLICATES = 500
FEW = 500
"""Rows up to which the interval is drawn label by label; above, metrics are normal to first order (delta method)."""


@dataclass(frozen=True)
class PerformanceEstimate:
    """An expected metric and the 95 % interval of what labels will show on the same rows.

    ``reference`` is the same estimate on the reference window. ``greater_p`` is the one-sided p-value of the window's
    being greater; it covers the sampling of both windows, not that of labels. ``method`` names the method, and
    ``rows`` is the (effective) number of labelled reference rows that it rests on.
    """

    value: float
    low: float
    high: float
    reference: float
    greater_p: float
    method: str = "confidence-based"
    rows: float = float("nan")


def estimate(metric: str, probability: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """Expected metric of ``score`` when labels come up with ``probability``: confidence-based performance estimation.

    Averages the metric over both labels (Guillory et al. 2021; NannyML's CBPE). Valid where P(label | inputs) is as in
    the reference window: it sees covariate shift, not concept drift, and it believes a score that a broken input
    spoilt.

    Args:
        metric: any of ``METRIC_NAMES["binary"]``.
        probability: (n,) calibrated.
        score: (n,) as served.
    """
    return expected(metric, probability, score, threshold).value


class ConfidenceBasedEstimator:
    """A calibration and the reference it is compared with; what is known of the reference is computed once a metric."""

    def __init__(self, calibration: Calibration, reference_score: np.ndarray, threshold: float) -> None:
        self.calibration, self.threshold = calibration, threshold
        self._score, self._p = reference_score, calibration.probability(reference_score)
        self._ranked, self._known = Ranked(reference_score), dict[str, Expected]()

    def reference(self, metric: str) -> Expected:
        if metric not in self._known:
            self._known[metric] = expected(metric, self._p, self._score, self.threshold, self._ranked)
        return self._known[metric]

    def window(self, score: np.ndarray, seed: int) -> ScoredWindow:
        return ScoredWindow(self, score, seed)


class ScoredWindow:
    """(n,) scores of one window, calibrated and sorted once for all metrics."""

    def __init__(self, estimator: ConfidenceBasedEstimator, score: np.ndarray, seed: int) -> None:
        self._estimator, self._score, self._seed = estimator, score, seed
        self._at, self._ranked = estimator.calibration.at(score), Ranked(score)

    def estimate(self, metric: str) -> PerformanceEstimate:
        """:func:`estimate`, the interval of what labels will show, and a comparison with the reference.

        The interval is a 95 % prediction interval for the metric of these very rows once their labels are known. It
        covers the calibration's error (asymptotically normal, sandwich covariance, White 1982) and the labels' own
        variation around the calibrated probabilities. Up to :data:`FEW` rows labels are drawn; above, the delta method
        is used. Like the estimate it holds only where P(label | inputs) is as in the reference.
        """
        e, at = self._estimator, self._at
        now, then = expected(metric, at.p, self._score, e.threshold, self._ranked), e.reference(metric)
        if len(self._score) > FEW:
            error = np.sqrt(float(at.spread @ now.by_label**2) + at.variance(now.by_label))
            low, high = now.value - Z * error, now.value + Z * error
        else:
            low, high = _drawn(metric, e.calibration, self._score, e.threshold, self._seed)
        return PerformanceEstimate(now.value, float(low), float(high), then.value, greater(now, then))


def label_variance(now: Expected, p: np.ndarray) -> float:
    """Variance of the metric while labels come up with (n,) ``p``, to first order."""
    return float((p * (1 - p)) @ now.by_label**2)


def greater(now: Expected, then: Expected) -> float:
    """One-sided p-value of one expected metric's being greater than that of other rows."""
    error = np.sqrt(now.sampling + then.sampling)
    gap = now.value - then.value
    return float(ndtr(-gap / error)) if error > 0 else float(gap <= 0)


def _drawn(
    metric: str, calibration: Calibration, score: np.ndarray, threshold: float, seed: int
) -> tuple[float, float]:
    rng, found, size = np.random.default_rng(seed), [], max(1, CELLS // len(score))
    for start in range(0, REPLICATES, size):
        p = calibration.drawn(score, min(size, REPLICATES - start), rng)
        found.append(realized(metric, rng.random(p.shape) < p, score, threshold))
    return percentiles(np.concatenate(found))  # some metrics have no value where a replicate holds one class only
