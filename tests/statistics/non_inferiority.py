"""What the benchmark gates do at the margin and at the limit, by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from scipy.stats import multinomial, norm

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats.comparison import metric_estimate, paired_estimate, tango_score
from tasks.science.stats.counts import COUNTED, from_confusion, joint_counts
from tasks.science.stats.jackknife import contributions
from tasks.science.stats.metrics import METRICS
from tasks.spec.gates import ComparisonGate, FloorGate
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tasks.spec.model import ModelConfig, load_model
from tests.conftest import ROOT
from tests.statistics.studies import Study

SEED = 20261125
RUNS = 2000
SIZES = (200, 1000, 10_000)
CONFIDENCE = 0.95
THRESHOLD = 0.5
BATCHES, BATCH = 200, 100_000
"""Rows of which the truth is taken: its own error is a fortieth of that of 10,000 rows."""

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Label, challenger's scores and champion's of n rows; the challenger is a little worse, and correlated with the
champion."""


def binary(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, shared = rng.random(n) < 0.4, rng.normal(size=n)
    champion = 1.5 * (label - 0.5) + shared
    challenger = 1.2 * (label - 0.5) + 0.6 * shared + 0.8 * rng.normal(size=n)
    return label, expit(challenger), expit(champion)


def multiclass(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes of 50, 30 and 20 %."""
    label, shared = np.minimum((rng.random(n)[:, None] > (0.5, 0.8)).sum(axis=1), 2), rng.normal(size=(n, 3))
    truth = np.eye(3)[label]
    return (
        label,
        softmax(1.2 * truth + 0.6 * shared + 0.8 * rng.normal(size=(n, 3)), axis=1),
        softmax(1.5 * truth + shared, axis=1),
    )


def regression(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A skewed target, as money is, whose errors are skewed too."""
    known, error = rng.gamma(2, 1, n), rng.gamma(2, 0.5, n) - 1
    champion = known + 0.3 * rng.normal(size=n)
    return known + error, 0.9 * champion + 0.2 + 0.3 * rng.normal(size=n), champion


DRAWS: dict[TargetKind, Draw] = {"binary": binary, "multiclass": multiclass, "regression": regression}


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


def truth(kind: TargetKind, batches: int, seed: int) -> Truth:
    rng, found = np.random.default_rng(seed), []
    for _ in range(batches):
        label, challenger, champion = DRAWS[kind](rng, BATCH)
        found.append([[value(m, label, s) for m in METRIC_NAMES[kind]] for s in (challenger, champion)])
    first, second = np.mean(found, axis=0)
    return Truth(dict(zip(METRIC_NAMES[kind], first, strict=True)), dict(zip(METRIC_NAMES[kind], second, strict=True)))


def false_passes(kind: TargetKind, known: Truth, n: int, runs: int, seed: int) -> list[dict[str, Any]]:
    """Every metric on the same rows: the challenger is worse by just the margin, and as good as the floor, so a pass is
    false."""
    rng, passed = np.random.default_rng(seed), {m: [0, 0] for m in METRIC_NAMES[kind]}
    for _ in range(runs):
        label, challenger, champion = DRAWS[kind](rng, n)
        for metric, counts in passed.items():
            better, chance = METRICS[metric].greater_is_better, int(rng.integers(2**31))
            limits = (known.challenger[metric] - known.champion[metric], known.challenger[metric])
            found = (
                paired_estimate(metric, label, challenger, champion, THRESHOLD, chance),
                metric_estimate(metric, label, challenger, THRESHOLD, chance),
            )
            for i, (limit, estimate) in enumerate(zip(limits, found, strict=True)):
                low, high = estimate.bounds(CONFIDENCE)
                counts[i] += low >= limit if better else high <= limit
    error = float(np.sqrt(0.05 * 0.95 / runs))
    return [
        {
            "kind": kind,
            "metric": m,
            "rows": n,
            "should": "at most 6 %",
            "non-inferiority at the margin": of[0] / runs,
            "floor at the limit": of[1] / runs,
            "error": error,
            "runs": runs,
        }
        for m, of in passed.items()
    ]


def margins() -> list[dict[str, Any]]:
    found = []
    for i, kind in enumerate(DRAWS):
        known = truth(kind, BATCHES, SEED + i)
        found += [
            row for j, n in enumerate(SIZES) for row in false_passes(kind, known, n, RUNS, SEED + 100 + 10 * i + j)
        ]
    return found


def accuracy_size(n: int, margin: float) -> dict[str, Any]:
    """The exact chance that Tango's test passes a challenger at the margin, at the share of disagreeing rows where it
    is largest."""
    gained, lost = (part.ravel() for part in np.meshgrid(*[np.arange(min(n, 400) + 1)] * 2))
    inside = gained + lost <= n
    gained, lost = gained[inside], lost[inside]
    z = float(norm.ppf(CONFIDENCE))
    passes = np.array([tango_score(g, b, n, -margin) >= z for g, b in zip(gained.tolist(), lost.tolist(), strict=True)])
    seen = np.column_stack([gained, lost, n - gained - lost])[passes]
    apart = np.unique(np.concatenate([[margin], np.geomspace(max(margin, 0.002), 0.25, 25)]))
    sizes = [float(multinomial.pmf(seen, n, [(a - margin) / 2, (a + margin) / 2, 1 - a]).sum()) for a in apart]
    worst = int(np.argmax(sizes))
    return {
        "rows": n,
        "margin": margin,
        "should": "at most 6 %",
        "largest": sizes[worst],
        "where so many rows disagree": float(apart[worst]),
        "of shares tried": len(apart),
    }


def sizes() -> list[dict[str, Any]]:
    return [accuracy_size(n, margin) for n in (200, 1000) for margin in (0.002, 0.005, 0.01, 0.02, 0.05)]


FAMILY = ("roc_auc", "log_loss", "accuracy", "f1")


def family(known: Truth, n: int, runs: int, seed: int) -> list[dict[str, Any]]:
    """Eight gates through ``run_gate``: a floor and a comparison for each metric, each with its truth on its limit, or
    only the first.

    On the limit a fail is wrong, and so is a pass of all where a candidate just beyond even one limit is unfit.
    """
    floors = [
        FloorGate(name=f"floor-{i}", kind="floor", metric=m, limit=known.challenger[m]) for i, m in enumerate(FAMILY)
    ]  # type: ignore[arg-type]
    gaps = {m: abs(known.challenger[m] - known.champion[m]) for m in FAMILY}
    pairs = [
        ComparisonGate(name=f"compare-{i}", kind="comparison", metric=m, margin=gaps[m]) for i, m in enumerate(FAMILY)
    ]  # type: ignore[arg-type]
    loose = [
        g.model_copy(update={"limit": g.limit + (1 if METRICS[g.metric].greater_is_better is False else -1)})
        for g in floors[1:]
    ]
    wide = [g.model_copy(update={"margin": 1.0}) for g in pairs]
    config, found = load_model(ROOT, "care"), []
    for case, gates in (
        ("all on the limit", (*floors, *pairs)),
        ("one on the limit, seven far inside", (floors[0], *loose, *wide)),
    ):
        rng, failed, passed, alone = np.random.default_rng(seed), 0, 0, 0
        for _ in range(runs):
            label, challenger, champion = binary(rng, n)
            states = _states(label, challenger, champion, config.model_copy(update={"gates": gates}), rng)
            failed, passed, alone = (
                failed + ("fail" in states),
                passed + (set(states) == {"pass"}),
                alone + (states[0] == "fail"),
            )
        error = float(np.sqrt(0.05 * 0.95 / runs))
        found.append(
            {
                "case": case,
                "rows": n,
                "should": "at most 6 %",
                "any gate fails wrongly": failed / runs,
                "all pass wrongly": passed / runs,
                "the first alone fails": alone / runs,
                "error": error,
                "runs": runs,
            }
        )
    return found


def _states(
    label: np.ndarray, challenger: np.ndarray, champion: np.ndarray, config: ModelConfig, rng: np.random.Generator
) -> list[str]:
    rows, none = pd.DataFrame(index=range(len(label))), None
    evidence: Any = Examination(
        rows,
        label,
        challenger,
        champion,
        np.full(len(label), "holdout"),
        rows,
        rows,
        none,
        (),
        THRESHOLD,
        int(rng.integers(2**31)),
        None,
        None,
        config=config,  # type: ignore[arg-type]
        entity=np.arange(len(label)),
    )
    return [run_gate(gate, evidence).state for gate in config.gates]


def families() -> list[dict[str, Any]]:
    known = truth("binary", BATCHES, SEED)
    return [row for n in (200, 1000) for row in family(known, n, RUNS // 2, SEED + n)]


STUDIES = (
    Study(
        "False passes at the margin and at the limit",
        "A challenger that is worse than its champion by exactly the margin, and exactly as good as the floor; 95 % "
        "confidence, so a pass is false in 5 % of runs. All "
        "metrics of a kind see the same rows. *Error*: the standard error of a rate of 5 %; of a hundred rates that "
        "are just 5 %, two come out above 6 %.",
        margins,
    ),
    Study(
        "Accuracy at the margin, exactly",
        "Tango's score test of paired accuracy, McNemar's at a margin of 0: every table of gained and lost rows "
        "weighed by its probability, for disagreement from the margin itself to a quarter "
        "of the rows. Because its largest size is within a point of 5 %, it is kept, rather than a mid-p or exact "
        "test.",
        sizes,
    ),
    Study(
        "Several gates at once",
        "Four floors and four comparisons through the gates. A fail is a claim and Holm's correction holds over all "
        "of them; a pass of all is an intersection-union test and needs none.",
        families,
    ),
)
