"""What the benchmark gates do at the margin and at the limit, by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from tasks.science.comparison import metric_estimate, paired_estimate
from tasks.science.counts import COUNTED, from_confusion, joint_counts
from tasks.science.jackknife import contributions
from tasks.science.metrics import METRICS
from tasks.spec.gates import METRIC_NAMES, Kind

SEED = 20261125
RUNS = 2000
SIZES = (200, 1000, 10_000)
CONFIDENCE = 0.95
THRESHOLD = 0.5
BATCHES, BATCH = 200, 100_000
"""Rows of which the truth is taken: its own error is a fortieth of that of 10,000 rows."""

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Label, challenger's scores and champion's of n rows; the challenger is a little worse, and correlated with the champion."""


def binary(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, shared = rng.random(n) < 0.4, rng.normal(size=n)
    champion = 1.5 * (label - 0.5) + shared
    challenger = 1.2 * (label - 0.5) + 0.6 * shared + 0.8 * rng.normal(size=n)
    return label, expit(challenger), expit(champion)


def multiclass(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes of 50, 30 and 20 %."""
    label, shared = np.minimum((rng.random(n)[:, None] > (0.5, 0.8)).sum(axis=1), 2), rng.normal(size=(n, 3))
    truth = np.eye(3)[label]
    return label, softmax(1.2 * truth + 0.6 * shared + 0.8 * rng.normal(size=(n, 3)), axis=1), softmax(1.5 * truth + shared, axis=1)


def regression(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A skewed target, as money is, whose errors are skewed too."""
    known, error = rng.gamma(2, 1, n), rng.gamma(2, 0.5, n) - 1
    champion = known + 0.3 * rng.normal(size=n)
    return known + error, 0.9 * champion + 0.2 + 0.3 * rng.normal(size=n), champion


DRAWS: dict[Kind, Draw] = {"binary": binary, "multiclass": multiclass, "regression": regression}


def value(metric: str, label: np.ndarray, score: np.ndarray) -> float:
    """The metric less its bias, quickly."""
    if metric not in COUNTED:
        return float(contributions(metric, label, score, THRESHOLD)[1].mean())
    decision = score.argmax(axis=1) if score.ndim == 2 else score >= THRESHOLD
    return float(from_confusion(metric, joint_counts(label, [decision], 2 if score.ndim == 1 else score.shape[1])))


@dataclass(frozen=True)
class Truth:
    """The metrics of a large number of rows: of challenger and champion."""

    challenger: dict[str, float]
    champion: dict[str, float]


def truth(kind: Kind, batches: int, seed: int) -> Truth:
    rng, found = np.random.default_rng(seed), []
    for _ in range(batches):
        label, challenger, champion = DRAWS[kind](rng, BATCH)
        found.append([[value(m, label, s) for m in METRIC_NAMES[kind]] for s in (challenger, champion)])
    first, second = np.mean(found, axis=0)
    return Truth(dict(zip(METRIC_NAMES[kind], first, strict=True)), dict(zip(METRIC_NAMES[kind], second, strict=True)))


def false_passes(kind: Kind, known: Truth, n: int, runs: int, seed: int) -> list[dict[str, Any]]:
    """Every metric on the same rows: the challenger is worse by just the margin, and as good as the floor, so a pass is false."""
    rng, passed = np.random.default_rng(seed), {m: [0, 0] for m in METRIC_NAMES[kind]}
    for _ in range(runs):
        label, challenger, champion = DRAWS[kind](rng, n)
        for metric, counts in passed.items():
            better, chance = METRICS[metric].greater_is_better, int(rng.integers(2**31))
            limits = (known.challenger[metric] - known.champion[metric], known.challenger[metric])
            found = (paired_estimate(metric, label, challenger, champion, THRESHOLD, chance), metric_estimate(metric, label, challenger, THRESHOLD, chance))
            for i, (limit, estimate) in enumerate(zip(limits, found, strict=True)):
                low, high = estimate.bounds(CONFIDENCE)
                counts[i] += low >= limit if better else high <= limit
    error = float(np.sqrt(0.05 * 0.95 / runs))
    return [
        {"kind": kind, "metric": m, "rows": n, "should": "at most 6 %", "non-inferiority at the margin": of[0] / runs, "floor at the limit": of[1] / runs, "error": error, "runs": runs}
        for m, of in passed.items()
    ]


def margins() -> list[dict[str, Any]]:
    found = []
    for i, kind in enumerate(DRAWS):
        known = truth(kind, BATCHES, SEED + i)
        found += [row for j, n in enumerate(SIZES) for row in false_passes(kind, known, n, RUNS, SEED + 100 + 10 * i + j)]
    return found
