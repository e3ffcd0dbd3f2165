"""Excess loss: what a recalibration of the model's own scores, learned on other rows, would win back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from tasks.science.stats.clusters import numbered

RIDGE = 1.0
"""Prior precision of a correction's log odds: a slice of next to no information does not invent one. One positive among
rows with scores near 0 would else be an infinite weakness."""


@dataclass(frozen=True)
class Loss:
    """Excess loss of one slice, a mean over ``rows``, as a share of the mean loss of all rows.

    ``p_value`` is that of "there is none".
    """

    value: float
    error: float
    rows: int
    p_value: float


def losses(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) loss of each row: nats, squared error (of a rate, or of a number), or the cost of a wrong decision.

    ``error`` weighs a wrongly selected row by the threshold t and a missed one by 1 - t. Both are doubled, so that
    t = 0.5 gives the plain error. Under these costs t is the right threshold (Elkan 2001). With other weights a better
    probability could make worse decisions, and no slice could be judged.
    """
    if metric == "log_loss":
        safe = np.clip(score, 1e-6, 1 - 1e-6)
        return np.asarray(-np.where(label, np.log(safe), np.log1p(-safe)))
    if metric in ("brier", "squared_error"):
        return np.asarray((label - score) ** 2)
    decision = score >= threshold
    return np.asarray(2 * np.where(label, (1 - threshold) * ~decision, threshold * decision))


def logit(score: np.ndarray) -> np.ndarray:
    """Log odds of scores held between 1e-6 and 1 - 1e-6: a score of 0 or 1 would otherwise decide a slice by itself."""
    safe = np.clip(score, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(safe) - np.log1p(-safe))


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -35, 35))))


@dataclass(frozen=True)
class Law:
    """How labels lie around a score, on the scale on which a correction shifts and stretches it.

    ``mean(odds)`` of the label, ``variance(mean)``, and ``cost(odds, label)``, the negative log-likelihood of each row.
    """

    mean: Callable[[np.ndarray], np.ndarray]
    variance: Callable[[np.ndarray], np.ndarray]
    cost: Callable[[np.ndarray, np.ndarray], np.ndarray]


RATES = Law(_sigmoid, lambda p: np.asarray(p * (1 - p)), lambda z, label: np.asarray(np.logaddexp(0, z) - label * z))
NUMBERS = Law(lambda z: z, lambda mean: np.ones_like(mean), lambda z, label: np.asarray((label - z) ** 2 / 2))
"""Numbers in units of their residuals' standard deviation: least squares, whatever their law."""


def law(metric: str) -> Law:
    return NUMBERS if metric == "squared_error" else RATES


def scaled(metric: str, label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels and scores as a correction takes them, and how many units of its loss one unit of the metric's loss is.

    Rates: the labels, and log odds. Numbers: both centred, in standard deviations of the residuals.
    """
    if metric != "squared_error":
        return label, logit(score), 1.0
    size = float(np.sqrt(((label - score) ** 2).mean())) or 1.0
    return (label - score.mean()) / size, (score - score.mean()) / size, size**-2


def correction(label: np.ndarray, odds: np.ndarray, around: Law = RATES) -> tuple[float, float]:
    """Intercept and slope that recalibrate log odds on these rows (Cox 1958), or numbers (Mincer & Zarnowitz 1969),
    drawn a little towards (0, 1).

    Newton's method with halved steps on the log-likelihood with a normal prior; ``label`` (n,) bool or float and
    ``odds`` (n,), n > 0.
    """
    beta = np.array([0.0, 1.0])
    design = np.column_stack([np.ones_like(odds), odds])
    ridge = RIDGE * np.array([1.0, max(float((odds**2).mean()), 1e-9)])
    none = beta.copy()

    def cost(at: np.ndarray) -> float:
        z = design @ at
        return float(around.cost(z, label).sum() + (ridge * (at - none) ** 2).sum() / 2)

    for _ in range(50):
        p = around.mean(design @ beta)
        gradient = design.T @ (label - p) - ridge * (beta - none)
        hessian = (design * around.variance(p)[:, None]).T @ design + np.diag(ridge)
        step, now = np.linalg.solve(hessian, gradient), cost(beta)
        # a full step overshoots where the scores are sure and the labels are not
        while cost(beta + step) > now and float(np.abs(step).max()) > 1e-8:
            step = step / 2
        beta = beta + step
        if float(np.abs(step).max()) < 1e-7:
            break
    return float(beta[0]), float(beta[1])


@dataclass(frozen=True)
class Gain:
    """(m,) for the judged rows.

    ``loss`` is what the correction wins, ``push`` the residual along it, ``variance`` that of the push if the score is
    right.
    """

    loss: np.ndarray
    push: np.ndarray
    variance: np.ndarray


def excess_loss(
    metric: str, label: np.ndarray, odds: np.ndarray, fit: np.ndarray, judge: np.ndarray, threshold: float
) -> Gain:
    """Loss of each judged row less its loss after a correction that was learned on other rows of the slice.

    Log loss is high where the base rate is near one half, however good the model. Its mean by slice says where the
    problem is hard, not where the model is weak. Excess loss is what an intercept and a slope could win back:

    - It is zero where the model is calibrated, whether the rows there are hard or easy.
    - It is positive where labels are noisier than the model believes.
    - It is positive where an interaction that the model cannot see moves the rate, up or down.

    As the correction comes from other rows, the mean difference is at most zero where nothing is to be won. Of numbers
    the same holds of squared errors, which are large where the world is noisy.

    Args:
        label, odds: (n,) as :func:`scaled` gives them.
        fit, judge: (n,) bool: rows of the slice, apart from each other.
    """
    around = law(metric)
    a, b = correction(label[fit], odds[fit], around)
    old, new = odds[judge], a + b * odds[judge]
    before, after = around.mean(old), around.mean(new)
    won = losses(metric, label[judge], before, threshold) - losses(metric, label[judge], after, threshold)
    return Gain(
        np.asarray(won),
        np.asarray((label[judge] - before) * (new - old)),
        np.asarray(around.variance(before) * (new - old) ** 2),
    )


def judged(gain: Gain, whole: float, entity: np.ndarray | None) -> Loss:
    """Mean excess loss with its standard error, and a one-sided test that there is none.

    The test asks whether the residuals go the way of the correction. It is the score test in the one direction that the
    other half named, twice as sharp in z as a test of the mean gain. Its variance is the larger of two: what right
    scores give, and what is seen in sums by entity (cluster-robust, Liang & Zeger 1986). With rare outcomes each alone
    is too small on one side. Neither a push nor a gain has the heavy tail of log loss, since both grow with the
    correction alone.

    Args:
        gain: of n rows.
        whole: the mean loss that shares are taken of.
        entity: (n,), or None where every row stands alone.
    """
    n = len(gain.loss)
    if n < 2:
        return Loss(float("nan"), float("nan"), n, 1.0)
    code = np.arange(n) if entity is None else numbered(entity)
    mean, push = float(gain.loss.mean()), float(gain.push.sum())
    error = standard_error(gain.loss, entity)
    spread = float(np.sqrt(max(gain.variance.sum(), (np.bincount(code, weights=gain.push - push / n) ** 2).sum())))
    return Loss(mean / whole, error / whole, n, float(norm.sf(push / spread)) if spread > 0 else 1.0)


def standard_error(values: np.ndarray, entity: np.ndarray | None) -> float:
    """Of the mean of (n,) values, n > 0, from their sums by entity."""
    code = np.arange(len(values)) if entity is None else numbered(entity)
    return float(np.sqrt((np.bincount(code, weights=values - values.mean()) ** 2).sum()) / len(values))


def halves(n: int, entity: np.ndarray | None, seed: int) -> np.ndarray:
    """(n,) bool: a random half of the rows; the rows of one entity stay together."""
    code = np.arange(n) if entity is None else numbered(entity)
    groups = int(code.max(initial=-1)) + 1
    first = np.random.default_rng(seed).permutation(groups) < groups / 2
    return np.asarray(first[code])
