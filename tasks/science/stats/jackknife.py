"""Metrics that are means, or smooth functions of the rows: what each row contributes, and bounds that know its
skewness.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit

from tasks.science.stats.clusters import gathered, totals
from tasks.science.stats.counts import Bounds
from tasks.science.stats.intervals import moments

UNSEEN = 0.03
"""Of a row; see :func:`auc_bounds`."""

TINY = float(np.finfo(float).eps)


def row_losses(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray | None:
    """(n,) terms whose mean is the metric, or None for a metric that is no mean over rows."""
    several = score.ndim == 2
    if metric == "log_loss":
        safe = np.clip(score, TINY, 1 - TINY)
        if several:
            return np.asarray(-np.log(safe[np.arange(len(label)), label]))
        return np.asarray(-np.where(label, np.log(safe), np.log1p(-safe)))
    if metric == "brier":
        truth = np.arange(score.shape[1]) == label[:, None] if several else label
        return np.asarray(((truth - score) ** 2).sum(axis=1) if several else (truth - score) ** 2)
    if metric == "accuracy":
        return np.asarray((score.argmax(axis=1) if several else score >= threshold) == label, dtype=float)
    if metric == "mae":
        return np.asarray(np.abs(label - score))
    return None


def contributions(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> tuple[float, np.ndarray]:
    """The metric, and (n,) pseudo-values of each row (Tukey 1958), whose mean is the metric less its bias.

    A pseudo-value is n times the metric less n - 1 times the metric without the row. It is exact and needs no loop over
    rows for RMSE, R² and average precision. For the AUC they are the structural components (Sen 1960; DeLong et al.
    1988), averaged over classes. Where the metric is a mean over rows they are the row losses.
    """
    losses = row_losses(metric, label, score, threshold)
    if losses is not None:
        return float(losses.mean()), losses
    if metric == "roc_auc":
        parts = (
            [_auc(label, score)] if score.ndim == 1 else [_auc(label == c, score[:, c]) for c in range(score.shape[1])]
        )
        components = np.mean(parts, axis=0)
        return float(components.mean()), components
    n = len(label)
    if metric == "average_precision":
        whole, without = _average_precision(label, score)
    else:
        whole, without = _of_squares(metric, label, (label - score) ** 2)
    return whole, np.asarray(n * whole - (n - 1) * without)


def _of_squares(metric: str, label: np.ndarray, squares: np.ndarray) -> tuple[float, np.ndarray]:
    """RMSE or R², and (n,) those without each row."""
    n, rest = len(label), np.maximum(squares.sum() - squares, 0)
    if metric == "rmse":
        return float(np.sqrt(squares.mean())), np.sqrt(rest / (n - 1))
    spread = (label - label.mean()) ** 2
    left = spread.sum() - spread * n / (n - 1)
    return float(1 - squares.sum() / spread.sum()), 1 - np.divide(rest, left, out=np.full(n, np.nan), where=left > 0)


def placements(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, and of positives above each negative, a tie counting half; the mean of
    either is the AUC.
    """
    values, place = np.unique(score, return_inverse=True)
    first, second = place[label], place[~label]
    positive, negative = (np.bincount(part, minlength=len(values)) for part in (first, second))
    below = (np.cumsum(negative) - negative / 2) / len(second)
    above = 1 - (np.cumsum(positive) - positive / 2) / len(first)
    return below[first], above[second]


def _auc(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    n, m = len(label), int(label.sum())
    found = np.empty(n)
    above, below = placements(label, score)
    auc = float(above.mean())
    found[label], found[~label] = auc + (above - auc) * n / m, auc + (below - auc) * n / (n - m)
    return found


def _average_precision(label: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """The value, and (n,) those without each row: ranks below the row are one row, and one positive or negative,
    shorter.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # rows of equal score come in together
    every = (ends + 1).astype(float)
    true = np.cumsum(label[order])[ends].astype(float)
    new, total = np.diff(true, prepend=0.0), float(label.sum())
    place = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    shorter = np.maximum(every - 1, 1)
    kept = new * true / every
    before = np.concatenate([[0.0], np.cumsum(kept)])[:-1]
    less_negative, less_positive = new * true / shorter, new * (true - 1) / shorter
    after = np.cumsum(less_negative[::-1])[::-1]
    own = (new - 1) * (true - 1) / shorter  # the row's own rank has one positive less to credit
    beyond = np.cumsum(less_positive[::-1])[::-1] - less_positive
    left = np.where(label[order], (before + beyond)[place] + own[place], (before + after)[place])
    rest = np.where(label[order], total - 1, total)
    without = np.empty(len(label))
    without[order] = np.divide(left, rest, out=np.full(len(label), np.nan), where=rest > 0)
    return float(kept.sum() / total), without


def smooth_bounds(
    metric: str, label: np.ndarray, score: np.ndarray, threshold: float, owners: np.ndarray | None = None
) -> tuple[float, Bounds]:
    """A metric that is a mean or a smooth function of the rows, with one-sided bounds.

    Means and the AUC of several classes: :func:`mean_bounds`. RMSE: :func:`rmse_bounds`. R²: :func:`ratio_bounds`.
    Average precision: the wider of :func:`mean_bounds` and :func:`t_bounds` of the logarithm of its distance from 1,
    with room for what was :func:`unseen`. Rows of one entity count as one value of it; for the AUC that is Obuchowski's
    (1997) variance of clustered data.

    Args:
        owners: (n,) as :func:`tasks.science.stats.clusters.shared` gives them; None of independent rows.
    """
    if metric == "r2":
        spread = (label - label.mean()) ** 2
        return ratio_bounds(totals(spread - (label - score) ** 2, owners), totals(spread, owners))
    if metric == "rmse":
        return rmse_bounds((label - score) ** 2, owners)
    value, terms = contributions(metric, label, score, threshold)
    terms = gathered(terms, owners)
    if metric == "average_precision":
        terms = unseen(terms)
        return value, wider(t_bounds(terms, value, logarithmic=True), mean_bounds(terms, value))
    return value, mean_bounds(terms, value)


def unseen(terms: np.ndarray) -> np.ndarray:
    """The (n,) terms, spread so that their variance holds half a term more that is as far out as the farthest.

    Where a few terms decide, those that were not drawn would have enlarged the variance. The same half of a row is
    added in :func:`tasks.science.stats.clusters.design_effect`.
    """
    gap = terms - terms.mean()
    squares = gap * gap
    total = float(squares.sum())
    return np.asarray(terms.mean() + gap * np.sqrt(1 + squares.max() / total / 2)) if total > 0 else terms


def rmse_bounds(squares: np.ndarray, owners: np.ndarray | None = None) -> tuple[float, Bounds]:
    """The root of the mean of (n,) squared errors with one-sided bounds.

    The jackknife leaves out one entity (one row) at a time, exactly, as few or unequal entities ask (Bell & McCaffrey
    2002, CR3; MacKinnon, Nielsen & Webb 2023). The bounds are the wider of :func:`mean_bounds` of RMSE itself and of
    its logarithm. Errors are the more variable the larger they are, and the logarithm takes that out of the upper
    bound, by which a floor passes. Both have room for what was :func:`unseen`.
    """
    sums, rows = totals(squares, owners), totals(np.ones(len(squares)), owners)
    n, value = len(sums), float(np.sqrt(squares.mean()))
    left = np.maximum(rows.sum() - rows, 1)
    without = np.sqrt(np.maximum(sums.sum() - sums, 0) / left)
    direct = mean_bounds(unseen(n * value - (n - 1) * without), value)
    if not value > 0:
        return value, direct
    ratio = np.log(np.maximum(without / value, TINY))  # of the logarithm, less that of the value
    proportional = mean_bounds(unseen(-(n - 1) * ratio), 0.0)

    def bounds(confidence: float) -> tuple[float, float]:
        low, high = (value * float(np.exp(np.clip(x, -500, 500))) for x in proportional(confidence))
        return low, high

    return value, wider(bounds, direct)


def auc_bounds(label: np.ndarray, score: np.ndarray, owners: np.ndarray | None = None) -> tuple[float, Bounds]:
    """The AUC of two classes with one-sided bounds from its structural components (Sen 1960; DeLong et al. 1988).

    They are the wider of two. :func:`mean_bounds` knows the skewness of few positives or negatives. :func:`t_bounds` in
    the logarithm of the distance from 1 knows that the error shrinks towards 1. Where few rows of a class
    are placed wrongly, the next may be the first one. :data:`UNSEEN` of a row (of an entity with its rows) of each
    class at the wrong end is therefore added to the variance. ``tests/statistics/clusters.py`` measures the error
    rates.
    """
    value, terms = contributions("roc_auc", label, score, float("nan"))
    terms = gathered(terms, owners)
    squares = float(((terms - value) ** 2).sum())
    if not squares > 0:
        return value, mean_bounds(terms, value)
    of_class = [len(label[c]) if owners is None else len(np.unique(owners[c])) for c in (label, ~label)]
    unseen = UNSEEN * sum((value * len(terms) / n) ** 2 for n in of_class)
    terms = value + (terms - value) * float(np.sqrt(1 + unseen / squares))
    return value, wider(t_bounds(terms, value, logarithmic=True), mean_bounds(terms, value))


def wider(first: Bounds, second: Bounds) -> Bounds:
    """The lower of two low bounds, and the higher of two high ones."""

    def bounds(confidence: float) -> tuple[float, float]:
        (low, high), (other, another) = first(confidence), second(confidence)
        return min(low, other), max(high, another)

    return bounds


def paired_smooth_bounds(
    metric: str,
    label: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    threshold: float,
    owners: np.ndarray | None = None,
) -> tuple[float, Bounds]:
    """:func:`smooth_bounds` of the first scores' metric less the second's on the same rows; of RMSE, without its
    logarithm."""
    if metric == "r2":
        gain = (label - second) ** 2 - (label - first) ** 2
        return ratio_bounds(totals(gain, owners), totals((label - label.mean()) ** 2, owners))
    (one, terms), (other, others) = (contributions(metric, label, s, threshold) for s in (first, second))
    value, terms = one - other, gathered(terms - others, owners)
    if metric in ("rmse", "average_precision"):
        terms = unseen(terms)
    if metric == "average_precision":
        return value, wider(t_bounds(terms, value), mean_bounds(terms, value))
    return value, mean_bounds(terms, value)


def _straightened(quantile: float, bend: float, n: int) -> float:
    """The distance of a mean from the truth, in standard deviations of one row, that a t quantile stands for under
    skewness 3 ``bend``.
    """
    if abs(bend) < 1e-6:
        return quantile / float(np.sqrt(n))
    return float(np.cbrt(1 + 3 * bend * (quantile / np.sqrt(n) - bend / (2 * n))) - 1) / bend


def mean_bounds(terms: np.ndarray, value: float) -> Bounds:
    """One-sided bounds of the mean of (n,) terms, corrected for skewness and holding ``value``.

    Student's t after the cubic, monotone transformation that takes the skewness out (Hall 1992, JRSSB 54, 221). Without
    it a one-sided bound of a skewed mean, such as log-loss, misses too often on one side. Degrees of freedom as in
    :func:`t_bounds`.
    """
    n, mean = len(terms), float(terms.mean())
    spread, skewness, freedom = moments(terms)
    bend = skewness / 3

    def bounds(confidence: float) -> tuple[float, float]:
        quantile = float(stdtrit(freedom, confidence))
        return min(mean - spread * _straightened(quantile, bend, n), value), max(
            mean - spread * _straightened(-quantile, bend, n), value
        )

    return bounds


def ratio_bounds(above: np.ndarray, below: np.ndarray) -> tuple[float, Bounds]:
    """The ratio of the means of (n,) ``above`` and (n,) ``below`` of 0 or more, with one-sided bounds.

    A ratio r belongs to them where 0 lies within :func:`mean_bounds` of ``above - r * below`` (Fieller 1954), whose
    moments follow for every r from those of the two.
    """
    n, means = len(above), (float(above.mean()), float(below.mean()))
    value = means[0] / means[1]
    x, y = above - means[0], below - means[1]
    second = [float((x * x).mean()), float((x * y).mean()), float((y * y).mean())]
    third = [float((x**3).mean()), float((x * x * y).mean()), float((x * y * y).mean()), float((y**3).mean())]

    def distance(ratio: float, quantile: float) -> float:
        """How far the bound of ``above - ratio * below`` is above 0."""
        variance = max(second[0] - 2 * ratio * second[1] + ratio**2 * second[2], 0.0)
        if not variance > 0:
            return means[0] - ratio * means[1]
        bend = (third[0] - 3 * ratio * third[1] + 3 * ratio**2 * third[2] - ratio**3 * third[3]) / variance**1.5 / 3
        return means[0] - ratio * means[1] - float(np.sqrt(variance * n / (n - 1))) * _straightened(quantile, bend, n)

    error = float(np.sqrt(max(second[0] - 2 * value * second[1] + value**2 * second[2], 0.0) / n)) / means[1]

    def end(quantile: float) -> float:
        """Where the bound crosses 0, outwards from the value; infinite where it does not within 20 standard errors."""
        far = value - np.sign(quantile) * 20 * error
        if not distance(value, quantile) * distance(far, quantile) < 0:
            return value if error == 0 else float(-np.sign(quantile) * np.inf)
        return float(brentq(distance, *sorted((value, far)), args=(quantile,)))

    _, _, freedom = moments(above - value * below)

    def bounds(confidence: float) -> tuple[float, float]:
        quantile = float(stdtrit(freedom, confidence))
        return min(end(quantile), value), max(end(-quantile), value)

    return value, bounds


def t_bounds(terms: np.ndarray, value: float, logarithmic: bool = False) -> Bounds:
    """One-sided bounds of a smooth metric from its (n,) jackknife values, on request for the logarithm of its distance
    from 1.

    Student's t with the degrees of freedom of :func:`tasks.science.stats.intervals.moments`: a few rows at the top of
    the ranking decide average precision, so its standard error is worth fewer than n.
    """
    spread, _, freedom = moments(terms)
    error = spread / float(np.sqrt(len(terms)))

    def bounds(confidence: float) -> tuple[float, float]:
        reach = float(stdtrit(freedom, confidence)) * error
        if not logarithmic or value >= 1:
            return value - reach, value + reach
        far = min(reach / (1 - value), 500.0)
        return max(1 - (1 - value) * float(np.exp(far)), 0.0), 1 - (1 - value) * float(np.exp(-far))

    return bounds
