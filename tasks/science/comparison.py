"""One metric with its interval, and the difference of two models on the same rows with its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from tasks.science.metrics import METRICS

REPLICATES = 1000


@dataclass(frozen=True)
class Interval:
    """An estimate with one-sided bounds: each bound alone holds at the stated confidence."""

    value: float
    low: float
    high: float
    method: str


def delong(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of k models on the same rows, and their covariance.

    DeLong, DeLong & Clarke-Pearson (1988), by the mid-rank algorithm of Sun & Xu (2014).

    Args:
        label: (n,) bool with both classes.
        scores: (k, n).

    Returns:
        (k,) AUCs and (k, k) covariance.
    """
    positive, negative = scores[:, label], scores[:, ~label]
    m, n = positive.shape[1], negative.shape[1]
    rank_all = np.apply_along_axis(rankdata, 1, np.hstack([positive, negative]))
    rank_positive = np.apply_along_axis(rankdata, 1, positive)
    rank_negative = np.apply_along_axis(rankdata, 1, negative)
    auc = (rank_all[:, :m].sum(axis=1) - m * (m + 1) / 2) / (m * n)
    v10 = (rank_all[:, :m] - rank_positive) / n
    v01 = 1 - (rank_all[:, m:] - rank_negative) / m
    return auc, np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def row_losses(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray | None:
    """(n,) terms whose mean is the metric, or None for a metric that is no mean over rows."""
    if metric == "log_loss":
        safe = np.clip(score, np.finfo(float).eps, 1 - np.finfo(float).eps)
        return np.asarray(-np.where(label, np.log(safe), np.log1p(-safe)))
    if metric == "brier":
        return np.asarray((label - score) ** 2)
    if metric == "accuracy":
        return np.asarray((score >= threshold) == label, dtype=float)
    return None


def metric_interval(metric: str, label: np.ndarray, score: np.ndarray, threshold: float, confidence: float, seed: int) -> Interval:
    """The metric with one-sided bounds: DeLong for AUC, the normal mean for means over rows, percentile bootstrap else."""
    z = norm.ppf(confidence)
    if metric == "roc_auc":
        auc, covariance = delong(label, score[None, :])
        return _normal(float(auc[0]), float(np.sqrt(covariance[0, 0])), z, "DeLong 1988")
    losses = row_losses(metric, label, score, threshold)
    if losses is not None:
        return _normal(float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(len(losses))), z, "normal mean of row losses")
    compute = METRICS[metric].compute
    draws = [compute(label[i], score[i], threshold) for i in _resamples(len(label), seed)]
    low, high = np.nanquantile(draws, [1 - confidence, confidence])
    return Interval(compute(label, score, threshold), float(low), float(high), f"percentile bootstrap, {REPLICATES} replicates")


def paired_difference(
    metric: str, label: np.ndarray, challenger: np.ndarray, champion: np.ndarray, threshold: float, confidence: float, seed: int
) -> Interval:
    """Challenger minus champion on the same rows with one-sided bounds; methods as :func:`metric_interval`."""
    z = norm.ppf(confidence)
    if metric == "roc_auc":
        auc, covariance = delong(label, np.vstack([challenger, champion]))
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return _normal(float(auc[0] - auc[1]), float(np.sqrt(max(variance, 0.0))), z, "paired DeLong 1988")
    first, second = (row_losses(metric, label, s, threshold) for s in (challenger, champion))
    if first is not None and second is not None:
        gap = first - second
        return _normal(float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap))), z, "normal mean of paired row losses")
    compute = METRICS[metric].compute
    value = compute(label, challenger, threshold) - compute(label, champion, threshold)
    draws = [
        compute(label[i], challenger[i], threshold) - compute(label[i], champion[i], threshold) for i in _resamples(len(label), seed)
    ]
    low, high = np.nanquantile(draws, [1 - confidence, confidence])
    return Interval(value, float(low), float(high), f"paired percentile bootstrap, {REPLICATES} replicates")


def _normal(value: float, error: float, z: float, method: str) -> Interval:
    return Interval(float(value), float(value - z * error), float(value + z * error), method)


def _resamples(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(n, size=(REPLICATES, n))
