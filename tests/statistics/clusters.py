"""What gates do where several rows are of one person, and where a class has few rows, by simulation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from scipy.stats import norm

from tasks.science.stats.comparison import metric_estimate, paired_estimate
from tasks.science.stats.metrics import METRICS
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tests.statistics.non_inferiority import CONFIDENCE, THRESHOLD, Truth, value
from tests.statistics.owned import calibrations, disparities
from tests.statistics.persons import DRAWS, SHAPES, Shape, drawn
from tests.statistics.studies import Study
from tests.statistics.tails import floors as of_other_laws

SEED = 20261128
RUNS = 1000
BATCH = 100_000
"""Rows of which a truth is taken at once."""
EVERY = 4
"""Runs of which one is judged by floors that take its rows as independent, too."""
PROCESSES = 2
ROWS, SAMPLES = 1_000_000, 1500
"""Of which a limit is taken: rows at least, and samples where there are many rows, so that a limit's own error is a
fortieth of a sample's."""
SIZES = (
    (300, SHAPES[0], RUNS, 0),
    (300, SHAPES[1], RUNS, 0),
    (300, SHAPES[2], RUNS // 2, 0),
    (10_000, SHAPES[0], 2 * RUNS // 5, SAMPLES),
    *((persons, Shape(rows, False), RUNS, SAMPLES) for persons in (300, 1000) for rows in (10, 20)),
)
"""Persons, the rows that they have, how often each is tried, and of how many samples its limit is."""


def truth(kind: TargetKind, shape: Shape, rows: int, seed: int) -> Truth:
    """The metrics of at least so many rows, of challenger and champion."""
    rng, found, weights = np.random.default_rng(seed), [], []
    while sum(weights) < rows:
        _, (label, challenger, champion) = drawn(kind, shape, BATCH // shape.most, rng)
        found.append([[value(m, label, s) for m in METRIC_NAMES[kind]] for s in (challenger, champion)])
        weights.append(len(label))
    first, second = np.average(found, axis=0, weights=weights)
    return Truth(dict(zip(METRIC_NAMES[kind], first, strict=True)), dict(zip(METRIC_NAMES[kind], second, strict=True)))


def false_passes(
    kind: TargetKind, shape: Shape, known: Truth, persons: int, runs: int, seed: int
) -> list[dict[str, Any]]:
    """Every metric on the same rows: the challenger is worse by just the margin, and as good as the floor."""
    rng, passed = np.random.default_rng(seed), {m: [0, 0, 0] for m in METRIC_NAMES[kind]}
    for run in range(runs):
        owners, (label, challenger, champion) = drawn(kind, shape, persons, rng)
        for metric, counts in passed.items():
            better, chance = METRICS[metric].greater_is_better, int(rng.integers(2**31))
            floor, margin = known.challenger[metric], known.challenger[metric] - known.champion[metric]
            estimates = [
                (margin, paired_estimate(metric, label, challenger, champion, THRESHOLD, chance, owners)),
                (floor, metric_estimate(metric, label, challenger, THRESHOLD, chance, owners)),
            ]
            if run % EVERY == 0:
                estimates.append((floor, metric_estimate(metric, label, challenger, THRESHOLD, chance)))
            for i, (limit, estimate) in enumerate(estimates):
                low, high = estimate.bounds(CONFIDENCE)
                counts[i] += low >= limit if better else high <= limit
    return [
        {
            "kind": kind,
            "metric": m,
            "persons": persons,
            "rows of each": str(shape),
            "should": "at most 6 %",
            "non-inferiority at the margin": of[0] / runs,
            "floor at the limit": of[1] / runs,
            "floor, were rows independent": of[2] / len(range(0, runs, EVERY)),
            "error": float(np.sqrt(0.05 * 0.95 / runs)),
            "runs": runs,
        }
        for m, of in passed.items()
    ]


def _cell(kind: TargetKind, shape: Shape, persons: int, runs: int, samples: int, seed: int) -> list[dict[str, Any]]:
    known = truth(kind, shape, max(ROWS, samples * persons * shape.average), seed)
    return false_passes(kind, shape, known, persons, runs, seed + 1)


def floors() -> list[dict[str, Any]]:
    asked = [(kind, shape, persons, runs, samples) for persons, shape, runs, samples in SIZES for kind in DRAWS]
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = [pool.submit(_cell, *cell, SEED + 10 * i) for i, cell in enumerate(asked)]
        return [row for cell in found for row in cell.result()]


def placed(law: str, auc: float, positives: int, negatives: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of positives, then of negatives, whose AUC is known; *spread* and *narrow* are of the positives'."""
    if law == "exponential":
        return np.concatenate([rng.exponential(auc / (1 - auc), positives), rng.exponential(1.0, negatives)])
    spread = {"even": 1.0, "spread": 3.0, "narrow": 1 / 3}[law]
    middle = float(np.sqrt(1 + spread**2) * norm.ppf(auc))
    return np.concatenate([rng.normal(middle, spread, positives), rng.normal(size=negatives)])


LAWS = ("even", "spread", "narrow", "exponential")


def few_positives(law: str, auc: float, positives: int, negatives: int, runs: int, seed: int) -> dict[str, Any]:
    """An AUC that is just the floor."""
    rng, passed, failed = np.random.default_rng(seed), 0, 0
    label = np.arange(positives + negatives) < positives
    for _ in range(runs):
        score = placed(law, auc, positives, negatives, rng)
        low, high = metric_estimate("roc_auc", label, score, THRESHOLD, 0).bounds(CONFIDENCE)
        passed, failed = passed + (low >= auc and low < high), failed + (high < auc)
    return {
        "scores": law,
        "AUC": auc,
        "positives": positives,
        "negatives": negatives,
        "should": "at most 6 %",
        "passes": passed / runs,
        "refuted": failed / runs,
        "error": float(np.sqrt(0.05 * 0.95 / runs)),
        "runs": runs,
    }


def few() -> Iterator[dict[str, Any]]:
    for i, law in enumerate(LAWS):
        for auc in (0.7, 0.85, 0.95, 0.98):
            for m, n in ((30, 170), (30, 2000), (60, 1000), (95, 400), (2000, 40)):
                yield few_positives(law, auc, m, n, 2 * RUNS, SEED + 100 + i)


STUDIES = (
    Study(
        "False passes where persons have several rows",
        "A challenger that is worse than its champion by exactly the margin, and exactly as good as the floor; 95 % "
        "confidence, so a pass is false in 5 % of runs. Labels, scores and errors of one person resemble each other; "
        "where numbers of rows vary, the ill have more. *Were rows independent*: what the same floor would do if it "
        "knew no persons. *Error*: the standard error of a rate of 5 %; limits are of a million rows, and "
        "with 10,000 persons or 10 and 20 rows each of 1,500 times as many persons.",
        floors,
    ),
    Study(
        "Fairness where persons have several rows",
        "Two-sided 95 % intervals of the largest difference or smallest ratio, simultaneous over groups and measures. "
        "Groups are of persons, or of visits, so that one person has rows in several.",
        disparities,
    ),
    Study(
        "Calibration where persons have several rows",
        "One-sided 95 % bounds: how often the truth is beyond each. The gate passes by the error's upper bound.",
        calibrations,
    ),
    Study(
        "AUC floors with few rows of a class",
        "Independent rows, an AUC that is exactly the floor. *Passes* are false; *refuted* is how often its upper "
        "bound lies below. Scores of positives are as spread as those of negatives, three times as much, a third as "
        "much, or both exponential.",
        lambda: list(few()),
    ),
    Study(
        "Floors of RMSE and average precision under other laws",
        "RMSE or average precision that is exactly the floor, with seeds and laws of errors and ranks that no bound "
        "was made by. Where a few errors decide and the sample may hold none of them, no bound can know: one error in "
        "twenty that is four times as large needs some 300 rows.",
        of_other_laws,
    ),
)
