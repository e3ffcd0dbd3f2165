"""A decision is entered once, whoever dies between the ledger and the log; two decisions are two entries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.verification import verify
from tasks.spec.ledger import EntryDraft, FeedDetails, ForgottenDetails
from tasks.spec.settings import Settings

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


def test_a_decision_without_evidence_has_no_key() -> None:
    details = ForgottenDetails(by="age")
    draft = EntryDraft(kind="forgotten", model="care", actor="a", reason="person", sentence="gone", details=details)
    with pytest.raises(ValueError, match="a decision of kind 'forgotten' has no evidence, and that is its key"):
        Decision(draft, 0)
