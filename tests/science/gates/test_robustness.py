"""Damage stays within the declared bounds, and the gate sees a loss, an exception and a score that is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tasks.science.examination.examination import Examination
from tasks.science.gates.perturbations import UNSEEN, perturb
from tasks.science.gates.run import run_gate
from tasks.serving.schema import RowSchema
from tasks.spec.data import Column
from tasks.spec.gates import Perturbation, RobustnessGate
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig, load_model
from tasks.tables.typed import as_json
from tests.conftest import ROOT

COLUMNS = [
    Column(name="age", type="integer", minimum=18, maximum=100),
    Column(name="income", type="number", minimum=0, maximum=200, nullable=True),
    Column(name="job", type="category"),
    Column(name="sex", type="category", categories=("female", "male")),
]
GATE = RobustnessGate(name="robustness", kind="robustness", metric="roc_auc", limit=0.05)
N = 2000


def config(columns: list[Column] = COLUMNS) -> ModelConfig:
    income = load_model(ROOT, "income")
    return income.model_copy(update={"data": income.data.model_copy(update={"columns": tuple(columns)})})


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    income = np.where(rng.random(N) < 0.05, np.nan, rng.normal(50, 15, N).clip(0))
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, N).astype(float),
            "income": income,
            "job": rng.choice(["a", "b"], N),
            "sex": rng.choice(["female", "male"], N),
        }
    )


def steady(r: pd.DataFrame) -> np.ndarray:
    return np.asarray(expit((r["income"].fillna(50).clip(0, 100) - 50) / 8 + 0.3 * (r["job"] == "a")))


def examine(predict: Any = steady, gate: RobustnessGate = GATE, **changes: Any) -> Any:
    table = rows()
    fields: dict[str, Any] = dict.fromkeys(Examination.__dataclass_fields__) | {"kind": "binary", "classes": ()}
    label = np.random.default_rng(1).random(N) < (wavy if predict is wavy else steady)(table)
    features = tuple(table.columns)
    return run_gate(
        gate,
        Examination(
            **(
                fields
                | {
                    "rows": table,
                    "label": label,
                    "predict": predict,
                    "features": features,
                    "decision_threshold": 0.5,
                    "seed": 1,
                    "config": config(),
                }
                | changes
            )
        ),
    )


@pytest.mark.parametrize("kind", ["noise", "missing", "unseen", "out_of_range", "unit"])
def test_damage_stays_within_what_is_declared(kind: Any) -> None:
    before = rows()
    after = perturb(before, COLUMNS, Perturbation(kind=kind, strength=0.3), 4)
    assert after["age"].between(18, 100).all() and (after["age"] == after["age"].round()).all()
    assert after["income"].dropna().between(0, 200).all()
    assert after["sex"].equals(before["sex"])
    assert (kind == "missing") == bool(after["income"].isna().sum() > before["income"].isna().sum())
    assert (kind == "unseen") == (UNSEEN in set(after["job"]))
    changed = (after["income"] != before["income"]) & before["income"].notna()
    expected = {"noise": 1.0, "unseen": 0.0}.get(kind, 0.3)
    assert changed[before["income"].notna()].mean() == pytest.approx(expected, abs=0.04)
    pd.testing.assert_frame_equal(after, perturb(before, COLUMNS, Perturbation(kind=kind, strength=0.3), 4))


def test_cells_are_swapped_where_every_column_is_closed() -> None:
    """A survey of yes and no lets no other value in; a wrong tick is what happens to it."""
    before = rows()
    after = perturb(before, COLUMNS, Perturbation(kind="swapped", strength=0.3), 4)
    assert 0.05 < (after["sex"] != before["sex"]).mean() < 0.3 and set(after["sex"]) == set(before["sex"])
    assert after.dtypes.equals(before.dtypes) and after.index.equals(before.index)


def test_a_steady_model_passes_and_each_damage_is_measured() -> None:
    result = examine()
    assert result.state == "pass", result.reason
    assert [m.label.split()[1] for m in result.measurements] == ["noise", "missing", "unseen", "out_of_range", "unit"]
    assert all(m.rows == N and m.limit == -0.05 for m in result.measurements)


def raises(r: pd.DataFrame) -> np.ndarray:
    if (r["job"] == UNSEEN).any():
        raise ValueError("unknown job")
    return steady(r)


def not_a_number(r: pd.DataFrame) -> np.ndarray:
    return np.where(r["income"].isna() & (r["job"] == "a"), np.nan, steady(r))


def wavy(r: pd.DataFrame) -> np.ndarray:
    return np.asarray(expit(3 * np.sin(r["income"].fillna(50) * 2)))


def explodes(r: pd.DataFrame) -> np.ndarray:
    return np.asarray(expit((r["income"].fillna(50) - 50) / 8))


@pytest.mark.parametrize(
    ("predict", "says"),
    [
        (raises, "under unseen in every cell it reaches, the model raises ValueError: unknown job"),
        (not_a_number, "scores are NaN or outside 0 to 1"),
        (wavy, "under noise 0.1, roc_auc moves by -0."),
        (
            lambda r: np.zeros((len(r), 2)),
            "on rows as they are, scores have shape (2000, 2); a binary model needs (2000,)",
        ),
    ],
    ids=["exception", "not a number", "loss", "shape"],
)
def test_a_model_that_breaks_fails_with_the_name_of_the_damage(predict: Any, says: str) -> None:
    result = examine(predict)
    assert result.state == "fail"
    assert says in result.reason


def test_a_perturbation_has_its_own_limit_and_only_so_much_loss_is_tolerated() -> None:
    strong = Perturbation(kind="out_of_range", strength=0.3)
    result = examine(explodes, GATE.model_copy(update={"perturbations": (strong,), "limit": 0.01}))
    assert result.state == "fail"
    assert (
        examine(
            explodes,
            GATE.model_copy(update={"perturbations": (strong.model_copy(update={"limit": 0.5}),), "limit": 0.01}),
        ).state
        == "pass"
    )


@pytest.mark.parametrize(
    ("changes", "state", "says"),
    [
        ({"config": None}, "fail", "no config was given"),
        ({"label": np.ones(N, bool)}, "insufficient_evidence", "smaller class has 0"),
    ],
    ids=["no config", "one class"],
)
def test_bad_evidence_is_never_a_pass(changes: dict[str, Any], state: str, says: str) -> None:
    result = examine(**changes)
    assert result.state == state
    assert says in result.reason


def test_damage_that_has_nothing_to_act_on_is_left_out_with_the_reason() -> None:
    """A table without gaps and open categories is judged by what applies to it."""
    closed = COLUMNS[2].model_copy(update={"categories": ("a", "b")})
    whole = [c.model_copy(update={"nullable": False}) for c in (*COLUMNS[:2], closed, COLUMNS[3])]
    table = rows().fillna({"income": 50.0})
    result = examine(config=config(whole), rows=table)
    assert result.state == "pass", result.reason
    assert [m.label.split()[1] for m in result.measurements] == ["noise", "out_of_range", "unit"]
    assert result.reason.endswith(
        "; missing is left out, since no feature may be missing; unseen is left out, since no feature takes a category "
        "that it does not declare"
    )
    nothing = examine(config=config(whole), rows=table, features=("job", "sex"))
    assert nothing.state == "insufficient_evidence"
    assert nothing.reason.startswith(
        "no damage reaches a feature of this model: noise is left out, since no feature is"
    )


EVERY = (
    Column(name="age", type="integer", nullable=True),
    Column(name="code", type="integer", maximum=9000),
    Column(name="income", type="number", nullable=True),
    Column(name="rate", type="number", minimum=0.5, maximum=0.7),
    Column(name="job", type="category", nullable=True),
    Column(name="insured", type="boolean", nullable=True),
    Column(name="born", type="date", nullable=True),
    Column(name="due", type="date", minimum="2020-01-01", maximum="2020-12-31"),
    Column(name="seen", type="datetime", nullable=True, zone="Europe/Berlin"),
)


@pytest.mark.parametrize("strength", [0.2, 1.0])
@pytest.mark.parametrize("kind", ["noise", "missing", "unseen", "out_of_range", "unit"])
def test_the_service_takes_every_damaged_row(kind: Any, strength: float) -> None:
    """Of every kind of column, also at the ends of what a number, an integer or a calendar can hold."""
    rng = np.random.default_rng(3)
    n = 200
    table = pd.DataFrame(
        {
            "age": rng.choice([2.0**53 - 1, -(2.0**53) + 1, 0.0, 40.0], n),
            "code": rng.integers(0, 9000, n).astype(float),
            "income": rng.choice([3e38, -3e38, 1.5, 0.0], n),
            "rate": rng.uniform(0.5, 0.7, n),
            "job": rng.choice(["a", "b"], n),
            "insured": rng.choice(["true", "false"], n),
            "born": rng.choice([-719162.0, 2932896.0, 0.0, 20000.0], n),  # the years 1 to 9999
            "due": rng.integers(18262, 18627, n).astype(float),
            "seen": rng.choice([-6e10, 2.5e11, 0.0, 1.7e9], n),
        }
    )
    damaged = perturb(table, list(EVERY), Perturbation(kind=kind, strength=strength), 1)
    assert not damaged.equals(table)
    manifest = Manifest(
        model="care", title="t", model_digest="d", features=("age",), seed=1, trained_rows=1, libraries={},
        decision_threshold=0.5, inputs=tuple(c.model_dump(mode="json") for c in EVERY),
    )  # fmt: skip
    good, bad = RowSchema(manifest).check(as_json(EVERY, damaged))
    assert bad == [] and len(good) == n
