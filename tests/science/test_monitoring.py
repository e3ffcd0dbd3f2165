"""Drift, estimation, findings and decisions: false alarms, planted changes, and the policy line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tasks.science.decisions import compare_versions, decide
from tasks.science.drift import shift
from tasks.science.estimation import calibrated, estimate, estimate_with_interval
from tasks.science.monitoring import examine_window
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig, load_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


def rows(config: ModelConfig, n: int, seed: int) -> pd.DataFrame:
    """Rows of the right columns with a score that is calibrated by construction."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {c.name: rng.choice(["0", "1"], n) if c.type == "category" else rng.normal(50, 10, n).clip(0, 100) for c in config.inputs}
    )
    frame["black"] = rng.integers(0, 2, n).astype(float)
    frame["_score"] = rng.beta(2, 2, n)
    frame["_label"] = (rng.random(n) < frame["_score"]).astype(float)
    return frame


@pytest.mark.parametrize("size", [200, 2000, 20000])
def test_no_change_is_quiet_at_every_window_size(config: ModelConfig, size: int) -> None:
    reference = rows(config, 5000, 0)
    alarms = 0
    for seed in range(1, 13):
        findings = examine_window(config, reference, rows(config, size, seed), {}, seed)
        alarms += any(f.alarm for f in findings)
    assert alarms <= 1


def test_planted_changes_are_found_and_named(config: ModelConfig) -> None:
    reference, window = rows(config, 5000, 0), rows(config, 2000, 1)
    window["income"] += 15
    window["site"] = "new"
    window["mdeoff"] = np.nan
    window["_score"] = window["_score"] ** 0.3
    found = {(f.kind, f.subject) for f in examine_window(config, reference, window, {"income": 0.3}, 0) if f.alarm}
    expected = {("data_drift", "income"), ("data_drift", "site"), ("missingness", "mdeoff"), ("prediction_drift", "score")}
    assert expected <= found
    assert any(kind == "selection_rate" for kind, _ in found)


@pytest.mark.parametrize("name", ["empty", "one row"])
def test_a_window_too_small_says_so(config: ModelConfig, name: str) -> None:
    window = rows(config, 5, 0).head(0 if name == "empty" else 1)
    (finding,) = examine_window(config, rows(config, 500, 1), window, {}, 0)
    assert finding.value is None and "nothing is concluded" in finding.sentence


def test_labels_of_one_class_are_not_judged(config: ModelConfig) -> None:
    window = rows(config, 500, 0).assign(_label=1.0)
    realized = [f for f in examine_window(config, rows(config, 2000, 1), window, {}, 0) if f.kind == "realized_performance"]
    assert [f.value for f in realized] == [None] and "one class only" in realized[0].sentence


def test_a_constant_column_that_stays_is_no_drift() -> None:
    assert shift(pd.Series([1.0] * 300), pd.Series([1.0] * 200), "c").p_value == 1.0


def test_estimates_agree_with_what_labels_say_when_scores_are_calibrated(config: ModelConfig) -> None:
    frame = rows(config, 200_000, 3)
    score, label = frame["_score"].to_numpy(), frame["_label"].to_numpy()
    assert estimate("log_loss", score, score, 0.5) == pytest.approx(log_loss(label, score), abs=0.005)
    assert estimate("roc_auc", score, score, 0.5) == pytest.approx(roc_auc_score(label, score), abs=0.005)
    assert calibrated(score, label, score) == pytest.approx(score, abs=0.02)


def test_estimate_intervals_cover_the_expected_value_under_covariate_shift() -> None:
    rng, held = np.random.default_rng(1), 0
    truth_score = rng.beta(4, 2, 400_000)
    truth = estimate("log_loss", truth_score, truth_score, 0.5)
    for seed in range(60):
        reference = rng.beta(2, 2, 2000)
        label = (rng.random(2000) < reference).astype(float)
        _, low, high = estimate_with_interval("log_loss", reference, label, rng.beta(4, 2, 1000), 0.5, seed)
        held += low <= truth <= high
    assert held >= 50


def finding(kind: Any, alarm: bool = True, importance: float | None = None) -> Finding:
    return Finding(kind=kind, subject="x", value=1.0, rows=100, alarm=alarm, importance=importance, sentence=f"{kind} moved")


def report(action: Any) -> WindowReport:
    decision = Decision(action=action, reason="", policy="")
    return WindowReport(
        model="care", version="v1.0.0", window=1, first="", last="", first_seq=1, last_seq=2, rows=2, labelled=0, created="", findings=(), decision=decision
    )


BETTER = Alternative(version="v1.0.0", metric="log_loss", current=0.4, earlier=0.3, difference_low=-0.2, difference_high=-0.1, rows=9, better=True, basis="realized")


@pytest.mark.parametrize(
    ("findings", "history", "alternatives", "labelled", "action"),
    [
        ([], [], [], 0, "nothing"),
        ([finding("estimated_performance", alarm=False)], [], [], 9999, "nothing"),
        ([finding("data_drift", importance=0.001)], [], [], 9999, "nothing"),
        ([finding("data_drift", importance=0.2)], [], [], 9999, "alert"),
        ([finding("estimated_performance")], [], [], 10, "alert"),
        ([finding("estimated_performance")], [], [], 9999, "retrain"),
        ([finding("estimated_performance")], [report("retrain")], [], 9999, "alert"),
        ([finding("realized_performance")], [], [BETTER], 9999, "roll_back"),
        ([], [], [BETTER], 9999, "nothing"),
    ],
)
def test_the_policy(config: ModelConfig, findings: list[Finding], history: list[WindowReport], alternatives: list[Alternative], labelled: int, action: str) -> None:
    decision = decide(config, findings, history, alternatives, labelled)
    assert decision.action == action
    assert (decision.target == "v1.0.0") == (action == "roll_back")


def test_an_earlier_version_is_better_only_where_labels_prove_it() -> None:
    rng = np.random.default_rng(0)
    good = rng.beta(2, 2, 2000)
    label = rng.random(2000) < good
    assert compare_versions(label, np.full(2000, 0.5), good, "v1.0.0", 0.5, 0).better
    assert not compare_versions(label, good, np.full(2000, 0.5), "v1.0.0", 0.5, 0).better
    assert not compare_versions(None, np.full(2000, 0.5), good, "v1.0.0", 0.5, 0).better
