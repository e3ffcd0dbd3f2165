"""How rows come: silence, volume, delay, duplicates, columns, versions and clocks, each with what is usual and what is
not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.monitors.feed.findings import duplicate_share, duplicates_expected, feed_findings
from tasks.science.monitors.feed.silence import silence_findings
from tasks.spec.arrivals import FeedFacts
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.watching import FeedPolicy
from tests.statistics.live import NOW, facts, world

ALPHA = 0.001


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return world()[0]


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def past(count: int = 10) -> list[FeedFacts]:
    rng = np.random.default_rng(3)
    return [facts(rng) for _ in range(count)]


def usual(**changes: Any) -> FeedFacts:
    return replace(facts(np.random.default_rng(4)), **changes)


def about(subject: str, found: list[Finding]) -> list[Finding]:
    return [f for f in found if f.subject == subject]


def test_a_usual_window_is_quiet_and_everything_is_told(config: ModelConfig) -> None:
    found = feed_findings(config, usual(), past(), NOW, ALPHA)
    assert not any(f.alarm for f in found) and all(f.kind == "feed" and f.value is not None for f in found)
    assert {f.subject for f in found} == {
        "predictions",
        "outcomes",
        "volume",
        "delay of outcomes",
        "duplicates",
        "columns",
        "clock",
    }


# -- silence


@pytest.mark.parametrize(
    ("prediction", "outcome", "alarms", "told"),
    [
        (ago(minutes=5), ago(minutes=5), [], "came 5 minutes ago; 60 minutes are allowed"),
        (
            ago(hours=3),
            ago(hours=1),
            ["predictions"],
            "the feed has stopped: the newest of the predictions came 3 hours ago",
        ),
        (ago(minutes=5), ago(days=3), ["outcomes"], "the feed has stopped: the newest of the outcomes came 3 days ago"),
        (ago(days=9), ago(days=8), ["predictions"], "no prediction was made after the newest outcome"),
        (None, None, [], "none has ever come"),
        ("yesterday", ago(minutes=1), ["predictions"], "'yesterday', cannot be read"),
        (ago(hours=-2), ago(minutes=1), ["predictions"], "is dated 2 hours after now"),
        (ago(minutes=5), ago(hours=-2), ["outcomes"], "is dated 2 hours after now"),
    ],
)
def test_silence(
    config: ModelConfig, prediction: str | None, outcome: str | None, alarms: list[str], told: str
) -> None:
    found = silence_findings(config, prediction, outcome, NOW)
    assert [f.subject for f in found if f.alarm] == alarms
    assert any(told in f.sentence for f in found), [f.sentence for f in found]


def test_outcomes_that_never_came_are_missed_since_the_first_prediction(config: ModelConfig) -> None:
    for first, alarm in ((ago(hours=2), False), (ago(days=2), True)):
        finding = silence_findings(config, ago(minutes=1), None, NOW, first)[1]
        assert finding.alarm is alarm and "no outcome has ever come" in finding.sentence
    window = usual(newest_outcome=None, first_time=ago(days=2))
    assert about("outcomes", feed_findings(config, window, [], NOW, ALPHA))[0].alarm


def test_times_without_a_zone_are_utc(config: ModelConfig) -> None:
    assert silence_findings(config, ago(hours=3)[:19], None, NOW.replace(tzinfo=None))[0].value == 3 * 3600


def test_what_is_not_watched_is_told(config: ModelConfig) -> None:
    off = config.model_copy(update={"monitoring": config.monitoring.model_copy(update={"feed": FeedPolicy()})})
    found = feed_findings(off, usual(newest_prediction=ago(days=900), rows_per_hour=1e-3), past(), NOW, ALPHA)
    assert not any(f.alarm for f in found)
    assert sum("is not watched" in f.sentence for f in found) == 3


# -- volume, delay, duplicates


@pytest.mark.parametrize(("factor", "alarm"), [(0.5, True), (0.85, False), (1.2, False), (2.0, True)])
def test_volume(config: ModelConfig, factor: float, alarm: bool) -> None:
    assert (
        about("volume", feed_findings(config, usual(rows_per_hour=500.0 * factor), past(20), NOW, ALPHA))[0].alarm
        is alarm
    )


def test_a_volume_that_varies_anyway_is_no_alarm(config: ModelConfig) -> None:
    rng = np.random.default_rng(0)
    wild = [facts(rng, spread=0.8) for _ in range(20)]
    assert not about("volume", feed_findings(config, usual(rows_per_hour=250.0), wild, NOW, ALPHA))[0].alarm


@pytest.mark.parametrize(
    ("history", "rate", "told"),
    [
        (1, 100.0, "; 1 window before has a volume and 5 are needed to judge it"),
        (4, 1.0, "4 windows before have a volume and 5 are needed"),
        (10, None, "not known"),
        (10, float("inf"), "not known"),
        (10, -3.0, "not known"),
    ],
)
def test_a_volume_that_cannot_be_judged_says_so(
    config: ModelConfig, history: int, rate: float | None, told: str
) -> None:
    finding = about("volume", feed_findings(config, usual(rows_per_hour=rate), past(history), NOW, ALPHA))[0]
    assert not finding.alarm and told in finding.sentence


@pytest.mark.parametrize(
    ("delay", "alarm", "told"),
    [
        (3600.0, False, "is usual"),
        (1e6, True, "is usual"),
        (1.0, False, "is usual"),
        (None, False, "no row of the window has an outcome yet"),
        (-5.0, True, "dated before their predictions"),
    ],
)
def test_delay_of_outcomes(config: ModelConfig, delay: float | None, alarm: bool, told: str) -> None:
    finding = about(
        "delay of outcomes",
        feed_findings(config, usual(label_delay_p90=delay, label_delay_median=delay), past(), NOW, ALPHA),
    )[0]
    assert finding.alarm is alarm and told in finding.sentence


@pytest.mark.parametrize(
    ("share", "known", "alarm"),
    [(0.0, 0.0, False), (0.2, 0.0, True), (0.2, 0.18, False), (0.06, 0.0, False), (1.0, 0.97, False)],
)
def test_duplicates(config: ModelConfig, share: float, known: float, alarm: bool) -> None:
    assert (
        about("duplicates", feed_findings(config, usual(duplicate_share=share), past(), NOW, ALPHA, known))[0].alarm
        is alarm
    )


def test_the_reference_repeats_itself_less_in_fewer_rows(config: ModelConfig) -> None:
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"age": rng.integers(0, 1000, 2000).astype(float), "_score": rng.random(2000)})
    few, many, all_of_them = (duplicates_expected(config, reference, n, 1) for n in (200, 1500, 5000))
    assert few < many < all_of_them == duplicate_share(reference[["age"]])
    assert duplicates_expected(config, reference.head(0), 100, 1) == duplicate_share(reference.head(0)) == 0


# -- columns, versions, clocks


@pytest.mark.parametrize(
    ("change", "alarm", "told"),
    [
        ({"columns": ("age", "income", "debt", "shoes", "capital", "sex", "mood")}, True, "mood came and is no input"),
        ({"columns": ("age", "income", "debt", "shoes", "capital")}, True, "sex did not come"),
        ({"columns": ()}, True, "did not come in any row"),
        ({"versions": ("v1.0.0", "v2.0.0")}, True, "answers of v1.0.0, v2.0.0"),
        ({"rows_missing": 12}, False, "12 rows of the window are not in the log any more"),
        ({"clock_back_steps": 3, "clock_largest_back_seconds": 0.2}, False, "go back 3 times"),
        ({"clock_back_steps": 1, "clock_largest_back_seconds": 7200.0}, True, "a clock was set"),
        ({"last_time": ago(hours=-5)}, True, "dated 5 hours after now"),
        ({"first_time": None}, True, "cannot be read"),
        ({"first_time": "soon"}, True, "cannot be read"),
    ],
)
def test_what_is_known_for_sure(config: ModelConfig, change: dict[str, Any], alarm: bool, told: str) -> None:
    found = feed_findings(config, usual(**change), past(), NOW, ALPHA)
    assert any(f.alarm for f in found) is alarm
    assert any(told in f.sentence and f.alarm is alarm for f in found), [f.sentence for f in found]


def test_a_column_that_may_be_missing_is_told(config: ModelConfig) -> None:
    columns = tuple(c.model_copy(update={"nullable": c.name == "debt"}) for c in config.data.columns)
    nullable = config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})
    finding = about(
        "columns",
        feed_findings(nullable, usual(columns=("age", "income", "shoes", "capital", "sex")), past(), NOW, ALPHA),
    )[0]
    assert not finding.alarm and "it may be missing" in finding.sentence


def test_an_empty_window_says_so_and_silence_is_still_heard(config: ModelConfig) -> None:
    found = feed_findings(
        config,
        usual(rows=0, rows_per_hour=None, first_time=None, last_time=None, newest_prediction=ago(days=1)),
        past(),
        NOW,
        ALPHA,
    )
    assert [f.subject for f in found if f.alarm] == ["predictions"]
    assert "the window has no rows" in found[-1].sentence


def test_one_row_is_judged_as_far_as_it_goes(config: ModelConfig) -> None:
    found = feed_findings(config, usual(rows=1, rows_per_hour=None, duplicate_share=0.0), [], NOW, ALPHA)
    assert not any(f.alarm for f in found)
