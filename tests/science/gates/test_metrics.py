"""Floors and comparisons of all three kinds of model: verdicts, what several gates do together, and bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats.comparison import metric_estimate
from tasks.science.stats.metrics import METRICS
from tasks.spec.gates import ComparisonGate, FloorGate
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tasks.spec.model import load_model
from tests.conftest import ROOT
from tests.statistics.non_inferiority import DRAWS

EVERY: list[tuple[TargetKind, str]] = [(kind, metric) for kind, names in METRIC_NAMES.items() for metric in names]
CLASSES = ("low", "middle", "high")


def examination(kind: TargetKind, n: int = 3000, seed: int = 3, **changes: Any) -> Examination:
    label, challenger, champion = DRAWS[kind](np.random.default_rng(seed), n)
    rows = pd.DataFrame({"x": np.zeros(n)})
    values: dict[str, Any] = {
        "rows": rows,
        "label": label,
        "score": challenger,
        "champion_score": champion,
        "benchmark": np.full(n, "holdout"),
        "groups": rows,
        "attributions": rows,
        "predict": None,
        "features": ("x",),
        "decision_threshold": 0.5,
        "seed": 1,
        "rules": None,
        "data_check": None,
        "kind": kind,
        "classes": CLASSES if kind == "multiclass" else (),
    }
    return Examination(**(values | changes))


def floor(metric: str, limit: float, **more: Any) -> FloorGate:
    return FloorGate.model_validate({"name": "floor", "kind": "floor", "metric": metric, "limit": limit, **more})


def comparison(metric: str, margin: float, **more: Any) -> ComparisonGate:
    return ComparisonGate.model_validate(
        {"name": "compare", "kind": "comparison", "metric": metric, "margin": margin, **more}
    )


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_a_floor_and_a_comparison_pass_are_open_or_fail_by_their_interval(kind: TargetKind, metric: str) -> None:
    evidence, better = examination(kind), METRICS[metric].greater_is_better
    value = METRICS[metric].compute(evidence.label, evidence.score, 0.5)
    worse = abs(METRICS[metric].compute(evidence.label, evidence.champion_score, 0.5) - value)  # type: ignore[arg-type]
    sign, far = (1 if better else -1), 0.3 * max(value, worse)
    states = [run_gate(floor(metric, value - sign * step), evidence).state for step in (far, 1e-4, -1e-4, -far)]
    assert states == ["pass", "insufficient_evidence", "insufficient_evidence", "fail"]
    states = [
        run_gate(comparison(metric, margin), evidence).state for margin in (worse + far, worse + 1e-5, worse / 20)
    ]
    assert states[:2] == ["pass", "insufficient_evidence"] and states[2] in ("fail", "insufficient_evidence")
    same = run_gate(comparison(metric, 0.01), examination(kind, champion_score=evidence.score))
    assert same.state == "pass" and same.measurements[0].value == 0


def test_a_fail_is_claimed_more_carefully_where_many_gates_are_asked() -> None:
    """One gate with p of about 2 % fails alone, and is open among ten that tell nothing; a pass needs no such care."""
    evidence = examination("binary", 1000)
    limit = metric_estimate("brier", evidence.label, evidence.score, 0.5, 0).bounds(0.98)[0]
    asked = floor("brier", limit)
    assert run_gate(asked, evidence).state == "fail"
    others = [floor("accuracy", 0.1 + 0.01 * i, name=f"easy-{i}") for i in range(9)]
    config = load_model(ROOT, "care").model_copy(update={"gates": (asked, *others)})
    among = examination("binary", 1000, config=config, entity=np.arange(1000))
    found = run_gate(asked, among)
    assert found.state == "insufficient_evidence" and "is not proven (p 0.2, adjusted over 10 gates)" in found.reason
    assert "about " in found.remedy and "rows instead of 1,000 would decide" in found.remedy
    assert "Holm 1979 over all 10 floors" in found.estimator
    assert run_gate(others[0], among).state == "pass"


@pytest.mark.parametrize(
    ("kind", "gate", "changes", "state", "says"),
    [
        (
            "binary",
            floor("precision", 0.1),
            {"score": np.full(300, 0.2)},
            "fail",
            "precision has no value on holdout: no row is selected",
        ),
        (
            "binary",
            floor("average_precision", 0.1),
            {"score": np.full(300, np.inf)},
            "fail",
            "300 of 300 scores are NaN or outside 0 to 1",
        ),
        (
            "binary",
            floor("mae", 0.1),
            {},
            "fail",
            "gate floor names the metric 'mae'; allowed for a binary model: roc_auc",
        ),
        (
            "binary",
            comparison("f1", 0.1),
            {"champion_score": np.full(300, np.nan)},
            "fail",
            "300 of 300 scores are NaN or outside 0 to 1",
        ),
        (
            "multiclass",
            floor("f1", 0.1),
            {"label": np.minimum(np.arange(300) % 3, 1)},
            "insufficient_evidence",
            "class high of holdout has 0 of 300 rows",
        ),
        (
            "multiclass",
            floor("accuracy", 0.1),
            {"label": np.full(300, -1)},
            "fail",
            "on holdout, 300 of 300 labels are of no known class",
        ),
        ("multiclass", floor("log_loss", 9), {"score": np.full((300, 3), 0.5)}, "fail", "do not sum to 1"),
        (
            "multiclass",
            floor("log_loss", 9),
            {"score": np.full((300, 2), 0.5)},
            "fail",
            "on holdout, scores have shape (300, 2); a multiclass model needs (300, 3)",
        ),
        (
            "multiclass",
            floor("brier", 9),
            {"score": np.full((300, 3), np.nan)},
            "fail",
            "900 of 900 scores are NaN or outside 0 to 1",
        ),
        (
            "regression",
            floor("mae", 9),
            {"score": np.full(300, np.inf)},
            "fail",
            "on holdout, 300 of 300 scores are NaN or infinite",
        ),
        (
            "regression",
            floor("mae", 9),
            {"label": np.full(300, np.nan)},
            "fail",
            "on holdout, 300 of 300 labels are NaN or infinite",
        ),
        (
            "regression",
            floor("r2", -9),
            {"label": np.ones(300)},
            "insufficient_evidence",
            "all 300 labels of holdout are 1; where nothing varies",
        ),
        (
            "regression",
            floor("rmse", 9),
            {"label": np.zeros(300), "score": np.ones(300)},
            "insufficient_evidence",
            "no interval to judge by",
        ),
    ],
)
def test_bad_input_has_a_verdict_in_words_and_never_a_pass(
    kind: TargetKind, gate: Any, changes: dict[str, Any], state: str, says: str
) -> None:
    found = run_gate(gate, examination(kind, 300, **changes))
    assert (found.state, says in found.reason) == (state, True), found.reason


@pytest.mark.parametrize("kind", list(DRAWS))
def test_few_rows_are_no_evidence_and_one_is_none(kind: TargetKind) -> None:
    for n in (1, 12, 29):
        found = run_gate(floor("mae" if kind == "regression" else "log_loss", 99.0), examination(kind, n))
        assert found.state == "insufficient_evidence" and "at least 30 are needed" in found.reason


@pytest.mark.parametrize(
    ("kind", "metric", "limit"),
    [("binary", "average_precision", 0.9), ("multiclass", "roc_auc", 0.5), ("regression", "r2", 0.0)],
)
def test_a_constant_prediction_passes_nothing_that_asks_for_more_than_chance(
    kind: TargetKind, metric: str, limit: float
) -> None:
    label = examination(kind).label
    constant = (
        np.full((3000, 3), 1 / 3)
        if kind == "multiclass"
        else np.full(3000, 0.4 if kind == "binary" else float(label.mean()))
    )
    assert run_gate(floor(metric, limit), examination(kind, score=constant)).state != "pass"
    assert run_gate(comparison(metric, 0.01), examination(kind, score=constant)).state == "fail"


@pytest.mark.parametrize(("kind", "metric"), EVERY)
def test_rows_in_another_order_give_the_same_verdict(kind: TargetKind, metric: str) -> None:
    one, order = examination(kind, 400), np.random.default_rng(0).permutation(400)
    two = examination(
        kind, 400, label=one.label[order], score=one.score[order], champion_score=one.champion_score[order]
    )  # type: ignore[index]
    first, second = (run_gate(comparison(metric, 0.02), x).measurements[0] for x in (one, two))
    assert (first.state, first.value, first.low, first.high) == (
        second.state,
        pytest.approx(second.value),
        pytest.approx(second.low),
        pytest.approx(second.high),
    )
