"""The error rates of the gates' estimators on numbers: calibration of means, weak slices, jumps of the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.gates.leakage_order import label_jump
from tasks.science.gates.slice_search import discretise, weak_slices
from tasks.science.stats.calibration import mean_calibration
from tests.statistics.studies import Study

ROWS, LIMIT, MINIMUM, CONFIDENCE = 4000, 0.1, 200, 0.95
Made = tuple[np.ndarray, np.ndarray]
Planted = tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]


def _right(rng: np.random.Generator, n: int) -> Made:
    score = rng.normal(size=n)
    return score + rng.normal(size=n), score


def _fanned(rng: np.random.Generator, n: int) -> Made:
    """The spread grows with the score, and is skewed."""
    score = rng.gamma(2.0, size=n)
    return score * rng.gamma(4.0, 0.25, size=n), score


def _timid(rng: np.random.Generator, n: int) -> Made:
    """Scores half as far apart as the means, and too low."""
    mean = rng.normal(size=n)
    return mean + rng.normal(size=n), 0.5 * mean - 0.3


TRUE = {_right: (1.0, 0.0), _fanned: (1.0, 0.0), _timid: (2.0, 0.3)}
"""Slope and shift of each world."""


def means(runs: int, rows: int = 500) -> list[dict[str, Any]]:
    """Share of runs in which the truth lies outside a one-sided bound of 95 %, for slope and shift of each world."""
    told = []
    for make, (slope, shift) in TRUE.items():
        found = [
            mean_calibration(*make(np.random.default_rng(seed), rows), 1.0, 10, CONFIDENCE, seed)
            for seed in range(runs)
        ]
        for name, truth, intervals in (
            ("slope", slope, [f.slope for f in found]),
            ("shift", shift, [f.intercept for f in found]),
        ):
            low, high = (
                float(np.mean([outside(i) for i in intervals]))
                for outside in (lambda i, t=truth: i.low > t, lambda i, t=truth: i.high < t)
            )
            told.append(
                {
                    "world": make.__name__.strip("_"),
                    "estimate": name,
                    "should miss": 0.05,
                    "missed low": low,
                    "missed high": high,
                    "rows": rows,
                    "runs": runs,
                    "standard error": round((0.05 * 0.95 / runs) ** 0.5, 4),
                }
            )
    return told


def errors(runs: int) -> list[dict[str, Any]]:
    """The debiased error of a right score by rows: it should be near 0, and its upper bound below the gate's default
    limit."""
    told = []
    for rows in (300, 1000, 5000):
        found = [
            mean_calibration(*_right(np.random.default_rng(seed), rows), 2**0.5, 10, CONFIDENCE, seed).error
            for seed in range(runs)
        ]
        squared = float(np.mean([e.value**2 for e in found]))
        told.append(
            {
                "rows": rows,
                "runs": runs,
                "mean squared error (should be 0 once some are below it)": round(squared, 5),
                "median error": round(float(np.median([e.value for e in found])), 4),
                "upper bound, median": round(float(np.median([e.high for e in found])), 4),
            }
        )
    return told


def _people(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    rows = pd.DataFrame(
        {f"n{i}": rng.normal(size=ROWS) for i in range(4)} | {f"c{i}": rng.choice(list("abcd"), ROWS) for i in range(3)}
    )
    return rows, (rows["n0"] + 0.5 * rows["n1"] + 0.4 * (rows["c1"] == "c")).to_numpy()


def noise(rng: np.random.Generator) -> Planted:
    rows, mean = _people(rng)
    return rows, mean + rng.normal(size=ROWS), mean, np.zeros(ROWS, bool)


def louder(rng: np.random.Generator) -> Planted:
    """Three times the spread in a quarter of the rows: hard there, and nobody's fault."""
    rows, mean = _people(rng)
    return rows, mean + rng.normal(size=ROWS) * np.where(rows["c0"] == "a", 3.0, 1.0), mean, np.zeros(ROWS, bool)


def shifted(rng: np.random.Generator) -> Planted:
    """The mean lies 0.8 standard deviations of the residuals above the score in a slice of two conditions, about 8 % of
    the rows."""
    rows, mean = _people(rng)
    weak = ((rows["n2"] > 0.5) & (rows["c2"] == "b")).to_numpy()
    return rows, mean + rng.normal(size=ROWS) + 0.8 * weak, mean, weak


def stretched(rng: np.random.Generator) -> Planted:
    """The score counts for nothing in a quarter of the rows."""
    rows, mean = _people(rng)
    weak = (rows["c2"] == "d").to_numpy()
    return rows, np.where(weak, mean.mean(), mean) + rng.normal(size=ROWS), mean, weak


WORLDS: dict[str, Callable[[np.random.Generator], Planted]] = {
    "noise": noise,
    "louder in places": louder,
    "shifted": shifted,
    "stretched": stretched,
}


def slices(runs: int) -> list[dict[str, Any]]:
    """Share of runs in which a slice was confirmed, and, where one was planted, one that overlaps it by half or more
    (Jaccard)."""
    told: list[dict[str, Any]] = []
    for name, make in WORLDS.items():
        confirmed, found = 0, 0
        for seed in range(runs):
            rows, label, score, weak = make(np.random.default_rng(seed))
            sure = [
                w
                for w in weak_slices(
                    rows, label, score, None, "squared_error", float("nan"), LIMIT, MINIMUM, CONFIDENCE, seed
                )
                if w.confirmed
            ]
            masks = [discretise(rows).mask(w.conditions) for w in sure]
            confirmed += bool(sure)
            found += any((m & weak).sum() / (m | weak).sum() >= 0.5 for m in masks)
        planted = name in ("shifted", "stretched")
        row: dict[str, Any] = {
            "world": name,
            "should": "found in at least 90 %" if planted else "confirmed in at most 5 %",
            "confirmed": confirmed / runs,
        }
        told.append(
            row
            | {
                "found": found / runs if planted else None,
                "rows": ROWS,
                "runs": runs,
                "standard error": round((0.05 * 0.95 / runs) ** 0.5, 4),
            }
        )
    return told


def jumps(runs: int, rows: int = 3000) -> list[dict[str, Any]]:
    """Share of runs in which a jump of the mean along the table is significant; scores explain half of the labels'
    variance."""
    told = []
    for name, size in (("no jump", 0.0), ("a jump of 0.5 standard deviations", 0.5)):
        found = 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            label, score = _right(rng, rows)
            label = label + size * 2**0.5 * (np.arange(rows) > 0.7 * rows)
            jump = label_jump(label, score, None, CONFIDENCE, numbers=True)
            found += jump is not None and jump.low > 0
        told.append(
            {
                "world": name,
                "should": "at most 5 %" if size == 0 else "at least 90 %",
                "found": found / runs,
                "rows": rows,
                "runs": runs,
                "standard error": round((0.05 * 0.95 / runs) ** 0.5, 4),
            }
        )
    return told


STUDIES = (
    Study(
        "Calibration of predicted numbers",
        "Bounds of the recalibration by least squares that miss the truth, each at 95 %.",
        lambda: means(1000),
    ),
    Study(
        "The calibration error of means",
        "A right score in bins of its own noise, in standard deviations of the labels.",
        lambda: errors(300),
    ),
    Study(
        "Weak slices of a regression",
        "Slices planted in the squared error of numbers, and worlds without any.",
        lambda: slices(200),
    ),
    Study("Jumps of the mean along the table", "Change points of the residuals of a regression.", lambda: jumps(500)),
)
