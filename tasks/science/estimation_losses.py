"""Performance of a regression model without labels: direct loss estimation, with intervals.

A second model learns on the reference how far off the first one is (NannyML's DLE); it is cross-fitted, and its answers are
recalibrated, so that what it learned of noise shrinks to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

from tasks.science.estimation import Estimate, Z, greater
from tasks.science.estimation_metrics import Expected

FOLDS = 3
TREES = {"max_iter": 40, "max_leaf_nodes": 8, "learning_rate": 0.1, "min_samples_leaf": 20, "l2_regularization": 1.0, "early_stopping": False}
POWERS = ("size", "square", "error")
"""What is learned of the error: its absolute value, its square, and itself."""


@dataclass(frozen=True)
class Line:
    """Recalibration ``weights[0] + weights[1] * x`` of a model's answers, its covariance, and the spread around it relative to its height."""

    weights: np.ndarray
    covariance: np.ndarray
    relative: float

    def height(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.weights[0] + self.weights[1] * x)

    def variance(self, x: np.ndarray, slope: np.ndarray) -> float:
        """Variance of ``sum(slope * height(x))`` by not knowing the line exactly."""
        g = np.array([slope.sum(), slope @ x])
        return float(g @ self.covariance @ g)


@dataclass(frozen=True)
class LossModel:
    """Fitted on the reference's labelled rows ``taken``: trees by fold and target, and their out-of-fold answers with what was true."""

    trees: dict[str, tuple[HistGradientBoostingRegressor, ...]]
    answers: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    score: np.ndarray
    taken: np.ndarray

    def lines(self, places: np.ndarray | None = None, weight: np.ndarray | None = None) -> dict[str, Line]:
        """Recalibrations on the rows at ``places``, each counting ``weight``: like the window, where inputs shifted."""
        rows = np.arange(len(self.score)) if places is None else places
        w = np.ones(len(rows)) if weight is None else weight
        return {name: _line(self.answers[name][rows], self.truth[name][rows], w) for name in POWERS}

    def says(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Raw answers, (folds, n), for (n, columns) encoded rows, the score last."""
        return {name: np.stack([t.predict(x) for t in trees]) for name, trees in self.trees.items()}


def fit_losses(x: np.ndarray, score: np.ndarray, label: np.ndarray, taken: np.ndarray, seed: int) -> LossModel:
    """Fit on (m, columns) encoded rows, the score last, that stand at ``taken`` among the reference's labelled rows."""
    error = label - score
    truth = {"size": np.abs(error), "square": error**2, "error": error}
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    trees: dict[str, tuple[HistGradientBoostingRegressor, ...]] = {}
    answers = {}
    for name, target in truth.items():
        fitted, answer = [], np.zeros(len(x))
        for k in range(FOLDS):
            fitted.append(HistGradientBoostingRegressor(random_state=seed, **TREES).fit(x[fold != k], target[fold != k]))
            answer[fold == k] = fitted[-1].predict(x[fold == k])
        trees[name], answers[name] = tuple(fitted), answer
    return LossModel(trees, answers, truth, score, taken)


def _line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Line:
    """Weighted least squares with the sandwich covariance of White (1980)."""
    design = np.column_stack([np.ones(len(x)), x])
    bread = np.linalg.pinv((design.T * weight) @ design)
    weights = bread @ (design.T @ (weight * y))
    left = y - design @ weights
    covariance = bread @ ((design.T * (weight * left) ** 2) @ design) @ bread
    size = float(weight @ (design @ weights) ** 2)
    return Line(weights, (covariance + covariance.T) / 2, float(weight @ left**2) / size if size > 0 else 0.0)


@dataclass(frozen=True)
class Moments:
    """Expected absolute error, squared error and error of each row; the raw answers behind them."""

    size: np.ndarray
    square: np.ndarray
    error: np.ndarray
    raw: dict[str, np.ndarray]
    parts: tuple[Moments, ...] = ()
    """The same by the trees of each fold alone."""

    @staticmethod
    def of(lines: dict[str, Line], raw: dict[str, np.ndarray]) -> Moments:
        """raw: (n,) answers by target, or (folds, n)."""
        parts = tuple(Moments.of(lines, {name: raw[name][k] for name in POWERS}) for k in range(len(raw["size"]))) if raw["size"].ndim == 2 else ()
        mean = {name: raw[name].mean(axis=0) if parts else raw[name] for name in POWERS}
        size, square = (np.maximum(lines[n].height(mean[n]), 0.0) for n in ("size", "square"))
        return Moments(size, square, lines["error"].height(mean["error"]), mean, parts)


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


def estimate_loss(metric: str, lines: dict[str, Line], now: Moments, score: np.ndarray, then: Moments, reference_score: np.ndarray) -> Estimate:
    """The expected metric with the 95 % interval of what labels will show on these rows, by the delta method.

    A row's error varies around its expectation as it does in the reference, relative to its size; the covariance
    of error and squared error is taken as 0, as it is where errors are symmetric. That the trees would be others on another
    reference is in it by the delete-a-group jackknife over their folds (Kott 2001).
    """
    found, before = expected_loss(metric, now, score), expected_loss(metric, then, reference_score)
    name = "size" if metric == "mae" else "square"
    height = now.size if metric == "mae" else now.square
    variance = lines[name].relative * float((height * found.by_label) @ (height * found.by_label)) + lines[name].variance(now.raw[name], found.by_label)
    if metric == "r2" and np.isfinite(found.value):
        mean = score + now.error
        whole = float((score**2 + 2 * score * now.error + now.square).mean() - mean.mean() ** 2)
        slope = (1 - found.value) * 2 * (mean - mean.mean()) / (len(score) * whole)
        variance += float(slope**2 @ np.maximum(now.square - now.error**2, 0.0)) + lines["error"].variance(now.raw["error"], slope)
    if now.parts:
        each = np.array([expected_loss(metric, part, score).value for part in now.parts])
        variance += (len(each) - 1) / len(each) * float(((each - each.mean()) ** 2).sum())
    error = np.sqrt(variance)
    if metric == "r2":
        low, high = found.value - Z * error, found.value + Z * error
    else:  # a size is above 0: normal on its logarithm
        reach = np.exp(Z * error / found.value) if found.value > 0 else 1.0
        low, high = found.value / reach, found.value * reach
    return Estimate(found.value, float(low), float(high), before.value, greater(found, before), "direct loss estimation", float(len(reference_score)))


def contradicts(lines: dict[str, Line], now: Moments, score: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Two-sided p-values that labelled rows' errors are of the expected size, and of the expected mean."""
    error, n = label - score, len(label)
    found = {}
    for name, seen, height in (("size of the errors", np.abs(error), now.size), ("mean error", error, now.error)):
        key = "size" if name.startswith("size") else "error"
        gap = seen - height
        spread = np.sqrt(gap.var(ddof=1) / n + lines[key].variance(now.raw[key], np.full(n, 1 / n)))
        found[name] = float(2 * norm.sf(abs(gap.mean()) / spread)) if spread > 0 else float(gap.mean() == 0)
    return found
