"""Fairness without labels: rates of each protected group from scores calibrated within it, and their disparity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import norm

from tasks.science.monitors.performance.calibration import Calibrated, Calibration, fit_calibration
from tasks.science.monitors.performance.expected_metrics import Expected, expected, rates
from tasks.science.stats.disparity import disparity
from tasks.science.stats.intervals import percentiles
from tasks.spec.wording import plural

MEASURES = ("selection_rate", "true_positive_rate", "false_positive_rate", "precision")
LEAST, EACH = 100, 10
"""Labelled reference rows of a group, and of either class in it, from which its own calibration is fitted."""
WINDOW = 30
REPLICATES = 2000


@dataclass(frozen=True)
class CalibratedGroup:
    """One group of one attribute: its calibration, and its scores in both windows."""

    name: str
    calibration: Calibration
    reference: np.ndarray
    window: np.ndarray


@dataclass(frozen=True)
class Disparity:
    """Estimated rates by group and their largest difference, or smallest ratio.

    ``low`` and ``high`` are the 95 % interval of what labels will show on the same rows.
    """

    value: float
    low: float
    high: float
    reference: float
    p_value: float
    """Of the change since the reference between the two groups farthest apart, Bonferroni over all pairs."""
    rates: dict[str, float]


def fitted_group(name: str, score: np.ndarray, label: np.ndarray, window: np.ndarray) -> CalibratedGroup | str:
    """The group, or the reason why it cannot be estimated.

    Args:
        score, label: (m,) of the group's labelled reference rows.
        window: (n,) scores of the group's rows in the window.
    """
    positive = int(label.sum())
    if len(label) < LEAST or min(positive, len(label) - positive) < EACH:
        return (
            f"{name} has {len(label):,} labelled rows in the reference, {positive:,} of them positive; {LEAST} and "
            f"{EACH} of either class are needed"
        )
    if len(window) < WINDOW:
        return f"{name} has {plural(len(window), 'row')} in the window; {WINDOW} are needed"
    return CalibratedGroup(name, fit_calibration(score, label), score, window)


def estimated_disparity(
    groups: Sequence[CalibratedGroup], measures: tuple[str, ...], statistic: str, threshold: float, seed: int
) -> Disparity:
    """Largest difference or smallest ratio between groups; of several measures the worst, as in equalized odds.

    Labels of a group are simulated as counts of positive rows among those selected and among the others. Each count is
    binomial with the mean and variance of the sum of the rows' draws, which is Poisson-binomial (Le Cam 1960). Its
    expectation varies by the calibration's normal distribution. The largest of several noisy differences is larger than
    the largest of their expectations, and labels will show the former; so the value is the mean of the simulations.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn(g, measures, threshold, rng) for g in groups], axis=-1)  # (replicates, measures, groups)
    shown = disparity(drawn, statistic)
    shown = shown[np.isfinite(shown)]
    now = [[_expected(m, g, g.window, threshold) for g in groups] for m in measures]
    then = [[_expected(m, g, g.reference, threshold) for g in groups] for m in measures]
    known = float(disparity(np.array([[e.value for e in row] for row in then]), statistic))
    found = {f"{g.name}": now[0][i].value for i, g in enumerate(groups)}
    if not len(shown):
        return Disparity(np.nan, np.nan, np.nan, known, 1.0, found)
    low, high = percentiles(shown)
    p_values = [
        _changed(a, b, c, d)
        for after, before in zip(now, then, strict=True)
        for (a, b), (c, d) in _pairs(after, before)
    ]
    return Disparity(
        float(shown.mean()), float(low), float(high), known, min(1.0, len(p_values) * min(p_values)), found
    )


def _pairs(
    now: list[Expected], then: list[Expected]
) -> list[tuple[tuple[Expected, Expected], tuple[Expected, Expected]]]:
    return list(zip(combinations(now, 2), combinations(then, 2), strict=True))


def _changed(a: Expected, b: Expected, c: Expected, d: Expected) -> float:
    """Two-sided p-value that the difference of two groups' rates is in the window, a - b, as in the reference, c -
    d."""
    error = np.sqrt(sum(e.terms.var() / len(e.terms) for e in (a, b, c, d)))
    gap = abs((a.value - b.value) - (c.value - d.value))
    return float(2 * norm.sf(gap / error)) if error > 0 else float(gap == 0)


def _expected(measure: str, group: CalibratedGroup, score: np.ndarray, threshold: float) -> Expected:
    return expected(measure, group.calibration.probability(score), score, threshold)


def _drawn(group: CalibratedGroup, measures: tuple[str, ...], threshold: float, rng: np.random.Generator) -> np.ndarray:
    """(replicates, measures) rates of labels that are drawn."""
    score, calibration = group.window, group.calibration
    at, taken = calibration.at(score), score >= threshold
    p = at.p
    parts = [taken.astype(float), (~taken).astype(float)]
    covariance = np.array([[_covariance(at, a, b) for b in parts] for a in parts])
    mean = np.array([p @ part for part in parts])
    rows = np.array([part.sum() for part in parts])
    centre = np.clip(
        rng.multivariate_normal(mean, covariance, size=REPLICATES, check_valid="ignore", method="eigh"), 0.0, rows
    )
    true = np.column_stack(
        [_binomials(centre[:, i], mean[i], float((p * (1 - p)) @ parts[i]), rows[i], rng) for i in (0, 1)]
    )
    return np.column_stack([rates(m, true[:, 0], true.sum(axis=1), float(rows[0]), len(score)) for m in measures])


def _covariance(at: Calibrated, a: np.ndarray, b: np.ndarray) -> float:
    """Of two sums of probabilities, by polarisation of their variances."""
    return (at.variance(a + b) - at.variance(a - b)) / 4


def _binomials(centre: np.ndarray, mean: float, variance: float, rows: float, rng: np.random.Generator) -> np.ndarray:
    """Counts around (b,) centres with the variance of a sum of unequal draws."""
    if not mean > 0:
        return np.zeros(len(centre))
    trials = min(max(round(mean**2 / max(mean - variance, mean**2 / rows)), 1), int(rows))
    return rng.binomial(trials, np.clip(centre / trials, 0.0, 1.0)).astype(float)
