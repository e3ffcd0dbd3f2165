"""The policy line by line: what justifies withdrawing a version, what a retraining, and what waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.science.decisions import asks_for_retraining, compare_versions, decide
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig, load_model


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(Path(__file__).resolve().parents[2], "income")


def finding(kind: Any, value: float | None = 1.0, alarm: bool = True, importance: float | None = None) -> Finding:
    return Finding(kind=kind, subject="x", value=value, rows=100, alarm=alarm, importance=importance, sentence=f"{kind} speaks")


def alternative(version: str, high: float) -> Alternative:
    return Alternative(
        version=version, metric="log_loss", current=0.4, earlier=0.3, difference_low=-0.3, difference_high=high, rows=9, better=high < 0, basis="realized"
    )


def report(decision: Decision, first: str = "2026-01-01T00:00", created: str = "2026-01-01T01:00") -> WindowReport:
    return WindowReport(
        model="income", version="v1.0.0", window=1, first=first, last=first, first_seq=1, last_seq=2, rows=2, labelled=0, created=created, findings=(), decision=decision
    )


def retrain(waits_for: int = 0) -> Decision:
    return Decision(action="retrain", reason="", policy="", waits_for=waits_for)


ALERT = Decision(action="alert", reason="", policy="")


@pytest.mark.parametrize(
    ("kinds", "alone", "beside_a_better_version"),
    [
        ([], "nothing", "nothing"),
        (["realized_performance"], "retrain", "roll_back"),
        (["estimated_performance"], "retrain", "roll_back"),
        (["prediction_drift"], "alert", "alert"),
        (["selection_rate"], "alert", "alert"),
        (["prediction_drift", "selection_rate"], "retrain", "retrain"),
        (["prediction_drift", "selection_rate", "estimated_performance"], "retrain", "roll_back"),
    ],
)
def test_what_is_acted_on(config: ModelConfig, kinds: list[str], alone: str, beside_a_better_version: str) -> None:
    found = [finding(k) for k in kinds]
    assert decide(config, found, [], [], 9999).action == alone
    decision = decide(config, found, [], [alternative("v1.0.0", -0.1)], 9999)
    assert decision.action == beside_a_better_version
    assert (decision.target == "v1.0.0") == (decision.action == "roll_back")


@pytest.mark.parametrize(("importance", "action"), [(0.001, "nothing"), (0.2, "alert")])
def test_drift_of_a_column_counts_by_what_it_carries(config: ModelConfig, importance: float, action: str) -> None:
    assert decide(config, [finding("data_drift", importance=importance)], [], [], 9999).action == action


def test_of_two_earlier_versions_the_surer_one_is_chosen(config: ModelConfig) -> None:
    offered = [alternative("v1.0.0", -0.05), alternative("v2.0.0", -0.2), alternative("v3.0.0", 0.1)]
    assert decide(config, [finding("realized_performance")], [], offered, 0).target == "v2.0.0"


def test_a_retraining_is_decided_at_once_and_waits_for_its_labels(config: ModelConfig) -> None:
    early = decide(config, [finding("estimated_performance")], [], [], 1500)
    assert (early.action, early.waits_for) == ("retrain", 2500)
    assert "starts as soon as 2,500 more labelled rows are there" in early.reason and "once enough labelled rows are there" in early.policy
    ready = decide(config, [finding("estimated_performance")], [report(early)], [], 4000)
    assert (ready.action, ready.waits_for) == ("retrain", 0)
    assert [asks_for_retraining(report(d)) for d in (early, ready, ALERT)] == [False, True, False]


def test_one_retraining_per_cause_counts_from_the_one_that_was_started(config: ModelConfig) -> None:
    moved = [finding("realized_performance")]
    started = report(retrain())
    later = [report(d, first=f"2026-01-01T0{h}:00", created="2026-01-01T09:00") for h, d in ((2, ALERT), (3, retrain(100)))]
    assert decide(config, moved, [started], [], 0).action == "alert"
    assert decide(config, moved, [started, later[0]], [], 9999).action == "alert"
    assert decide(config, moved, [started, *later], [], 9999).action == "retrain"


def test_a_version_that_is_leaving_causes_no_retraining(config: ModelConfig) -> None:
    found = [finding("realized_performance")]
    assert decide(config, found, [], [], 10_000).action == "retrain"
    told = decide(config, found, [], [], 10_000, leaving=True)
    assert told.action == "alert" and told.reason.startswith("a rollback was decided already")
    assert decide(config, found, [], [alternative("v1.0.0", -0.1)], 10_000, leaving=True).action == "roll_back"


def test_a_window_that_was_not_judged_is_not_called_quiet(config: ModelConfig) -> None:
    assert decide(config, [finding("data_drift", value=None, alarm=False)], [], [], 0).reason == "data_drift speaks"
    assert decide(config, [finding("data_drift", alarm=False)], [], [], 0).reason == "no alarm"


def test_an_equal_version_is_not_better() -> None:
    score = np.random.default_rng(0).beta(2, 2, 500)
    label = np.random.default_rng(1).random(500) < score
    assert not compare_versions(label, score, score, "v1.0.0", 0.5, 0).better
