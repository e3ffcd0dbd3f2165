"""Performance without labels: what the scores themselves say about it."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

REPLICATES = 200
TINY = 1e-6


def calibrated(reference_score: np.ndarray, reference_label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores recalibrated by a logistic fit on the reference's log-odds (Platt 1999; Cox 1958)."""
    model = LogisticRegression(C=1e6).fit(_odds(reference_score)[:, None], reference_label)
    return np.asarray(model.predict_proba(_odds(score)[:, None])[:, 1])


def estimate(metric: str, probability: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """Expected metric of ``score`` when labels come up with ``probability``: confidence-based performance estimation.

    Averages the loss over both labels (Guillory et al. 2021; NannyML's CBPE). Valid where P(label | inputs) is as in
    the reference window: it sees covariate shift, not concept drift.

    Args:
        metric: ``roc_auc``, ``log_loss``, ``brier`` or ``accuracy``.
        probability: (n,) calibrated.
        score: (n,) as served.
    """
    if metric == "log_loss":
        safe = np.clip(score, TINY, 1 - TINY)
        return float(np.mean(-probability * np.log(safe) - (1 - probability) * np.log1p(-safe)))
    if metric == "brier":
        return float(np.mean(probability * (1 - score) ** 2 + (1 - probability) * score**2))
    if metric == "accuracy":
        return float(np.mean(np.where(score >= threshold, probability, 1 - probability)))
    order = np.argsort(score, kind="stable")
    p = probability[order]
    below = np.cumsum(1 - p) - (1 - p)
    pairs = p.sum() * (1 - p).sum() - float(np.sum(p * (1 - p)))
    return float(np.sum(p * below) / pairs) if pairs > 0 else float("nan")


def estimate_with_interval(
    metric: str, reference_score: np.ndarray, reference_label: np.ndarray, score: np.ndarray, threshold: float, seed: int
) -> tuple[float, float, float]:
    """:func:`estimate` with a 95 % percentile interval over resampled reference (its calibration) and window rows."""
    rng = np.random.default_rng(seed)
    value = estimate(metric, calibrated(reference_score, reference_label, score), score, threshold)
    slope = _odds(reference_score)
    draws = []
    for _ in range(REPLICATES):
        i, j = rng.integers(len(slope), size=len(slope)), rng.integers(len(score), size=len(score))
        if len(np.unique(reference_label[i])) < 2:
            continue
        shift, scale = _platt(slope[i], reference_label[i])
        probability = 1 / (1 + np.exp(-(shift + scale * _odds(score[j]))))
        draws.append(estimate(metric, probability, score[j], threshold))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return value, float(low), float(high)


def _odds(score: np.ndarray) -> np.ndarray:
    safe = np.clip(score, TINY, 1 - TINY)
    return np.asarray(np.log(safe) - np.log1p(-safe))


def _platt(odds: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Two-parameter logistic regression by Newton's method: a few steps suffice near the identity."""
    x = np.column_stack([np.ones_like(odds), odds])
    weights = np.array([0.0, 1.0])
    for _ in range(6):
        p = 1 / (1 + np.exp(-(x @ weights)))
        w = np.maximum(p * (1 - p), TINY)
        weights = weights + np.linalg.solve(x.T @ (x * w[:, None]) + TINY * np.eye(2), x.T @ (label - p))
    return float(weights[0]), float(weights[1])
