"""A version on disk, a log, and looks at its windows: what is read in chunks, what is kept, and what a second look
finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from tasks.records.log import reading as log_reading
from tasks.records.log.predictions import Prediction, PredictionLog, Window
from tasks.records.log.tables import PROFILES
from tasks.science.data.tables import as_requests
from tasks.science.monitors.profiles.profile import load_profile
from tasks.science.windows.look import examine_window
from tasks.science.windows.reference import reference_document
from tasks.versions import VersionFiles
from tasks.window_inputs import read_window, reference_of
from tests.worlds import NOW, VERSION, World, on_disk, world

ROWS = 300


@pytest.fixture(scope="module")
def care() -> World:
    return world()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, care: World) -> Path:
    """Two windows of 300 rows, the first one labelled."""
    folder = tmp_path_factory.mktemp("watching")
    on_disk(care, folder)
    rng = np.random.default_rng(4)
    rows = care.answered(care.people(2 * ROWS, rng), rng)
    log = PredictionLog(f"sqlite:///{folder}/log.db")
    asked = as_requests(care.config, rows)
    log.append(
        [
            Prediction(
                f"p{i}",
                "care",
                VERSION,
                NOW.isoformat(),
                asked[i],
                float(rows["_score"][i]),
                bool(rows["_decision"][i]),
            )
            for i in range(2 * ROWS)
        ]
    )
    log.outcomes("care", [(f"p{i}", bool(rows["_label"][i])) for i in range(ROWS)])
    log.next_windows("care", ROWS, 20, 10)
    log.close()
    return folder


@pytest.fixture
def log(home: Path) -> Iterator[PredictionLog]:
    opened = PredictionLog(f"sqlite:///{home}/log.db")
    yield opened
    opened.close()


def files(home: Path) -> VersionFiles:
    return VersionFiles(VERSION, home / VERSION)


def window(log: PredictionLog, number: int) -> Window:
    found = log.window("care", number)
    assert found is not None
    return found


def test_a_reference_is_fitted_once_and_kept_in_the_log(
    home: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = f"sqlite:///{home}/log.db"
    first = reference_of(files(home), database)
    reference_of.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("tasks.window_inputs.fit_reference", None)  # fitting again would fail
        again = reference_of(files(home), database)
    assert reference_document(again) == reference_document(first)
    with log.database.writing() as connection:
        connection.execute(
            sa.update(PROFILES).where(PROFILES.c.kind == f"reference:{VERSION}").values(document='{"format": 0}')
        )
    reference_of.cache_clear()
    assert reference_document(reference_of(files(home), database)) == reference_document(first), (
        "an older format is fitted again, to the same"
    )


def test_a_window_is_counted_in_chunks_as_if_whole(
    home: Path, log: PredictionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = reference_of(files(home), f"sqlite:///{home}/log.db")
    whole = read_window(log, files(home), reference, window(log, 1))
    kept = log.profile("care", 1)
    monkeypatch.setattr(log_reading.Reading.chunks, "__defaults__", (70, None, False))
    parts = read_window(log, files(home), reference, window(log, 1))
    assert whole.profile == parts.profile and kept is not None and load_profile(kept).rows == ROWS
    assert whole.facts == parts.facts and len(whole.rows) == ROWS
    assert {c["column"] for c in whole.checks} >= {"coins", "xage"}, "the expectations are asked of live rows"


def test_a_second_look_keeps_how_the_rows_had_come_and_knows_the_windows_before(home: Path, log: PredictionLog) -> None:
    reference = reference_of(files(home), f"sqlite:///{home}/log.db")
    first = read_window(log, files(home), reference, window(log, 1))
    arrived = log.feed_facts("care", before=2, last=10)
    log.outcomes("care", [("p0", True)])
    again = read_window(log, files(home), reference, window(log, 1))
    assert again.facts not in arrived and log.feed_facts("care", before=2, last=10) == arrived
    second = read_window(log, files(home), reference, window(log, 2))
    assert [f.rows for f in second.facts_before] == [ROWS] and len(second.past) == 1
    assert len(second.recent) == ROWS and len(first.recent) == 0, (
        "labelled rows of the window before may contradict an estimate"
    )
    seen = examine_window(files(home).config, reference, second)
    assert all(f.sentence for f in seen.findings) and {f.kind for f in seen.findings} >= {
        "data_quality",
        "feed",
        "expert_rule",
        "grouping",
    }
