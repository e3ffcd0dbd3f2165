"""The policy line by line: what justifies withdrawing a version, what a retraining, and what waits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tasks.science.windows.alternatives import compare_versions
from tasks.science.windows.decisions import POLICY, DecisionContext, asks_for_retraining, being_rolled_back
from tasks.science.windows.decisions import decide as decide_case
from tasks.science.windows.monitors import kinds
from tasks.spec.base import validate
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig, load_model
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "income")


def finding(
    kind: Any, value: float | None = 1.0, alarm: bool = True, importance: float | None = None, subject: str = "x"
) -> Finding:
    return Finding(
        kind=kind, subject=subject, value=value, rows=100, alarm=alarm, importance=importance, sentence=f"{kind} speaks"
    )


def alternative(version: str, high: float) -> Alternative:
    return Alternative(
        version=version,
        metric="log_loss",
        current=0.4,
        earlier=0.3,
        difference_low=-0.3,
        difference_high=high,
        rows=9,
        better=high < 0,
        basis="realized",
    )


def report(decision: Decision, first: str = "2026-01-01T00:00", created: str = "2026-01-01T01:00") -> WindowReport:
    return WindowReport(
        model="income",
        version="v1.0.0",
        window=1,
        first=first,
        last=first,
        first_seq=1,
        last_seq=2,
        rows=2,
        labelled=0,
        created=created,
        findings=(),
        decision=decision,
    )


def retrain(waits_for: int = 0) -> Decision:
    return Decision(action="retrain", reason="", policy="", waits_for=waits_for)


ALERT = Decision(action="alert", reason="", policy="")


def decide(config: ModelConfig, findings: Any, history: Any, alternatives: Any, labelled: int, **more: Any) -> Decision:
    return decide_case(DecisionContext(config, findings, history, alternatives, labelled, **more))


def watched(config: ModelConfig, **monitoring: Any) -> ModelConfig:
    return config.model_copy(update={"monitoring": config.monitoring.model_copy(update=monitoring)})


def window(number: int, decision: Decision, *kinds: str, created: str | None = None) -> WindowReport:
    stamp = f"2026-01-{number:02d}T00:00"
    return report(decision, first=stamp, created=created or stamp.replace("T00", "T01")).model_copy(
        update={"window": number, "findings": tuple(finding(k) for k in kinds)}
    )


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


def test_outcomes_that_look_like_a_fault_decide_nothing(config: ModelConfig) -> None:
    """Neither a stop nor a rollback follows from what a broken program reports, and nothing is learned from it."""
    limited = watched(config, metric_limits={"log_loss": 0.9})
    broken = finding("realized_performance", 3.6, subject="log_loss").model_copy(update={"low": 3.4, "high": 3.8})
    better = [alternative("v1.0.0", -0.1)]
    assert decide(limited, [broken], [], [], 9999).action == "stop"
    assert decide(limited, [broken], [], better, 9999).action == "roll_back"
    for alternatives in ([], better):
        found = decide(limited, [broken], [], alternatives, 9999, faulty="it is not believed: all are positive")
        assert (found.action, found.policy) == (
            "alert",
            "alert where outcomes look like a fault; nothing is decided by them",
        )
        assert found.reason.startswith("it is not believed: all are positive; ")
    quiet = decide(config, [], [], [], 9999, faulty="it is not believed: all are positive")
    assert quiet.action == "nothing"


def test_a_metric_without_a_value_withdraws_no_version(config: ModelConfig) -> None:
    found = decide(
        config, [finding("realized_performance", None)], [], [alternative("v1.0.0", -0.1)], 9999, untaught="it waits"
    )
    assert (found.action, found.reason[:10]) == ("alert", "it waits; ")


@pytest.mark.parametrize(("importance", "action"), [(0.001, "nothing"), (0.2, "alert")])
def test_drift_of_a_column_counts_by_what_it_carries(config: ModelConfig, importance: float, action: str) -> None:
    assert decide(config, [finding("data_drift", importance=importance)], [], [], 9999).action == action


def test_of_two_earlier_versions_the_surer_one_is_chosen(config: ModelConfig) -> None:
    offered = [alternative("v1.0.0", -0.05), alternative("v2.0.0", -0.2), alternative("v3.0.0", 0.1)]
    assert decide(config, [finding("realized_performance")], [], offered, 0).target == "v2.0.0"


def test_a_retraining_is_decided_at_once_and_waits_for_its_labels(config: ModelConfig) -> None:
    early = decide(config, [finding("estimated_performance")], [], [], 1500)
    assert (early.action, early.waits_for) == ("retrain", 2500)
    assert (
        "starts as soon as 2,500 more labelled rows are there" in early.reason
        and "once enough labelled rows are there" in early.policy
    )
    ready = decide(config, [finding("estimated_performance")], [report(early)], [], 4000)
    assert (ready.action, ready.waits_for) == ("retrain", 0)
    assert [asks_for_retraining(report(d)) for d in (early, ready, ALERT)] == [False, True, False]


def test_one_retraining_per_cause_counts_from_the_one_that_was_started(config: ModelConfig) -> None:
    moved = [finding("realized_performance")]
    started = report(retrain())
    later = [
        report(d, first=f"2026-01-01T0{h}:00", created="2026-01-01T09:00") for h, d in ((2, ALERT), (3, retrain(100)))
    ]
    assert decide(config, moved, [started], [], 0).action == "alert"
    assert decide(config, moved, [started, later[0]], [], 9999).action == "alert"
    assert decide(config, moved, [started, *later], [], 9999).action == "retrain"


@pytest.mark.parametrize("created", ["2025-01-01T01:00", "2027-01-01T01:00"])
def test_windows_since_a_retraining_are_counted_by_position_whatever_the_clock_said(
    config: ModelConfig, created: str
) -> None:
    """It was asked for by a clock that was a year off; two windows of predictions made since are enough."""
    moved, limits = [finding("realized_performance")], watched(config, cooldown_windows=2, retrain_rows=0)
    started = report(retrain(), created=created).model_copy(update={"newest_seq": 50})
    later = [
        window(n, ALERT, "realized_performance").model_copy(update={"first_seq": seq, "newest_seq": seq + 9})
        for n, seq in ((2, 40), (3, 51), (4, 61))
    ]
    for count, action in ((1, "alert"), (2, "alert"), (3, "retrain")):
        assert decide(limits, moved, [started, *later[:count]], [], 0).action == action, count


def test_a_version_that_is_leaving_causes_no_retraining(config: ModelConfig) -> None:
    found = [finding("realized_performance")]
    assert decide(config, found, [], [], 10_000).action == "retrain"
    told = decide(config, found, [], [], 10_000, being_rolled_back=True)
    assert told.action == "alert" and told.reason.startswith("a rollback was decided already")
    assert (
        decide(config, found, [], [alternative("v1.0.0", -0.1)], 10_000, being_rolled_back=True).action == "roll_back"
    )


def test_a_window_that_was_not_judged_is_not_called_quiet(config: ModelConfig) -> None:
    assert decide(config, [finding("data_drift", value=None, alarm=False)], [], [], 0).reason == "data_drift speaks"
    assert decide(config, [finding("data_drift", alarm=False)], [], [], 0).reason == "no alarm"


def test_an_equal_version_is_not_better() -> None:
    score = np.random.default_rng(0).beta(2, 2, 500)
    label = np.random.default_rng(1).random(500) < score
    found = compare_versions("binary", label, score, score, "v1.0.0", 0.5, 0)
    assert found is not None and not found.better


LOSS = Finding(
    kind="realized_performance",
    subject="log_loss",
    value=0.5,
    low=0.45,
    high=0.55,
    rows=2000,
    alarm=True,
    sentence="log_loss is 0.5",
)


def test_a_model_is_stopped_only_beyond_its_absolute_limit_and_without_a_way_back(config: ModelConfig) -> None:
    strict, loose = watched(config, metric_limits={"log_loss": 0.4}), watched(config, metric_limits={"log_loss": 0.5})
    stopped = decide(strict, [LOSS], [], [alternative("v1.0.0", 0.1)], 9999)
    assert stopped.action == "stop" and "log_loss 0.4" in stopped.reason
    assert decide(strict, [LOSS], [], [alternative("v1.0.0", -0.1)], 9999).action == "roll_back"
    assert decide(loose, [LOSS], [], [], 9999).action == "retrain", "the interval holds the limit"
    assert decide(config, [LOSS], [], [], 9999).action == "retrain", "no limit was given"
    assert (
        decide(strict, [LOSS.model_copy(update={"kind": "estimated_performance"})], [], [], 9999).action == "retrain"
    ), "an estimate stops nothing"


def test_performance_must_be_at_stake_in_enough_windows_in_a_row(config: ModelConfig) -> None:
    twice = watched(config, confirm_windows=2, metric_limits={"log_loss": 0.4})
    first = decide(twice, [LOSS], [], [], 9999, window=5)
    assert first.action == "alert" and first.reason.startswith("seen in 1 of the 2 windows in a row")
    assert decide(twice, [LOSS], [window(4, ALERT)], [], 9999, window=5).action == "alert", (
        "the window before was quiet"
    )
    assert decide(twice, [LOSS], [window(4, ALERT, "realized_performance")], [], 9999, window=5).action == "stop"
    later = [window(6, ALERT, "realized_performance")]
    assert decide(twice, [LOSS], later, [], 9999, window=5).action == "alert", "a window looked at again has no future"


def test_a_second_retraining_for_one_cause_needs_something_new_to_learn(config: ModelConfig) -> None:
    moved, bad = [finding("realized_performance")], ("realized_performance",)
    asked = window(1, retrain().model_copy(update={"learns_from": 5000}), *bad)
    trouble = [asked, window(2, ALERT, *bad), window(3, ALERT, *bad)]
    told = decide(config, moved, trouble, [], 6000, window=4)
    assert told.action == "alert" and "3,000 more labelled rows would teach" in told.reason
    assert decide(config, moved, trouble, [], 9000, window=4).action == "retrain"
    over = [asked, window(2, ALERT), window(3, ALERT)]
    assert decide(config, moved, over, [], 4000, window=4).action == "retrain", (
        "two quiet windows ended the first cause"
    )


FORESEEN = finding("forecast", subject="log_loss")


def test_a_breach_that_is_foreseen_is_acted_on_where_there_is_something_to_learn_from(config: ModelConfig) -> None:
    foreseen = [FORESEEN]
    assert decide(config, foreseen, [], [], 10).action == "alert"
    ahead = decide(config, foreseen, [], [], 4000)
    assert ahead.action == "retrain" and "ahead of a breach" in ahead.policy
    assert decide(config, foreseen, [window(1, retrain())], [], 9999, window=2).action == "alert", (
        "it was asked for just before"
    )


@pytest.mark.parametrize("kind", ["data_quality", "feed"])
def test_nothing_is_learned_from_a_broken_feed(config: ModelConfig, kind: str) -> None:
    assert decide(config, [finding(kind), finding("realized_performance")], [], [], 9999).action == "alert"
    assert (
        decide(config, [finding(kind), finding("realized_performance")], [], [alternative("v1.0.0", -0.1)], 9999).action
        == "roll_back"
    )


@pytest.mark.parametrize(
    "kind", ["expert_rule", "attribution_drift", "multivariate_drift", "grouping", "estimated_fairness", "estimator"]
)
def test_what_a_person_should_look_at_is_told_by_name(config: ModelConfig, kind: str) -> None:
    told = decide(config, [finding(kind)], [], [], 9999)
    assert told.action == "alert" and kind.replace("_", " ") in told.policy


@pytest.mark.parametrize("kind", ["prediction_drift", "selection_rate", "missingness", "new_category", "out_of_range"])
def test_what_is_not_named_for_a_person_is_not_told_as_such(config: ModelConfig, kind: str) -> None:
    assert decide(config, [finding(kind, alarm=False)], [], [], 9999).action == "nothing"


@pytest.mark.parametrize("kind", kinds())
def test_no_kind_of_alarm_falls_through(config: ModelConfig, kind: str) -> None:
    """Every kind of finding has its line, and the decision lists what it rests on."""
    decision = decide(config, [finding(kind, importance=0.5), finding("data_drift", alarm=False)], [], [], 9999)
    assert decision.action != "nothing" and decision.findings == (f"{kind}: x",) and decision.policy


# Each line of the policy: a case that it decides, and one that differs in a single thing and is left to a later line.
BAD, FEED, NO = finding("realized_performance"), finding("feed"), finding("realized_performance", alarm=False)
BETTER, EQUAL = alternative("v1.0.0", -0.1), alternative("v1.0.0", 0.1)
LINES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "_faulty": ({"found": [BAD], "faulty": "stuck"}, {"found": [NO], "faulty": "stuck"}),
    "_stop": (
        {"found": [LOSS], "limits": {"metric_limits": {"log_loss": 0.4}}},
        {"found": [LOSS], "limits": {"metric_limits": {"log_loss": 0.46}}},
    ),
    "_roll_back": ({"found": [BAD], "offered": [BETTER]}, {"found": [BAD], "offered": [EQUAL]}),
    "_being_rolled_back": ({"found": [BAD], "leaving": True}, {"found": [NO], "leaving": True}),
    "_feed": ({"found": [FEED, BAD]}, {"found": [FEED.model_copy(update={"alarm": False}), BAD]}),
    "_confirm": (
        {"found": [BAD], "limits": {"confirm_windows": 2}},
        {"found": [BAD], "limits": {"confirm_windows": 1}},
    ),
    "_retrain": ({"found": [BAD]}, {"found": [NO]}),
    "_foreseen": ({"found": [FORESEEN]}, {"found": [FORESEEN.model_copy(update={"alarm": False})]}),
    "_tell": ({"found": [finding("data_drift", importance=0.2)]}, {"found": [finding("data_drift", alarm=False)]}),
    "_nothing": ({"found": [NO]}, {"found": [BAD]}),
}


def test_every_line_of_the_policy_has_its_two_cases() -> None:
    assert list(LINES) == [line.__name__ for line in POLICY]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("applies", [True, False], ids=["applies", "does not"])
def test_a_line_of_the_policy(config: ModelConfig, line: str, applies: bool) -> None:
    c = LINES[line][0 if applies else 1]
    context = DecisionContext(
        watched(config, **c.get("limits", {})),
        c["found"],
        [],
        c.get("offered", []),
        9999,
        being_rolled_back=c.get("leaving", False),
        faulty=c.get("faulty", ""),
    )
    first = next(step.__name__ for step in POLICY if step(context) is not None)
    assert (first == line) is applies


def test_an_absolute_limit_holds_though_the_relative_one_is_kept(config: ModelConfig) -> None:
    """A relative limit that is looser must not hide the absolute one, neither from the stop nor from its
    confirmation."""
    quiet = LOSS.model_copy(update={"alarm": False})
    twice = watched(config, confirm_windows=2, metric_limits={"log_loss": 0.4})
    assert decide(twice, [quiet], [], [], 9999, window=5).action == "alert"
    before = window(4, ALERT).model_copy(update={"findings": (quiet,)})
    stopped = decide(twice, [quiet], [before], [], 9999, window=5)
    assert stopped.action == "stop" and stopped.findings == ("realized_performance: log_loss",)
    assert decide(twice, [quiet], [before], [BETTER], 9999, window=5).action == "roll_back"


def test_a_limit_that_nobody_watches_is_refused(config: ModelConfig) -> None:
    raw = config.model_dump(mode="json")
    raw["monitoring"]["metric_limits"] = {"accuracy": 0.8}
    with pytest.raises(
        ConfigError, match="metric_limits names 'accuracy', which is not watched; add it to monitoring.metrics"
    ):
        validate(raw, ModelConfig, "model.yaml")
    raw["monitoring"]["metrics"] = {"accuracy": 0.1}
    assert validate(raw, ModelConfig, "model.yaml").monitoring.metric_limits == {"accuracy": 0.8}


def test_a_gap_that_is_foreseen_is_told_and_not_retrained_for(config: ModelConfig) -> None:
    gap = finding("forecast", subject="selection rate of sex Female")
    assert decide(config, [gap], [], [], 9999).action == "alert"
    assert decide(config, [gap, FORESEEN], [], [], 9999).action == "retrain"


def test_a_version_that_is_leaving_is_not_retrained_ahead_of_time(config: ModelConfig) -> None:
    assert decide(config, [FORESEEN], [], [], 9999, being_rolled_back=True).action == "alert"


def test_a_cause_is_not_over_while_its_breach_is_foreseen(config: ModelConfig) -> None:
    """One retraining per cause: the one that was asked for ahead of a breach is the one for the breach."""
    asked = window(1, retrain().model_copy(update={"learns_from": 4000}))
    still = [window(i, ALERT).model_copy(update={"findings": (FORESEEN,)}) for i in (2, 3, 4)]
    assert decide(config, [BAD], [asked, *still], [], 4500, window=5).action == "alert"
    assert (
        decide(config, [BAD], [asked, *(window(i, ALERT) for i in (2, 3, 4))], [], 4500, window=5).action == "retrain"
    )


def test_a_window_that_could_not_be_judged_ends_no_cause(config: ModelConfig) -> None:
    asked = window(1, retrain().model_copy(update={"learns_from": 4000}), "realized_performance")
    unknown = [
        window(i, ALERT).model_copy(update={"findings": (finding("data_drift", value=None, alarm=False),)})
        for i in (2, 3)
    ]
    assert decide(config, [BAD], [asked, *unknown], [], 4500, window=4).action == "alert"


def test_a_version_leaves_from_its_rollback_until_a_gap(config: ModelConfig) -> None:
    back = Decision(action="roll_back", reason="", policy="", target="v1.0.0")
    assert being_rolled_back([window(3, back), window(4, ALERT)], 5)
    assert not being_rolled_back([window(2, back), window(4, ALERT)], 5), "the run of windows is broken"
    assert not being_rolled_back([window(4, ALERT)], 5)


def test_a_report_of_before_still_loads() -> None:
    old = window(1, retrain()).model_dump(mode="json")
    del old["decision"]["findings"]
    assert WindowReport.model_validate_json(json.dumps(old)).decision.findings == ()
