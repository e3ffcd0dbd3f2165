"""Each gate that draws gives its plot with the numbers that independent reckoning gives, bounded and without rows of
persons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.special import expit
from statsmodels.stats.proportion import proportion_confint

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.spec.base import validate
from tasks.spec.evidence import GateResult, Plot, Point, Region, Series
from tasks.spec.gates import CalibrationGate, FaithfulnessGate, RulesGate, StabilityGate
from tasks.spec.model import load_model
from tasks.spec.rules import ExpertRules
from tests.conftest import ROOT

N = 800
FEATURES = ("income", "age", "stand_in")
WEIGHTS = np.array([1.0, -0.5, 0.2])


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    female = np.arange(N) % 2 == 0
    columns = {
        "income": rng.normal(0, 1, N),
        "age": rng.normal(0, 1, N),
        "stand_in": rng.normal(4.0 * female, 1),
        "sex": np.where(female, "female", "male"),
    }
    return pd.DataFrame(columns)


def score(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(expit(rows[list(FEATURES)].to_numpy() @ WEIGHTS))


def explain(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows[list(FEATURES)] * WEIGHTS


def run(gate: Any, *rules: dict[str, Any], **changes: Any) -> GateResult:
    rows = people()
    values: dict[str, Any] = dict.fromkeys(Examination.__dataclass_fields__) | {"kind": "binary", "classes": ()}
    values |= {
        "rows": rows,
        "score": score(rows),
        "label": np.random.default_rng(1).random(N) < score(rows),
        "benchmark": np.full(N, "holdout"),
    }
    values |= {
        "groups": rows[["sex"]],
        "attributions": explain(rows, 0),
        "predict": score,
        "explain": explain,
        "features": FEATURES,
        "decision_threshold": 0.5,
        "seed": 1,
    }
    values["rules"] = validate({"rules": [r | {"because": "known"} for r in rules]}, ExpertRules, "rules.yaml")
    return run_gate(gate, Examination(**(values | changes)))


def rule_plots(*rules: dict[str, Any], **changes: Any) -> tuple[Plot, ...]:
    return run(RulesGate(name="rules", kind="rules"), *rules, **changes).plots


def test_calibration_draws_the_rate_of_each_bin_with_wilsons_interval() -> None:
    plots = run(CalibrationGate(name="calibration", kind="calibration", bins=4, confidence=0.975, by="sex")).plots
    assert [p.title for p in plots] == ["Reliability of female", "Reliability of male"]
    points = plots[0].series[0].points
    assert [p.rows for p in points] == [100] * 4
    for p in points:
        assert p.x is not None and (p.low, p.high) == pytest.approx(
            proportion_confint(round(p.y * 100), 100, alpha=0.05, method="wilson"), abs=1e-9
        )
    mean = np.mean([p.x or 0.0 for p in points])
    assert mean == pytest.approx(score(people())[::2].mean())


def test_stability_draws_the_spread_of_importance() -> None:
    (plot,) = run(StabilityGate(name="stability", kind="stability", rows=200)).plots
    points = plot.series[0].points
    assert (plot.kind, len(points)) == ("intervals", 3)
    assert {p.label for p in points} == set(FEATURES)
    size = np.abs(explain(people(), 0)).mean()
    for p in points:
        assert p.low is not None and p.high is not None and p.low < p.y < p.high
        assert p.y == pytest.approx(size[p.label] / size.sum(), abs=0.05)


def test_faithfulness_draws_both_orders_and_their_areas_are_the_measurement() -> None:
    found = run(FaithfulnessGate(name="faithfulness", kind="faithfulness"))
    (plot,) = found.plots
    ordered, chance = ([p.y for p in s.points] for s in plot.series)
    assert [p.x for p in plot.series[0].points] == [0.0, 1.0, 2.0] and ordered[0] == chance[0] == 0
    assert np.mean(ordered[1:]) - np.mean(chance[1:]) == pytest.approx(found.measurements[0].value)


@pytest.mark.parametrize(("column", "sign"), [("income", "rises"), ("age", "rises")])
@pytest.mark.parametrize("kind", ["direction", "monotone"])
def test_a_dependence_curve_is_the_mean_over_rows_with_the_rules_sign(kind: str, column: str, sign: str) -> None:
    _, plot = rule_plots({"rule": kind, "column": column, "sign": sign})
    points = plot.series[0].points
    assert (plot.sign, plot.state, plot.x_label) == (sign, "pass" if column == "income" else "fail", column)
    means = np.array([p.y for p in points])
    assert (np.diff(means) > 0).all() if column == "income" else (np.diff(means) < 0).all()
    for p in points[::5]:
        whole = score(people().assign(**{column: p.x}))  # the plot asks about a sample of 300 of these 800
        assert p.y == pytest.approx(whole.mean(), abs=0.03)
        assert (p.low, p.high) == pytest.approx(tuple(np.quantile(whole, [0.1, 0.9])), abs=0.06)


def test_the_axis_carries_the_unit_of_the_config() -> None:
    config = load_model(ROOT, "care")
    _, plot = rule_plots(
        {"rule": "direction", "column": "income", "sign": "rises"}, config=config, entity=np.arange(800)
    )
    assert plot.x_label == "income (dollars)"


def test_a_curve_says_where_rows_turn_back() -> None:
    def kinked(rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(expit(rows["income"].to_numpy() - 1.0 * (rows["income"].to_numpy() > 1.0)))

    _, plot = rule_plots(
        {"rule": "monotone", "column": "income", "sign": "rises", "low": -2, "high": 2}, predict=kinked
    )
    assert "100.0% of 300 rows turn back by more than 0.01; at most 5.0% may" in plot.note
    assert 1.0 < float(plot.note.split("farthest behind at ")[1].split(". ")[0]) < 1.5


def test_a_score_range_is_drawn_over_the_histogram_of_all_scores() -> None:
    _, plot = rule_plots({"rule": "score_range", "low": 0.1, "high": 0.9})
    points = plot.series[0].points
    assert sum(p.rows or 0 for p in points) == N and sum(p.y for p in points) == pytest.approx(1)
    assert points[10].rows == int(((score(people()) >= 0.5) & (score(people()) < 0.55)).sum())
    assert plot.regions == (Region(axis="x", low=0.1, high=0.9, label="allowed"),)


def test_a_proxy_stands_where_its_association_and_its_share_put_it() -> None:
    importance, plot = rule_plots(
        {"rule": "proxy", "column": "sex"}, {"rule": "forbidden_driver", "column": "sex", "share": 0.0}
    )
    points = {p.label: p for p in plot.series[0].points}
    size = np.abs(explain(people(), 0)).mean()
    assert (points["stand_in"].x or 0) > 0.9 and (points["income"].x or 0) < 0.6
    assert points["stand_in"].y == pytest.approx(size["stand_in"] / size.sum())
    assert [r.low for r in plot.regions] == [0.75, 0.05]
    named = {p.label: p for p in importance.series[0].points}
    assert named["sex, at most 0%"].limit == 0 and named["income"].y == pytest.approx(size["income"] / size.sum())


def test_a_vignette_gives_both_scores_in_a_sentence() -> None:
    above = {"rule": "vignette", "case": {"income": 2}, "above": {"income": -2}, "margin": 0.1}
    between = {"rule": "vignette", "case": {"income": 2}, "between": [0.0, 0.5]}
    _, first, second = rule_plots(above, between)
    case, other = (p.y for p in first.series[0].points)
    typical = people()[list(FEATURES)].quantile(0.5, interpolation="nearest").to_numpy()
    assert (case, other) == pytest.approx(
        tuple(expit(typical @ WEIGHTS + WEIGHTS[0] * (i - typical[0])) for i in (2, -2))
    )
    assert (
        first.note
        == f"A typical person with income 2 scores {case:.3f}; with income -2, {other:.3f}. The first is asked to "
        f"lie above it by at least 0.1; it lies {case - other:.3f} above."
    )
    assert (second.state, second.regions[0].high) == ("fail", 0.5)


def test_a_rule_that_cannot_be_asked_has_no_plot_and_a_broken_explanation_no_importance() -> None:
    assert len(rule_plots({"rule": "direction", "column": "wage", "sign": "rises"})) == 1
    assert rule_plots({"rule": "proxy", "column": "sex"}, attributions=pd.DataFrame({"income": [np.nan] * 50})) == ()
    assert len(rule_plots({"rule": "score_range", "low": 0.0}, score=np.full(N, np.nan))) == 1


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        ([Point(x=float(i), y=0.0) for i in range(61)], "curve"),
        ([Point(y=0.0)], "curve"),
        ([Point(y=0.0, x=0.0)], "intervals"),
        ([{"y": float("nan"), "x": 0.0}], "curve"),
        ([{"y": 0.0, "x": 0.0, "low": 0.0}], "curve"),
        ([{"y": 0.0, "x": 0.0, "low": 1.0, "high": 0.0}], "curve"),
    ],
    ids=["too many", "no place", "no name", "no number", "half an interval", "turned round"],
)
def test_a_plot_that_cannot_be_drawn_is_refused(points: list[Any], kind: Any) -> None:
    with pytest.raises(ValidationError):
        Plot(
            title="t",
            kind=kind,
            x_label="x",
            series=(Series(name="s", points=tuple(Point(**p) if isinstance(p, dict) else p for p in points)),),
        )
