"""From a score to the probability of the label: recalibration on the reference, and how surely it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from tasks.science.stats.folds import folds, splits

Method = Literal["logistic", "beta", "isotonic"]
TINY = 1e-6
ROWS, EACH = 2000, 200
"""Labelled rows, and rows of each class, from which more than a logistic recalibration is tried."""
COMPARED = 20_000
FOLDS, STEPS = 5, 60
RIDGE = 1e-6


def odds(score: np.ndarray) -> np.ndarray:
    safe = np.clip(score, TINY, 1 - TINY)
    return np.asarray(np.log(safe) - np.log1p(-safe))


@dataclass(frozen=True)
class Calibrated:
    """(n,) probabilities ``p``, by blocks or by a design."""

    p: np.ndarray
    covariance: np.ndarray
    block: np.ndarray | None
    x: np.ndarray

    @cached_property
    def spread(self) -> np.ndarray:
        """(n,) variances of the labels."""
        return np.asarray(self.p * (1 - self.p))

    def variance(self, by_label: np.ndarray) -> float:
        """What not knowing the calibration exactly adds to the variance of a metric with these derivatives by label."""
        slope = (
            (by_label * self.spread) @ self.x
            if self.block is None
            else np.bincount(self.block, weights=by_label, minlength=len(self.covariance))
        )
        return float(slope @ self.covariance @ slope)


@dataclass(frozen=True)
class Calibration:
    """P(label | score) as fitted on the reference.

    ``weights`` (k,): coefficients, or the rates of the isotonic blocks, which ``edges`` (k - 1,) part.
    ``covariance`` (k, k): the sandwich of White (1982), so that weighted rows and a wrong form are in it; of blocks,
    those of independent rates.
    """

    method: Method
    weights: np.ndarray
    covariance: np.ndarray
    edges: np.ndarray

    def at(self, score: np.ndarray) -> Calibrated:
        """The probabilities of (n,) scores, with what their uncertainty asks for."""
        if self.method == "isotonic":
            block = np.searchsorted(self.edges, score)
            return Calibrated(self.weights[block], self.covariance, block, np.empty((0, 0)))
        x = design(self.method, score)
        return Calibrated(expit(x @ self.weights), self.covariance, None, x)

    def probability(self, score: np.ndarray) -> np.ndarray:
        """(n,) from (n,) scores."""
        return self.at(score).p

    def variance(self, score: np.ndarray, by_label: np.ndarray) -> float:
        return self.at(score).variance(by_label)

    def drawn(self, score: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, n) probabilities under calibrations drawn from their asymptotic normal law."""
        weights = rng.multivariate_normal(
            self.weights, self.covariance, size=count, check_valid="ignore", method="eigh"
        )
        if self.method == "isotonic":
            return np.asarray(np.clip(weights, 0.0, 1.0)[:, np.searchsorted(self.edges, score)])
        return np.asarray(expit(weights @ design(self.method, score).T))


def design(method: Method, score: np.ndarray) -> np.ndarray:
    """Log-odds for logistic recalibration (Platt 1999; Cox 1958), both logarithms apart for beta calibration (Kull et
    al. 2017)."""
    if method == "logistic":
        return np.column_stack([np.ones(len(score)), odds(score)])
    safe = np.clip(score, TINY, 1 - TINY)
    return np.column_stack([np.ones(len(score)), np.log(safe), -np.log1p(-safe)])


def fit_calibration(
    score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None, method: Method = "logistic"
) -> Calibration:
    """Fit on (m,) scores and labels, both classes among them, each row counting ``weight``.

    The window's rows are not among those of the fit, so few parameters need no cross-fitting.
    """
    label = np.asarray(label, dtype=float)
    weight = np.ones(len(label)) if weight is None else np.asarray(weight, dtype=float)
    if method == "isotonic":
        return _isotonic(score, label, weight)
    x = design(method, score)
    weights = logistic_fit(x, label, weight, 1.0)
    p = expit(x @ weights)
    bread = np.linalg.pinv((x.T * (weight * p * (1 - p))) @ x)
    covariance = bread @ ((x.T * (weight * (label - p)) ** 2) @ x) @ bread
    return Calibration(method, weights, (covariance + covariance.T) / 2, np.empty(0))


def logistic_fit(x: np.ndarray, label: np.ndarray, weight: np.ndarray, start: float = 0.0) -> np.ndarray:
    """(k,) coefficients by Newton's method with halved steps; a trace of a ridge keeps separable rows finite.

    start: where every coefficient but the intercept begins; 1 is a calibration that changes nothing.
    """
    held = np.full(x.shape[1], RIDGE)

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return float(weight @ (np.logaddexp(0.0, z) - label * z) + held @ w**2 / 2)

    def bend(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = expit(x @ w)
        return (weight * (p - label)) @ x + held * w, (x.T * (weight * p * (1 - p))) @ x + np.diag(held)

    return newton(loss, bend, np.append(0.0, np.full(x.shape[1] - 1, start)))


def newton(
    loss: Callable[[np.ndarray], float], bend: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], w: np.ndarray
) -> np.ndarray:
    """(k,) where a convex loss is least, from ``w`` on, steps halved until they gain; ``bend`` gives its slope (k,)
    and curvature (k, k)."""
    now = loss(w)
    for _ in range(STEPS):
        slope, curvature = bend(w)
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
        size = 1.0
        while (then := loss(w - size * step)) > now and size > 1e-6:
            size /= 2
        if then >= now - 1e-12 * abs(now):
            break
        w, now = w - size * step, then
    return w


def _isotonic(score: np.ndarray, label: np.ndarray, weight: np.ndarray) -> Calibration:
    """Isotonic regression (Zadrozny & Elkan 2002) as its blocks; each rate is the Jeffreys mean, so that none is 0 or
    1."""
    order = np.argsort(score, kind="stable")
    fitted = IsotonicRegression().fit_transform(score[order], label[order], sample_weight=weight[order])
    starts = np.append(0, np.flatnonzero(np.diff(fitted) > 0) + 1)
    y, w, s = label[order], weight[order], score[order]
    rows = np.add.reduceat(w, starts) ** 2 / np.add.reduceat(w**2, starts)  # effective
    rate = (np.add.reduceat(w * y, starts) / np.add.reduceat(w, starts) * rows + 0.5) / (rows + 1)
    return Calibration(
        "isotonic", rate, np.diag(rate * (1 - rate) / (rows + 1)), (s[starts[1:]] + s[starts[1:] - 1]) / 2
    )


def chosen_calibration(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None, seed: int) -> Calibration:
    """Logistic on a small reference; on a large one (:data:`ROWS`, :data:`EACH`) beta, or isotonic where it is better.

    Better means by more than one standard error of the paired difference of cross-validated log-losses. The logistic
    form is a special case of beta calibration. Where the reference can hardly distinguish them, logistic can still be
    wrong where a shifted window lies; so it is not preferred for a small gain.
    """
    label = np.asarray(label, dtype=bool)
    if len(label) < ROWS or min(label.sum(), (~label).sum()) < EACH:
        return fit_calibration(score, label, weight)
    rng = np.random.default_rng(seed)
    seen = rng.permutation(len(label))[:COMPARED]
    fold = folds(len(seen), FOLDS)
    tried: tuple[Method, Method] = ("beta", "isotonic")
    found = {m: np.zeros(len(seen)) for m in tried}
    for learned, held in splits(fold, FOLDS):
        fit, kept = seen[learned], seen[held]
        for form, loss in found.items():
            p = np.clip(
                fit_calibration(score[fit], label[fit], None if weight is None else weight[fit], form).probability(
                    score[kept]
                ),
                TINY,
                1 - TINY,
            )
            loss[held] = -np.where(label[kept], np.log(p), np.log1p(-p))
    w = np.ones(len(seen)) if weight is None else weight[seen]
    gain = w * (found["beta"] - found["isotonic"])
    method: Method = "isotonic" if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)) else "beta"
    return fit_calibration(score, label, weight, method)
