"""Explanations that hold still and tell the truth pass; noise, lies and silence do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.spec.gates import FaithfulnessGate, StabilityGate

STABLE = StabilityGate(name="stability", kind="stability", rows=100)
FAITHFUL = FaithfulnessGate(name="faithfulness", kind="faithfulness")
WEIGHTS = np.array([2.0, -1.2, 0.8, 0.4, 0.2, 0.1])
FEATURES = [f"x{i}" for i in range(6)]


def honest(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows[FEATURES] * WEIGHTS


def noise(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(len(rows), 6)), columns=FEATURES)


def upside_down(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows[FEATURES] * WEIGHTS[::-1]


def by_seed(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows[FEATURES] * np.random.default_rng(seed).permutation(WEIGHTS)


def examine(gate: Any, explain: Any, n: int = 600, seed: int = 1, **changes: Any) -> Any:
    rows = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 6)), columns=FEATURES)
    fields: dict[str, Any] = dict.fromkeys(Examination.__dataclass_fields__) | {"kind": "binary", "classes": ()}
    values = {
        "rows": rows,
        "features": tuple(FEATURES),
        "seed": seed,
        "explain": explain,
        "predict": lambda r: expit(r[FEATURES].to_numpy() @ WEIGHTS),
    }
    return run_gate(gate, Examination(**(fields | values | changes)))


def test_honest_explanations_pass_both_gates() -> None:
    stable, faithful = examine(STABLE, honest), examine(FAITHFUL, honest)
    assert (stable.state, faithful.state) == ("pass", "pass"), (stable.reason, faithful.reason)
    assert faithful.measurements[0].low > 0


def test_the_bounds_are_the_smallest_of_independent_pairs() -> None:
    found = examine(STABLE, by_seed)
    assert found.state == "fail"
    assert all(m.low <= m.value <= m.high and m.rows == 100 for m in found.measurements)


def test_an_order_upside_down_is_not_faithful() -> None:
    assert examine(FAITHFUL, upside_down).state == "fail"
    assert examine(FAITHFUL, honest, predict=lambda r: np.full(len(r), 0.5)).state == "fail"


def test_explanations_at_random_pass_about_as_seldom_as_stated() -> None:
    passed = sum(examine(FAITHFUL, noise, n=100, seed=seed).state == "pass" for seed in range(200))
    assert passed / 200 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("gate", [STABLE, FAITHFUL], ids=["stability", "faithfulness"])
@pytest.mark.parametrize(
    ("explain", "n", "state", "says"),
    [
        (None, 600, "fail", "no explain was given"),
        (lambda r, s: honest(r, s).drop(columns="x2"), 600, "fail", "says nothing about x2"),
        (lambda r, s: honest(r, s) * np.nan, 600, "fail", "NaN or infinite"),
        (honest, 20, "insufficient_evidence", "at least 30"),
    ],
    ids=["none", "incomplete", "not numbers", "few"],
)
def test_bad_evidence_is_never_a_pass(gate: Any, explain: Any, n: int, state: str, says: str) -> None:
    result = examine(gate, explain, n)
    assert result.state == state
    assert says in result.reason


def test_an_explanation_that_ranks_nothing_is_not_stable() -> None:
    assert "ranks nothing" in examine(STABLE, lambda r, s: honest(r, s) * 0).reason
