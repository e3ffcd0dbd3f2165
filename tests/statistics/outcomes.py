"""What the findings about outcomes do where nothing changed and where something did; and which outcomes are taken for a
fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from tasks.science.data.protected import protected_groups
from tasks.science.monitors.performance.label_drift import label_findings
from tasks.science.monitors.performance.presence import presence_findings
from tasks.science.monitors.performance.realized_fairness import realized_fairness
from tasks.science.windows.label_faults import LabelsToLearn, label_fault
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig
from tests.statistics.studies import Study, planted_model

SEED, RUNS, LEVEL = 20261130, 400, 0.05
SIZES, REFERENCE = (500, 2000), 3000
TARGETS: dict[TargetKind, dict[str, Any]] = {
    "binary": {
        "kind": "binary",
        "expression": "outcome > 0",
        "positive": "yes",
        "negative": "no",
        "decision_threshold": 0.5,
    },
    "multiclass": {"kind": "multiclass", "expression": "outcome", "classes": ["a", "b", "c"]},
    "regression": {"kind": "regression", "expression": "outcome", "unit": "units"},
}
METRICS: dict[TargetKind, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}
GATE = {"kind": "fairness", "attribute": "group", "measure": "true_positive_rate", "statistic": "difference"}
LIMIT = 0.2


def planted(kind: TargetKind) -> ModelConfig:
    """A model with three groups, and for two classes a gate on their true-positive rates."""
    gates: list[dict[str, Any]] = [{"name": "floor", "kind": "floor", "metric": METRICS[kind], "limit": 0.9}]
    gates += [GATE | {"name": "opportunity", "limit": LIMIT}] if kind == "binary" else []
    column = {"name": "outcome", "type": "category" if kind == "multiclass" else "number", "input": False}
    named = {name: [name] for name in ("one", "two", "few")}
    return planted_model(
        ("amount", "group"),
        "group",
        [column],
        {"target": TARGETS[kind]},
        features=["amount"],
        estimator={"kind": "ridge" if kind == "regression" else "logistic_regression"},
        gates=gates,
        protected={"group": {"column": "group", "groups": named}},
    )


def drawn(kind: TargetKind, n: int, rng: np.random.Generator, move: float = 0.0, gap: float = 0.0) -> pd.DataFrame:
    """Scored and labelled rows.

    Args:
        move: how far outcomes are from the reference's: in log-odds of the first class, or in standard deviations.
        gap: by which the second group's true-positive rate is below the first's 0.8.
    """
    group = rng.choice(["one", "two", "few"], n, p=[0.5, 0.4, 0.1])
    rows = pd.DataFrame({"amount": rng.normal(size=n), "group": group})
    if kind == "regression":
        return rows.assign(_score=rows["amount"], _label=rows["amount"] + rng.gamma(1, size=n) + move)
    if kind == "multiclass":
        weight = np.array([np.exp(move) * 5, 3.0, 2.0])
        label = rng.choice(list("abc"), n, p=weight / weight.sum())
        scores = {f"_score:{name}": share for name, share in zip("abc", (0.5, 0.3, 0.2), strict=True)}
        return rows.assign(**scores, _score=0.5, _label=label)
    label = rng.random(n) < expit(logit(0.37) + move)
    found = rng.random(n) < np.where(label, np.where(group == "two", 0.8 - gap, 0.8), 0.3)
    return rows.assign(_score=np.where(found, 0.7, 0.2), _label=label.astype(float))


def alarms(
    kind: TargetKind, n: int, runs: int, seed: int, level: float = LEVEL, windows: int = 0, **change: float
) -> dict[str, float]:
    """Share of windows with an alarm of each kind.

    Args:
        windows: so many before it, changed as it is.
    """
    config, rng = planted(kind), np.random.default_rng(seed)
    found = dict.fromkeys(("outcome drift", "realized fairness", "protected groups"), 0)
    for run in range(runs):
        then, now = drawn(kind, REFERENCE, rng), drawn(kind, n, rng, **change)
        recent = drawn(kind, windows * n, rng, **change) if windows else None
        groups = protected_groups(config, then), protected_groups(config, now)
        found["outcome drift"] += any(f.alarm for f in label_findings(config, then, now, level))
        found["realized fairness"] += any(f.alarm for f in realized_fairness(config, now, level, run, recent))
        found["protected groups"] += any(f.alarm for f in presence_findings(config, *groups, set(), level))
    return {name: count / runs for name, count in found.items()}


def quiet() -> Iterator[dict[str, Any]]:
    for kind in TARGETS:
        for n in SIZES:
            yield {"target": kind, "rows": n} | alarms(kind, n, RUNS, SEED + n)


def at_the_limit() -> Iterator[dict[str, Any]]:
    for n in SIZES:
        for windows in (0, 2):
            found = alarms("binary", n, RUNS, SEED + 1, windows=windows, gap=LIMIT)
            yield {"rows": n, "windows before": windows, "alarms": found["realized fairness"]}


def power() -> Iterator[dict[str, Any]]:
    """At the levels that the kinds get in service: 1 % over 32."""
    for n in SIZES:
        for gap, windows in ((0.334, 0), (0.334, 2), (0.5, 0), (0.5, 2), (0.8, 0)):
            found = alarms("binary", n, RUNS // 4, SEED + 2, 0.01 / 32, windows, gap=gap)
            words = f"true-positive rates {gap:g} apart" + (f", and in {windows} windows before" if windows else "")
            yield {"rows": n, "change": words, "found": found["realized fairness"]}
        for kind, move in (("binary", 1.0), ("multiclass", 1.0), ("regression", 0.5)):
            found = alarms(kind, n, RUNS // 4, SEED + 3, 0.01 / 32, move=move)
            words = "standard deviations" if kind == "regression" else "in log-odds"
            yield {"rows": n, "change": f"{kind} outcomes {move:g} {words}", "found": found["outcome drift"]}


FAULTS = ("all of one class", "stuck from the middle on", "another meaning of yes", "the slow ones are missing")
HONEST = ("as in the reference", "odds doubled", "odds halved", "a jump in the middle", "half are still due")


def outcomes(case: str, rate: float, n: int, rng: np.random.Generator) -> LabelsToLearn:
    moved = {"odds doubled": np.log(2), "odds halved": -np.log(2)}.get(case, 0.0)
    chance = np.full(n, expit(logit(rate) + moved))
    if case == "a jump in the middle":
        chance[n // 2 :] = expit(logit(rate) + 1)
    if case == "another meaning of yes":
        chance = 1 - chance
    label, delay, waiting = rng.random(n) < chance, rng.exponential(3600, n), 0
    if case == "all of one class":
        label[:] = True
    if case == "stuck from the middle on":
        label[n // 2 :] = True
    if case == "half are still due":
        waiting = n
    if case == "the slow ones are missing":
        delay, waiting = delay * np.where(label, 1, 20), n
    return LabelsToLearn(label, delay, waiting)


def faults(case: str, runs: int, seed: int) -> dict[str, Any]:
    """How often outcomes of one case are taken for a fault, at rates from 5 % to 60 %."""
    config, rng, named = planted("binary"), np.random.default_rng(seed), 0
    for _ in range(runs):
        rate, n = float(rng.uniform(0.05, 0.6)), int(rng.integers(300, 3000))
        named += bool(label_fault(config, rng.random(REFERENCE) < rate, outcomes(case, rate, n, rng)))
    return {"outcomes": case, "taken for a fault": named / runs, "runs": runs}


STUDIES = (
    Study(
        "Windows in which nothing changed",
        f"Alarms at a level of {LEVEL:g} for each kind; in service each gets 1 % over 32 or 64. Outcomes and groups "
        "also have to move by a Jensen-Shannon distance of 0.1.",
        lambda: list(quiet()),
    ),
    Study(
        "A version that stands at its limit",
        f"True-positive rates of two groups are {LIMIT:g} apart, as the gate allows; level {LEVEL:g}.",
        lambda: list(at_the_limit()),
    ),
    Study("What is found", "At the levels of service, in one window.", lambda: list(power())),
    Study(
        "Outcomes that would teach",
        "The first ones are worlds that may be learned, the others faults. `another meaning of yes` is told by nothing "
        "where the rate is near a half: it is found where the odds are ten times others.",
        lambda: [faults(case, RUNS, SEED + 4) for case in (*HONEST, *FAULTS)],
    ),
)
