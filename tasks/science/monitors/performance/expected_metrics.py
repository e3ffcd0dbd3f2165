"""Metrics of a binary model as functions of the probability that each row's label is true: their value, and how they
vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

EPS = float(np.finfo(float).eps)
CELLS = 1_000_000
"""Drawn labels held in memory at a time."""


@dataclass(frozen=True)
class Expected:
    """A metric where labels come up with known probabilities.

    ``by_label`` (n,): its derivative by each row's label; the variance of what labels show is ``sum(p (1 - p)
    by_label**2)`` to first order. ``terms`` (n,): numbers whose variance over n is that of the value under sampling of
    rows, its first-order (Hájek) projection (van der Vaart 1998, chapter 12).
    """

    value: float
    by_label: np.ndarray
    terms: np.ndarray

    @cached_property
    def sampling(self) -> float:
        """Variance of the value under sampling of rows."""
        return float(self.terms.var() / len(self.terms))


class Ranked:
    """Scores in order, sorted once for all metrics that ask: ``place`` (n,) among the distinct ones, ascending, and
    ``counts`` of these."""

    def __init__(self, score: np.ndarray) -> None:
        order = np.argsort(score)
        ordered = score[order]
        new = np.append(True, ordered[1:] != ordered[:-1]) if len(score) else np.empty(0, bool)
        self.place = np.empty(len(score), np.int64)
        self.place[order] = np.cumsum(new) - 1
        self.counts = np.diff(np.append(np.flatnonzero(new), len(score)))


def losses(metric: str, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a row adds to log-loss or Brier if its label is false, and if it is true."""
    if metric == "brier":
        return score**2, (1 - score) ** 2
    safe = np.clip(score, EPS, 1 - EPS)
    return -np.log1p(-safe), -np.log(safe)


def _mean(metric: str, p: np.ndarray, score: np.ndarray) -> Expected:
    if_false, if_true = losses(metric, score)
    gain = if_true - if_false
    terms = if_false + p * gain
    return Expected(float(terms.mean()), gain / len(p), terms)


def _ratio(top: np.ndarray, top_slope: np.ndarray, bottom: np.ndarray, bottom_slope: np.ndarray | float) -> Expected:
    """``sum(top) / sum(bottom)``, each linear in the row's label with the slope given."""
    whole = float(bottom.sum())
    if not whole > 0:
        return Expected(float("nan"), np.zeros(len(top)), np.zeros(len(top)))
    value = float(top.sum()) / whole
    return Expected(value, (top_slope - value * bottom_slope) / whole, (top - value * bottom) * (len(top) / whole))


def _half(first: Expected, second: Expected) -> Expected:
    return Expected(
        (first.value + second.value) / 2, (first.by_label + second.by_label) / 2, (first.terms + second.terms) / 2
    )


def _recall(p: np.ndarray, taken: np.ndarray) -> Expected:
    return _ratio(p * taken, taken, p, 1.0)


def _false_positive(p: np.ndarray, taken: np.ndarray) -> Expected:
    return _ratio((1 - p) * taken, -taken, 1 - p, -1.0)


def _specificity(p: np.ndarray, taken: np.ndarray) -> Expected:
    return _ratio((1 - p) * (1 - taken), taken - 1, 1 - p, -1.0)


COUNTED: dict[str, Callable[[np.ndarray, np.ndarray], Expected]] = {
    "accuracy": lambda p, taken: _ratio(p * taken + (1 - p) * (1 - taken), 2 * taken - 1, np.ones(len(p)), 0.0),
    "precision": lambda p, taken: _ratio(p * taken, taken, taken, 0.0),
    "recall": _recall,
    "true_positive_rate": _recall,
    "false_positive_rate": _false_positive,
    "selection_rate": lambda p, taken: _ratio(taken, np.zeros(len(p)), np.ones(len(p)), 0.0),
    "f1": lambda p, taken: _ratio(2 * p * taken, 2 * taken, p + taken, 1.0),
    "balanced_accuracy": lambda p, taken: _half(_recall(p, taken), _specificity(p, taken)),
}
"""Metrics of a decision; ``taken`` is 1.0 where the score reaches the threshold."""


def expected(
    metric: str, probability: np.ndarray, score: np.ndarray, threshold: float, ranked: Ranked | None = None
) -> Expected:
    """The metric of ``score`` when labels come up with ``probability``; NaN where it has no value.

    A metric that is a ratio is that of the expected sums, as in NannyML's CBPE (Guillory et al. 2021), but for pairs
    of a row with itself, which labels do not show and which are left out. With labels of 0 and 1 as probabilities it
    is the realized metric.
    """
    if metric == "roc_auc":
        return _area(probability, ranked or Ranked(score))
    if metric == "average_precision":
        return _average_precision(probability, ranked or Ranked(score))
    if metric in COUNTED:
        return COUNTED[metric](probability, (score >= threshold).astype(float))
    return _mean(metric, probability, score)


def _area(p: np.ndarray, ranked: Ranked) -> Expected:
    """Expected concordant share of pairs of different rows, a tie counting half, as in the realized AUC."""
    place = ranked.place
    positive = np.bincount(place, weights=p)
    negative = ranked.counts - positive
    own = p * (1 - p)  # a row makes no pair with itself
    below = (np.cumsum(negative) - negative / 2)[place] - (1 - p) / 2
    all_positive, all_negative = positive.sum(), negative.sum()
    above = (all_positive - np.cumsum(positive) + positive / 2)[place] - p / 2
    pairs = all_positive * all_negative - own.sum()
    if not pairs > 0:
        return Expected(float("nan"), np.zeros(len(p)), np.zeros(len(p)))
    value = float(p @ below / pairs)
    others_false, others_true = all_negative - (1 - p), all_positive - p
    by_label = (below - above - value * (others_false - others_true)) / pairs
    terms = p * (below - value * others_false) + (1 - p) * (above - value * others_true)
    return Expected(value, by_label, terms * (len(p) / pairs))


def _average_precision(p: np.ndarray, ranked: Ranked) -> Expected:
    """Expected precision at the rank of a true row, rows of equal score coming in together.

    The row itself is known to be true there, so it counts as one and not as its probability.
    """
    place, counts = len(ranked.counts) - 1 - ranked.place, ranked.counts[::-1]  # from the highest score down
    whole = float(p.sum())
    if not whole > 0:
        return Expected(float("nan"), np.zeros(len(p)), np.zeros(len(p)))
    rank = np.cumsum(counts)
    positive = np.bincount(place, weights=p)
    precision = np.cumsum(positive) / rank
    share = np.cumsum((positive / rank)[::-1])[::-1][place]  # true rows at or below this one, each over its rank
    lost = np.cumsum((positive * precision / rank)[::-1])[::-1][place]
    at = precision[place]
    value = float(p @ (at + (1 - p) / rank[place])) / whole
    return Expected(value, (at + share - value) / whole, (p * at + p * share - lost - value * p) * (len(p) / whole))


def realized(metric: str, label: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray:
    """(b,) metrics of (b, n) bool labels of the same rows; NaN where a metric has no value."""
    n = label.shape[1]
    positive = label.sum(axis=1).astype(float)
    if metric == "roc_auc":
        return _over(
            label @ rankdata(score) - positive * (positive + 1) / 2, positive * (n - positive)
        )  # Mann & Whitney 1947
    if metric == "average_precision":
        order = np.argsort(-score, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(score[order])), n - 1)
        true = np.cumsum(label[:, order], axis=1)[:, ends].astype(float)
        return _over((np.diff(true, axis=1, prepend=0.0) * true) @ (1 / (ends + 1)), positive)
    if metric not in COUNTED:
        if_false, if_true = losses(metric, score)
        return np.asarray(if_false.mean() + label @ (if_true - if_false) / n)
    taken = score >= threshold
    return rates(metric, label @ taken.astype(float), positive, float(taken.sum()), n)


def rates(metric: str, true: np.ndarray, positive: np.ndarray, taken: float, n: int) -> np.ndarray:
    """(b,) metrics of a decision from (b,) true positives and positives, rows selected and rows."""
    negative = n - positive
    false = taken - true
    selected = np.full(len(true), taken)
    if metric == "accuracy":
        return np.asarray((true + negative - false) / n)
    if metric == "balanced_accuracy":
        return np.asarray((_over(true, positive) + _over(negative - false, negative)) / 2)
    tops = {
        "precision": (true, selected),
        "f1": (2 * true, positive + taken),
        "false_positive_rate": (false, negative),
        "selection_rate": (selected, np.full(len(true), float(n))),
    }
    return _over(*tops.get(metric, (true, positive)))


def _over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0))
