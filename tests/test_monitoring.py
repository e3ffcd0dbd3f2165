"""What monitoring starts, and what it leaves waiting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks import monitoring
from tasks.records.pages import window_markdown, window_page
from tasks.spec.evidence import Decision, WindowReport


def report(**decision: Any) -> WindowReport:
    return WindowReport(
        model="income", version="v1.0.0", window=4, first="t", last="t", first_seq=1, last_seq=2, rows=2000, labelled=0, created="t", findings=(),
        decision=Decision(reason="because", policy="line", **decision),
    )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    runs: list[str] = []
    champion = SimpleNamespace(tag="v1.0.0")
    monkeypatch.setattr(monitoring, "Registry", lambda settings: SimpleNamespace(champion=lambda model: champion, assignments=lambda model: 1))

    def run_deployment(name: str, **options: Any) -> SimpleNamespace:
        runs.append(f"{name} {options['idempotency_key']}")
        return SimpleNamespace(id="run")

    monkeypatch.setattr(monitoring, "run_deployment", run_deployment)
    return runs


def test_a_retraining_starts_only_once_its_labels_are_there(started: list[str]) -> None:
    assert monitoring.act.fn(report(action="retrain", waits_for=4000)) is None
    assert started == []
    assert monitoring.act.fn(report(action="retrain")) == "run"
    assert started == ["train/training retrain-income-v1.0.0-4"]


def test_an_alert_starts_nothing_and_a_rollback_does(started: list[str]) -> None:
    assert monitoring.act.fn(report(action="alert")) is None
    assert monitoring.act.fn(report(action="roll_back", target="v0.9.0")) == "run"
    assert started == ["roll-back/rollback roll_back-income-v1.0.0-1"]


def test_a_reader_sees_that_a_retraining_waits() -> None:
    for decision, words in (({"action": "retrain", "waits_for": 9}, "Retrain, once labels are there."), ({"action": "retrain"}, "Retrain."), ({"action": "alert"}, "Alert.")):
        assert words in window_markdown(report(**decision), []) and words in window_page(report(**decision), [], "Income")
