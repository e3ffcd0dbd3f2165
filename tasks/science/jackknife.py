"""Metrics that are means, or smooth functions of the rows: what each row contributes, and bounds that know its skewness."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata, skew, t

from tasks.science.counts import Bounds

TINY = float(np.finfo(float).eps)


def row_losses(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray | None:
    """(n,) terms whose mean is the metric, or None for a metric that is no mean over rows."""
    several = score.ndim == 2
    if metric == "log_loss":
        safe = np.clip(score, TINY, 1 - TINY)
        if several:
            return np.asarray(-np.log(safe[np.arange(len(label)), label]))
        return np.asarray(-np.where(label, np.log(safe), np.log1p(-safe)))
    if metric == "brier":
        truth = np.arange(score.shape[1]) == label[:, None] if several else label
        return np.asarray(((truth - score) ** 2).sum(axis=1) if several else (truth - score) ** 2)
    if metric == "accuracy":
        return np.asarray((score.argmax(axis=1) if several else score >= threshold) == label, dtype=float)
    if metric == "mae":
        return np.asarray(np.abs(label - score))
    return None


def contributions(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> tuple[float, np.ndarray]:
    """The metric, and (n,) pseudo-values of each row (Tukey 1958), whose mean is the metric less its bias; row losses, where it is a mean.

    n times the metric less n - 1 times the metric without the row, exact and without a loop over rows for RMSE, R² and
    average precision; the structural components of the AUC (Sen 1960; DeLong et al. 1988), averaged over classes.
    """
    losses = row_losses(metric, label, score, threshold)
    if losses is not None:
        return float(losses.mean()), losses
    if metric == "roc_auc":
        parts = [_auc(label, score)] if score.ndim == 1 else [_auc(label == c, score[:, c]) for c in range(score.shape[1])]
        components = np.mean(parts, axis=0)
        return float(components.mean()), components
    n = len(label)
    if metric == "average_precision":
        whole, without = _average_precision(label, score)
    else:
        whole, without = _of_squares(metric, label, (label - score) ** 2)
    return whole, np.asarray(n * whole - (n - 1) * without)


def _of_squares(metric: str, label: np.ndarray, squares: np.ndarray) -> tuple[float, np.ndarray]:
    """RMSE or R², and (n,) those without each row."""
    n, rest = len(label), np.maximum(squares.sum() - squares, 0)
    if metric == "rmse":
        return float(np.sqrt(squares.mean())), np.sqrt(rest / (n - 1))
    spread = (label - label.mean()) ** 2
    left = spread.sum() - spread * n / (n - 1)
    return float(1 - squares.sum() / spread.sum()), 1 - np.divide(rest, left, out=np.full(n, np.nan), where=left > 0)


def _auc(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    n, m = len(label), int(label.sum())
    rank = rankdata(score)
    found = np.empty(n)
    within, beyond = rankdata(score[label]), rankdata(score[~label])
    above, below = (rank[label] - within) / (n - m), 1 - (rank[~label] - beyond) / m
    auc = float(above.mean())
    found[label], found[~label] = auc + (above - auc) * n / m, auc + (below - auc) * n / (n - m)
    return found


def _average_precision(label: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """The value, and (n,) those without each row: ranks below the row are one row, and one positive or negative, shorter."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # rows of equal score come in together
    every = (ends + 1).astype(float)
    true = np.cumsum(label[order])[ends].astype(float)
    new, total = np.diff(true, prepend=0.0), float(label.sum())
    place = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    shorter = np.maximum(every - 1, 1)
    kept = new * true / every
    before = np.concatenate([[0.0], np.cumsum(kept)])[:-1]
    less_negative, less_positive = new * true / shorter, new * (true - 1) / shorter
    after = np.cumsum(less_negative[::-1])[::-1]
    own = (new - 1) * (true - 1) / shorter  # the row's own rank has one positive less to credit
    beyond = np.cumsum(less_positive[::-1])[::-1] - less_positive
    left = np.where(label[order], (before + beyond)[place] + own[place], (before + after)[place])
    rest = np.where(label[order], total - 1, total)
    without = np.empty(len(label))
    without[order] = np.divide(left, rest, out=np.full(len(label), np.nan), where=rest > 0)
    return float(kept.sum() / total), without


def mean_bounds(terms: np.ndarray, value: float) -> Bounds:
    """One-sided bounds of the mean of (n,) terms, corrected for skewness and holding ``value``.

    Student's t after the cubic, monotone transformation that takes the skewness out (Hall 1992, JRSSB 54, 221). Without it
    a one-sided bound of a skewed mean, such as log-loss, misses too often on one side.
    """
    n, mean, spread = len(terms), float(terms.mean()), float(terms.std(ddof=1)) if len(terms) > 1 else float("nan")
    bend = float(skew(terms)) / 3 if spread > 0 else 0.0

    def straightened(quantile: float) -> float:
        if abs(bend) < 1e-6:
            return quantile / np.sqrt(n)
        return float(np.cbrt(1 + 3 * bend * (quantile / np.sqrt(n) - bend / (2 * n))) - 1) / bend

    def bounds(confidence: float) -> tuple[float, float]:
        quantile = float(t.ppf(confidence, n - 1))
        return min(mean - spread * straightened(quantile), value), max(mean - spread * straightened(-quantile), value)

    return bounds
