"""Numbers and classes in the gates' estimators: against what is known of the world that made them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shap
import statsmodels.api as sm
from pydantic import TypeAdapter
from scipy.stats import binom
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import fewest, judge_each_class
from tasks.science.gates.calibration import calibration
from tasks.science.gates.excess_loss import correction, excess_loss, judged, law, losses, scaled
from tasks.science.gates.leakage_checks import questions, single_columns
from tasks.science.gates.leakage_order import label_jump
from tasks.science.gates.run import run_gate
from tasks.science.gates.slice_search import weak_slices
from tasks.science.models.explanations import _over_classes, attributions
from tasks.science.rules.check import check_rule
from tasks.science.stats.calibration import mean_calibration, mean_reliability
from tasks.spec.base import validate
from tasks.spec.errors import ConfigError
from tasks.spec.gates import CalibrationGate, GateConfig
from tasks.spec.rules import ExpertRules
from tests.statistics.kinds import jumps, means, slices

CLASSES = ("a", "b", "c")
RULES = {"rules": [{"rule": "invariance", "column": "w", "at_most": 0.5, "because": "known"}]}


def test_slope_and_shift_are_those_of_least_squares_with_robust_errors() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(10, 2, 500)
    label = 1.2 * score - 1 + rng.normal(size=500) * (1 + np.abs(score - 10))
    found = mean_calibration(label, score, 1.0, 10, 0.95, 0)
    fit = sm.OLS(label, sm.add_constant(score)).fit(cov_type="HC1")
    assert found.slope.value == pytest.approx(fit.params[1])
    assert found.slope.high - found.slope.value == pytest.approx(1.6448536 * fit.bse[1])
    assert found.intercept.value == pytest.approx((label - score).mean())


def test_bounds_of_calibration_hold_as_often_as_they_say() -> None:
    """One-sided, 95 %: of 150 worlds, a bound misses at most as many as chance lets it with probability 1 in 1,000."""
    for row in means(150):
        assert row["missed low"] * 150 <= binom.ppf(0.999, 150, 0.05), row
        assert row["missed high"] * 150 <= binom.ppf(0.999, 150, 0.05), row


def test_a_score_that_is_alike_everywhere_has_no_slope_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    label = rng.normal(size=200)
    assert np.isnan(mean_calibration(label, np.full(200, 0.3), 1.0, 10, 0.95, 0).slope.value)
    score = label + rng.normal(size=200)
    one, other = (mean_calibration(k * label, k * score, k * label.std(), 10, 0.95, 0) for k in (1.0, 1000.0))
    assert one.slope.value == pytest.approx(other.slope.value)
    assert (one.error.value, one.intercept.high) == pytest.approx((other.error.value, other.intercept.high))
    assert sum(b.rows for b in mean_reliability(label, score, 10, 0.95)) == 200


def test_weak_slices_of_numbers_are_found_and_noise_is_not() -> None:
    found = {row["world"]: row for row in slices(12)}
    assert min(found["shifted"]["found"], found["stretched"]["found"]) * 12 >= binom.ppf(0.001, 12, 0.9)
    assert found["noise"]["confirmed"] * 12 <= binom.ppf(0.999, 12, 0.05)
    assert found["louder in places"]["confirmed"] * 12 <= binom.ppf(0.999, 12, 0.05)


def test_excess_loss_of_numbers_does_not_depend_on_their_unit() -> None:
    rng = np.random.default_rng(2)
    score = rng.normal(size=2000)
    label = score + rng.normal(size=2000) + 0.8 * (np.arange(2000) % 4 == 0)
    half, inside = np.arange(2000) < 1000, np.arange(2000) % 4 == 0
    told = []
    for unit in (1.0, 50.0):
        y, z, size = scaled("squared_error", unit * label, unit * score)
        gain = excess_loss("squared_error", y, z, inside & half, inside & ~half, float("nan"))
        told.append(judged(gain, float(losses("squared_error", unit * label, unit * score, 0.0).mean()) * size, None))
    assert told[0].value == pytest.approx(told[1].value) and told[0].value > 0.2 and told[0].p_value < 1e-6
    assert correction(y, z, law("squared_error"))[1] == pytest.approx(1.0, abs=0.1)


def test_a_jump_of_the_mean_is_found_and_none_is_not() -> None:
    found = {row["world"]: row for row in jumps(60)}
    assert found["a jump of 0.5 standard deviations"]["found"] >= 0.95
    assert found["no jump"]["found"] * 60 <= binom.ppf(0.999, 60, 0.05)
    assert label_jump(np.zeros(500), np.zeros(500), None, 0.95, numbers=True) is None  # nothing varies


def test_a_number_is_asked_by_quartiles_so_that_a_leak_in_its_tail_shows() -> None:
    rng = np.random.default_rng(3)
    label = np.exp(rng.normal(size=4000))
    rich = (label > np.quantile(label, 0.75)).astype(float)
    frame = pd.DataFrame({"flag": rich, "noise": rng.normal(size=4000)})
    asked = questions("regression", (), label[:2000], label[2000:], rng.normal(size=2000))
    powers = [single_columns(frame[:2000], q.train, frame[2000:], q.label, q.score, 0.95) for q in asked]
    assert max(p[0].auc for p in powers) > 0.97 and max(p[1].auc for p in powers) < 0.6
    assert [q.name for q in questions("multiclass", CLASSES, np.array([0, 1, 2]), np.array([0, 1, 1]), np.eye(3))] == [
        " for a against the rest",
        " for b against the rest",
    ]


def examination(**changes: Any) -> Examination:
    """Three classes that a softmax over two columns knows exactly."""
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"x": rng.normal(size=6000), "w": rng.normal(size=6000)})
    score = softmax(rows)
    label = (rng.random(6000)[:, None] > score.cumsum(axis=1)).sum(axis=1)
    values: dict[str, Any] = {
        "rows": rows,
        "label": label,
        "score": score,
        "champion_score": None,
        "benchmark": np.full(6000, "holdout"),
        "groups": pd.DataFrame(index=rows.index),
        "attributions": rows.head(200),
        "predict": softmax,
        "features": ("x", "w"),
        "decision_threshold": float("nan"),
        "seed": 1,
        "rules": None,
        "data_check": None,
        "kind": "multiclass",
        "classes": CLASSES,
    }
    return Examination(**(values | changes))


def softmax(rows: pd.DataFrame) -> np.ndarray:
    odds = np.exp(np.column_stack([rows["x"], 0 * rows["x"], -rows["x"]]))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def test_each_class_is_asked_and_the_worst_one_decides() -> None:
    gate = CalibrationGate(name="calibration", kind="calibration", slope=(0.7, 1.4), error=0.08)

    sound = calibration(gate, examination())
    assert sound.state == "pass" and {m.label.split(":")[0] for m in sound.measurements} == set(CLASSES)
    sharper = examination().score ** 2.5
    broken = calibration(gate, examination(score=sharper / sharper.sum(axis=1, keepdims=True)))
    assert broken.state == "fail" and "a against the rest" in broken.reason
    shared = []
    judge_each_class(
        lambda config, e: shared.append(config.confidence) or sound, gate, examination(), shared_error=True
    )  # type: ignore[func-returns-value]
    assert shared == pytest.approx([1 - 0.05 / 3] * 3)
    assert fewest(examination(), np.array([0, 0, 1])) == (0, "the rarest class has 0 of 3 rows")


@pytest.mark.parametrize(
    "gate",
    [
        {"kind": "calibration"},
        {"kind": "slices", "search": False, "slices": [{"name": "right", "rows": "x > 0"}]},
        {"kind": "fairness", "attribute": "g", "measure": "accuracy", "statistic": "ratio", "limit": 0.5}
        | {"class_name": "a"},
        {"kind": "floor", "metric": "log_loss", "limit": 2.0},
        {"kind": "comparison", "metric": "log_loss", "margin": 2.0},
        {"kind": "rules"},
    ],
    ids=lambda gate: gate["kind"],
)
def test_every_gate_refuses_the_scores_of_two_classes_where_there_are_three(gate: dict[str, Any]) -> None:
    """One function judges scores, so that no gate passes, or crashes on, what another refuses."""
    two = examination().score[:, :2]
    changed = examination(score=two / two.sum(axis=1, keepdims=True), rules=validate(RULES, ExpertRules, "rules.yaml"))
    found = run_gate(TypeAdapter(GateConfig).validate_json(json.dumps({"name": "gate"} | gate)), changed)
    assert found.state == "fail"
    assert (
        found.reason.removeprefix("on holdout, ") == "scores have shape (6000, 2); a multiclass model needs (6000, 3)"
    )


def rule(**fields: Any) -> Any:
    return validate({"rules": [{"because": "known"} | fields]}, ExpertRules, "rules.yaml").rules[0]


@pytest.mark.parametrize(
    ("fields", "state", "says"),
    [
        ({"rule": "direction", "column": "x", "sign": "rises", "class": "a"}, "pass", "the score of a rises with x"),
        ({"rule": "direction", "column": "x", "sign": "rises", "class": "c"}, "fail", "the score of c rises with x"),
        (
            {"rule": "direction", "column": "x", "sign": "rises"},
            "fail",
            "it names no class, and this model has a score for each; give class, one of a, b, c",
        ),
        ({"rule": "score_range", "low": 0.1, "class": "d"}, "fail", "it names the class 'd'; allowed: a, b, c"),
        ({"rule": "score_range", "high": 15, "class": "a"}, "fail", "high is 15; allowed: 0 to 1"),
        ({"rule": "invariance", "column": "w", "at_most": 0.001}, "pass", "moves the score by at most"),
        ({"rule": "invariance", "column": "x", "at_most": 0.05}, "fail", "moves the score by at most"),
        ({"rule": "invariance", "column": "x", "at_most": 0.99, "class": "b"}, "pass", "moves the score of b"),
        ({"rule": "vignette", "case": {"x": 1}, "above": {"x": -1}, "class": "a"}, "pass", "scores of a above"),
    ],
)
def test_a_rule_speaks_of_a_class(fields: dict[str, Any], state: str, says: str) -> None:
    found = check_rule(rule(**fields), examination(), 0.95)
    assert found.state == state and says in found.label


def test_a_rule_on_one_score_names_no_class_and_needs_an_end() -> None:
    only = examination().against_rest("a")
    assert "leave class out" in check_rule(rule(rule="score_range", low=0.0, **{"class": "a"}), only, 0.95).label
    with pytest.raises(ConfigError, match="give low, high or both"):
        rule(rule="score_range")
    with pytest.raises(ConfigError, match="class"):
        rule(rule="required_driver", column="x", share=0.1, **{"class": "a"})  # drivers are those of all classes


def test_attributions_of_numbers_add_up_and_those_of_classes_are_sizes() -> None:
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(rng.normal(size=(400, 3)), columns=["x", "y", "z"])
    number = (2 * rows["x"] - rows["y"] + rng.normal(size=400) * 0.1).to_numpy()
    code = np.digitize(rows["x"], [-0.5, 0.5])
    for estimator in (Ridge(), HistGradientBoostingRegressor(max_iter=20)):
        pipeline = _fitted(estimator, rows, number)
        found = attributions(pipeline, rows, rows, 0)
        gap = pipeline.predict(rows) - found.sum(axis=1).to_numpy()
        assert np.ptp(gap) < 1e-6
    for estimator in (LogisticRegression(), HistGradientBoostingClassifier(max_iter=20)):
        found = attributions(_fitted(estimator, rows, code), rows, rows, 0)
        assert (found.to_numpy() >= 0).all() and found.abs().mean().idxmax() == "x"
    trees = _fitted(HistGradientBoostingClassifier(max_iter=20), rows, code)
    margins = np.moveaxis(
        np.asarray(
            shap.TreeExplainer(trees.named_steps["estimator"]).shap_values(rows.to_numpy(), check_additivity=False)
        ),
        2,
        0,
    )
    by_hand = np.abs(margins - margins.mean(axis=0)).mean(axis=0)
    assert attributions(trees, rows, rows, 0).to_numpy() == pytest.approx(by_hand)
    shifted = [
        pd.DataFrame(m + 5.0) for m in margins
    ]  # what all margins share changes no probability, and no attribution
    assert _over_classes(shifted).to_numpy() == pytest.approx(by_hand)


def _fitted(estimator: Any, rows: pd.DataFrame, label: np.ndarray) -> Pipeline:
    prepare = ColumnTransformer([("number", FunctionTransformer(), list(rows.columns))])
    return Pipeline([("prepare", prepare), ("estimator", estimator)]).fit(rows, label)


def test_a_search_for_weak_slices_takes_numbers() -> None:
    rng = np.random.default_rng(6)
    rows = pd.DataFrame({"g": rng.choice(["p", "q", "r"], 4000), "n": rng.normal(size=4000)})
    score = rng.normal(size=4000)
    label = score + rng.normal(size=4000) + np.where(rows["g"] == "q", 1.0, 0.0)
    found = weak_slices(rows, label, score, None, "squared_error", float("nan"), 0.1, 200, 0.95, 0)
    assert found[0].confirmed and found[0].sentence == "g q"
