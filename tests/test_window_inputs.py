"""A version on disk, a log, and looks at its windows: what is read in chunks, what is kept, and what a second look
finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tasks import monitoring
from tasks.records.log import reading as log_reading
from tasks.records.log.predictions import Prediction, PredictionLog, Window
from tasks.records.log.tables import PROFILES
from tasks.records.pages.model import model_page
from tasks.records.pages.watch import ModelStatus, next_steps
from tasks.records.pages.window import window_page
from tasks.records.registry import ledger
from tasks.science.data.tables import SOURCE, as_requests
from tasks.science.monitors.profiles.profile import load_profile
from tasks.science.monitors.protocol import FindingKind, FitInput, Look, Monitor, MonitorResult
from tasks.science.windows import monitors
from tasks.science.windows.decisions import DecisionContext, decide
from tasks.science.windows.look import examine_window, judge_again
from tasks.science.windows.reference import reference_document
from tasks.serving.keys import KeyFile
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.requests import MonitoringRequest
from tasks.spec.settings import Settings
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


def test_a_source_that_contradicts_another_on_like_rows_is_found_and_nothing_is_learned(
    care: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are an operator's, and what a stranger says counts for nobody."""
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    keys = KeyFile(Settings().access_folder)
    office, survey, stranger = (
        keys.add(name, ("outcomes",))[1].id for name in ("claims office", "yearly interview", "a student")
    )
    version, rng, count = on_disk(care, tmp_path), np.random.default_rng(5), 1200
    rows = care.answered(care.people(count, rng), rng)
    asked, moment = as_requests(care.config, rows), NOW.isoformat()
    log = PredictionLog(f"sqlite:///{tmp_path}/log.db")
    log.append(
        [
            Prediction(f"p{i}", "care", VERSION, moment, asked[i], float(rows["_score"][i]), bool(rows["_decision"][i]))
            for i in range(count)
        ]
    )
    told = rows["_label"].to_numpy(bool)
    by = [stranger if i % 20 == 0 else (office, survey)[i % 2] for i in range(count)]
    for sender in (office, survey, stranger):
        mine = [i for i in range(count) if by[i] == sender]
        log.outcomes("care", [(f"p{i}", bool(told[i]) != (sender == survey)) for i in mine], sender)
    log.next_windows("care", count, 20, 10)
    reference = reference_of(version, f"sqlite:///{tmp_path}/log.db")
    seen = read_window(log, version, reference, window(log, 1))
    assert dict(seen.rows[SOURCE].value_counts()) == {"yearly interview": 600, "claims office": 540}
    assert "_label_sender" not in seen.rows
    found = examine_window(care.config, reference, seen)
    [apart] = [f for f in found.findings if f.kind == "label_sources"]
    assert apart.alarm and apart.subject == "claims office" and apart.rows == 1140 and apart.value is not None
    assert apart.sentence.startswith(f"labels of claims office are {apart.value:+.2f} (")
    assert " standard deviations off those of others on like rows, in 1,140 different rows (p" in apart.sentence
    worse = apart.model_copy(update={"kind": "realized_performance", "subject": "log_loss", "sentence": "it is worse"})
    decision = decide(DecisionContext(care.config, [worse, apart], labelled_rows=9999))
    assert (decision.action, decision.policy) == (
        "alert",
        "alert where a retraining is due and no outcomes may teach",
    )
    assert decision.reason.startswith(
        "sources of labels disagree, and nothing is learned from them without a person; it is worse; labels of claims o"
    )
    assert decide(DecisionContext(care.config, [worse], labelled_rows=9999)).action == "retrain"
    assert decide(DecisionContext(care.config, [apart], labelled_rows=9999)).action == "alert"
    log.close()


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


class TailMonitor(Monitor):
    """A monitor that somebody adds: the share of scores above what 99 % of the reference have."""

    name = "tail"
    kinds = (FindingKind("score_tail", rank=5, share=Fraction(1, 16)),)

    def fit(self, basis: FitInput) -> dict[str, Any]:
        return {"cut": float(basis.rows["_score"].quantile(0.99))}

    def look(self, look: Look) -> MonitorResult:
        score, cut = look.window.rows["_score"], look.reference.fitted[self.name]["cut"]
        share, level = float((score > cut).mean()), look.levels["score_tail"]
        text = f"{share:.1%} of the scores are above {cut:.3f}, tested at {level:.6f}"
        return MonitorResult(
            [Finding(kind="score_tail", subject="score", value=share, rows=len(score), alarm=True, sentence=text)]
        )


def test_a_new_monitor_is_one_module_and_one_entry_and_changes_no_other(
    home: Path, log: PredictionLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the stored reference to the report, the decision, the ledger and the page."""
    database, config = f"sqlite:///{home}/log.db", files(home).config
    reference_of.cache_clear()
    reference = reference_of(files(home), database)
    seen = read_window(log, files(home), reference, window(log, 2))
    before = examine_window(config, reference, seen)

    monkeypatch.setattr(monitors, "MONITORS", (*monitors.MONITORS, TailMonitor()))
    reference_of.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            "tasks.science.monitors.groupings.monitor.fit_groupings", None
        )  # what is stored is not fitted again
        patch.setattr("tasks.science.monitors.drift.monitor.fit_reference", None)
        reference = reference_of(files(home), database)
        reference_of.cache_clear()
        patch.setattr(TailMonitor, "fit", lambda *_: pytest.fail("it was fitted and stored"))
        assert reference_of(files(home), database).fitted["tail"] == reference.fitted["tail"]
    after = examine_window(config, reference, read_window(log, files(home), reference, window(log, 2)))
    (added,) = [f for f in after.findings if f.kind == "score_tail"]
    assert added.alarm and f"tested at {config.monitoring.alpha / 16:.6f}" in added.sentence
    assert tuple(f for f in after.findings if f != added) == before.findings
    assert (after.plots, after.map, after.groups, after.review) == (
        before.plots,
        before.map,
        before.groups,
        before.review,
    )

    decision = decide(DecisionContext(config, after.findings))
    assert decision.findings[0] == "score_tail: score" and decision.reason.startswith(added.sentence)
    report = WindowReport(
        model="care",
        version=VERSION,
        window=2,
        first=NOW.isoformat(),
        last=NOW.isoformat(),
        first_seq=ROWS + 1,
        last_seq=2 * ROWS,
        rows=ROWS,
        labelled=0,
        created=NOW.isoformat(),
        findings=after.findings,
        decision=decision,
    )
    again = judge_again(config, reference, seen, report)
    assert [f for f in again.findings if f.kind == "score_tail"] == [added], "labels change nothing about it"

    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    request = MonitoringRequest(model="care", actor="test")
    told = monitoring._decision(report, request, None)
    names = [name for name, _ in told.events]
    assert "assay.finding.score_tail" in names and names[-1] == f"assay.decision.{decision.action}"
    fewer = report.model_copy(update={"findings": tuple(f for f in report.findings if f != added)})
    assert monitoring._decision(report, request, report).events == [], "a second look tells nobody twice"
    assert [name for name, _ in monitoring._decision(report, request, fewer).events] == ["assay.finding.score_tail"]
    entry = ledger.append(settings, told.draft)
    assert added.sentence in entry.sentence
    stored = WindowReport.model_validate_json(json.dumps(ledger.evidence(settings, entry.evidence)))
    assert stored == report
    status = ModelStatus("care", "Care", VERSION, "", [stored], ranks=monitors.ranks())
    assert next_steps(status)[0] == added.sentence
    assert added.sentence in model_page(status) and added.sentence in window_page(
        stored, [], "Care", ranks=monitors.ranks()
    )

    monkeypatch.undo()  # the monitor is removed again: what it found stays readable
    assert decide(DecisionContext(config, stored.findings)).findings[-1] == "score_tail: score"
    assert next_steps(ModelStatus("care", "Care", VERSION, "", [stored], ranks=monitors.ranks()))[-1] == added.sentence
