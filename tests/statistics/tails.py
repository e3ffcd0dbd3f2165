"""Floors of RMSE and average precision under laws that no bound was made by; a part of
``tests/statistics/clusters.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.science.stats.comparison import metric_estimate
from tasks.science.stats.jackknife import contributions
from tests.statistics.non_inferiority import CONFIDENCE, THRESHOLD

SEED = 20261130
RUNS = 2000
TRUTH = 1500
"""Samples of which the truth is taken: its own error is a fortieth of a sample's."""
BATCHES, BATCH = 40, 100_000

Sample = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Labels, scores, and whose rows they are; None of independent rows."""


def of_errors(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[np.random.Generator, int], Sample]:
    def sample(rng: np.random.Generator, rows: int) -> Sample:
        error = draw(rng, rows)
        return error, np.zeros(len(error)), None

    return sample


def of_persons(
    each: Callable[[np.random.Generator, int], np.ndarray], tail: float
) -> Callable[[np.random.Generator, int], Sample]:
    """Errors of persons: one is a wider guess than another, and a part of each error is the person's own."""

    def sample(rng: np.random.Generator, persons: int) -> Sample:
        owners = np.repeat(np.arange(persons), each(rng, persons))
        spread, own = np.exp(0.3 * rng.normal(size=persons)), rng.standard_t(tail, persons)
        error = spread[owners] * (0.7 * own[owners] + 0.7 * rng.normal(size=len(owners)))
        return error, np.zeros(len(error)), owners

    return sample


def of_ranks(share: float, apart: float, spread: float, tail: float) -> Callable[[np.random.Generator, int], Sample]:
    """Positives of a share, whose scores lie apart and are so much more spread; Student's law of so many degrees."""

    def sample(rng: np.random.Generator, rows: int) -> Sample:
        label = rng.random(rows) < share
        return label, apart * label + rng.standard_t(tail, rows) * np.where(label, spread, 1.0), None

    return sample


ERRORS: dict[str, tuple[Callable[[np.random.Generator, int], Sample], tuple[int, ...]]] = {
    "normal": (of_errors(lambda rng, n: rng.normal(size=n)), (100, 300)),
    "Student's, 6 degrees": (of_errors(lambda rng, n: rng.standard_t(6, n)), (100, 300, 1000)),
    "log-normal less its mean": (of_errors(lambda rng, n: rng.lognormal(0, 0.6, n) - np.exp(0.18)), (100, 300, 1000)),
    "one in twenty four times as large": (
        of_errors(lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < 0.05, 4, 1)),
        (100, 300, 1000),
    ),
    "persons of 2 rows": (of_persons(lambda rng, n: np.full(n, 2), 8), (60, 300)),
    "persons of 10 rows": (of_persons(lambda rng, n: np.full(n, 10), 8), (60, 300)),
    "persons of 1 row and more, half stop each time": (
        of_persons(lambda rng, n: rng.geometric(0.5, n), 8),
        (300, 1000),
    ),
    "persons of 1 row and more, a fifth stop each time": (
        of_persons(lambda rng, n: rng.geometric(0.2, n), 8),
        (300, 1000),
    ),
}
RANKS = {
    "20 %, one standard deviation apart": of_ranks(0.2, 1.0, 1.0, 30),
    "20 %, two apart": of_ranks(0.2, 2.0, 1.0, 30),
    "50 %, one apart": of_ranks(0.5, 1.0, 1.0, 30),
    "40 %, two apart": of_ranks(0.4, 2.0, 1.0, 30),
    "30 %, heavy tails": of_ranks(0.3, 1.5, 1.0, 3),
    "30 %, positives less spread": of_ranks(0.3, 0.5, 0.6, 30),
}


def at_the_floor(
    metric: str,
    name: str,
    sample: Callable[[np.random.Generator, int], Sample],
    size: int,
    limit: float,
    runs: int,
    seed: int,
) -> dict[str, Any]:
    """How often a model that is just as good as the floor passes, and how often it is refuted."""
    rng, passed, refuted = np.random.default_rng(seed), 0, 0
    for _ in range(runs):
        label, score, owners = sample(rng, size)
        low, high = metric_estimate(metric, label, score, THRESHOLD, 0, owners).bounds(CONFIDENCE)
        right, wrong = (high <= limit, low > limit) if metric == "rmse" else (low >= limit, high < limit)
        passed, refuted = passed + right, refuted + wrong
    return {
        "metric": metric,
        "law": name,
        "rows, or persons": size,
        "should": "at most 6 %",
        "passes": passed / runs,
        "refuted": refuted / runs,
        "error": float(np.sqrt(0.05 * 0.95 / runs)),
        "runs": runs,
    }


def error_limit(sample: Callable[[np.random.Generator, int], Sample], persons: int, seed: int) -> float:
    rng, squares, rows = np.random.default_rng(seed), 0.0, 0
    for _ in range(TRUTH):
        error, _, _ = sample(rng, persons)
        squares, rows = squares + float(error @ error), rows + len(error)
    return float(np.sqrt(squares / rows))


def rank_limit(sample: Callable[[np.random.Generator, int], Sample], seed: int, batches: int = BATCHES) -> float:
    rng, found = np.random.default_rng(seed), []
    for _ in range(batches):
        label, score, _ = sample(rng, BATCH)
        found.append(contributions("average_precision", label, score, THRESHOLD)[1].mean())
    return float(np.mean(found))


def floors() -> list[dict[str, Any]]:
    found = []
    for i, (name, (sample, sizes)) in enumerate(ERRORS.items()):
        limit = error_limit(sample, max(sizes), SEED + i)
        found += [at_the_floor("rmse", name, sample, n, limit, RUNS, SEED + 100 + 10 * i + n) for n in sizes]
    for i, (name, sample) in enumerate(RANKS.items()):
        limit = rank_limit(sample, SEED + 500 + i)
        rows = (200, 400)
        found += [at_the_floor("average_precision", name, sample, n, limit, RUNS, SEED + 600 + i + n) for n in rows]
    return found
