"""Metrics of decisions, from counts of labels and decisions, and their bootstrap at the cost of a few numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from tasks.science.stats.clusters import design_effect, worth
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
    size = classes ** (1 + len(decisions))
    return np.bincount(_cells(label, decisions, classes), minlength=size).reshape((classes,) * (1 + len(decisions)))


def _cells(label: np.ndarray, decisions: list[np.ndarray], classes: int) -> np.ndarray:
    """(n,) the cell of :func:`joint_counts` that each row counts in."""
    code = np.asarray(label, np.intp)
    for decision in decisions:
        code = code * classes + np.asarray(decision, np.intp)
    return code


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
    without = _without_each(metric, smooth, filled)
    return value, bca(value, found, without, weight)


def _without_each(metric: str, smooth: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """The metric (or the difference of two models) without a row of each filled cell."""
    paired, weight = smooth.ndim == 3, smooth.ravel()[filled]
    fewer = np.repeat(smooth.ravel()[None], len(filled), axis=0)
    fewer[np.arange(len(filled)), filled] -= np.minimum(weight, 1)
    centre = float(_of_counts(metric, smooth, paired))
    return np.asarray(np.nan_to_num(_of_counts(metric, fewer.reshape(-1, *smooth.shape), paired), nan=centre))


def clustered_counts(
    metric: str, label: np.ndarray, decisions: list[np.ndarray], classes: int, owners: np.ndarray, seed: int
) -> tuple[float, Bounds]:
    """:func:`cell_bootstrap` of rows of entities: of the counts over their design effect (Rao & Scott 1992).

    The influence of a row is that of its cell, by the jackknife. The bounds are stretched by Student's quantile over
    the normal one.

    Args:
        owners: (n,) as :func:`tasks.science.stats.clusters.shared` gives them.
    """
    counts = joint_counts(label, decisions, classes)
    smooth = _smoothed(counts)
    filled, cell = np.flatnonzero(smooth), _cells(label, decisions, classes)
    influence = np.zeros(smooth.size)
    without = _without_each(metric, smooth, filled)
    influence[filled] = (np.average(without, weights=smooth.ravel()[filled]) - without) / np.minimum(
        smooth.ravel()[filled], 1
    )
    effect = design_effect(influence[cell], owners, float(np.abs(influence).max()))
    value, bounds = cell_bootstrap(metric, counts / effect.value, seed)

    def stretched(confidence: float) -> tuple[float, float]:
        low, high = bounds(confidence)
        by = effect.stretch(confidence)
        return value - (value - low) * by, value + (high - value) * by

    return value, stretched


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


def exact_metric(
    metric: str, label: np.ndarray, decision: np.ndarray, owners: np.ndarray | None = None
) -> tuple[float, Bounds]:
    """Accuracy, or precision, recall or F1 of two classes, with exact binomial bounds (Clopper & Pearson 1934).

    Given its denominator each is a binomial share; F1 is 2J / (1 + J) of the share J of true positives among rows that
    are positive or selected. Of rows of entities, hits and denominator are divided by their design effect (Korn &
    Graubard 1998).
    """
    if metric == "accuracy":
        hit, inside = decision == label, np.ones(len(label), bool)
    else:
        label, decision = np.asarray(label, bool), np.asarray(decision, bool)
        hit = label & decision
        inside = {"precision": decision, "recall": label, "f1": label | decision}[metric]
    hits, among = float(hit.sum()), float(inside.sum())
    if not among > 0:
        return float("nan"), lambda confidence: (-np.inf, np.inf)
    effect = None if owners is None else worth(hit[inside] - hits / among, owners[inside])

    def shown(share: float) -> float:
        return 2 * share / (1 + share) if metric == "f1" else share

    def bounds(confidence: float) -> tuple[float, float]:
        by = 1.0 if effect is None else effect.at(confidence)
        low, high = exact_share(hits / by, among / by, confidence)
        return shown(low), shown(high)

    return float(shown(hits / among)), bounds
