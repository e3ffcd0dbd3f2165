"""Performance without labels: what the scores themselves say about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression

REPLICATES = 500
CHUNK = 50
"""Replicates held in memory at a time."""
TINY = 1e-6


@dataclass(frozen=True)
class Estimate:
    """An expected metric and the 95 % interval of what labels will show on the same rows.

    ``reference`` is the same estimate on the reference window, and ``greater_p`` the one-sided p-value of the window's
    being greater than it: the sampling of both windows is in it, labels are not.
    """

    value: float
    low: float
    high: float
    reference: float
    greater_p: float


def calibrated(reference_score: np.ndarray, reference_label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores recalibrated by a logistic fit on the reference's log-odds (Platt 1999; Cox 1958)."""
    weights, _ = _calibration(reference_score, reference_label)
    return np.asarray(expit(weights[0] + weights[1] * _odds(score)))


def estimate(metric: str, probability: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """Expected metric of ``score`` when labels come up with ``probability``: confidence-based performance estimation.

    Averages the loss over both labels (Guillory et al. 2021; NannyML's CBPE). Valid where P(label | inputs) is as in
    the reference window: it sees covariate shift, not concept drift, and it believes a score that a broken input spoilt.

    Args:
        metric: ``roc_auc``, ``log_loss``, ``brier`` or ``accuracy``.
        probability: (n,) calibrated.
        score: (n,) as served.
    """
    return _terms(metric, probability, score, threshold)[0]


def estimate_with_interval(
    metric: str, reference_score: np.ndarray, reference_label: np.ndarray, score: np.ndarray, threshold: float, seed: int
) -> Estimate:
    """:func:`estimate`, the interval of what labels will show, and a comparison with the reference.

    The interval is a 95 % prediction interval for the metric of these very rows once their labels are known: every
    replicate draws the calibration from its asymptotic normal law (sandwich covariance, White 1982) and the labels
    from the calibrated probabilities. Like the estimate it holds only where P(label | inputs) is as in the reference.

    Args:
        reference_score, reference_label: (m,) with both classes. score: (n,).
    """
    weights, covariance = _calibration(reference_score, reference_label)
    probability = expit(weights[0] + weights[1] * _odds(score))
    value, terms = _terms(metric, probability, score, threshold)
    known, before = _terms(metric, expit(weights[0] + weights[1] * _odds(reference_score)), reference_score, threshold)
    error = np.sqrt(terms.var() / len(terms) + before.var() / len(before))
    greater_p = float(norm.sf((value - known) / error)) if error > 0 else float(value <= known)
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_normal(weights, covariance, size=REPLICATES, check_valid="ignore", method="eigh")
    shown = _realized(metric, score, threshold, drawn, rng)
    shown = shown[np.isfinite(shown)]  # AUC has no value where a replicate holds one class only
    low, high = np.quantile(shown, [0.025, 0.975]) if len(shown) else (np.nan, np.nan)
    return Estimate(value, float(low), float(high), known, greater_p)


def _realized(metric: str, score: np.ndarray, threshold: float, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(b,) metrics of labels drawn under each of (b, 2) calibrations."""
    odds, n = _odds(score), len(score)
    rank = rankdata(score)
    if_false, if_true = _losses(metric, score, threshold)
    found = []
    for start in range(0, len(weights), CHUNK):
        part = weights[start : start + CHUNK]
        label = rng.random((len(part), n)) < expit(part[:, :1] + part[:, 1:] * odds)
        if metric != "roc_auc":
            found.append(if_false.mean() + label @ (if_true - if_false) / n)
            continue
        positive = label.sum(axis=1)
        pairs = (positive * (n - positive)).astype(float)
        above = label @ rank - positive * (positive + 1) / 2  # Mann & Whitney 1947, mid-ranks for ties
        found.append(np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.concatenate(found)


def _losses(metric: str, score: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """What a row adds to the metric if its label is false, and if it is true; zeros for AUC, which is no mean."""
    if metric == "log_loss":
        safe = np.clip(score, TINY, 1 - TINY)
        return -np.log1p(-safe), -np.log(safe)
    if metric == "brier":
        return score**2, (1 - score) ** 2
    if metric == "accuracy":
        return (score < threshold).astype(float), (score >= threshold).astype(float)
    return np.zeros(len(score)), np.zeros(len(score))


def _terms(metric: str, probability: np.ndarray, score: np.ndarray, threshold: float) -> tuple[float, np.ndarray]:
    """The expected metric, and (n,) terms whose variance over n is that of the estimate under sampling of rows."""
    if metric == "roc_auc":
        return _expected_auc(probability, score)
    if_false, if_true = _losses(metric, score, threshold)
    terms = (1 - probability) * if_false + probability * if_true
    return float(terms.mean()), terms


def _expected_auc(p: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """Expected concordant share of pairs of different rows, a tie counting half, as in the realized AUC.

    It is a ratio of two U-statistics; the terms are its first-order (Hájek) projection (van der Vaart 1998, chapter 12).
    """
    _, place = np.unique(score, return_inverse=True)
    positive, negative = np.bincount(place, weights=p), np.bincount(place, weights=1 - p)
    own = p * (1 - p)  # a row makes no pair with itself
    below = (np.cumsum(negative) - negative / 2)[place]
    above = (positive.sum() - np.cumsum(positive) + positive / 2)[place]
    pairs = positive.sum() * negative.sum() - own.sum()
    if not pairs > 0:
        return float("nan"), np.zeros(len(p))
    value = float((p @ below - own.sum() / 2) / pairs)
    share = p * below + (1 - p) * above - own
    weight = p * negative.sum() + (1 - p) * positive.sum() - 2 * own
    return value, (share - value * weight) * len(p) / pairs


def _odds(score: np.ndarray) -> np.ndarray:
    safe = np.clip(score, TINY, 1 - TINY)
    return np.asarray(np.log(safe) - np.log1p(-safe))


def _calibration(reference_score: np.ndarray, reference_label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the logistic recalibration, and their (2, 2) covariance.

    The window's rows are not among those of the fit, so two parameters need no cross-fitting.
    """
    label = np.asarray(reference_label, dtype=bool)
    odds = _odds(reference_score)
    model = LogisticRegression(C=1e6).fit(odds[:, None], label)
    weights = np.array([model.intercept_[0], model.coef_[0, 0]])
    x = np.column_stack([np.ones_like(odds), odds])
    p = expit(x @ weights)
    bread = np.linalg.pinv(x.T @ (x * (p * (1 - p))[:, None]))
    covariance = bread @ (x.T @ (x * ((label - p) ** 2)[:, None])) @ bread
    return weights, (covariance + covariance.T) / 2
