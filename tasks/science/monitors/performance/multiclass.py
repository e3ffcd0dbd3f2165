"""Performance of a multiclass model without labels: expected metrics from calibrated class probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.science.monitors.performance.calibration import RIDGE, newton
from tasks.science.monitors.performance.confidence_based import PerformanceEstimate, greater
from tasks.science.monitors.performance.expected_metrics import COUNTED, EPS, Expected, expected
from tasks.science.stats.intervals import Z


@dataclass(frozen=True)
class ClassCalibration:
    """Vector scaling with one slope: class log-scores times a slope, plus a shift for each class but the first."""

    weights: np.ndarray
    """(k,) the slope, then the shifts of classes 2 to k."""
    covariance: np.ndarray
    """(k, k) of the weights, the sandwich of White (1982)."""

    def probability(self, score: np.ndarray) -> np.ndarray:
        """(n, k) from (n, k) scores."""
        return _probability(self.weights, _logs(score))

    def variance(self, score: np.ndarray, p: np.ndarray, by_label: np.ndarray) -> float:
        """Variance that the calibration's sampling error adds to a metric with (n, k) derivatives by label."""
        logs = _logs(score)
        centred = by_label - (p * by_label).sum(axis=1, keepdims=True)
        slope = np.append((p * centred * logs).sum(), (p * centred).sum(axis=0)[1:])
        return float(slope @ self.covariance @ slope)


def _logs(score: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(np.clip(score, 1e-6, None)))


def _probability(weights: np.ndarray, logs: np.ndarray) -> np.ndarray:
    z = weights[0] * logs + np.append(0.0, weights[1:])
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(z / z.sum(axis=1, keepdims=True))


def fit_classes(score: np.ndarray, code: np.ndarray, weight: np.ndarray | None = None) -> ClassCalibration:
    """Maximum likelihood (Guo et al. 2017) on (m, k) scores and (m,) class codes, each row counting ``weight``."""
    logs, k = _logs(score), score.shape[1]
    weight = np.ones(len(code)) if weight is None else weight
    truth = np.eye(k)[code]
    held = np.full(k, RIDGE)

    def loss(w: np.ndarray) -> float:
        return float(
            -weight @ np.log(np.clip(_probability(w, logs)[np.arange(len(code)), code], EPS, None)) + held @ w**2 / 2
        )

    def bend(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = _probability(w, logs)
        return weight @ _rows(p - truth, logs) + held * w, _information(p, logs, weight) + np.diag(held)

    w = newton(loss, bend, np.append(1.0, np.zeros(k - 1)))
    p = _probability(w, logs)
    bread, parts = np.linalg.pinv(_information(p, logs, weight)), _rows(p - truth, logs) * weight[:, None]
    covariance = bread @ (parts.T @ parts) @ bread
    return ClassCalibration(w, (covariance + covariance.T) / 2)


def _rows(gap: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """(m, k) derivatives of each row's loss by the parameters."""
    return np.column_stack([(gap * logs).sum(axis=1), gap[:, 1:]])


def _information(p: np.ndarray, logs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = (p * logs).sum(axis=1, keepdims=True)
    slope = weight @ (p * (logs - mean) ** 2).sum(axis=1)
    mixed = weight @ (p * (logs - mean))[:, 1:]
    shifts = np.diag(weight @ p[:, 1:]) - (p[:, 1:].T * weight) @ p[:, 1:]
    return np.block([[np.array([[slope]]), mixed[None, :]], [mixed[:, None], shifts]])


def expected_classes(metric: str, p: np.ndarray, score: np.ndarray) -> Expected:
    """The expected metric where the classes of n rows have (n, k) probabilities ``p``; ``by_label`` is (n, k).

    With ones and zeros as probabilities it is the realized metric.

    AUC is the mean of one class against the rest; balanced accuracy and F1 are means over classes; Brier is over all
    classes. A class that has no value is left out of a mean.
    """
    n, k = p.shape
    if metric in ("log_loss", "brier"):
        whole = (score**2).sum(axis=1, keepdims=True) if metric == "brier" else 0.0
        cost = whole + 1 - 2 * score if metric == "brier" else -np.log(np.clip(score, EPS, None))
        terms = (p * cost).sum(axis=1)
        return Expected(float(terms.mean()), cost / n, terms)
    taken = np.eye(k)[score.argmax(axis=1)]
    if metric == "accuracy":
        terms = (p * taken).sum(axis=1)
        return Expected(float(terms.mean()), taken / n, terms)
    if metric == "roc_auc":
        parts = [expected("roc_auc", p[:, j], score[:, j], 0.5) for j in range(k)]
    else:
        parts = [COUNTED["f1" if metric == "f1" else "recall"](p[:, j], taken[:, j]) for j in range(k)]
    known = [j for j in range(k) if np.isfinite(parts[j].value)]
    if not known:
        return Expected(float("nan"), np.zeros((n, k)), np.zeros(n))
    by_label = np.zeros((n, k))
    for j in known:
        by_label[:, j] = parts[j].by_label / len(known)
    return Expected(
        float(np.mean([parts[j].value for j in known])),
        by_label,
        np.sum([parts[j].terms for j in known], axis=0) / len(known),
    )


def estimate_classes(
    metric: str, calibration: ClassCalibration, reference_score: np.ndarray, score: np.ndarray
) -> PerformanceEstimate:
    """Expected metric with the 95 % interval of what labels will show on the same rows, by the delta method.

    Args:
        reference_score: (m, k); score: (n, k), as served.
    """
    p = calibration.probability(score)
    now = expected_classes(metric, p, score)
    then = expected_classes(metric, calibration.probability(reference_score), reference_score)
    mean = (p * now.by_label).sum(axis=1)
    label = float(((p * now.by_label**2).sum(axis=1) - mean**2).sum())
    error = np.sqrt(label + calibration.variance(score, p, now.by_label))
    return PerformanceEstimate(
        now.value, float(now.value - Z * error), float(now.value + Z * error), then.value, greater(now, then)
    )
