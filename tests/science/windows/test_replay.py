"""The past decided again: the same policy changes nothing, another one only what it says, and hindsight is not used."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.science.windows.decisions import DecisionContext, being_rolled_back, decide
from tasks.science.windows.replay import judged_again, replay
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig, load_model
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return watched(load_model(ROOT, "income"), metrics={"log_loss": 0.15}, retrain_rows=4000)


def watched(config: ModelConfig, **monitoring: Any) -> ModelConfig:
    return config.model_copy(update={"monitoring": config.monitoring.model_copy(update=monitoring)})


def loss(
    value: float, alarm: bool, tolerated: float = 0.15, error: float = 0.01, kind: Any = "realized_performance"
) -> Finding:
    sentence = f"log_loss is {value}"
    return Finding(
        kind=kind,
        subject="log_loss",
        value=value,
        low=value - 2 * error,
        high=value + 2 * error,
        reference=0.4,
        limit=0.4 * (1 + tolerated),
        rows=2000,
        alarm=alarm,
        sentence=sentence,
    )


def drift(value: float, alarm: bool, limit: float = 0.1, kind: Any = "data_drift") -> Finding:
    return Finding(
        kind=kind,
        subject="age",
        value=value,
        limit=limit,
        rows=2000,
        alarm=alarm,
        importance=0.3,
        sentence=f"age moved by {value}",
    )


def played(
    config: ModelConfig,
    windows: list[list[Finding]],
    version: str = "v1.0.0",
    alternatives: tuple[Alternative, ...] = (),
) -> list[WindowReport]:
    """Reports as the monitor writes them, window by window, with 2,000 labelled rows each."""
    reports: list[WindowReport] = []
    for number, findings in enumerate(windows, 1):
        labelled = 0
        for r in [*reversed(reports)]:
            if not any(f.alarm for f in r.findings):
                break
            labelled += r.labelled
        decision = decide(
            DecisionContext(
                config, findings, reports, alternatives, labelled + 2000, number, being_rolled_back(reports, number)
            )
        )
        stamp = f"2026-01-{number:02d}T00:00:00+00:00"
        reports.append(
            WindowReport(
                model="income",
                version=version,
                window=number,
                first=stamp,
                last=stamp.replace("T00", "T05"),
                first_seq=number * 2000,
                last_seq=number * 2000 + 1999,
                rows=2000,
                labelled=2000,
                created=stamp.replace("T00", "T06"),
                findings=tuple(findings),
                alternatives=alternatives,
                decision=decision,
            )
        )
    return reports


QUIET, BAD = [loss(0.41, False)], [loss(0.5, True)]


def test_the_same_policy_decides_the_same(config: ModelConfig) -> None:
    reports = played(config, [QUIET, BAD, BAD, BAD, QUIET, QUIET, QUIET, BAD])
    assert {r.decision.action for r in reports} == {"nothing", "retrain", "alert"}
    found = replay(config, list(reversed(reports)))
    assert [w.window for w in found] == list(range(1, 9))
    assert not any(w.differs or w.changed or w.unknown for w in found)


def test_another_confirmation_moves_the_retraining_and_says_where(config: ModelConfig) -> None:
    reports = played(config, [QUIET, BAD, BAD, BAD])
    found = replay(watched(config, confirm_windows=3), reports)
    assert [(w.window, w.then.action, w.now.action) for w in found if w.differs] == [
        (2, "retrain", "alert"),
        (3, "retrain", "alert"),
        (4, "alert", "retrain"),
    ]
    assert found[1].then.waits_for == 2000 and found[3].now.waits_for == 0


def test_one_retraining_per_cause_counts_the_replayed_ones(config: ModelConfig) -> None:
    """With fewer rows to learn from, the first retraining comes earlier, and the one of then is not asked for again."""
    reports = played(config, [QUIET, BAD, BAD, BAD])
    now = [w.now for w in replay(watched(config, retrain_rows=2000, cooldown_windows=5), reports)]
    assert [(d.action, d.waits_for) for d in now] == [("nothing", 0), ("retrain", 0), ("alert", 0), ("alert", 0)]


def test_a_version_that_would_have_left_is_not_retrained(config: ModelConfig) -> None:
    better = Alternative(
        version="v0.9.0",
        metric="log_loss",
        current=0.5,
        earlier=0.4,
        difference_low=-0.2,
        difference_high=-0.05,
        rows=2000,
        better=True,
        basis="realized",
    )
    reports = played(config, [BAD, BAD], version="v2.0.0", alternatives=(better,))
    reports[1] = reports[1].model_copy(update={"alternatives": ()})
    assert [w.now.action for w in replay(config, reports)] == ["roll_back", "alert"]


def test_versions_do_not_share_their_history(config: ModelConfig) -> None:
    first = played(config, [BAD, BAD])
    second = [r.model_copy(update={"window": r.window + 2}) for r in played(config, [BAD, BAD], version="v2.0.0")]
    assert [w.now.waits_for for w in replay(config, [*first, *second])] == [2000, 0, 2000, 0]


@pytest.mark.parametrize(
    ("finding", "changed", "alarm", "unknown"),
    [
        (loss(0.5, True), {"metrics": {"log_loss": 0.3}}, False, ""),  # an alarm that a wider limit lifts
        (loss(0.5, True), {"metrics": {"log_loss": 0.1}}, True, ""),
        (loss(0.45, False), {"metrics": {"log_loss": 0.1}}, True, ""),  # five standard errors from the reference
        (loss(0.45, False, error=0.03), {"metrics": {"log_loss": 0.1}}, False, ""),  # beyond, and not surely
        (
            loss(0.47, False),
            {"metrics": {"log_loss": 0.1}},
            False,
            "",
        ),  # beyond the limit of then as well, and it was no alarm
        (
            loss(0.45, False).model_copy(update={"low": None, "high": None}),
            {"metrics": {"log_loss": 0.1}},
            False,
            "without an interval",
        ),
        (
            loss(0.5, True).model_copy(update={"limit": None}),
            {"metrics": {"log_loss": 0.1}},
            True,
            "does not keep its reference and limit",
        ),
        (drift(0.15, True), {"drift_distance": 0.2}, False, ""),
        (drift(0.15, True), {"drift_distance": 0.05}, True, ""),
        (drift(0.08, False), {"drift_distance": 0.05}, False, "whether significantly was not kept"),
        (drift(0.04, False), {"drift_distance": 0.05}, False, ""),
        (drift(0.3, True, 0.2, "attribution_drift"), {"attribution_change": 0.4}, False, ""),
        (drift(0.3, False, 0.5, "forecast"), {"forecast": {"probability": 0.2}}, True, ""),
        (drift(0.3, True, 0.2, "forecast"), {"forecast": {"probability": 0.5}}, False, ""),
        (drift(0.7, True, 0.2, "expert_rule"), {"drift_distance": 0.9}, True, ""),  # a rule has limits of its own
    ],
)
def test_what_other_limits_make_of_a_finding(
    config: ModelConfig, finding: Finding, changed: dict[str, Any], alarm: bool, unknown: str
) -> None:
    raw = config.monitoring.model_dump(mode="json") | changed
    other = config.model_copy(update={"monitoring": type(config.monitoring).model_validate(raw, strict=False)})
    findings, said, missing = judged_again(other, [finding, loss(0.41, False, kind="estimated_performance")])
    assert findings[0].alarm is alarm
    assert (unknown in "; ".join(missing)) and bool(missing) == bool(unknown)
    assert bool(said) == (alarm is not finding.alarm)


@pytest.mark.parametrize(
    ("value", "alarm", "tolerated", "now", "unknown"),
    [
        (0.18, True, 1.0, False, False),
        (0.18, True, 0.5, True, False),
        (0.14, False, 0.3, False, True),
        (0.105, False, 0.3, False, False),
    ],
)
def test_a_selection_rate_is_judged_again_by_its_ratio(
    config: ModelConfig, value: float, alarm: bool, tolerated: float, now: bool, unknown: bool
) -> None:
    rate = Finding(
        kind="selection_rate",
        subject="sex Female",
        value=value,
        low=value - 0.02,
        high=value + 0.02,
        reference=0.1,
        rows=900,
        alarm=alarm,
        sentence="",
    )
    findings, _, missing = judged_again(watched(config, selection_change=tolerated), [rate, *QUIET])
    assert (findings[0].alarm, bool(missing)) == (now, unknown)


def test_a_metric_that_was_not_watched_then_is_named(config: ModelConfig) -> None:
    findings, changed, unknown = judged_again(watched(config, metrics={"accuracy": 0.1}), BAD)
    assert not findings[0].alarm and changed == ["realized performance of log_loss is no alarm at the limit 0.46"]
    assert unknown == ["accuracy: it was not watched then, so nothing is known of it"]
    assert judged_again(config, [loss(0.4, False).model_copy(update={"value": None})])[1:] == ([], [])


def test_the_rows_to_learn_from_are_those_that_were_counted_then(config: ModelConfig) -> None:
    report = played(config, [BAD])[0].model_copy(
        update={"decision": Decision(action="retrain", reason="", policy="", learns_from=7777)}
    )
    assert replay(config, [report])[0].labelled == 7777
    assert replay(config, played(config, [QUIET, BAD, BAD]))[2].labelled == 4000
