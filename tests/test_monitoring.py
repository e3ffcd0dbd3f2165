"""What monitoring starts, and what it leaves waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tasks import monitoring
from tasks.delivery import what_to_start
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.pages.window import window_markdown, window_page
from tasks.records.registry import ledger
from tasks.science.windows.decisions import being_rolled_back
from tasks.spec.evidence import Decision, WindowReport
from tasks.spec.requests import MonitoringRequest
from tasks.spec.settings import Settings


def report(**decision: Any) -> WindowReport:
    return WindowReport(
        model="income",
        version="v1.0.0",
        window=4,
        first="t",
        last="t",
        first_seq=1,
        last_seq=2,
        rows=2000,
        labelled=0,
        created="t",
        findings=(),
        decision=Decision(reason="because", policy="line", **decision),
    )


def started(report: WindowReport, champion: str | None = "v1.0.0", attempts: int = 0) -> str | None:
    asked = what_to_start(report, champion, 1, "main", attempts)
    return f"{asked[0]} {asked[2]}" if asked else None


def test_a_retraining_starts_only_once_its_labels_are_there() -> None:
    assert started(report(action="retrain", waits_for=4000)) is None
    assert started(report(action="retrain")) == "train/training retrain-income-v1.0.0-4"


def test_an_alert_starts_nothing_and_a_rollback_does() -> None:
    assert started(report(action="alert")) is None
    assert started(report(action="roll_back", target="v0.9.0")) == "roll-back/rollback roll_back-income-v1.0.0-1"


def test_a_run_that_died_is_started_again_under_another_key() -> None:
    assert started(report(action="retrain"), attempts=1) == "train/training retrain-income-v1.0.0-4-again-1"
    leaving = report(action="roll_back", target="v0.9.0")
    assert started(leaving, attempts=2) == "roll-back/rollback roll_back-income-v1.0.0-1-again-2"


@pytest.mark.parametrize("champion", [None, "v2.0.0"])
def test_a_decision_on_a_version_that_serves_no_more_starts_nothing(champion: str | None) -> None:
    assert started(report(action="roll_back", target="v0.9.0"), champion) is None


def test_the_windows_after_a_rollback_was_decided_belong_to_a_version_that_leaves() -> None:
    decided = [
        report(action="roll_back").model_copy(update={"window": 4}),
        report(action="alert").model_copy(update={"window": 5}),
    ]
    assert being_rolled_back(decided, 6) and being_rolled_back(decided, 5)
    assert not being_rolled_back(decided, 8) and not being_rolled_back(decided, 4)


def test_a_reader_sees_that_a_retraining_waits() -> None:
    for decision, words in (
        ({"action": "retrain", "waits_for": 9}, "Retrain, once labels are there."),
        ({"action": "retrain"}, "Retrain."),
        ({"action": "alert"}, "Alert."),
    ):
        assert words in window_markdown(report(**decision), []) and words in window_page(
            report(**decision), [], "Income"
        )


def test_rows_beyond_their_time_are_deleted_and_the_ledger_keeps_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    settings.home.mkdir(parents=True, exist_ok=True)
    log, now = PredictionLog(settings.log_database), datetime.now(UTC)
    log.append(
        [
            Prediction(f"p{days}", "care", "v1.0.0", (now - timedelta(days=days)).isoformat(), {"x": 1}, 0.5, True)
            for days in (40, 31, 2)
        ]
    )
    request = MonitoringRequest(model="care", actor="test")
    for _ in range(2):  # the second time there is nothing left to delete, and nothing to tell
        monitoring._expire(log, request, 30)
    assert log.frame("care", 0, 2**62)["_id"].tolist() == ["p2"] and ledger.entries(settings, "care") == []
    log.enter_all("care", partial(ledger.append, settings))
    assert log.waiting("care") == []
    log.close()
    (entry,) = ledger.entries(settings, "care")
    assert (entry.kind, entry.model, entry.details["predictions"]) == (
        "forgotten",
        "care",
        2,
    ) and "older than 30 days" in entry.sentence
