"""Fairness of regressions and of one class among several: against fairlearn, verdicts, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, selection_rate, true_positive_rate
from pydantic import ValidationError
from sklearn.metrics import mean_absolute_error

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats.disparity import Sample, disparity, disparity_interval
from tasks.science.stats.group_counts import count_errors
from tasks.spec.gates import FairnessGate
from tests.science.gates.test_metrics import examination
from tests.statistics.non_inferiority import regression

RNG = np.random.default_rng(2)
SEX = pd.DataFrame({"sex": RNG.choice(["f", "m"], 2000), "age": RNG.choice(["old", "young"], 2000)})


def gate(measure: str, limit: float = 0.2, **more: Any) -> FairnessGate:
    return FairnessGate.model_validate(
        {
            "name": "fair",
            "kind": "fairness",
            "attribute": "sex",
            "measure": measure,
            "statistic": "difference",
            "limit": limit,
            **more,
        }
    )


def mean_error(label: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.mean(predicted - label))


@pytest.mark.parametrize(
    ("measure", "peer"), [("mean_error", mean_error), ("mean_absolute_error", mean_absolute_error)]
)
@pytest.mark.parametrize("attributes", [("sex",), ("sex", "age")])
def test_errors_by_group_are_fairlearns_to_the_last_digit(measure: str, peer: Any, attributes: tuple[str, ...]) -> None:
    label, predicted, _ = regression(np.random.default_rng(1), 2000)
    frame = MetricFrame(metrics=peer, y_true=label, y_pred=predicted, sensitive_features=SEX[list(attributes)])
    found = count_errors(label, predicted, SEX, measure == "mean_absolute_error").groups(*attributes).sample(measure)
    assert found.values[0] == pytest.approx(frame.by_group.to_numpy(float), abs=1e-14)
    assert disparity(found.values, "difference") == pytest.approx(frame.difference(), abs=1e-14)
    if measure == "mean_absolute_error":
        assert disparity(found.values, "ratio") == pytest.approx(frame.ratio(), abs=1e-14)


@pytest.mark.parametrize(
    ("measure", "peer"), [("selection_rate", selection_rate), ("true_positive_rate", true_positive_rate)]
)
def test_a_named_class_is_held_against_the_rest(measure: str, peer: Any) -> None:
    evidence = examination("multiclass", 2000, groups=SEX)
    chosen, label = evidence.score.argmax(axis=1) == 2, evidence.label == 2
    frame = MetricFrame(metrics=peer, y_true=label, y_pred=chosen, sensitive_features=SEX["sex"])
    found = run_gate(gate(measure, 0.4, class_name="high"), evidence)
    assert found.measurements[0].value == pytest.approx(frame.difference(), abs=1e-14)
    assert found.state == "pass"


def test_a_group_with_larger_errors_fails_and_equal_ones_pass() -> None:
    label, predicted, _ = regression(np.random.default_rng(1), 2000)
    evidence: Examination = examination("regression", 2000, groups=SEX, label=label, score=predicted)
    worse = examination(
        "regression", 2000, groups=SEX, label=label, score=predicted + np.where(SEX["sex"] == "f", 0.8, 0.0)
    )
    for measure in ("mean_error", "mean_absolute_error"):
        assert [run_gate(gate(measure), x).state for x in (evidence, worse)] == ["pass", "fail"]
    ratio = gate("mean_absolute_error", 0.8, statistic="ratio")
    assert [run_gate(ratio, x).state for x in (evidence, worse)] == ["pass", "fail"]


@pytest.mark.parametrize("statistic", ["difference", "ratio"])
def test_intervals_of_mean_errors_hold_the_truth(statistic: str) -> None:
    """Absolute errors of exponential law with means 1, 1 and 1.4: the two-sided 95 % interval holds in all but a few of
    120 runs."""
    rng, held, means, rows = np.random.default_rng(3), 0, np.array([1.0, 1.0, 1.4]), np.array([400, 200, 100])
    truth = 0.4 if statistic == "difference" else 1 / 1.4
    for _ in range(120):
        drawn = [rng.exponential(m, n) for m, n in zip(means, rows, strict=True)]
        sample = Sample(
            np.array([[d.mean() for d in drawn]]), rows[None].astype(float), np.array([[d.std(ddof=1) for d in drawn]])
        )
        low, high = disparity_interval(sample, statistic, 0.95, int(rng.integers(2**31)), 400)
        held += low <= truth <= high
    assert held >= 120 * (0.95 - 3.5 * np.sqrt(0.95 * 0.05 / 120))


@pytest.mark.parametrize(
    ("kind", "asked", "says"),
    [
        (
            "regression",
            gate("selection_rate"),
            "gate fair names the measure 'selection_rate'; allowed for a regression model: mean_error, "
            "mean_absolute_error",
        ),
        (
            "binary",
            gate("mean_error"),
            "gate fair names the measure 'mean_error'; allowed for a binary model: selection_rate, true_positive_rate",
        ),
        (
            "binary",
            gate("accuracy", class_name="high"),
            "gate fair names the class 'high', and a binary model has no classes to compare with the rest; leave "
            "class_name out",
        ),
        ("multiclass", gate("accuracy"), "gate fair names no class; give class_name, one of: low, middle, high"),
        (
            "multiclass",
            gate("accuracy", class_name="huge"),
            "gate fair names the class 'huge'; allowed: low, middle, high",
        ),
    ],
)
def test_what_means_nothing_for_a_kind_is_refused_in_words(kind: Any, asked: FairnessGate, says: str) -> None:
    found = run_gate(asked, examination(kind, 2000, groups=SEX))
    assert found.state == "fail" and says in found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"measure": "mean_error", "statistic": "ratio"},
        {"measure": "accuracy", "limit": 2},
        {"measure": "mean_absolute_error", "statistic": "ratio", "limit": 2},
    ],
)
def test_gates_that_mean_nothing_are_refused_by_the_schema(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        gate(**({"measure": "accuracy"} | wrong))


def test_predictions_that_are_no_numbers_are_no_pass() -> None:
    label, predicted, _ = regression(np.random.default_rng(1), 2000)
    assert (
        run_gate(
            gate("mean_error", 9.0),
            examination("regression", 2000, groups=SEX, score=np.where(np.arange(2000) == 5, np.nan, predicted)),
        ).state
        == "fail"
    )
    constant = run_gate(
        gate("mean_absolute_error", 9.0),
        examination("regression", 2000, groups=SEX, label=np.zeros(2000), score=np.ones(2000)),
    )
    assert constant.state == "insufficient_evidence"
