"""A decision is entered once, whoever dies between the ledger and the log; two decisions are two entries."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.delivery import gather_quiet, take_out
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.verification import verify
from tasks.records.repository.tracked import kept
from tasks.spec.evidence import Action
from tasks.spec.ledger import EntryDraft, FeedDetails, ForgottenDetails, QuietDetails, WindowDetails
from tasks.spec.settings import Settings
from tests.conftest import git

ENTER = """
import os, signal
from functools import partial
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.spec.settings import Settings

settings = Settings()
log = PredictionLog(settings.log_database)
PredictionLog.mark = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # the moment after the push
log.enter_all("care", partial(ledger.append, settings))
"""


@pytest.fixture
def log(settings: Settings) -> Iterator[PredictionLog]:
    settings.home.mkdir(parents=True, exist_ok=True)
    opened = PredictionLog(settings.log_database)
    yield opened
    opened.close()


def silent(settings: Settings, *feeds: str) -> Decision:
    draft = EntryDraft(
        kind="monitored",
        model="care",
        actor="test",
        reason="schedule",
        sentence=f"feed: {feeds}",
        evidence={"silent": list(feeds)},
        details=FeedDetails(silent=feeds),
    )
    return Decision(draft, ledger.height(settings))


def said(settings: Settings) -> list[str]:
    return [entry.sentence for entry in ledger.entries(settings, "care")]


def test_a_process_that_is_killed_after_the_push_has_entered_it_once(
    settings: Settings, log: PredictionLog, tmp_path: Path
) -> None:
    log.decide(silent(settings, "outcomes"))
    log.decide(silent(settings, "outcomes", "predictions"))
    environment = os.environ | {"ASSAY_HOME": str(settings.home), "ASSAY_ORIGIN": settings.origin}
    for n in (1, 2):  # each dies with one more entry made and not noted
        done = subprocess.run([sys.executable, "-c", ENTER], env=environment, check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL and [w.entry for w in log.waiting("care")] == [None, None]
        assert said(settings) == ["feed: ('outcomes',)"], f"attempt {n}"
    log.enter_all("care", partial(ledger.append, settings))
    assert said(settings) == ["feed: ('outcomes',)", "feed: ('outcomes', 'predictions')"]
    assert log.waiting("care") == [] and verify(settings) == []


def test_the_same_thing_decided_again_is_another_entry(settings: Settings, log: PredictionLog) -> None:
    for _ in range(2):
        log.decide(silent(settings, "outcomes"))
        log.enter_all("care", partial(ledger.append, settings))
    assert said(settings) == ["feed: ('outcomes',)"] * 2


def looked_at(settings: Settings, window: int, action: Action = "nothing") -> Decision:
    """As monitoring decides; the report is cut to what tells it from others."""
    created = datetime.now(UTC).isoformat()
    draft = EntryDraft(
        kind="monitored",
        model="care",
        version="v1.0.0",
        actor="test",
        reason="schedule",
        sentence=f"window {window}: {action}; said",
        evidence={"window": window, "created": created},
        details=WindowDetails(window=window, action=action),
    )
    return Decision(draft, ledger.height(settings), [(f"assay.decision.{action}", {"window": window})])


def root_of(leaves: list[bytes]) -> bytes:
    """By levels from the leaves up, as the tree of RFC 6962 can be made without its recursion."""
    level = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
        level = [sha256(b"\x01" + pair[0] + pair[1]).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 24])
def test_windows_that_say_nothing_share_an_entry_before_the_next_that_says_something(
    settings: Settings, log: PredictionLog, count: int
) -> None:
    for window in range(1, count + 1):
        log.decide(looked_at(settings, window))
    ids = [key for waiting in log.waiting("care") for _, _, key in waiting.decision.identified]
    gather_quiet(log, "care")
    assert len(log.waiting("care")) == (1 if count == 24 else count), "alone they wait for a day, or for more"
    log.decide(looked_at(settings, count + 1, "alert"))
    log.decide(looked_at(settings, count + 2))
    gather_quiet(log, "care")
    together, alert, after = log.waiting("care")
    assert [key for _, _, key in together.decision.identified] == ids, "nobody hears an event twice"
    assert after.decision.quiet and not alert.decision.quiet
    for waiting in (together, alert):
        log.enter(waiting, partial(ledger.append, settings))
    quiet, loud = ledger.entries(settings, "care")
    assert isinstance(quiet.read, QuietDetails) and quiet.read.windows == tuple(range(1, count + 1))
    assert loud.window == count + 1 and verify(settings) == []
    reports = ledger.evidence(settings, str(quiet.evidence))["reports"]
    leaves = [json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() for r in reports]
    assert quiet.read.root == f"sha256:{root_of(leaves).hex()}" and [r["window"] for r in reports] == [
        *quiet.read.windows
    ]


@pytest.mark.parametrize("since", [timedelta(days=1, seconds=1), timedelta(days=-1)])
def test_a_window_that_says_nothing_is_entered_after_a_day(
    settings: Settings, log: PredictionLog, since: timedelta
) -> None:
    """One that was looked at later than now, before a clock was set back, does not wait for that time."""
    old = looked_at(settings, 1)
    then = (datetime.now(UTC) - since).isoformat()
    draft = old.draft.model_copy(update={"evidence": {"window": 1, "created": then}})
    log.decide(Decision(draft, old.height, old.events))
    gather_quiet(log, "care")
    (waiting,) = log.waiting("care")
    assert isinstance(waiting.decision.draft.details, QuietDetails)
    assert waiting.decision.draft.sentence == "window 1: nothing; 1 report in one entry"


def test_a_collected_file_that_nobody_can_read_stops_no_watching(
    settings: Settings, dvc_developer: Path, log: PredictionLog, capsys: pytest.CaptureFixture[str]
) -> None:
    content, collected = b"no Parquet", dvc_developer / "data/care/collected"
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = kept(settings.cache, md5)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    collected.mkdir(parents=True)
    name = "rows-1-2.parquet"
    (collected / f"{name}.dvc").write_text(
        f"outs:\n- {{md5: '{md5}', size: {len(content)}, hash: md5, path: {name}}}\n"
    )
    git(dvc_developer, "add", ".")
    git(dvc_developer, "commit", "--quiet", "-m", "a file that is none")
    git(dvc_developer, "push", "--quiet", "origin", "HEAD:main")
    details = ForgottenDetails(by="id", predictions=1)
    draft = EntryDraft(
        kind="forgotten", model="care", actor="a", reason="person", sentence="gone", details=details, evidence={"n": 1}
    )
    log.decide(Decision(draft, ledger.height(settings), forgets=("p1",)))
    (waiting,) = log.waiting("care")
    log.enter(waiting, partial(ledger.append, settings))
    take_out(settings, "care", log)
    said = capsys.readouterr().out
    assert said.startswith(
        "rows that were forgotten are still in the collected files of main: data/care/collected/rows-1-2.parquet.dvc "
        "points to what is no Parquet ("
    ), said
    assert [one.decision.forgets for one in log.waiting("care")] == [("p1",)], "it is tried again"


def test_a_decision_without_evidence_has_no_key() -> None:
    details = ForgottenDetails(by="age")
    draft = EntryDraft(kind="forgotten", model="care", actor="a", reason="person", sentence="gone", details=details)
    with pytest.raises(ValueError, match="a decision of kind 'forgotten' has no evidence, and that is its key"):
        Decision(draft, 0)
