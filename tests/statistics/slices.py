"""Error rates of the search for weak slices: how often a planted one is found, and a sound model accused.

Measure by hand: ``python -m tests.statistics.slices``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.gates.excess_loss import excess_loss, judged, logit, losses
from tasks.science.gates.slice_search import Weakness, discretise, weak_slices
from tests.statistics.studies import Study

RUNS = 200
ROWS = 6000
LIMIT, MINIMUM, CONFIDENCE = 0.1, 200, 0.95
World = tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]
"""Raw rows, labels, scores, and which rows are in the planted slice."""


def people(rng: np.random.Generator, n: int = ROWS) -> pd.DataFrame:
    numbers = {f"n{i}": rng.normal(size=n) for i in range(5)}
    categories = {f"c{i}": rng.choice(["a", "b", "c", "d"], n, p=[0.4, 0.3, 0.2, 0.1]) for i in range(3)}
    rows = pd.DataFrame(numbers | categories)
    rows.loc[rng.random(n) < 0.1, "n4"] = np.nan
    return rows


def truth(rows: pd.DataFrame, sharpness: float = 1.0) -> np.ndarray:
    """Probabilities of the world that the model knows: well modelled, and of quite different difficulty by place."""
    odds = rows["n0"] + 0.7 * rows["n1"] - 0.5 + 0.8 * (rows["c0"] == "b")
    return np.asarray(1 / (1 + np.exp(-sharpness * odds)))


def noise(rng: np.random.Generator) -> World:
    """Scores are the true probabilities."""
    rows = people(rng)
    p = truth(rows)
    return rows, rng.random(ROWS) < p, p, np.zeros(ROWS, bool)


def hard_in_places(rng: np.random.Generator) -> World:
    """Where c1 is a the outcome is nearly certain, elsewhere nearly a coin's; the model knows. Loss differs by a factor
    of five."""
    rows = people(rng)
    easy = (rows["c1"] == "a").to_numpy()
    p = np.where(easy, np.where(rows["n2"] > 0, 0.97, 0.03), 0.35 + 0.3 * (rows["n0"] > 0))
    return rows, rng.random(ROWS) < p, p, np.zeros(ROWS, bool)


def rare(rng: np.random.Generator) -> World:
    """A true probability of 4 % and a heavy tail of the log loss."""
    rows = people(rng)
    p = 1 / (1 + np.exp(4.2 - 1.2 * rows["n0"].to_numpy()))
    return rows, rng.random(ROWS) < p, p, np.zeros(ROWS, bool)


def label_noise(rng: np.random.Generator, sharpness: float = 1.6) -> World:
    """Labels are a coin's throw in a slice of two conditions, about 9 % of the rows."""
    rows = people(rng)
    p = truth(rows, sharpness)
    weak = ((rows["c0"] == "b") & (rows["n2"] > 0.5)).to_numpy()
    return rows, rng.random(ROWS) < np.where(weak, 0.5, p), p, weak


def faint(rng: np.random.Generator) -> World:
    """The same with a model that is less sure of itself, so that its excess loss is not far over the limit."""
    return label_noise(rng, 1.0)


def interaction(rng: np.random.Generator) -> World:
    """The rate is far higher in a slice of two conditions than an additive model can know, about 8 % of the rows."""
    rows = people(rng)
    p = truth(rows)
    weak = ((rows["n2"] > 0.6) & (rows["c2"] == "b")).to_numpy()
    real = np.where(weak, 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 2))), p)
    return rows, rng.random(ROWS) < real, p, weak


def three_conditions(rng: np.random.Generator) -> World:
    """The scores are turned round in a slice of three conditions, about 6 % of the rows."""
    rows = people(rng)
    p = truth(rows)
    weak = ((rows["n2"] > 0) & (rows["n3"] < 0.3) & (rows["c1"] == "c")).to_numpy()
    return rows, rng.random(ROWS) < np.where(weak, 1 - p, p), p, weak


PLANTED: tuple[Callable[[np.random.Generator], World], ...] = (label_noise, interaction, three_conditions, faint)
SOUND: tuple[Callable[[np.random.Generator], World], ...] = (noise, hard_in_places, rare)


def run(
    make: Callable[[np.random.Generator], World], seed: int, metric: str = "log_loss"
) -> tuple[list[Weakness], float]:
    """The confirmed slices, and the largest overlap (Jaccard, rows in both over rows in either) of one of them with the
    planted."""
    rows, label, score, weak = make(np.random.default_rng(seed))
    found = weak_slices(rows, label, score, None, metric, 0.5, LIMIT, MINIMUM, CONFIDENCE, seed)
    confirmed, codes = [w for w in found if w.confirmed], discretise(rows)
    masks = [codes.mask(w.conditions) for w in confirmed]
    return confirmed, max((float((m & weak).sum() / (m | weak).sum()) for m in masks), default=0.0)


def planted_share(make: Callable[[np.random.Generator], World], seed: int) -> float:
    """The planted slice's own excess loss, as a share of the mean loss; learned on one half and judged on the other."""
    _, label, score, weak = make(np.random.default_rng(seed))
    half = np.arange(ROWS) % 2 == 0
    gain = excess_loss("log_loss", label, logit(score), weak & half, weak & ~half, 0.5)
    return judged(gain, float(losses("log_loss", label, score, 0.5).mean()), None).value


def measure(runs: int, first_seed: int = 0, metric: str = "log_loss") -> list[dict[str, Any]]:
    """One row for each world: the share of runs in which a slice was confirmed, and, where one was planted, was that
    one.

    That one: an overlap of a half or more. ``excess loss`` is the mean over runs of :func:`planted_share`.
    """
    told: list[dict[str, Any]] = []
    for make in (*PLANTED, *SOUND):
        results = [run(make, seed, metric) for seed in range(first_seed, first_seed + runs)]
        row = {
            "world": make.__name__,
            "metric": metric,
            "runs": runs,
            "confirmed": sum(bool(c) for c, _ in results) / runs,
        }
        if make in PLANTED:
            row["excess loss"] = round(
                float(np.mean([planted_share(make, seed) for seed in range(first_seed, first_seed + runs)])), 3
            )
            row["found"] = sum(overlap >= 0.5 for _, overlap in results) / runs
        told.append(row)
    return told


def rows() -> list[dict[str, Any]]:
    """200 runs of each, seeds 0 to 199."""
    return measure(RUNS)


STUDIES = (
    Study(
        "The slices gate",
        "Weak slices planted in rows of a known truth and confirmed, overlapping by half or more; worlds without any.",
        rows,
    ),
)
