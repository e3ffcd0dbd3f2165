"""Cross-fitting and cross-validation: what is learned on some folds of the rows is applied to the rows of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold


def folds(rows: int, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """(rows,) the fold of each row; sizes differ by at most one.

    Args:
        count: of folds.
        rng: draws the folds; without it the rows are in random order already and are dealt out in turn.
    """
    return (np.arange(rows) if rng is None else rng.permutation(rows)) % count


def splits(fold: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each fold, (n,) bool: the rows to learn from, and the held-out rows to apply it to."""
    for k in range(count):
        yield fold != k, fold == k


@dataclass(frozen=True)
class Fold:
    """One part of the rows that is predicted, and the rows that are learned from, as row numbers (k,) and (m,)."""

    learned: np.ndarray
    predicted: np.ndarray


def by_class(code: np.ndarray, count: int, seed: int) -> list[Fold]:
    """Folds at random, in each of which every class has its share (Kohavi 1995).

    Args:
        code: (n,) the class of each row.
    """
    parts = StratifiedKFold(count, shuffle=True, random_state=seed).split(code, code)
    return [Fold(*part) for part in parts]


def by_chance(rows: int, count: int, seed: int) -> list[Fold]:
    """Folds at random."""
    return [Fold(*part) for part in KFold(count, shuffle=True, random_state=seed).split(np.arange(rows))]


def by_owner(owner: np.ndarray, count: int, seed: int) -> list[Fold]:
    """Folds at random, of which no two hold rows of one entity.

    Args:
        owner: (n,) the number of the entity whose row it is.
    """
    found = GroupKFold(count, shuffle=True, random_state=seed).split(owner, groups=owner)
    return [Fold(*part) for part in found]


def forward(when: np.ndarray, count: int, owner: np.ndarray | None = None) -> list[Fold]:
    """Forward chaining: each part is predicted from what came before it (Hyndman & Athanasopoulos 2021, section 5.10).

    Rows of one moment stay together. What an entity left before is not learned from where its later rows are predicted.

    Args:
        when: (n,) rises with time.
        count: of the parts that are predicted; fewer where there are fewer moments.
        owner: (n,) the number of the entity whose row it is.

    Returns:
        The folds in order of time; none where there are fewer than three moments.
    """
    moments, at, rows = np.unique(when, return_inverse=True, return_counts=True)
    parts = min(count, len(moments) - 1)
    if parts < 2:
        return []
    middle = (np.cumsum(rows) - rows / 2) / rows.sum()
    block = np.minimum((middle * (parts + 1)).astype(int), parts)
    block = np.unique(block, return_inverse=True)[1][at]  # a large moment may have left one empty
    found = []
    for number in range(1, block.max() + 1):
        learned, predicted = block < number, block == number
        if owner is not None:
            learned = learned & ~np.isin(owner, owner[predicted])
        found.append(Fold(np.flatnonzero(learned), np.flatnonzero(predicted)))
    return found if len(found) > 1 else []


def corrected_interval(values: np.ndarray, folds: Sequence[Fold], confidence: float = 0.95) -> tuple[float, float]:
    """Interval for a mean over folds that share most of what they learned from.

    Their variance is multiplied by ``1/J + n2/n1``, where J independent folds would take ``1/J``. Here n1 rows were
    learned from, and n2 predicted (Nadeau & Bengio 2003, Machine Learning 52, 239-281). Student's t with J - 1 degrees
    of freedom.

    Args:
        values: (J,) one number a fold, J at least 2.
        folds: the J folds; where their sizes differ, their largest ratio counts.
    """
    ratio = max(len(fold.predicted) / max(len(fold.learned), 1) for fold in folds)
    error = float(np.sqrt((1 / len(values) + ratio) * np.var(values, ddof=1)))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return float(np.mean(values)) - reach, float(np.mean(values)) + reach
