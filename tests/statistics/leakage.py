"""Error rates of the leakage gate: how often planted leaks are found, and clean data accused.

Measure by hand: ``python -m tests.statistics.leakage``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.spec.evidence import GateResult
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.model import ModelConfig
from tests.statistics.studies import Study, planted_model

RUNS = 200
TRAIN, HOLDOUT = 2500, 1600
GATE = LeakageGate(name="leakage", kind="leakage")
FEATURES = ("age", "income", "region", "visits", "extra")


@cache
def config(entity: bool = True) -> ModelConfig:
    target = {"expression": "outcome > 0", "positive": "yes", "negative": "no", "decision_threshold": 0.5}
    return planted_model(
        FEATURES,
        "region",
        [{"name": "person", "type": "integer", "input": False}, {"name": "outcome", "type": "integer", "input": False}],
        {"entity": "person" if entity else None, "target": target},
        protected={"age_band": {"column": "age", "edges": [0, 40, 200]}},
        features=FEATURES,
        estimator={"kind": "logistic_regression"},
        gates=[{"name": "floor", "kind": "floor", "metric": "roc_auc", "limit": 0.6}],
    )


def people(n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows with honest repetition (coarse values), honest missingness and a moderate signal."""
    region = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    age = rng.integers(18, 80, n).astype(float)
    income = np.round(rng.lognormal(0, 0.5, n), 1)
    odds = 0.03 * (age - 50) + 0.8 * income + 0.5 * (region == "b") - 1.8
    label = rng.random(n) < 1 / (1 + np.exp(-odds))
    income[rng.random(n) < 0.1 + 0.05 * label] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "region": region,
            "visits": rng.poisson(1, n).astype(float),
            "extra": rng.integers(0, 4, n).astype(float),
        }
    ), label


def lay_out(rng: np.random.Generator) -> dict[str, Any]:
    """A clean world before any leak is planted."""
    train, train_label = people(TRAIN, rng)
    rows, label = people(HOLDOUT, rng)
    served, _ = people(800, rng)
    keys = rng.permutation(TRAIN + HOLDOUT)
    return {
        "train": train,
        "train_label": train_label,
        "rows": rows,
        "label": label,
        "served": served,
        "train_entity": keys[:TRAIN],
        "entity": keys[TRAIN:],
    }


def examined(world: dict[str, Any]) -> Examination:
    """Fit a model on the world's training rows and lay it before the gate."""

    def numbers(frame: pd.DataFrame) -> np.ndarray:
        plain = frame.drop(columns="region").to_numpy(float)
        codes = (frame["region"].to_numpy(object)[:, None] == np.array(["a", "b"], object)).astype(float)
        return np.hstack([np.nan_to_num(plain, nan=1.0), np.isnan(plain).astype(float), codes])

    fitted = LogisticRegression(solver="newton-cholesky", C=1000.0).fit(
        numbers(world["train"]) / 10, world["train_label"]
    )

    def predict(frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(fitted.predict_proba(numbers(frame) / 10)[:, 1])

    score = predict(world["rows"])
    others = {
        "champion_score": score,
        "benchmark": np.full(len(score), "holdout"),
        "groups": pd.DataFrame(),
        "attributions": pd.DataFrame(),
    }
    fixed = {
        "features": FEATURES,
        "decision_threshold": 0.5,
        "seed": 1,
        "rules": None,
        "data_check": None,
        "config": config(),
    }
    return Examination(score=score, predict=predict, **others, **fixed, **world)


def clean(world: dict[str, Any], rng: np.random.Generator) -> None:
    """Nothing is planted."""


def ordered(world: dict[str, Any], rng: np.random.Generator) -> None:
    """The table comes sorted by age, so that the label rate rises along it, as the scores know."""
    for frame, label, entity in (("train", "train_label", "train_entity"), ("rows", "label", "entity")):
        order = np.argsort(world[frame]["age"].to_numpy(), kind="stable")
        world[frame] = world[frame].iloc[order].reset_index(drop=True)
        world[label], world[entity] = world[label][order], world[entity][order]


def target_copy(world: dict[str, Any], rng: np.random.Generator) -> None:
    world["train"]["extra"], world["rows"]["extra"] = world["train_label"].astype(float), world["label"].astype(float)


def noisy_copy(world: dict[str, Any], rng: np.random.Generator) -> None:
    """A number that follows the label; its own AUC is 0.92."""
    for frame, label in (("train", "train_label"), ("rows", "label")):
        world[frame]["extra"] = world[label] + rng.normal(0, 0.5, len(world[label]))


def missingness(world: dict[str, Any], rng: np.random.Generator) -> None:
    """A value is missing in 70 % of positives and 10 % of negatives."""
    for frame, label in (("train", "train_label"), ("rows", "label")):
        world[frame].loc[rng.random(len(world[label])) < np.where(world[label], 0.7, 0.1), "visits"] = np.nan


def copied_rows(world: dict[str, Any], rng: np.random.Generator) -> None:
    """A tenth of the holdout replaces training rows, under other names."""
    copies, places = (rng.choice(n, HOLDOUT // 10, replace=False) for n in (HOLDOUT, TRAIN))
    world["train"].iloc[places] = world["rows"].iloc[copies].to_numpy(object)
    world["train_label"][places] = world["label"][copies]


def entities(world: dict[str, Any], rng: np.random.Generator) -> None:
    world["train_entity"][:20] = world["entity"][:20]


def label_jump(world: dict[str, Any], rng: np.random.Generator) -> None:
    """The last fifth of the table was not followed up: four of five positives are missed."""
    for label in ("train_label", "label"):
        late = np.arange(len(world[label])) >= 0.8 * len(world[label])
        world[label][late & (rng.random(len(late)) < 0.8)] = False


def never_served(world: dict[str, Any], rng: np.random.Generator) -> None:
    world["served"]["visits"] = np.nan


def other_unit(world: dict[str, Any], rng: np.random.Generator) -> None:
    world["served"]["age"] *= 365


def small_group(world: dict[str, Any], rng: np.random.Generator) -> None:
    young = np.flatnonzero((world["train"]["age"] < 40).to_numpy())
    world["train"].loc[young[20:], "age"] = 41.0


PLANTED: dict[Callable[..., None], str] = {
    target_copy: "AUC of extra alone",
    noisy_copy: "AUC of extra alone",
    missingness: "visits is missing",
    copied_rows: "both training and holdout",
    entities: "is in training too",
    label_jump: "label rate along",
    never_served: "share of served rows without visits",
    other_unit: "distance of age",
    small_group: "group '0 to 40' of age_band",
}
"""Each planted leak, and the words by which the gate must name it."""


def run(plant: Callable[..., None], seed: int) -> GateResult:
    rng = np.random.default_rng(seed)
    world = lay_out(rng)
    plant(world, rng)
    return run_gate(GATE, examined(world))


def measure(runs: int, first_seed: int = 0) -> list[dict[str, Any]]:
    """One row for each planted leak with the share of runs that name it, and one for clean data with the share
    accused."""
    told: list[dict[str, Any]] = []
    for plant, words in PLANTED.items():
        results = [run(plant, seed) for seed in range(first_seed, first_seed + runs)]
        found = sum(
            r.state == "fail" and any(m.state == "fail" and words in m.label for m in r.measurements) for r in results
        )
        told.append({"planted": plant.__name__, "runs": runs, "found": found / runs})
    for plant in (clean, ordered):
        results = [run(plant, seed) for seed in range(first_seed, first_seed + runs)]
        accused, held = (
            sum(r.state in states for r in results) / runs for states in (("fail",), ("fail", "insufficient_evidence"))
        )
        told.append({"planted": f"nothing ({plant.__name__})", "runs": runs, "accused": accused, "not passed": held})
    return told


def rows() -> list[dict[str, Any]]:
    """200 runs of each, seeds 0 to 199."""
    return measure(RUNS)


STUDIES = (Study("The leakage gate", "Leaks planted into clean rows, named by the gate; clean rows accused.", rows),)
