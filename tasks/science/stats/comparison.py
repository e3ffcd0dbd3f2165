"""One metric with its interval, and the difference of two models on the same rows with its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import binom

from tasks.science.stats.clusters import design_effect, shared
from tasks.science.stats.counts import (
    COUNTED,
    REPLICATES,
    Bounds,
    cell_bootstrap,
    clustered_counts,
    exact_metric,
    joint_counts,
)
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.jackknife import (
    auc_bounds,
    paired_smooth_bounds,
    placements,
    row_losses,
    smooth_bounds,
)
from tasks.science.stats.metrics import kind_of, measurable

__all__ = [
    "MetricEstimate",
    "Interval",
    "delong",
    "mcnemar_mid_p",
    "metric_estimate",
    "metric_interval",
    "paired_difference",
    "paired_estimate",
    "row_losses",
    "tango",
    "tango_score",
]

STRICTEST = 6.0
"""Standard errors beyond which p-values are not distinguished."""


@dataclass(frozen=True)
class Interval:
    """An estimate with one-sided bounds: each bound alone holds at the stated confidence."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class MetricEstimate:
    """A number with its bounds at any confidence; ``least`` is the smallest p-value that the method can tell."""

    value: float
    method: str
    bounds: Bounds
    least: float = 0.0

    def interval(self, confidence: float) -> Interval:
        return Interval(self.value, *self.bounds(confidence), self.method)

    def refuted(self, limit: float, greater_is_better: bool) -> float:
        """One-sided p-value of "the truth is on the right side of the limit", by inverting the bounds.

        It is small where the estimate is surely worse than the limit. It is 1 where the estimate is on the right side,
        or NaN.
        """
        sign = 1 if greater_is_better else -1
        if not sign * self.value < sign * limit:
            return 1.0

        def beyond(z: float) -> bool:
            low, high = self.bounds(float(ndtr(z)))
            return bool(high < limit if greater_is_better else low > limit)

        inside, outside = 0.0, STRICTEST
        if beyond(outside):
            return max(float(ndtr(-outside)), self.least)
        while outside - inside > 1e-3:
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if beyond(middle) else (inside, middle)
        return max(float(ndtr(-inside)), self.least)


SMOOTH = {
    "roc_auc": "t of structural components (Sen 1960), mean of one against the rest, skewness taken out (Hall 1992)",
    "average_precision": (
        "t of jackknife values (Tukey 1958), degrees of freedom by their kurtosis (Satterthwaite 1946), the wider of "
        "its bounds with and without skewness taken out (Hall 1992)"
    ),
    "rmse": "t of jackknife values (Tukey 1958), skewness taken out (Hall 1992)",
    "r2": "ratio of means (Fieller 1954), skewness taken out (Hall 1992)",
}
"""How a metric is judged that is no mean over rows."""

AUC = (
    "t of structural components (Sen 1960; DeLong 1988), the wider of its bounds with skewness taken out (Hall 1992) "
    "and of the logarithm of the distance from 1"
)
ROOT = "; the wider of RMSE itself and of its logarithm"
OF_ENTITIES = "; one value an entity (Liang & Zeger 1986)"
OVER_EFFECT = "; counts over their design effect by entity (Rao & Scott 1992)"

NO_NUMBER = MetricEstimate(float("nan"), "the metric has no value on these rows", lambda confidence: (-np.inf, np.inf))


def delong(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of k models on the same rows, and their covariance.

    DeLong, DeLong & Clarke-Pearson (1988), by ranks as in Sun & Xu (2014), from one sort of each model.

    Args:
        label: (n,) bool with both classes.
        scores: (k, n).

    Returns:
        (k,) AUCs and (k, k) covariance.
    """
    placed = [placements(label, score) for score in scores]
    v10, v01 = np.array([p[0] for p in placed]), np.array([p[1] for p in placed])
    m, n, auc = v10.shape[1], v01.shape[1], v10.mean(axis=1)
    return auc, np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def metric_estimate(
    metric: str, label: np.ndarray, score: np.ndarray, threshold: float, seed: int, owners: np.ndarray | None = None
) -> MetricEstimate:
    """The metric with bounds at any confidence; the arrays are those of :class:`tasks.science.stats.metrics.Metric`.

    ROC AUC of two classes: :func:`tasks.science.stats.jackknife.auc_bounds`. Accuracy, and precision, recall and F1 of
    two classes: exact binomial. Balanced accuracy, and F1 of several: bootstrap of the counts by label and decision.
    Means over rows, RMSE, R², average precision and the AUC of several classes:
    :func:`tasks.science.stats.jackknife.smooth_bounds`.

    Rows of one entity are not independent. Counts are then divided by their design effect, and all else is computed
    from one value an entity (:mod:`tasks.science.stats.clusters`). ``tests/statistics/clusters.py`` measures the error
    rates.

    Args:
        owners: (n,) the number of the entity whose row it is; None where rows are independent.

    Raises:
        ValueError: the metric does not measure this kind of model.
    """
    if not measurable(metric, label, score):
        return NO_NUMBER
    kind, owners = kind_of(label, score), shared(owners)
    by, effect = ("", "") if owners is None else (OF_ENTITIES, OVER_EFFECT)
    if metric == "roc_auc" and kind == "binary":
        return _named(auc_bounds(label, score, owners), AUC + by)
    if metric in COUNTED or metric == "accuracy":
        decision = _decision(score, threshold)
        if metric == "accuracy" or (kind == "binary" and metric != "balanced_accuracy"):
            found, bounds = exact_metric(metric, label, decision, owners)
            return MetricEstimate(found, f"exact binomial (Clopper & Pearson 1934){effect}", bounds)
        found, bounds = _bootstrap(metric, label, [decision], 2 if kind == "binary" else score.shape[1], seed, owners)
        text = f"BCa bootstrap of counts (Efron 1987), {REPLICATES} replicates{effect}"
        return MetricEstimate(found, text, bounds, 1 / (REPLICATES + 1))
    value, bounds = smooth_bounds(metric, label, score, threshold, owners)
    text = SMOOTH.get(metric, "t of row losses, skewness taken out (Hall 1992)") + (ROOT if metric == "rmse" else "")
    return MetricEstimate(value, text + by, bounds)


def paired_estimate(
    metric: str,
    label: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    threshold: float,
    seed: int,
    owners: np.ndarray | None = None,
) -> MetricEstimate:
    """Challenger minus champion on the same rows with bounds at any confidence.

    ROC AUC of two classes: paired DeLong. Accuracy: Tango's score interval, which at a difference of 0 is McNemar's
    test and has width where the two never disagree. Balanced accuracy, F1, precision and recall: paired bootstrap of
    the counts by label and both decisions. Means over rows, RMSE, R², average precision and the AUC of several classes:
    :func:`tasks.science.stats.jackknife.paired_smooth_bounds`. Equal scores on every row differ by 0, exactly.
    ``tests/statistics/non_inferiority.py`` measures the error rates.

    Args:
        label, challenger, champion: as :class:`tasks.science.stats.metrics.Metric` takes them.
        owners: as of :func:`metric_estimate`.

    Raises:
        ValueError: the metric does not measure this kind of model.
    """
    if np.array_equal(challenger, champion):
        return MetricEstimate(0.0, "both give the same score to every row", lambda confidence: (0.0, 0.0))
    if not measurable(metric, label, challenger) or not measurable(metric, label, champion):
        return NO_NUMBER
    kind, owners = kind_of(label, challenger), shared(owners)
    by, effect = ("", "") if owners is None else (OF_ENTITIES, OVER_EFFECT)
    if metric == "roc_auc" and kind == "binary":
        if owners is not None:
            value, bounds = paired_smooth_bounds(metric, label, challenger, champion, threshold, owners)
            return MetricEstimate(value, "t of paired structural components by entity (Obuchowski 1997)", bounds)
        auc, covariance = delong(label, np.vstack([challenger, champion]))
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return _normal(float(auc[0] - auc[1]), float(np.sqrt(max(variance, 0.0))), "paired DeLong 1988")
    decisions = [_decision(challenger, threshold), _decision(champion, threshold)]
    if metric == "accuracy":
        return _accuracy(decisions[0] == label, decisions[1] == label, owners)
    if metric in COUNTED:
        classes = 2 if kind == "binary" else challenger.shape[1]
        found, bounds = _bootstrap(metric, label, decisions, classes, seed, owners)
        text = f"paired BCa bootstrap of joint counts (Efron 1987), {REPLICATES} replicates{effect}"
        return MetricEstimate(found, text, bounds, 1 / (REPLICATES + 1))
    value, bounds = paired_smooth_bounds(metric, label, challenger, champion, threshold, owners)
    text = SMOOTH.get(metric, "t of paired row losses, skewness taken out (Hall 1992)") + by
    return MetricEstimate(value, text, bounds)


def _named(found: tuple[float, Bounds], method: str) -> MetricEstimate:
    value, bounds = found
    return MetricEstimate(value, method, bounds)


def _bootstrap(
    metric: str, label: np.ndarray, decisions: list[np.ndarray], classes: int, seed: int, owners: np.ndarray | None
) -> tuple[float, Bounds]:
    if owners is not None:
        return clustered_counts(metric, label, decisions, classes, owners, seed)
    return cell_bootstrap(metric, joint_counts(label, decisions, classes), seed)


def metric_interval(
    metric: str,
    label: np.ndarray,
    score: np.ndarray,
    threshold: float,
    confidence: float,
    seed: int,
    owners: np.ndarray | None = None,
) -> Interval:
    """:func:`metric_estimate` at one confidence."""
    return metric_estimate(metric, label, score, threshold, seed, owners).interval(confidence)


def paired_difference(
    metric: str,
    label: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    threshold: float,
    confidence: float,
    seed: int,
    owners: np.ndarray | None = None,
) -> Interval:
    """:func:`paired_estimate` at one confidence."""
    return paired_estimate(metric, label, challenger, champion, threshold, seed, owners).interval(confidence)


def _decision(score: np.ndarray, threshold: float) -> np.ndarray:
    return np.asarray(score.argmax(axis=1) if score.ndim == 2 else score >= threshold)


def _normal(value: float, error: float, method: str) -> MetricEstimate:
    def bounds(confidence: float) -> tuple[float, float]:
        reach = normal_quantile(confidence) * error
        return value - reach, value + reach

    return MetricEstimate(value, method, bounds)


def _accuracy(first: np.ndarray, second: np.ndarray, owners: np.ndarray | None) -> MetricEstimate:
    gained, lost, rows = int((first & ~second).sum()), int((~first & second).sum()), len(first)
    method, value = f"Tango 1998, paired: {gained} rows gained, {lost} lost", (gained - lost) / rows
    if owners is None:
        method += f", McNemar's mid-p of equality {mcnemar_mid_p(gained, lost):.2g}"
        return MetricEstimate(value, method, lambda confidence: tango(gained, lost, rows, confidence))
    effect = design_effect(first.astype(float) - second - value, owners, 1.0)

    def bounds(confidence: float) -> tuple[float, float]:
        by = effect.at(confidence)
        return tango(gained / by, lost / by, rows / by, confidence)

    return MetricEstimate(value, method + OVER_EFFECT, bounds)


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Two-sided mid-p value of equal accuracy, from the rows on which just one of two models is right (McNemar 1947;
    Lancaster 1961).
    """
    fewer, both = min(gained, lost), gained + lost
    if gained == lost:
        return 1.0
    return float(2 * binom.cdf(fewer, both, 0.5) - binom.pmf(fewer, both, 0.5))


def tango_score(gained: float, lost: float, rows: float, delta: float) -> float:
    """The score statistic of a difference ``delta`` of two paired shares (Tango 1998); at 0 its square is McNemar's."""
    a, b, c = 2 * rows, -gained - lost + (2 * rows - gained + lost) * delta, -lost * delta * (1 - delta)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = rows * (2 * share + delta * (1 - delta))
    gap = gained - lost - rows * delta
    if variance > 0:
        return min(max(gap / math.sqrt(variance), -1e9), 1e9)
    return 0.0 if gap == 0 else math.copysign(1e9, gap)


def tango(gained: float, lost: float, rows: float, confidence: float) -> tuple[float, float]:
    """One-sided score bounds of the difference of two paired shares, ``(gained - lost) / rows`` (Tango 1998).

    Args:
        gained: rows right under the first and wrong under the second; ``lost``: the other way round.
        rows: all pairs, above 0.
    """
    z, value, edge = normal_quantile(confidence), (gained - lost) / rows, 1 - 1e-12
    low = -1.0 if value <= -edge else float(brentq(lambda d: tango_score(gained, lost, rows, d) - z, -edge, value))
    high = 1.0 if value >= edge else float(brentq(lambda d: tango_score(gained, lost, rows, d) + z, value, edge))
    return low, high
