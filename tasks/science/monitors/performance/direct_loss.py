"""Performance of a regression model without labels: direct loss estimation, with intervals.

A second model learns on the reference how large the errors of the first one are (direct loss estimation, NannyML). It
is cross-fitted and its answers are recalibrated, so that what it learned from noise shrinks to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from tasks.science.monitors.performance.confidence_based import PerformanceEstimate, greater
from tasks.science.monitors.performance.expected_metrics import Expected
from tasks.science.stats.folds import folds, splits
from tasks.science.stats.intervals import Z

FOLDS = 3
TREES = {
    "max_iter": 40,
    "max_leaf_nodes": 8,
    "learning_rate": 0.1,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
POWERS = ("size", "square", "error")
"""What is learned of the error: its absolute value, its square, and itself."""


@dataclass(frozen=True)
class RecalibrationLine:
    """Recalibration by weighted least squares of the true value on a model's answer and the score.

    With the score among the regressors, the mean of an error, and of an error times the score, is right on the weighted
    reference even where the trees learned little. That is doubly robust, as the regression estimator of survey sampling
    (Särndal, Swensson & Wretman 1992; Robins, Rotnitzky & Zhao 1994).
    """

    weights: np.ndarray
    """(3,) constant, answer, score."""
    influence: np.ndarray
    """(m, 3) of each reference row; ``influence.T @ influence`` is the covariance, HC3 (MacKinnon & White 1985)."""
    left: np.ndarray
    """(m,) residuals."""
    middle: np.ndarray
    scale: np.ndarray
    """(2,) each: they bring answers and scores to one size, whatever their unit."""

    def design(self, answer: np.ndarray, score: np.ndarray) -> np.ndarray:
        return _design(answer, score, self.middle, self.scale)


@dataclass(frozen=True)
class Lines:
    """The recalibration of every power of the error."""

    by: dict[str, RecalibrationLine]
    relative: dict[str, float]
    """How absolute and squared errors vary around their line, relative to its height."""
    skew: float
    """How squared error and error vary together."""

    def variance(self, design: dict[str, np.ndarray], slope: dict[str, np.ndarray]) -> float:
        """Variance of ``sum(slope * height)`` over powers from the lines' sampling error, covariances included."""
        by_row = sum(self.by[name].influence @ (design[name].T @ g) for name, g in slope.items())
        return float((np.asarray(by_row) ** 2).sum())


@dataclass(frozen=True)
class LossModel:
    """A model of the errors, fitted on labelled reference rows."""

    trees: dict[str, tuple[HistGradientBoostingRegressor, ...]]
    """By power of the error, one per fold."""
    answers: dict[str, np.ndarray]
    """(m,) out-of-fold answers by power."""
    truth: dict[str, np.ndarray]
    """(m,) true values by power."""
    score: np.ndarray
    taken: np.ndarray
    """(m,) positions of the rows in the reference."""

    def lines(self, places: np.ndarray | None = None, weight: np.ndarray | None = None) -> Lines:
        """Recalibrations on the rows at ``places``, each counting ``weight``: like the window, where inputs shifted."""
        rows = np.arange(len(self.score)) if places is None else places
        w = np.ones(len(rows)) if weight is None else weight
        by = {name: _line(self.answers[name][rows], self.score[rows], self.truth[name][rows], w) for name in POWERS}
        height = {name: np.maximum(self.truth[name][rows] - by[name].left, 0.0) for name in ("size", "square")}
        relative = {name: _over(w @ by[name].left ** 2, w @ h**2) for name, h in height.items()}
        return Lines(by, relative, _over(w @ (by["square"].left * by["error"].left), w @ height["square"] ** 1.5))

    def says(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Raw answers, (folds, n), for (n, columns) encoded rows, the score last."""
        return {name: np.stack([t.predict(x) for t in trees]) for name, trees in self.trees.items()}


def fit_losses(x: np.ndarray, score: np.ndarray, label: np.ndarray, taken: np.ndarray, seed: int) -> LossModel:
    """Fit on (m, columns) encoded rows, the score last, that stand at ``taken`` among the reference's labelled rows."""
    error = label - score
    truth = {"size": np.abs(error), "square": error**2, "error": error}
    fold = folds(len(x), FOLDS, np.random.default_rng(seed))
    trees: dict[str, tuple[HistGradientBoostingRegressor, ...]] = {}
    answers = {}
    for name, target in truth.items():
        fitted, answer = [], np.zeros(len(x))
        for fit, held in splits(fold, FOLDS):
            fitted.append(HistGradientBoostingRegressor(random_state=seed, **TREES).fit(x[fit], target[fit]))
            answer[held] = fitted[-1].predict(x[held])
        trees[name], answers[name] = tuple(fitted), answer
    return LossModel(trees, answers, truth, score, taken)


def _line(answer: np.ndarray, score: np.ndarray, y: np.ndarray, weight: np.ndarray) -> RecalibrationLine:
    both = np.stack([answer, score])
    middle, scale = both.mean(axis=1), both.std(axis=1)
    scale = np.where(scale > 1e-9 * np.abs(middle), scale, 1.0)
    design = _design(answer, score, middle, scale)
    bread = np.linalg.pinv((design.T * weight) @ design, hermitian=True)
    weights = bread @ (design.T @ (weight * y))
    left = y - design @ weights
    leverage = weight * ((design @ bread) * design).sum(axis=1)
    influence = (design * (weight * left / np.maximum(1 - leverage, 0.1))[:, None]) @ bread
    return RecalibrationLine(weights, influence, left, middle, scale)


def _design(answer: np.ndarray, score: np.ndarray, middle: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(answer)), (answer - middle[0]) / scale[0], (score - middle[1]) / scale[1]])


def _over(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 0 else 0.0


@dataclass(frozen=True)
class Moments:
    """Expected absolute error, squared error and error of each row, and by power the design behind them."""

    size: np.ndarray
    square: np.ndarray
    error: np.ndarray
    design: dict[str, np.ndarray]

    @staticmethod
    def of(lines: Lines, raw: dict[str, np.ndarray], score: np.ndarray) -> Moments:
        """raw: (n,) answers by target, or (folds, n); score: (n,)."""
        design = {
            name: line.design(raw[name].mean(axis=0) if raw[name].ndim == 2 else raw[name], score)
            for name, line in lines.by.items()
        }
        height = {name: design[name] @ line.weights for name, line in lines.by.items()}
        return Moments(np.maximum(height["size"], 0.0), np.maximum(height["square"], 0.0), height["error"], design)


def expected_loss(metric: str, m: Moments, score: np.ndarray) -> Expected:
    """Expected ``mae``, ``rmse`` or ``r2``; ``by_label`` is the derivative by each row's absolute or squared error."""
    n = len(score)
    if metric == "mae":
        return Expected(float(m.size.mean()), np.full(n, 1 / n), m.size)
    square = float(m.square.mean())
    if metric == "rmse":
        value = float(np.sqrt(square))
        slope = 1 / (2 * value) if value > 0 else 0.0
        return Expected(value, np.full(n, slope / n), m.square * slope)
    mean = score + m.error
    spread = score**2 + 2 * score * m.error + m.square
    whole = float(spread.mean() - mean.mean() ** 2)
    if not whole > 0:
        return Expected(float("nan"), np.zeros(n), np.zeros(n))
    lost = square / whole
    terms = -(m.square - lost * (spread - 2 * mean.mean() * mean + mean.mean() ** 2)) / whole
    return Expected(1 - lost, np.full(n, -(1 - lost) / (n * whole)), terms)


def estimate_loss(
    metric: str, lines: Lines, now: Moments, score: np.ndarray, then: Moments, reference_score: np.ndarray
) -> PerformanceEstimate:
    """The expected metric with the 95 % interval of what labels will show on these rows, by the delta method.

    Two things vary. Errors vary around their expectation as in the reference, relative to their size, squared error and
    error jointly. And the lines are estimated from a sample: their joint sandwich covariance. That covariance already
    includes the trees' variation over references. They are cross-fitted and corrected by the lines, so adding it would
    count the same label noise twice to first order (Chernozhukov et al. 2018). All metrics are positive (1 - R2 is), so
    the interval is normal on the logarithm. Where errors have heavy tails, few rows decide on the squared ones, and the
    intervals of rmse and r2 can be too narrow.
    """
    found, before = expected_loss(metric, now, score), expected_loss(metric, then, reference_score)
    slope = _slopes(metric, found, now, score)
    error = np.sqrt(_noise(lines, now, slope) + lines.variance(now.design, slope))
    size = 1 - found.value if metric == "r2" else found.value
    reach = float(np.exp(Z * error / size)) if size > 0 else 1.0
    low, high = (1 - size * reach, 1 - size / reach) if metric == "r2" else (size / reach, size * reach)
    return PerformanceEstimate(
        found.value,
        float(low),
        float(high),
        before.value,
        greater(found, before),
        "direct loss estimation",
        float(len(reference_score)),
    )


def _slopes(metric: str, found: Expected, now: Moments, score: np.ndarray) -> dict[str, np.ndarray]:
    """By power: derivative of the metric by each row's loss, expected or shown."""
    if metric == "mae":
        return {"size": found.by_label}
    if metric == "rmse" or not np.isfinite(found.value):
        return {"square": found.by_label}
    middle = float((score + now.error).mean())
    whole = float((score**2 + 2 * score * now.error + now.square).mean()) - middle**2
    return {"square": found.by_label, "error": 2 * (1 - found.value) * (score - middle) / (len(score) * whole)}


def _noise(lines: Lines, now: Moments, slope: dict[str, np.ndarray]) -> float:
    """Variance of the metric by the rows' own errors."""
    variance = sum(
        lines.relative[name] * float(((height * slope[name]) ** 2).sum())
        for name, height in (("size", now.size), ("square", now.square))
        if name in slope
    )
    if "error" in slope:
        own = float(slope["error"] ** 2 @ np.maximum(now.square - now.error**2, 0.0))
        variance += own + 2 * lines.skew * float((slope["square"] * slope["error"]) @ now.square**1.5)
    return max(variance, 0.0)


def contradicts(lines: Lines, now: Moments, score: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Two-sided p-values that labelled rows' errors are of the expected size, and of the expected mean."""
    error, n = label - score, len(label)
    found = {}
    for name, seen, height in (("size of the errors", np.abs(error), now.size), ("mean error", error, now.error)):
        key = "size" if name.startswith("size") else "error"
        gap = seen - height
        spread = np.sqrt(gap.var(ddof=1) / n + lines.variance(now.design, {key: np.full(n, 1 / n)}))
        found[name] = float(2 * norm.sf(abs(gap.mean()) / spread)) if spread > 0 else float(gap.mean() == 0)
    return found
