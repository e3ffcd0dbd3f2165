"""Metrics of decisions, from counts of labels and decisions, and their bootstrap at the cost of a few numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from tasks.science.stats.intervals import exact_share, normal_quantile

MINIMUM = 30
"""Rows (positives for true-positive rates) below which nothing is concluded."""

REPLICATES = 1000

Bounds = Callable[[float], tuple[float, float]]
"""One-sided low and high bound, each alone at the confidence given."""

COUNTED = ("balanced_accuracy", "f1", "precision", "recall")
"""Metrics of decisions beside accuracy, which has tests of its own."""


def from_confusion(metric: str, confusion: np.ndarray) -> np.ndarray:
    """The metric (...,) of counts (..., k, k) by label and decision; NaN where a class that it needs has no row.

    Precision, recall and F1 of two classes are those of the second, the positive one; of more, F1 is the mean over
    classes.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    labelled, chosen = confusion.sum(axis=-1).astype(float), confusion.sum(axis=-2).astype(float)
    if metric == "accuracy":
        return _share(right.sum(axis=-1), labelled.sum(axis=-1))
    if metric == "balanced_accuracy":
        return np.asarray(_share(right, labelled).mean(axis=-1))
    two = confusion.shape[-1] == 2
    if metric == "f1":
        by_class = _share(2 * right, np.where(labelled > 0, labelled + chosen, 0.0))
        return np.asarray(by_class[..., 1] if two else by_class.mean(axis=-1))
    return _share(right[..., 1], (chosen if metric == "precision" else labelled)[..., 1])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0))


def joint_counts(label: np.ndarray, decisions: list[np.ndarray], classes: int) -> np.ndarray:
    """Counts (k, k) by label and decision, or (k, k, k) by label and two decisions."""
    code = np.asarray(label, np.intp)
    for decision in decisions:
        code = code * classes + np.asarray(decision, np.intp)
    return np.bincount(code, minlength=classes ** (1 + len(decisions))).reshape((classes,) * (1 + len(decisions)))


def _smoothed(counts: np.ndarray) -> np.ndarray:
    """Half a row more for either way in which two models can disagree, or one can be right or wrong, in each class.

    Models that never disagree in n rows may do so in the next one, and a bootstrap of what was seen would not know it.
    The wrong decision is the one that rows of the class are most often given.
    """
    classes, found = len(counts), counts.astype(float)
    wrong = counts.sum(axis=2) + counts.sum(axis=1) if counts.ndim == 3 else counts.copy()
    wrong = wrong.astype(float)
    np.fill_diagonal(wrong, -1)
    every, other = np.arange(classes), wrong.argmax(axis=1)
    places = ((every, every, other), (every, other, every)) if counts.ndim == 3 else ((every, every), (every, other))
    for place in places:
        found[place] += 0.5
    return found


def _of_counts(metric: str, counts: np.ndarray, paired: bool) -> np.ndarray:
    if not paired:
        return from_confusion(metric, counts)
    return np.asarray(from_confusion(metric, counts.sum(axis=-1)) - from_confusion(metric, counts.sum(axis=-2)))


def cell_bootstrap(metric: str, counts: np.ndarray, seed: int, replicates: int = REPLICATES) -> tuple[float, Bounds]:
    """The metric of (k, k) counts, or the first model's less the second's of (k, k, k), and BCa bounds.

    Rows with one label and one pair of decisions are alike to such a metric, so resampling rows is a multinomial draw
    of the cells' counts. Bounds are bias-corrected and accelerated (BCa; Efron 1987, JASA 82, 171), the acceleration
    from the jackknife over cells. Cells are drawn from the counts of :func:`_smoothed`. A replicate without a value
    counts as the worst on either side. Models in the other order give the same with the opposite sign, to the last
    digit.
    """
    paired, shape = counts.ndim == 3, counts.shape
    if paired and counts.ravel().tolist() < counts.swapaxes(1, 2).ravel().tolist():
        value, turned = cell_bootstrap(metric, counts.swapaxes(1, 2), seed, replicates)
        return -value, lambda confidence: (-turned(confidence)[1], -turned(confidence)[0])
    value = float(_of_counts(metric, counts, paired))
    smooth = _smoothed(counts)
    centre = float(_of_counts(metric, smooth, paired))
    filled = np.flatnonzero(smooth)
    weight = smooth.ravel()[filled]
    rng = np.random.default_rng(seed)
    drawn = np.zeros((replicates, smooth.size))
    drawn[:, filled] = rng.multinomial(int(counts.sum()), weight / weight.sum(), size=replicates)
    found = _of_counts(metric, drawn.reshape(-1, *shape), paired) - centre
    fewer = np.repeat(smooth.ravel()[None], len(filled), axis=0)
    fewer[np.arange(len(filled)), filled] -= np.minimum(weight, 1)
    without = np.nan_to_num(_of_counts(metric, fewer.reshape(-1, *shape), paired), nan=centre)
    return value, bca(value, found, without, weight)


def bca(value: float, deviations: np.ndarray, without: np.ndarray, weight: np.ndarray) -> Bounds:
    """BCa bounds from replicates' deviations (b,), NaN where they have no value, and leave-one-out values with their
    rows.
    """
    lowest, highest = np.sort(np.nan_to_num(deviations, nan=-np.inf)), np.sort(np.nan_to_num(deviations, nan=np.inf))
    share = float(np.mean((lowest < -1e-12) + 0.5 * (np.abs(lowest) <= 1e-12)))
    bias = float(ndtri(np.clip(share, 1e-3, 1 - 1e-3)))
    gap = np.average(without, weights=weight) - without
    squares = float((weight * gap**2).sum())
    bend = float((weight * gap**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0

    def level(z: float) -> float:
        return float(ndtr(bias + (bias + z) / max(1 - bend * (bias + z), 1e-3)))

    def bounds(confidence: float) -> tuple[float, float]:
        z = normal_quantile(confidence)
        return value + _quantile(lowest, level(-z)), value + _quantile(highest, level(z))

    return bounds


def _quantile(ordered: np.ndarray, level: float) -> float:
    """Linear between order statistics, infinite ones too."""
    place = level * (len(ordered) - 1)
    below = int(np.floor(place))
    part, above = place - below, min(below + 1, len(ordered) - 1)
    first, last = float(ordered[below]), float(ordered[above])
    return first if part == 0 or first == last else first + part * (last - first)


def exact_metric(metric: str, confusion: np.ndarray) -> tuple[float, Bounds]:
    """Accuracy, or precision, recall or F1 of two classes, with exact binomial bounds (Clopper & Pearson 1934).

    Given its denominator each is a binomial share; F1 is 2J / (1 + J) of the share J of true positives among rows that
    are positive or selected.
    """
    if metric == "accuracy":
        hits, among = float(np.trace(confusion)), float(confusion.sum())
    else:
        hits = float(confusion[1, 1])
        among = float(
            {
                "precision": confusion[:, 1].sum(),
                "recall": confusion[1].sum(),
                "f1": confusion[1].sum() + confusion[0, 1],
            }[metric]
        )

    def shown(share: float) -> float:
        return 2 * share / (1 + share) if metric == "f1" else share

    def bounds(confidence: float) -> tuple[float, float]:
        low, high = exact_share(hits, among, confidence)
        return shown(low), shown(high)

    if not among > 0:
        return float("nan"), lambda confidence: (-np.inf, np.inf)
    return float(shown(hits / among)), bounds
