"""The watching of one window, end to end, by a real model: any alarm where nothing changed, and what is seen of a
change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.windows.decisions import DecisionContext, decide
from tasks.science.windows.look import examine_window
from tests.statistics.studies import Study
from tests.worlds import World, world

PLENTY = 10**6
"""Labelled rows, so that a retraining never waits."""
REFERENCES = 5
"""Worlds, each with a model and a reference of its own: windows that share a reference err together."""
Change = Callable[[World, pd.DataFrame, np.random.Generator], tuple[pd.DataFrame, np.ndarray | None]]


def unchanged(care: World, rows: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray | None]:
    return rows, None


def another_place(care: World, rows: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray | None]:
    """A third of the incomes is counted in another way: half as much again."""
    return rows.assign(income=rows["income"].where(rng.random(len(rows)) > 1 / 3, rows["income"] * 1.5)), None


def older_people(care: World, rows: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Covariate shift: ages from 45 on; twice as many are selected, and the truth as it was."""
    return rows.assign(xage=rng.uniform(45, 90, len(rows))), None


def concept(care: World, rows: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Concept drift: inputs as they were, labels that follow them by a third."""
    odds = np.log(care.truth(rows) / (1 - care.truth(rows)))
    return rows, 1 / (1 + np.exp(-odds / 3))


def looked(change: Change, n: int, windows: int, seed: int, references: int = REFERENCES) -> Counter[str]:
    """How many of ``references * windows`` windows of ``n`` labelled rows raised which kind of alarm, and what was
    decided."""
    seen: Counter[str] = Counter()
    for r in range(references):
        care = world(seed=seed + r)
        rng, past = np.random.default_rng([seed, r, n]), []
        for _ in range(windows):
            rows, truth = change(care, care.people(n, rng), rng)
            window_input = care.window_input(care.answered(rows, rng, truth), past=past)
            past.append(care.p_values(window_input))
            findings = examine_window(care.config, care.reference, window_input).findings
            seen.update({f.kind for f in findings if f.alarm})
            seen["any alarm"] += any(f.alarm for f in findings)
            seen["retraining"] += (
                decide(DecisionContext(care.config, findings, labelled_rows=PLENTY)).action == "retrain"
            )
    return seen


SIZES = ((200, 40), (2000, 40), (20_000, 20))
"""Rows of a window, and windows of each model."""


def false_alarms(seed: int = 1) -> list[dict[str, Any]]:
    alpha, told = world().config.monitoring.alpha, []
    for n, windows in SIZES:
        runs, seen = REFERENCES * windows, looked(unchanged, n, windows, seed)
        for context in ("any alarm", "retraining"):
            told.append(
                {
                    "case": context,
                    "rows": n,
                    "should": f"at most {alpha:.1%}",
                    "was": f"{seen[context] / runs:.1%}",
                    "standard error": f"{np.sqrt(alpha * (1 - alpha) / runs):.1%}",
                    "runs": runs,
                }
            )
    return told


CHANGES: tuple[tuple[Change, tuple[str, ...]], ...] = (
    (another_place, ("data_drift", "multivariate_drift")),
    (older_people, ("data_drift", "prediction_drift", "selection_rate", "retraining")),
    (concept, ("realized_performance", "retraining")),
)


def power(
    sizes: tuple[int, ...] = (200, 2000), windows: int = 5, seed: int = 2, references: int = 2
) -> list[dict[str, Any]]:
    told = []
    for change, kinds in CHANGES:
        for n in sizes:
            seen, runs = looked(change, n, windows, seed, references), windows * references
            told += [
                {
                    "change": str(change.__doc__).split(".")[0],
                    "seen as": kind,
                    "rows": n,
                    "found": f"{seen[kind] / runs:.0%}",
                    "runs": runs,
                }
                for kind in kinds
            ]
    return told


STUDIES = (
    Study(
        "False alarms of a window",
        (
            f"All monitors together: {REFERENCES} models, each with a reference of 4,000 labelled rows, and labelled "
            "windows from the same world. *any alarm*: any finding at all; *retraining*: the decision, with labels "
            "at hand."
        ),
        partial(false_alarms),
    ),
    Study("What is seen of a change", "One labelled window at the same `monitoring.alpha`.", partial(power)),
)
