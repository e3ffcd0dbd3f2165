"""Calibration against statsmodels, against known truths by simulation, and the gate on good and bad scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import logit
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.science.stats.calibration import calibration_error, intercept, reliability, slope
from tasks.spec.gates import CalibrationGate
from tests.statistics import calibration as simulation

GATE = CalibrationGate(name="calibration", kind="calibration", error=0.05)


def examination(label: np.ndarray, score: np.ndarray, **changes: Any) -> Examination:
    fields: dict[str, Any] = dict.fromkeys(Examination.__dataclass_fields__) | {"kind": "binary", "classes": ()}
    benchmark = np.full(len(label), "holdout")
    groups = pd.DataFrame({"sex": np.where(np.arange(len(label)) % 2, "female", "male")})
    return Examination(
        **(
            fields
            | {
                "label": label,
                "score": score,
                "benchmark": benchmark,
                "groups": groups,
                "rows": pd.DataFrame(index=groups.index),
                "decision_threshold": 0.5,
                "seed": 1,
            }
            | changes
        )
    )


def test_slope_and_intercept_are_those_of_statsmodels() -> None:
    label, score = simulation.draw(3000, 0.3, 0.8, 0)
    odds, z = logit(score), norm.ppf(0.95)
    fitted = sm.Logit(label.astype(float), sm.add_constant(odds)).fit(disp=0, cov_type="HC0")
    found = slope(label, score, 0.95)
    assert (found.value, found.high - found.value) == pytest.approx((fitted.params[1], z * fitted.bse[1]), rel=1e-6)
    large = sm.GLM(label.astype(float), np.ones((3000, 1)), family=sm.families.Binomial(), offset=odds).fit(
        cov_type="HC0"
    )
    found = intercept(label, score, 0.95)
    assert (found.value, found.value - found.low) == pytest.approx((large.params[0], z * large.bse[0]), rel=1e-6)


def test_the_rate_of_each_bin_has_wilsons_interval() -> None:
    label, score = simulation.draw(1000, 0, 1, 0)
    table = reliability(label, score, 5, 0.975)
    assert [b.rows for b in table] == [200] * 5
    for b in table:
        assert (b.rate_low, b.rate_high) == pytest.approx(
            proportion_confint(round(b.rate * b.rows), b.rows, alpha=0.05, method="wilson"), abs=1e-9
        )
        assert b.low <= b.score <= b.high


def test_the_error_has_no_bias_and_its_bounds_hold() -> None:
    """The plain estimate of a calibrated model on 300 rows is 0.07 on average; one without bias is near 0."""
    true, _ = simulation.truth(0.5, 1.0)
    found = [calibration_error(*simulation.draw(300, 0.5, 1.0, seed), 10, 0.95, seed) for seed in range(300)]
    assert np.mean([i.value**2 for i in found]) == pytest.approx(true**2, abs=0.0015)
    assert np.mean([i.high >= true for i in found]) >= 0.95 - 2.6 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([i.low <= true for i in found]) >= 0.95 - 2.6 * np.sqrt(0.05 * 0.95 / 300)
    calibrated = [calibration_error(*simulation.draw(300, 0.0, 1.0, seed), 10, 0.95, seed).value for seed in range(100)]
    assert np.mean(calibrated) < 0.025


@pytest.mark.parametrize(
    ("shift", "steep", "n", "state", "says"),
    [
        (0.0, 1.0, 8000, "pass", "calibration error of all rows"),
        (0.0, 1.0, 600, "insufficient_evidence", "calibration "),
        (0.6, 1.0, 8000, "fail", "calibration intercept"),
        (0.0, 0.6, 8000, "fail", "calibration slope of all rows is 0."),
    ],
)
def test_the_gate_sees_scores_that_are_too_low_or_too_extreme(
    shift: float, steep: float, n: int, state: str, says: str
) -> None:
    result = run_gate(GATE, examination(*simulation.draw(n, shift, steep, 3)))
    assert result.state == state
    assert says in result.reason
    assert any(m.label.startswith("rate of all rows scored") for m in result.measurements)


def test_each_group_is_held_to_the_limits() -> None:
    low, high = simulation.draw(6000, -0.4, 1.0, 1), simulation.draw(6000, 0.4, 1.0, 2)
    label, score = (np.column_stack(pair).ravel() for pair in zip(low, high, strict=True))
    result = run_gate(GATE.model_copy(update={"by": "sex"}), examination(label, score))
    assert result.state == "fail"
    assert "calibration intercept of female" in result.reason and "calibration intercept of male" in result.reason


@pytest.mark.parametrize(
    ("gate", "changes", "state", "says"),
    [
        ({"by": "height"}, {}, "fail", "by names 'height'; allowed: sex"),
        ({"benchmark": "newer"}, {}, "fail", "benchmark 'newer' has no rows; there are: all, holdout"),
        ({"by": "sex"}, {"groups": pd.DataFrame({"sex": [None] * 600})}, "fail", "has 0 group"),
        ({}, {"score": np.full(600, np.nan)}, "fail", "scores are NaN or outside 0 to 1"),
        ({}, {"score": np.full(600, 0.4)}, "fail", "does not exist"),
        ({}, {"label": np.zeros(600, bool)}, "insufficient_evidence", "smaller class of all rows has 0 of 600"),
        ({}, {"score": simulation.draw(600, 0, 1, 0)[0].astype(float)}, "fail", "does not exist"),
    ],
    ids=str,
)
def test_bad_evidence_is_never_a_pass(gate: dict[str, Any], changes: dict[str, Any], state: str, says: str) -> None:
    label, score = simulation.draw(600, 0, 1, 0)
    result = run_gate(GATE.model_copy(update=gate), examination(**({"label": label, "score": score} | changes)))
    assert result.state == state
    assert says in result.reason
