"""Fairness intervals and calibration of rows of persons, by simulation; a part of ``tests/statistics/clusters.py``."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from tasks.science.stats.calibration import calibration_error, intercept, mean_calibration, slope
from tasks.science.stats.clusters import entities
from tasks.science.stats.disparity import disparity, disparity_interval
from tasks.science.stats.group_counts import MEASURES, count_groups
from tests.statistics.persons import Shape

SEED = 20261129
RUNS = 1000
EVERY = 4
"""Runs of which one is judged with its rows taken as independent, too."""
PROCESSES = 2
BATCH = 100_000
FIVE, VARIED, TWENTY = Shape(5, False), Shape(5, True), Shape(20, True)


@dataclass(frozen=True)
class Apart:
    """Groups of persons (or of rows, where ``moving``) by share, and by how much each is selected more, in log-odds."""

    name: str
    measure: str
    shares: tuple[float, ...]
    shift: tuple[float, ...]
    moving: bool = False

    def draw(self, shape: Shape, persons: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Owners, groups, labels, decisions and scores of the rows."""
        owners, ill = shape.persons(rng, persons)
        of_person = rng.choice(len(self.shares), persons, p=self.shares)
        group = rng.choice(len(self.shares), len(owners), p=self.shares) if self.moving else of_person[owners]
        label = rng.random(len(owners)) < expit(1.5 * ill[owners] - 0.4)
        odds = 1.2 * label - 0.8 + 1.3 * rng.normal(size=persons)[owners] + np.array(self.shift)[group]
        score = expit(odds + 0.6 * rng.normal(size=len(owners)))
        return owners, group, label, score >= 0.5, score

    def sample(self, shape: Shape, persons: int, rng: np.random.Generator, owned: bool = True) -> Any:
        owners, group, label, decision, score = self.draw(shape, persons, rng)
        names = pd.DataFrame({"group": group.astype(str)})
        scored = score if self.measure == "calibration" else None
        return (
            count_groups(label, decision, names, scored, owners if owned else None).groups("group").sample(self.measure)
        )

    def truth(self, shape: Shape, statistic: str, seed: int, batches: int = 30) -> float:
        """Where all persons have as many rows, the rates are those of one row each, and known sooner."""
        shape = shape if shape.varied else Shape(1, False)
        rng, total = np.random.default_rng(seed), np.zeros((2, len(MEASURES[self.measure]), len(self.shares)))
        for _ in range(batches):
            found = self.sample(shape, BATCH // shape.most, rng, owned=False)
            total += np.array([found.values * found.rows, found.rows])
        return float(disparity(total[0] / total[1], statistic))


APART = (
    Apart("selection rate, 2 groups, parity", "selection_rate", (0.6, 0.4), (0.0, 0.0)),
    Apart("true-positive rate, 3 groups, one apart", "true_positive_rate", (0.5, 0.3, 0.2), (0.0, 0.0, 0.8)),
    Apart("equalized odds, 3 groups, one apart", "equalized_odds", (0.5, 0.3, 0.2), (0.0, 0.0, -0.7)),
    Apart("selection rate, 3 groups of visits, one apart", "selection_rate", (0.5, 0.3, 0.2), (0.0, 0.0, 0.5), True),
    Apart("calibration, 3 groups, one apart", "calibration", (0.5, 0.3, 0.2), (0.0, 0.0, 0.6)),
)


def coverage(
    case: Apart,
    statistic: str,
    shape: Shape,
    persons: int,
    runs: int,
    seed: int,
    batches: int = 30,
    draws: int = 1000,
    every: int = EVERY,
) -> dict[str, Any]:
    """How often the interval holds the truth, and how often it does with the rows taken as independent.

    Args:
        batches: of rows, of which the truth is taken.
        draws: of each interval.
        every: runs of which one is judged with its rows taken as independent.
    """
    known, rng, held = case.truth(shape, statistic, seed, batches), np.random.default_rng(seed + 1), np.zeros(2)
    for run in range(runs):
        chance, state = int(rng.integers(2**31)), rng.bit_generator.state
        for i, owned in enumerate((True, False) if run % every == 0 else (True,)):
            rng.bit_generator.state = state
            sample = case.sample(shape, persons, rng, owned)
            low, high = disparity_interval(sample, statistic, 0.95, chance, draws)
            held[i] += low - 1e-9 <= known <= high + 1e-9
    return {
        "case": f"{statistic}, {case.name}",
        "persons": persons,
        "rows of each": str(shape),
        "should": "at least 94 %",
        "holds": held[0] / runs,
        "were rows independent": held[1] / len(range(0, runs, every)),
        "error": float(np.sqrt(0.05 * 0.95 / runs)),
        "runs": runs,
    }


def disparities() -> list[dict[str, Any]]:
    asked = [("difference", case, shape, 300) for case in APART for shape in (FIVE, TWENTY)]
    asked += [("difference", case, VARIED, 3000) for case in APART[1:3]] + [("ratio", APART[0], VARIED, 300)]
    with ProcessPoolExecutor(PROCESSES) as pool:
        found = [
            pool.submit(coverage, case, statistic, shape, persons, RUNS // 2, SEED + 10 * i)
            for i, (statistic, case, shape, persons) in enumerate(asked)
        ]
        return [row.result() for row in found]


def probabilities(shape: Shape, persons: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Owners, labels and scores; a person's rows deviate from the score together, and scores are a little extreme."""
    owners, ill = shape.persons(rng, persons)
    own, known = rng.normal(size=persons), ill[owners] + 0.5 * rng.normal(size=len(owners))
    label = rng.random(len(owners)) < expit(known + 0.8 * own[owners])
    return owners, label, expit(1.1 * known)


def amounts(shape: Shape, persons: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    owners, ill = shape.persons(rng, persons)
    own, known = rng.normal(size=persons), ill[owners] + 0.5 * rng.normal(size=len(owners))
    spread = np.exp(0.3 * known)
    return owners, known + spread * (0.7 * own[owners] + 0.7 * rng.normal(size=len(owners))), 1.1 * known + 0.05


def _measured(kind: str, owners: np.ndarray, label: np.ndarray, score: np.ndarray, seed: int) -> list[Any]:
    if kind == "numbers":
        found = mean_calibration(label, score, 1.0, 10, 0.95, seed, owners)
        return [found.error, found.slope, found.intercept]
    return [
        calibration_error(label, score, 10, 0.95, seed, owners),
        slope(label, score, 0.95, owners),
        intercept(label, score, 0.95, owners),
    ]


def beyond(kind: str, shape: Shape, persons: int, runs: int, seed: int, batches: int = 20) -> list[dict[str, Any]]:
    """How often the truth is above the upper and below the lower bound of calibration error, slope and intercept."""
    draw = amounts if kind == "numbers" else probabilities
    rng, whole = np.random.default_rng(seed), []
    for _ in range(batches):
        _, label, score = draw(shape, BATCH // shape.most, rng)
        nobody = np.arange(len(label))
        whole.append([found.value for found in _measured(kind, nobody, label, score, 0)])
    known, above, below = np.mean(whole, axis=0), np.zeros(3), np.zeros(3)
    for _ in range(runs):
        owners, label, score = draw(shape, persons, rng)
        assert entities(owners) == persons
        found = _measured(kind, owners, label, score, int(rng.integers(2**31)))
        above += [interval.high < t for interval, t in zip(found, known, strict=True)]
        below += [interval.low > t for interval, t in zip(found, known, strict=True)]
    return [
        {
            "of": f"{name}, {kind}",
            "persons": persons,
            "rows of each": str(shape),
            "should": "at most 6 %",
            "truth above the upper bound": above[i] / runs,
            "truth below the lower bound": below[i] / runs,
            "error": float(np.sqrt(0.05 * 0.95 / runs)),
            "runs": runs,
        }
        for i, name in enumerate(("calibration error", "slope", "intercept"))
    ]


def calibrations() -> list[dict[str, Any]]:
    asked = [
        (kind, shape, persons)
        for kind in ("probabilities", "numbers")
        for shape, persons in ((FIVE, 300), (TWENTY, 300), (VARIED, 3000))
    ]
    return [row for i, cell in enumerate(asked) for row in beyond(*cell, RUNS, SEED + 1000 + i)]
