"""What it costs to ask a holdout again: an attacker that boosts on what it reads, against open and sealed rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from tasks.holdouts import Asking
from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.reuse import level_share, reach
from tasks.spec.evidence import HoldoutUse
from tasks.spec.gates import ComparisonGate
from tasks.spec.wording import plural
from tests.statistics.studies import Count, Study

SEED = 20261130
LEVEL = 0.05
Z = normal_quantile(1 - LEVEL)
POSITIVE, SEPARATION = 0.3, 1.19
"""Share of positives, and the gap of the classes' scores in standard deviations: an AUC of 0.80."""
BETTER = 1.2946
"""The gap that gives an AUC of 0.82."""
SMALL, LARGE = 0.03, 0.3
"""Standard deviations of what is added to the champion's score: so little that the true loss is nearly 0, and what an
attacker takes who wants to look good."""
BUDGET = 100
SUBMISSIONS = 1000
CHECKED = (1, 10, 30, 100, 300, 1000)
OPENED = (0, 1, 30)
"""Open answers of the same rows before they were sealed."""


class Rows:
    """Labelled rows and the champion's scores of them."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.label = rng.random(size) < POSITIVE
        self.champion = self.label * SEPARATION + rng.normal(size=size)
        self._placed = self._components(self.champion[None])

    def _components(self, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Structural components of the AUC of (m, n) scores without ties, by positives and by negatives (Sen 1960)."""
        order = np.argsort(score, axis=1)
        positive = self.label[order]
        below, above = np.empty(score.shape), np.empty(score.shape)
        np.put_along_axis(below, order, np.cumsum(~positive, axis=1) / (~self.label).sum(), axis=1)
        np.put_along_axis(above, order, 1 - np.cumsum(positive, axis=1) / self.label.sum(), axis=1)
        return below[:, self.label], above[:, ~self.label]

    def gains(self, added: np.ndarray, by: float = SMALL) -> tuple[np.ndarray, np.ndarray]:
        """The AUC that each of (m, n) submissions gains over the champion, and its standard error (DeLong 1988)."""
        parts = [a - b for a, b in zip(self._components(self.champion + by * added), self._placed, strict=True)]
        return parts[0].mean(axis=1), np.sqrt(sum(p.var(axis=1, ddof=1) / p.shape[1] for p in parts))

    def noise(self, submissions: int = 1) -> np.ndarray:
        """Directions that say nothing of the label, (submissions, n)."""
        return self.rng.normal(size=(submissions, self.size))


def opened(size: int, runs: int, submissions: int, seed: int) -> list[dict[str, Any]]:
    """What an attacker of open rows gets who weighs each direction by the gain that it read, of all linear ways the
    best.

    Its true gain is that of as many fresh rows.
    """
    found: dict[int, list[tuple[float, float, float, bool, bool]]] = {k: [] for k in CHECKED if k <= submissions}
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        rows, fresh, passed = Rows(rng, size), Rows(rng, size), False
        together, answered = np.zeros(size), 0
        for k, of in found.items():  # the k-th answer is asked for the sum of all before
            if k - 1 > answered:
                directions = rows.noise(k - 1 - answered)
                gain, error = rows.gains(directions)
                passed = passed or bool((gain > Z * error).any())
                together += (gain / error) @ directions
            best = together / together.std() if together.any() else rows.noise()[0]
            (gain,), (error,) = rows.gains(best[None], LARGE)
            passed, answered = passed or gain > Z * error, k
            true = fresh.gains(fresh.noise(), LARGE)[0][0]
            of.append((gain, true, gain / error, passed, gain > reach(k, LEVEL) * error))
    return [
        {
            "answer": k,
            "seen gain in AUC": float(np.mean([f[0] for f in of])),
            "true gain": float(np.mean([f[1] for f in of])),
            "off by": float(np.mean([f[0] - f[1] for f in of])),
            "seen in standard errors": float(np.mean([f[2] for f in of])),
            "some submission passed by then at 95 %": float(np.mean([f[3] for f in of])),
            "the bound is so many times as wide": reach(k, LEVEL) / Z,
            "the sum passes by it": float(np.mean([f[4] for f in of])),
            "verdict": "as the gates say" if k <= BUDGET else "insufficient evidence",
            "runs": runs,
        }
        for k, of in found.items()
    ]


def sealed(size: int, runs: int, submissions: int, seed: int, before: int = 0) -> Count:
    """How often any of so many submissions without a real gain passes a sealed comparison of margin 0.

    Half of them are new. The others are close to the sum of what was read: open answers weighed by their gains. Until
    the first false pass all sealed answers are alike, so nothing else is there to learn from, and the run ends with it.

    Args:
        before: open answers of the same rows that were read before.
    """
    far, happened = np.array([_far(k, before) for k in range(1, submissions + 1)]), 0
    for run in range(runs):
        rows = Rows(np.random.default_rng([seed, run]), size)
        asked = rows.noise(submissions)
        if before:
            directions = rows.noise(before)
            gain, error = rows.gains(directions)
            together = (gain / error) @ directions
            asked[::2] = together / together.std() + 0.1 * asked[::2]
        gain, error = rows.gains(asked)
        happened += bool((gain > far * error).any())
    return Count(f"{submissions:,} submissions, {before} read openly before", size, happened, runs, LEVEL)


@cache
def _far(answer: int, before: int) -> float:
    """Standard errors of the bound of a sealed answer, no answer before having been a pass."""
    return reach(1 + before, LEVEL * level_share(answer, 0))


def worst(answers: int, runs: int, seed: int) -> Count:
    """How often the best mix of what is known and one fresh direction is beyond :func:`reach`, where errors are normal.

    The attacker knows all earlier answers exactly and mixes them with the fresh direction so that the chance is
    largest.
    """
    rng, c = np.random.default_rng(seed), reach(answers, LEVEL)
    known = np.sqrt((rng.normal(size=(runs, answers - 1)) ** 2).sum(axis=1)) if answers > 1 else np.zeros(runs)
    share = np.clip(known / c, 0, 1)  # the cosine at which the least luck is needed
    sine = np.sqrt(1 - share**2)
    best = share * known + sine * rng.normal(size=runs)
    return Count(plural(answers, "answer"), 0, int(((known >= c) | (best > c)).sum()), runs, LEVEL)


def gained(size: int, alike: float, answer: int, runs: int, seed: int) -> Count:
    """How often a challenger with a real gain of 0.02 AUC passes as the k-th answer, all before having failed.

    Args:
        alike: correlation of the two models' scores within a class.
    """
    use = HoldoutUse(
        content="", rows=size, asked=answer, counted=1, unknown=0, actors=1, budget=None, widening=1,
        level=level_share(answer, 0),
    )  # fmt: skip
    gate = ComparisonGate(name="better", kind="comparison", metric="roc_auc", margin=0)
    held, happened = Asking(use).held_to(gate), 0
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        rows = Rows(rng, size)
        noise = alike * (rows.champion - rows.label * SEPARATION) + np.sqrt(1 - alike**2) * rng.normal(size=size)
        found = run_gate(held, examined(rows.label, expit(rows.label * BETTER + noise), expit(rows.champion)))
        happened += found.state == "pass"
    return Count(f"answer {answer}, scores correlate by {alike}", size, happened, runs)


def examined(label: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> Examination:
    """What a comparison looks at."""
    n = len(label)
    return Examination(
        rows=pd.DataFrame(index=range(n)), label=label, score=challenger, champion_score=champion,
        benchmark=np.full(n, "holdout"), groups=pd.DataFrame(), attributions=pd.DataFrame(),
        predict=lambda rows: np.zeros(len(rows)), features=(), decision_threshold=0.5, seed=1, rules=None,
        data_check=None,
    )  # fmt: skip


def _counted(counts: list[Count], should: str) -> list[dict[str, Any]]:
    return [
        {"case": c.case, "rows": c.rows or None, "should": should, "rate": c.rate, "error": c.error, "runs": c.runs}
        for c in counts
    ]


STUDIES = (
    Study(
        "Open rows",
        "5,000 rows, a champion of AUC 0.80. Each submission adds noise that says nothing of the label, its gain is "
        "read, and the answers in the table go to the sum of all noise before, each weighed by what it gained. *True "
        "gain*: of such a sum on fresh rows. *Bound*: the one that the verdict tells, which holds whatever was read. "
        f"With the default `holdout_budget` of {BUDGET} every later verdict is insufficient evidence. That some pass "
        "before is what a gate at 95 % does where it is asked again and again.",
        lambda: opened(5000, 20, SUBMISSIONS, SEED),
    ),
    Study(
        "Sealed rows",
        "1,000 rows and 1,000 submissions of no real gain. Where open answers were read before, half of them are made "
        "from these. *Rate*: runs in which any of the 1,000 passed a comparison of margin 0 at 95 %. *Error*: of a "
        "rate of 5 %.",
        lambda: _counted([sealed(1000, 200, SUBMISSIONS, SEED + b, b) for b in OPENED], "at most 5 %"),
    ),
    Study(
        "A real gain, sealed",
        "A challenger whose AUC is 0.82 against 0.80, on 5,000 rows that both answer, sealed, after so many answers "
        "that were no pass. How alike the two models' scores are within a class decides, since so exactly is their "
        "difference known.",
        lambda: _counted(
            [gained(5000, alike, k, 300, SEED + k) for alike in (0.95, 0.9, 0.8, 0.7) for k in (1, 5, 10)],
            "at least 80 %",
        ),
    ),
    Study(
        "The bound at its worst",
        "Normal errors, and an attacker who knows all earlier answers exactly and makes of them and of one fresh "
        "direction what is most likely to pass. The bound is exact: the rate is 5 %, and not less.",
        lambda: _counted([worst(k, 100_000, SEED + k) for k in (1, 2, 5, 10, 100)], "5 %"),
    ),
)
