"""Performance where inputs left the reference's support: the label's probability, learned from the other inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tasks.science.monitors.performance.calibration import logistic_fit, odds
from tasks.science.monitors.performance.confidence_based import PerformanceEstimate, greater, label_variance
from tasks.science.monitors.performance.expected_metrics import expected
from tasks.science.stats.folds import folds, splits
from tasks.science.stats.intervals import Z

FOLDS = 5
TREES = {
    "max_leaf_nodes": 16,
    "learning_rate": 0.1,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
SCORE_STEPS, LABEL_STEPS = 120, 40


class EstimatorWithoutScore:
    """P(label | the other inputs), learned on the reference.

    Some trees learn the log-odds of the reference's score from the other inputs, which needs few steps, as scores hold
    no label noise. Other trees learn the label itself. A logistic fit on both gives the probability; all is
    cross-fitted. The metric is that of the score as it was served. It holds where P(label | the other inputs) is as in
    the reference.
    """

    def __init__(
        self,
        reference: np.ndarray,
        score: np.ndarray,
        label: np.ndarray,
        window: np.ndarray,
        weight: np.ndarray | None,
        seed: int,
    ) -> None:
        """Learn from a reference.

        Args:
            reference: (m, columns) encoded inputs.
            score, label: (m,) of the same rows.
            window: (n, columns) encoded inputs.
            weight: (m,) density ratios, or None for all 1.
        """
        fold = folds(len(label), FOLDS, np.random.default_rng(seed))
        learned, self._parts = np.zeros((len(label), 2)), []
        for fit, held in splits(fold, FOLDS):
            answers = _learn(reference[fit], score[fit], label[fit], seed)
            learned[held] = answers(reference[held])
            self._parts.append(answers(window))
        self._weights, self._covariance = _logistic(learned, label, weight)
        self._told = np.mean(self._parts, axis=0)
        self._reference, self._label, self._before = score, np.asarray(label, dtype=float), self._probability(learned)

    def _probability(self, learned: np.ndarray) -> np.ndarray:
        return np.asarray(expit(_with_one(learned) @ self._weights))

    def estimate(self, metric: str, score: np.ndarray, threshold: float) -> PerformanceEstimate:
        """Estimate a metric with an interval of at least 95 %.

        Variance of labels and recalibration by the delta method, of the trees by the delete-a-group jackknife (Kott
        2001). Where the score knows more than the other inputs, the estimate is too pessimistic, at most by as much as
        on the reference; the interval is extended by that.
        """
        p = self._probability(self._told)
        now, then = expected(metric, p, score, threshold), expected(metric, self._before, self._reference, threshold)
        each = np.array([expected(metric, self._probability(part), score, threshold).value for part in self._parts])
        trees = (FOLDS - 1) / FOLDS * float(((each - each.mean()) ** 2).sum())
        slope = (now.by_label * p * (1 - p)) @ _with_one(self._told)
        reach = Z * np.sqrt(label_variance(now, p) + float(slope @ self._covariance @ slope) + trees)
        known = expected(metric, self._label, self._reference, threshold).value - then.value
        low, high = now.value - reach + min(known, 0.0), now.value + reach + max(known, 0.0)
        return PerformanceEstimate(
            now.value,
            float(low),
            float(high),
            then.value,
            greater(now, then),
            "from the other inputs",
            float(len(self._before)),
        )


def _learn(x: np.ndarray, score: np.ndarray, label: np.ndarray, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    first = HistGradientBoostingRegressor(random_state=seed, max_iter=SCORE_STEPS, **TREES).fit(x, odds(score))
    second = HistGradientBoostingClassifier(random_state=seed, max_iter=LABEL_STEPS, **TREES).fit(x, label)
    return lambda rows: np.column_stack([first.predict(rows), second.decision_function(rows)])


def _with_one(learned: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(learned)), learned])


def _logistic(learned: np.ndarray, label: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    x, y = _with_one(learned), np.asarray(label, dtype=float)
    w = np.ones(len(y)) if weight is None else weight
    weights = logistic_fit(x, y, w)
    p = expit(x @ weights)
    bread = np.linalg.pinv((x.T * (w * p * (1 - p))) @ x)
    return weights, bread @ ((x.T * (w * (y - p)) ** 2) @ x) @ bread
