"""Documents beside the windows: typed, numbered by format, and readable as long as the code knows their format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.records.log.predictions import FeedFacts, PredictionLog
from tasks.records.log.tables import PROFILES
from tasks.spec.errors import AssayError, ConfigError, CorruptionError
from tasks.spec.evidence import Pictures, Plot, Point, Series

FACTS = FeedFacts(
    rows=10,
    first_time="2026-01-01T00:00:00.000+00:00",
    last_time="2026-01-01T01:00:00.000+00:00",
    rows_per_hour=10.0,
    duplicate_share=0.1,
    label_delay_median=60.0,
    label_delay_p90=None,
    newest_prediction="2026-01-01T01:00:00+00:00",
    newest_outcome=None,
    clock_back_steps=1,
    clock_largest_back_seconds=31.5,
    columns=("x", "kind"),
    versions=("v1.0.0",),
    rows_missing=0,
)
DRAWN = Pictures(
    plots=(
        Plot(
            kind="curve",
            title="t",
            x_label="x",
            y_label="y",
            series=(Series(name="s", points=(Point(x=1.0, y=2.0),)),),
        ),
    )
)


@pytest.fixture
def log(log_url: str) -> Iterator[PredictionLog]:
    opened = PredictionLog(log_url)
    yield opened
    opened.close()


def test_each_document_comes_back_as_it_was_kept_and_of_its_own_model_alone(log: PredictionLog) -> None:
    assert log.reference("care", "v1.0.0") is None and log.profile("care", 1) is None
    assert log.pictures("care", 1) == Pictures() and log.silent_feeds("care") == []
    log.keep_reference("care", "v1.0.0", {"format": 1, "groups": {}})
    log.keep_reference("care", "v2.0.0", {"format": 1, "groups": {"x": 1}})
    log.keep_profile("care", 1, {"format": 1, "rows": 10})
    log.keep_profile("care", 1, {"format": 1, "rows": 11})
    log.keep_pictures("care", 1, DRAWN)
    log.keep_silent_feeds("care", ["outcomes", "predictions"])
    assert log.reference("care", "v1.0.0") == {"format": 1, "groups": {}}
    assert log.reference("care", "v2.0.0") == {"format": 1, "groups": {"x": 1}}
    assert log.profile("care", 1) == {"format": 1, "rows": 11}, "the later one replaces the earlier one"
    assert log.pictures("care", 1) == DRAWN and log.silent_feeds("care") == ["outcomes", "predictions"]
    log.keep_silent_feeds("care", [])
    assert log.silent_feeds("care") == []
    assert log.reference("income", "v1.0.0") is None and log.profile("income", 1) is None


def test_the_first_feed_facts_of_a_window_stay(log: PredictionLog) -> None:
    log.keep_feed_facts("care", 1, FACTS)
    log.keep_feed_facts("care", 1, replace(FACTS, rows=7, rows_missing=3))
    assert log.feed_facts("care", before=2, last=10) == [FACTS]


def test_histories_hold_the_newest_windows_before_one(log: PredictionLog) -> None:
    """So a window that is judged again, long after, is compared with the same windows as the first time."""
    for number in range(1, 7):
        log.keep_feed_facts("care", number, replace(FACTS, rows=number))
        log.keep_p_values("care", "v1.0.0", number, {"data_drift": number / 10, "prediction_drift": 1.0})
    log.keep_p_values("care", "v2.0.0", 3, {"data_drift": 0.0})
    assert [f.rows for f in log.feed_facts("care", before=4, last=2)] == [2, 3]
    assert [p["data_drift"] for p in log.p_values("care", "v1.0.0", before=4, last=2)] == [0.2, 0.3]
    assert [f.rows for f in log.feed_facts("care", before=7, last=2)] == [5, 6]
    assert log.feed_facts("care", before=1, last=2) == [] and log.p_values("care", "v3.0.0", before=9, last=9) == []


@pytest.mark.parametrize("wrong", [{}, {"format": "1"}, {"format": 2}, {"format": 1, "x": float("nan")}])
def test_what_is_not_a_document_of_this_code_is_not_stored(log: PredictionLog, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="format|JSON"):
        log.keep_profile("care", 1, wrong)
    with pytest.raises(ValueError, match="format|JSON"):
        log.keep_reference("care", "v1.0.0", wrong)
    assert log.profile("care", 1) is None and log.reference("care", "v1.0.0") is None


READERS: dict[str, Callable[[PredictionLog], Any]] = {
    "reference:v1.0.0": lambda log: log.reference("care", "v1.0.0"),
    "profile": lambda log: log.profile("care", 1),
    "feed": lambda log: log.feed_facts("care", before=2, last=5),
    "p_values:v1.0.0": lambda log: log.p_values("care", "v1.0.0", before=2, last=5),
    "pictures": lambda log: log.pictures("care", 1),
    "silence": lambda log: log.silent_feeds("care"),
}


def _write(log: PredictionLog, kind: str, text: str, number: int = 1) -> None:
    """A row as another release could have written it."""
    number = 0 if kind.startswith(("reference", "silence")) else number
    with log.database.writing() as connection:
        connection.execute(sa.delete(PROFILES).where(PROFILES.c.kind == kind))
        connection.execute(sa.insert(PROFILES).values(model="care", kind=kind, number=number, format=1, document=text))


@pytest.mark.parametrize("kind", READERS)
def test_a_document_of_a_newer_release_is_refused_with_the_way_out(log: PredictionLog, kind: str) -> None:
    _write(log, kind, json.dumps({"format": 9, "anything": [1]}))
    with pytest.raises(
        ConfigError,
        match=(
            "has format 9, a newer one; this code reads format 1 only. Use the release of Assay that wrote it, or a "
            "later one."
        ),
    ):
        READERS[kind](log)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("text", ['{"format": 1', "[]"])
def test_a_damaged_document_is_reported(log: PredictionLog, kind: str, text: str) -> None:
    _write(log, kind, text)
    with pytest.raises(CorruptionError, match="document in the prediction log cannot be read"):
        READERS[kind](log)


@pytest.mark.parametrize(
    ("kind", "content", "where"),
    [
        ("feed", {"rows": 3}, "first_time"),
        ("p_values:v1.0.0", {"data_drift": "small"}, "data_drift"),
        ("pictures", {"plots": [{}]}, "plots.0"),
        ("silence", {"silent": "all"}, "the document"),
        ("silence", {}, "the document"),
    ],
)
def test_a_document_without_what_it_must_hold_is_reported(
    log: PredictionLog, kind: str, content: dict[str, Any], where: str
) -> None:
    _write(log, kind, json.dumps({"format": 1, **content}))
    with pytest.raises(AssayError, match=rf"cannot be read \({where}"):
        READERS[kind](log)


def test_pictures_that_name_their_axes_as_before_are_read(log: PredictionLog) -> None:
    plot = DRAWN.plots[0].model_dump(mode="json")
    plot["across"], plot["up"] = plot.pop("x_label"), plot.pop("y_label")
    _write(log, "pictures", json.dumps({"format": 1, "plots": [plot], "map": None}))
    assert log.pictures("care", 1) == DRAWN
