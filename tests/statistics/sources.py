"""How often a window says that sources of labels disagree: where they agree and see other kinds of rows, and where one
lies about a kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from tasks.science.data.tables import SOURCE
from tasks.science.monitors.performance.source_disagreement import source_findings
from tasks.spec.metrics import TargetKind
from tests.statistics.outcomes import planted
from tests.statistics.studies import Study

SEED, RUNS, LEVEL, SERVICE = 20261201, 200, 0.05, 0.01 / 64


def drawn(kind: TargetKind, n: int, rng: np.random.Generator, lie: float = 0.0, late: float = 0.0) -> pd.DataFrame:
    """Labelled rows of two sources, of which one sees more of the rows whose label is more often positive.

    Args:
        lie: share of the labels that the second source gives as positive, among its rows of the group ``two``.
        late: share of rows without a label.
    """
    group = rng.choice(["one", "two", "few"], n, p=[0.5, 0.4, 0.1])
    amount = rng.normal(size=n)
    source = np.where(rng.random(n) < expit(amount + (group == "two")), "office", "survey")
    mean = amount + 0.5 * (group == "two")
    lies = (source == "survey") & (group == "two") & (rng.random(n) < lie)
    if kind == "regression":
        label = np.where(lies, 3.0, mean + rng.gamma(1, size=n))
    else:
        label = np.where(lies, 1.0, (rng.random(n) < expit(mean)).astype(float))
    label = np.where(rng.random(n) < late, np.nan, label)
    return pd.DataFrame({"amount": amount, "group": group, "_label": label, SOURCE: source})


def alarms(
    kind: TargetKind, n: int, runs: int, seed: int, level: float = LEVEL, windows: int = 0, **how: float
) -> float:
    """Share of windows with an alarm.

    Args:
        windows: so many before it, drawn as it is.
    """
    config, rng, found = planted(kind), np.random.default_rng(seed), 0
    for run in range(runs):
        now = drawn(kind, n, rng, **how)
        recent = drawn(kind, windows * n, rng, **how) if windows else None
        found += any(f.alarm for f in source_findings(config, now, level, run, recent))
    return found / runs


QUIET: list[tuple[TargetKind, int, int, int]] = [
    ("binary", 500, 0, RUNS), ("binary", 2000, 0, RUNS), ("binary", 500, 2, RUNS // 2), ("regression", 500, 0, RUNS)
]  # fmt: skip
"""Target, rows of a window, windows before it, and windows that are looked at."""


def quiet(kind: TargetKind, n: int, before: int, runs: int) -> dict[str, Any]:
    found = alarms(kind, n, runs, SEED + n + before, windows=before)
    return {"target": kind, "rows": n, "windows before": before, "windows": runs, "alarms": found}


def power() -> list[dict[str, Any]]:
    """At the level of service: 1 % over 64."""
    cases: list[tuple[TargetKind, int, int, float]] = [
        ("binary", 500, 0, 0.5), ("binary", 500, 2, 0.5), ("binary", 2000, 0, 0.5), ("binary", 2000, 0, 1.0),
        ("regression", 2000, 0, 0.5),
    ]  # fmt: skip
    return [
        {
            "target": kind, "rows": n, "windows before": w, "made positive": f"{lie:.0%}",
            "found": alarms(kind, n, RUNS // 8, SEED + 1, SERVICE, w, lie=lie),
        }
        for kind, n, w, lie in cases
    ]  # fmt: skip


STUDIES = (
    Study(
        "Sources that agree",
        "Two sources label rows of one world as they are, and one sees more of one kind of rows. Alarms at a level of "
        f"{LEVEL:g}; in service the finding gets 1 % over 64.",
        lambda: [quiet(*case) for case in QUIET],
    ),
    Study(
        "One source lies about a kind of rows",
        "Among the rows of one group, which is two fifths, one source gives so many labels as positive, of numbers as "
        "3. At the level of service.",
        power,
    ),
)
