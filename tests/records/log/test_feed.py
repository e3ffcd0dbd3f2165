"""How rows came, with clocks that jump, labels that come late, and nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tasks.records.log import feed as log_feed
from tasks.records.log.predictions import Prediction, PredictionLog
from tests.records.log.logs import ALL, rows

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    yield opened
    opened.close()


def at(n: int, seconds: float, version: str = "v1.0.0", **inputs: object) -> Prediction:
    return Prediction(
        f"t{n}",
        "care",
        version,
        (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
        inputs or {"x": n},
        0.5,
        True,
    )


def test_nothing_came(log: PredictionLog) -> None:
    facts = log.feed("care", 1, 100)
    assert (
        facts.rows,
        facts.first_time,
        facts.rows_per_hour,
        facts.duplicate_share,
        facts.label_delay_median,
        facts.newest_prediction,
        facts.versions,
    ) == (0, None, None, 0.0, None, None, ())


def test_one_row_and_a_time_that_is_none(log: PredictionLog) -> None:
    log.append([at(0, 5)])
    facts = log.feed("care", 0, ALL)
    assert (facts.rows, facts.rows_per_hour, facts.first_time, facts.last_time) == (
        1,
        None,
        "2026-01-01T00:00:05.000+00:00",
        "2026-01-01T00:00:05.000+00:00",
    )
    log.append([Prediction("no", "care", "v1.0.0", "yesterday", {"x": 1}, 0.5, True)])
    log.outcomes("care", [("no", True)])
    facts = log.feed("care", 0, ALL)
    assert (facts.rows, facts.label_delay_p90, facts.newest_prediction, facts.last_time) == (
        2,
        None,
        "yesterday",
        "2026-01-01T00:00:05.000+00:00",
    )


def test_volume_repeats_versions_and_columns(log: PredictionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_feed, "CHUNK", 7)
    log.append([at(n, 36 * n) for n in range(100)])
    log.append([at(100 + n, 3600 + n, "v2.0.0", x=n % 5, y="a") for n in range(20)])
    log.append(rows(9, model="income"))
    facts = log.feed("care", 0, ALL)
    assert facts.rows == 120 and facts.versions == ("v1.0.0", "v2.0.0") and facts.columns == ("x", "y")
    assert facts.rows_per_hour == pytest.approx(120 / (3619 / 3600)) and facts.duplicate_share == 15 / 120
    assert facts.clock_back_steps == 0 and facts.newest_prediction == "2026-01-01T01:00:19.000+00:00"


def test_clocks_that_jump(log: PredictionLog) -> None:
    log.append([at(0, 100), at(1, 99), at(2, 5000), at(3, 200), at(4, 210), at(5, 150)])
    facts = log.feed("care", 0, ALL)
    assert (facts.clock_back_steps, facts.clock_largest_back_seconds) == (2, 4800.0)
    assert facts.first_time == "2026-01-01T00:01:39.000+00:00" and facts.last_time == "2026-01-01T01:23:20.000+00:00"


def test_delays_are_of_the_first_outcome_and_of_this_window_alone(log: PredictionLog) -> None:
    now = datetime.now(UTC)
    ago = [(now - START).total_seconds() - seconds for seconds in (1000, 2000, 3000, 9000)]
    log.append([at(n, seconds) for n, seconds in enumerate(ago)])
    log.outcomes("care", [(f"t{n}", True) for n in range(4)])
    log.outcomes("care", [("t0", False)])
    facts = log.feed("care", 1, 3)
    assert facts.label_delay_median == pytest.approx(2000, abs=60) and facts.label_delay_p90 == pytest.approx(
        2800, abs=60
    )
    assert facts.newest_outcome is not None and facts.newest_outcome >= now.isoformat(timespec="milliseconds")


def test_rows_that_are_gone_are_counted(log: PredictionLog) -> None:
    log.append([at(n, n) for n in range(40)])
    first, second = log.next_windows("care", 20, 5, 10)
    log.forget("care", ["t3", "t4", "t25"])
    assert [log.feed("care", w.first_seq, w.last_seq).rows_missing for w in (first, second)] == [2, 1]
    log.forget("care", [f"t{n}" for n in range(20)])
    facts = log.feed("care", first.first_seq, first.last_seq)
    assert (facts.rows, facts.rows_missing) == (0, 20) and log.feed("care", 0, ALL).rows_missing == 21
