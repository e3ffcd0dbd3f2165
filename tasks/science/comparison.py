"""One metric with its interval, and the difference of two models on the same rows with its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from tasks.science.metrics import METRICS

REPLICATES = 1000
CHUNK = 20
"""Replicates held in memory at a time."""


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
    low, high = _bootstrap(metric, label, [score], threshold, confidence, seed)
    value = METRICS[metric].compute(label, score, threshold)
    return Interval(value, low, high, f"percentile bootstrap, {REPLICATES} replicates")


def paired_difference(
    metric: str, label: np.ndarray, challenger: np.ndarray, champion: np.ndarray, threshold: float, confidence: float, seed: int
) -> Interval:
    """Challenger minus champion on the same rows with one-sided bounds.

    ROC AUC: paired DeLong. Log-loss, Brier: normal mean of paired loss differences. Accuracy: Tango's score interval,
    which at a difference of 0 is McNemar's test and has width where the two never disagree. Balanced accuracy and
    average precision: paired percentile bootstrap of rows. Equal scores on every row differ by 0, exactly.

    Args:
        label: (n,) bool with both classes; challenger, champion: (n,) in [0, 1].
    """
    if np.array_equal(challenger, champion):
        return Interval(0.0, 0.0, 0.0, "both give the same score to every row")
    z = norm.ppf(confidence)
    if metric == "roc_auc":
        auc, covariance = delong(label, np.vstack([challenger, champion]))
        variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
        return _normal(float(auc[0] - auc[1]), float(np.sqrt(max(variance, 0.0))), z, "paired DeLong 1988")
    first, second = (row_losses(metric, label, s, threshold) for s in (challenger, champion))
    if metric == "accuracy" and first is not None and second is not None:
        gained, lost = int((first > second).sum()), int((first < second).sum())
        low, high = tango(gained, lost, len(label), confidence)
        return Interval((gained - lost) / len(label), low, high, f"Tango 1998, paired: {gained} rows gained, {lost} lost")
    if first is not None and second is not None:
        gap = first - second
        return _normal(float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap))), z, "normal mean of paired row losses")
    compute = METRICS[metric].compute
    value = compute(label, challenger, threshold) - compute(label, champion, threshold)
    low, high = _bootstrap(metric, label, [challenger, champion], threshold, confidence, seed)
    return Interval(value, low, high, f"paired percentile bootstrap, {REPLICATES} replicates")


def _normal(value: float, error: float, z: float, method: str) -> Interval:
    return Interval(float(value), float(value - z * error), float(value + z * error), method)


def tango(gained: int, lost: int, rows: int, confidence: float) -> tuple[float, float]:
    """One-sided score bounds of the difference of two paired shares, ``(gained - lost) / rows`` (Tango 1998).

    Args:
        gained: rows right under the first and wrong under the second; ``lost``: the other way round.
        rows: all pairs, above 0.
    """
    z = float(norm.ppf(confidence))

    def statistic(delta: float) -> float:
        a, b, c = 2 * rows, -gained - lost + (2 * rows - gained + lost) * delta, -lost * delta * (1 - delta)
        share = (np.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = rows * (2 * share + delta * (1 - delta))
        gap = gained - lost - rows * delta
        if variance > 0:
            return float(np.clip(gap / np.sqrt(variance), -1e9, 1e9))
        return 0.0 if gap == 0 else float(np.copysign(1e9, gap))

    value, edge = (gained - lost) / rows, 1 - 1e-12
    low = -1.0 if value <= -edge else float(brentq(lambda d: statistic(d) - z, -edge, value))
    high = 1.0 if value >= edge else float(brentq(lambda d: statistic(d) + z, value, edge))
    return low, high


def _bootstrap(metric: str, label: np.ndarray, scores: list[np.ndarray], threshold: float, confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bounds of a metric, or of the first model's less the second's, over resampled rows (Efron & Tibshirani 1993)."""
    rng, draws = np.random.default_rng(seed), []
    resampled = _balanced_accuracy if metric == "balanced_accuracy" else _average_precision
    for start in range(0, REPLICATES, CHUNK):
        counts = rng.multinomial(len(label), np.full(len(label), 1 / len(label)), size=min(CHUNK, REPLICATES - start))
        found = [resampled(label, score, threshold, counts) for score in scores]
        draws.append(found[0] if len(found) == 1 else found[0] - found[1])
    low, high = np.nanquantile(np.concatenate(draws), [1 - confidence, confidence])
    return float(low), float(high)


def _balanced_accuracy(label: np.ndarray, score: np.ndarray, threshold: float, counts: np.ndarray) -> np.ndarray:
    """(b,) balanced accuracies of rows drawn (b, n) ``counts`` times; NaN without both classes."""
    right = (score >= threshold) == label
    rows = np.column_stack([label, ~label]).astype(float)
    total, hits = counts @ rows, counts @ (rows * right[:, None])
    return np.asarray(np.divide(hits, total, out=np.full_like(total, np.nan), where=total > 0).mean(axis=1))


def _average_precision(label: np.ndarray, score: np.ndarray, threshold: float, counts: np.ndarray) -> np.ndarray:
    """(b,) average precisions, as scikit-learn's with (b, n) ``counts`` as weights; NaN without positives."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # rows of equal score come in together
    drawn = counts[:, order]
    true = np.cumsum(drawn * label[order], axis=1)[:, ends].astype(float)
    every = np.cumsum(drawn, axis=1)[:, ends]
    precision = np.divide(true, every, out=np.zeros_like(true), where=every > 0)
    total = true[:, -1]
    area = (np.diff(true, axis=1, prepend=0.0) * precision).sum(axis=1)
    return np.asarray(np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0))
