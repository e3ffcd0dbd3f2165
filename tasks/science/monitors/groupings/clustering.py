"""k-means in the embedding, and how good a grouping is: agreement, silhouette, and what it explains of the label."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController


def clustered(placed: np.ndarray, k: int, starts: int, rng: np.random.Generator) -> KMeans:
    """k-means of rows that are known to be finite, the best of some starts; of rows that are all alike, groups are
    empty.

    In one thread: the rows are few, and threads that wait for each other on a busy machine take minutes for what takes
    milliseconds.
    """
    with (
        config_context(assume_finite=True, skip_parameter_validation=True),
        _threads().limit(limits=1),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(k, n_init=starts, random_state=int(rng.integers(2**31))).fit(placed)


@cache
def _threads() -> ThreadpoolController:
    """The libraries that have threads, looked for once: the search takes longer than most fits, and at the first of
    them all are loaded."""
    return ThreadpoolController()


def nearest(centres: np.ndarray, placed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) position of the nearest centre, and (n, k) distances to all."""
    square = (placed**2).sum(axis=1)[:, None] - 2 * placed @ centres.T + (centres**2).sum(axis=1)
    distance = np.sqrt(np.maximum(square, 0.0))
    return distance.argmin(axis=1), distance


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Agreement of two groupings of the same rows, 1 for the same and 0 as by chance (Hubert & Arabie 1985);
    scikit-learn's number without its checks.

    Args:
        a, b: (n,) positions from 0.
    """
    table = (
        np.bincount(a * (b.max() + 1) + b, minlength=(a.max() + 1) * (b.max() + 1))
        .reshape(a.max() + 1, -1)
        .astype(float)
    )

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both, first, second, every = (
        pairs(table),
        pairs(table.sum(axis=1)),
        pairs(table.sum(axis=0)),
        len(a) * (len(a) - 1) / 2,
    )
    chance, most = first * second / every, (first + second) / 2
    return (both - chance) / (most - chance) if most > chance else 1.0


def silhouettes(distance: np.ndarray) -> np.ndarray:
    """(n,) simplified silhouette of each row from its (n, k) distances to the centres; 0 where there is one group."""
    if distance.shape[1] < 2 or not len(distance):
        return np.zeros(len(distance))
    two = np.partition(distance, 1, axis=1)[:, :2]
    return np.asarray(1 - two[:, 0] / np.maximum(two[:, 1], 1e-12))


def coherence(group: np.ndarray, label: np.ndarray, k: int) -> float:
    """Share of the label's variance that the groups explain: eta squared (Fisher 1925); of classes, Goodman and
    Kruskal's tau (1954).

    Args:
        group: (n,) positions.
        label: (n, c) without NaN.

    Returns:
        0 to 1, NaN where the label does not vary.
    """
    total = float(((label - label.mean(axis=0)) ** 2).sum()) if len(label) else 0.0
    if total <= 0:
        return float("nan")
    counts = np.bincount(group, minlength=k)
    sums = np.column_stack([np.bincount(group, weights=c, minlength=k) for c in label.T])
    between = float(
        (sums[counts > 0] ** 2 / counts[counts > 0, None]).sum() - (label.sum(axis=0) ** 2).sum() / len(label)
    )
    return min(max(between / total, 0.0), 1.0)


def plane_of(placed: np.ndarray) -> np.ndarray:
    """(n, 2) of a map: the first two principal components; 0 where there is only one."""
    return placed[:, :2] if placed.shape[1] > 2 else np.column_stack([placed[:, 0], np.zeros(len(placed))])
