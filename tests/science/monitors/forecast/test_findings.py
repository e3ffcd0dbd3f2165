"""The trigger: series out of findings, one finding each, and the record of what became of its calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.science.monitors.forecast.findings import forecast_findings, watched_series
from tasks.science.monitors.forecast.track_record import record_rows, record_sentence, trigger_record
from tasks.spec.evidence import Decision, Finding, WindowReport
from tasks.spec.forecast import TriggerRecord
from tasks.spec.model import ModelConfig, load_model
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    config = load_model(ROOT, "income")
    return config.model_copy(
        update={"monitoring": config.monitoring.model_copy(update={"metrics": {"log_loss": 0.15}, "metric_limits": {}})}
    )


def limited(config: ModelConfig, **monitoring: Any) -> ModelConfig:
    return config.model_copy(update={"monitoring": config.monitoring.model_copy(update=monitoring)})


def found(
    value: float | None,
    kind: Any = "realized_performance",
    subject: str = "log_loss",
    limit: float | None = 0.345,
    reference: float | None = 0.3,
    error: float = 0.005,
) -> Finding:
    ends = {} if value is None else {"low": value - 1.96 * error, "high": value + 1.96 * error}
    return Finding(
        kind=kind,
        subject=subject,
        value=value,
        **ends,
        limit=limit,
        reference=reference,
        rows=2000,
        alarm=False,
        sentence="",
    )


def report(window: int, *findings: Finding, version: str = "v1.0.0", action: Any = "nothing") -> WindowReport:
    decision = Decision(action=action, reason="", policy="")
    return WindowReport(
        model="income",
        version=version,
        window=window,
        first="",
        last="",
        first_seq=window,
        last_seq=window,
        rows=2000,
        labelled=2000,
        created="",
        findings=findings,
        decision=decision,
    )


def rising(n: int, start: float = 0.3, slope: float = 0.003, **more: Any) -> list[WindowReport]:
    rng = np.random.default_rng(0)
    return [report(i + 1, found(start + slope * i + 0.002 * rng.normal(), **more)) for i in range(n)]


def test_a_breach_to_come_is_an_alarm_with_its_time(config: ModelConfig) -> None:
    findings, forecasts = forecast_findings(config, rising(13), [found(0.339)], 14, 0)
    (alarm,), (made,) = findings, forecasts
    assert (alarm.kind, alarm.subject, alarm.alarm, alarm.limit, alarm.rows) == (
        "forecast",
        "log_loss",
        True,
        0.3,
        2000,
    )
    assert alarm.value == made.probability and alarm.value is not None and alarm.value > 0.6
    assert (
        alarm.sentence.startswith("log_loss is likely to cross 0.345 in ")
        and "80 %); probability within 4 windows " in alarm.sentence
    )


def test_a_flat_series_and_a_higher_bar_are_quiet(config: ModelConfig) -> None:
    (quiet,), _ = forecast_findings(config, rising(13, slope=0.0), [found(0.3)], 14, 0)
    assert (
        not quiet.alarm
        and quiet.value is not None
        and quiet.value < 0.01
        and "is not likely to cross 0.345" in quiet.sentence
    )
    policy = config.monitoring.forecast.model_copy(update={"probability": 0.999})
    assert not forecast_findings(limited(config, forecast=policy), rising(13), [found(0.337)], 14, 0)[0][0].alarm


def test_too_little_history_is_a_finding_without_a_value(config: ModelConfig) -> None:
    (silent,), (made,) = forecast_findings(config, rising(2), [found(0.34)], 3, 0)
    assert (silent.value, silent.alarm, made.valid) == (None, False, False)
    assert silent.sentence == "log_loss: no forecast: 3 windows were observed and a forecast needs 6: 3 more"
    assert forecast_findings(config, [], [], 1, 0) == ([], []), "nothing was judged yet, so there is no limit to cross"


def test_windows_that_come_later_are_not_known(config: ModelConfig) -> None:
    rows = rising(20)
    early = forecast_findings(config, rows[:9], rows[9].findings, 10, 0)
    assert forecast_findings(config, [*rows[:9], *rows[10:]], rows[9].findings, 10, 0) == early


def test_a_window_that_is_judged_again_keeps_its_forecast(config: ModelConfig) -> None:
    rows = rising(13)
    first, _ = forecast_findings(config, rows, [found(0.3, "estimated_performance")], 14, 0)
    seen = report(14, found(0.3, "estimated_performance"), *first)
    again, forecasts = forecast_findings(config, [*rows, seen], [found(0.4)], 14, 0)
    assert again == first and forecasts == []


def test_the_tighter_limit_is_the_findings_and_each_has_its_forecast(config: ModelConfig) -> None:
    for absolute, first in ((0.33, 0.33), (0.4, 0.345)):
        (finding,), forecasts = forecast_findings(
            limited(config, metric_limits={"log_loss": absolute}), rising(13), [found(0.337)], 14, 0
        )
        assert (
            [f.limit for f in forecasts] == sorted((absolute, 0.345))
            and finding.value == forecasts[0].probability
            and f"{first:.3f}" in finding.sentence
        )
    higher = limited(config, metrics={"roc_auc": 0.1}, metric_limits={"roc_auc": 0.7})
    (watched,) = watched_series(higher, [(1, [found(0.85, subject="roc_auc", limit=0.765, reference=0.85)])])
    assert watched.greater_is_better and watched.limits == (0.765, 0.7)


def test_realized_values_replace_estimates_which_stay_beside_them(config: ModelConfig) -> None:
    (watched,) = watched_series(
        config, [(2, [found(0.33, "estimated_performance")]), (1, [found(0.31, "estimated_performance"), found(0.3)])]
    )
    one, two = watched.series
    assert (one.value, one.realized, one.estimate) == (0.3, True, 0.31) and (two.value, two.realized, two.estimate) == (
        0.33,
        False,
        None,
    )
    assert one.error == pytest.approx(0.005, rel=1e-4)


@pytest.mark.parametrize(
    "change", [{"value": None}, {"low": None, "high": None}, {"high": float("inf")}, {"low": 0.5, "high": 0.1}]
)
def test_what_has_no_value_or_interval_is_no_observation(config: ModelConfig, change: dict[str, Any]) -> None:
    odd = found(0.3).model_copy(update=change)
    assert all(w.series == () for w in watched_series(config, [(1, [odd])]))
    findings, _ = forecast_findings(config, [], [found(0.3, "estimated_performance"), odd], 1, 0)
    assert len(findings) == 1 and findings[0].value is None


def test_gaps_are_foreseen_too(config: ModelConfig) -> None:
    """A selection rate may move to either side; a gap has the limit that its finding carries."""
    rate = {"kind": "selection_rate", "subject": "sex Female", "limit": None, "reference": 0.2}
    (up,) = watched_series(config, [(1, [found(0.22, **rate)])])
    (down,) = watched_series(config, [(1, [found(0.18, **rate)])])
    change = 1 + config.monitoring.selection_change
    assert (up.subject, up.limits, up.greater_is_better) == (
        "selection rate of sex Female",
        (pytest.approx(0.2 * change),),
        False,
    )
    assert (down.limits, down.greater_is_better) == ((pytest.approx(0.2 / change),), True)
    gap = {"kind": "estimated_fairness", "subject": "equal opportunity by sex", "limit": 0.2, "reference": 0.1}
    findings, _ = forecast_findings(config, rising(13, 0.1, 0.008, **gap), [found(0.198, **gap)], 14, 0)
    assert findings[0].alarm and findings[0].subject == "estimated fairness of equal opportunity by sex"
    ratio = found(0.9, "estimated_fairness", "ratio by sex", 0.8, 0.95)
    assert watched_series(config, [(1, [ratio])])[0].greater_is_better
    assert watched_series(config, [(1, [ratio.model_copy(update={"limit": None})])]) == []


def called(value: float = 0.3, alarm: bool = False, probability: float | None = 0.1) -> tuple[Finding, ...]:
    return found(value), Finding(
        kind="forecast", subject="log_loss", value=probability, limit=0.5, rows=2000, alarm=alarm, sentence=""
    )


GOOD, CALL, BREACH = called(), called(alarm=True, probability=0.8), called(0.4)


def record(config: ModelConfig, *windows: tuple[Finding, ...], **more: Any) -> TriggerRecord:
    return trigger_record(config, [report(i, *w) for i, w in enumerate(windows, 1)] + more.get("later", []))


def test_a_hit_has_its_lead(config: ModelConfig) -> None:
    (call,) = record(config, GOOD, CALL, CALL, GOOD, BREACH, BREACH).calls
    assert (call.outcome, call.window, call.breach, call.lead, call.within, call.probability) == (
        "hit",
        2,
        5,
        3,
        4,
        0.8,
    )
    assert (
        record(config, CALL, BREACH).calls[0].lead,
        record(config, CALL, GOOD, GOOD, GOOD, BREACH).calls[0].lead,
    ) == (1, 4)


def test_a_call_without_a_breach_is_false_once_its_time_is_over(config: ModelConfig) -> None:
    assert [c.outcome for c in record(config, CALL, GOOD, GOOD, GOOD).calls] == ["open"]
    assert [c.outcome for c in record(config, CALL, GOOD, GOOD, GOOD, GOOD).calls] == ["false"]
    late = record(config, CALL, GOOD, GOOD, GOOD, GOOD, BREACH).calls
    assert [c.outcome for c in late] == ["false", "missed"], "a breach after the call's time is not its hit"
    assert [c.window for c in record(config, *[CALL] * 9).calls] == [1, 5, 9], (
        "one that goes on is called anew when its time is over"
    )


def test_a_breach_without_a_call_is_missed_and_told_once(config: ModelConfig) -> None:
    calls = record(config, GOOD, BREACH, GOOD, BREACH, GOOD, GOOD, BREACH).calls
    assert [(c.outcome, c.window) for c in calls] == [("missed", 2), ("missed", 7)], (
        "it is over after clear_windows, not after one"
    )
    assert "no call came before it" in calls[0].sentence
    blind = record(config, called(probability=None), called(0.4, probability=None)).calls
    assert "there was no forecast yet" in blind[0].sentence


def test_what_is_called_during_a_breach_is_no_call(config: ModelConfig) -> None:
    during = called(0.4, alarm=True, probability=0.99)
    assert [c.outcome for c in record(config, GOOD, during, during, CALL, during).calls] == ["missed"]


def test_a_version_that_was_replaced_in_time_was_prevented(config: ModelConfig) -> None:
    newer = [report(i, *GOOD, version="v2.0.0") for i in (4, 5)]
    (call,) = record(config, GOOD, CALL, GOOD, later=newer).calls
    assert call.outcome == "prevented" and "v1.0.0 was replaced before window 4" in call.sentence
    assert record(config, GOOD, CALL, BREACH, later=newer).calls[0].outcome == "hit"
    assert (
        record(config, GOOD, CALL, GOOD, GOOD, GOOD, GOOD, later=[report(7, *GOOD, version="v2.0.0")]).calls[0].outcome
        == "false"
    )


def test_the_record_in_words_and_rows(config: ModelConfig) -> None:
    done = record(config, GOOD, CALL, GOOD, BREACH, GOOD, GOOD, GOOD, BREACH)
    assert (
        record_sentence(done)
        == "in 8 windows with a forecast: 1 hit with a median lead of 2 windows, 0 false calls, 0 prevented, 0 open; "
        "1 breach came without a call"
    )
    rows = record_rows(done)
    assert [(r["window"], r["happened"], r["lead"]) for r in rows] == [
        ("8", "✕ breach without a call", ""),
        ("2", "✓ breach came", "2"),
    ]
    assert record_sentence(TriggerRecord()) == "no window had a forecast yet"
    assert TriggerRecord.model_validate_json(done.model_dump_json()) == done
