"""One ledger with entries of every kind, of today and of yesterday, at every door that shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from tasks import monitoring
from tasks.cli.overview import overview, overview_text
from tasks.demo.__main__ import _account, _table
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.pages.watch import ModelStatus, next_steps
from tasks.records.registry import ledger
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.registry import Registry, stopped_because
from tasks.records.registry.state import state
from tasks.records.registry.verification import told, verify
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import CheckoutError
from tasks.spec.evidence import Decision, GateResult, Verdict, WindowReport
from tasks.spec.ledger import (
    AwaitingDetails,
    Entry,
    EntryDraft,
    EntryKind,
    FeedDetails,
    ForgottenDetails,
    RejectedDetails,
    StoppedDetails,
    TrainedDetails,
    WindowDetails,
)
from tasks.spec.model import load_model
from tasks.spec.requests import MonitoringRequest
from tasks.spec.settings import Settings
from tests.candidates import commit_run
from tests.conftest import ROOT
from tests.proof.ledgers import in_old_form

COMMIT = "c" * 40


def verdict(state: Any = "pass", commit: str = COMMIT) -> dict[str, Any]:
    gates = (
        GateResult(gate="auc-floor", kind="floor", mandatory=True, state=state, reason="r"),
        GateResult(gate="calibration-by-sex", kind="calibration", mandatory=False, state="fail", reason="r"),
    )
    found = Verdict(
        model="care",
        commit=commit,
        champion=None,
        model_digest="sha256:b",
        created="t",
        passed=state == "pass",
        gates=gates,
    )
    return {"verdict": found.model_dump(mode="json")}


def report(number: int) -> WindowReport:
    return WindowReport(
        model="care", version="v1.0.0", window=number, first="t", last="t", first_seq=1, last_seq=2, rows=2, labelled=0,
        created="t", findings=(), decision=Decision(action="alert", reason="because", policy="line"),
    )  # fmt: skip


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose ledger holds every kind; the entry on the feed is made by the task that watches it."""
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    settings.home.mkdir(parents=True, exist_ok=True)
    write(settings, "trained", TrainedDetails(base="b", branch="x"))
    write(settings, "rejected", RejectedDetails(trained=False), evidence={"data": {}})
    write(settings, "rejected", RejectedDetails(trained=True, gates={"auc-floor": "fail"}), evidence=verdict("fail"))
    write(settings, "awaiting_signature", AwaitingDetails(author="dana@example.org"), evidence=verdict())
    write(settings, "examined", evidence=verdict())
    for text, champion in (("one", None), ("two", "v1.0.0")):
        with workspace.worktree(settings, "main") as tree:
            (tree / "model.txt").write_text(text)
            commit = commit_run(settings, tree, text, f"assay/candidates/care/{text}")
        Registry(settings).promote("care", commit, verdict(commit=commit), "test", "person", champion)
    Registry(settings).assign("care", "v1.0.0", "rolled_back", {"because": "test"}, "test", "person", "v2.0.0")
    write(settings, "monitored", WindowDetails(window=3, action="alert"))
    watch_a_silent_feed(settings, monkeypatch)
    write(settings, "forgotten", ForgottenDetails(by="age", predictions=2))
    write(settings, "stopped", StoppedDetails(because="it harms"))
    return settings


def write(settings: Settings, kind: EntryKind, details: Any = None, evidence: dict[str, Any] | None = None) -> None:
    """Sentences are all alike: nobody may read them."""
    draft = EntryDraft(
        kind=kind, model="care", commit=COMMIT, actor="test", reason="person",
        version="v1.0.0" if kind == "stopped" else None, sentence="window 9: feed: not trained; x",
        details=details, evidence=evidence,
    )  # fmt: skip
    ledger.append(settings, draft)


def watch_a_silent_feed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the task itself; only the champion's files are a stand-in."""
    care = load_model(ROOT, "care")
    feed = care.monitoring.feed.model_copy(update={"silent_seconds": 3600})
    config = care.model_copy(update={"monitoring": care.monitoring.model_copy(update={"feed": feed})})
    monkeypatch.setattr(monitoring, "version_files", lambda *_: SimpleNamespace(config=config))
    log = PredictionLog(settings.log_database)
    old = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    log.append([Prediction("p1", "care", "v1.0.0", old, {"x": 1}, 0.5, True)])
    log.save_report(report(3))
    log.close()
    request = MonitoringRequest(model="care", actor="test")
    hook = Path(settings.origin) / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    for _ in range(2):  # it is told once
        monitoring.watch_feed.fn(request)
    log, append = PredictionLog(settings.log_database), partial(ledger.append, settings)
    with pytest.raises(CheckoutError):
        log.enter_all("care", append)
    hook.unlink()
    (waiting,) = log.waiting("care")  # what the ledger refused waits, and is entered once
    log.enter_all("care", append)
    assert log.enter(waiting, append) == ledger.entries(settings)[-1].sequence, "whoever died before they noted it"
    assert [name for name, *_ in waiting.decision.events] == ["assay.finding.feed"]
    log.close()


def test_every_kind_of_entry_is_in_the_ledger(home: Settings) -> None:
    entries = ledger.entries(home)
    assert {e.kind for e in entries} == set(get_args(EntryKind)) and verify(home) == []
    (feed,) = [e for e in entries if isinstance(e.read, FeedDetails)]
    assert feed.read == FeedDetails(silent=("predictions",)) and feed.sentence.startswith("feed: the feed has stopped")
    assert stopped_because(home, "care") == "window 9: feed: not trained; x"


def as_of_yesterday(entries: list[Entry]) -> list[Entry]:
    """The same entries as they were written before details were typed."""
    sentences = {
        "monitored": "window 3: alert; because",
        "stopped": "v1.0.0 was taken out of service: it harms",
        "promoted": "became champion: v1.0.0",
        "rolled_back": "rolled back to v1.0.0, after v2.0.0",
    }
    old = []
    for e in entries:
        said = sentences.get(e.kind, "as it was")
        if e.kind == "rejected":
            said = "not trained: 1 of 3 expectations is broken" if e.rejected_untrained else "not fit to serve: a fail"
        if isinstance(e.read, FeedDetails):
            said = "feed: what had stopped arrives again"
        kept = e.details if e.kind in ("trained", "forgotten") else {}
        old.append(e.model_copy(update={"sentence": said, "details": kept}))
    return old


@pytest.mark.parametrize("of", ["today", "yesterday"])
def test_the_account_page_links_what_each_entry_is_about(home: Settings, of: str) -> None:
    entries = ledger.entries(home)
    story = SimpleNamespace(
        ledger=lambda: entries if of == "today" else as_of_yesterday(entries), reports=lambda: [report(3)]
    )
    page = _account(story, []).read_text()
    for link in ("care/data.html", f"care/verdict-{COMMIT[:12]}.html", "care/window-00003.html"):
        assert f'href="{link}"' in page
    assert set(re.findall(r'href="care/(window-[0-9]+)', page)) == {"window-00003"}
    assert page.count('href="care/data.html"') == 1


def test_the_terminal_lists_every_entry(home: Settings) -> None:
    from rich.console import Console

    out = Console(width=140, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    _table(SimpleNamespace(ledger=lambda: ledger.entries(home)), out)
    kinds = [e.kind.replace("_", " ") for e in ledger.entries(home)]
    table = out.export_text()
    done = assay(home.home, "ledger")
    as_json = json.loads(assay(home.home, "ledger", "--json").stdout)
    assert [e["kind"].replace("_", " ") for e in as_json] == kinds
    assert assay(home.home, "ledger", "--verify").stdout == (
        f"the ledger holds: chain, evidence, signatures and tags are as written; first list {state(home).root}\n"
    )
    for kind in kinds:
        assert kind in table and kind in done.stdout
    assert done.returncode == 0 and "Traceback" not in done.stderr


def assay(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"ASSAY_HOME": str(home), "COLUMNS": "140"} | environment,
        check=False,
    )


def test_an_entry_by_hand_does_not_break_the_status_and_is_named(home: Settings) -> None:
    before = overview(home)["models"]
    last = ledger.entries(home)[-1]
    change = {"sequence": last.sequence + 1, "previous": last.digest(), "kind": "examined", "details": {}}
    evidence = digest_json({"verdict": "x"})
    entry = last.model_copy(update=change | {"actor": "\x1b[2Jmallory", "evidence": evidence})
    with workspace.worktree(home, BRANCH) as tree:
        (tree / "entry.json").write_bytes(canonical_json(entry.stored()))
        (tree / "evidence.json").write_bytes(canonical_json({"verdict": "x"}))
        for command in (("add", "."), ("commit", "-qm", "x"), ("push", "-q", "origin", f"HEAD:refs/heads/{BRANCH}")):
            Git(tree).run(*command)
    found = overview(home)
    assert found["models"] == before
    assert found["record_problems"][0].startswith(f"entry {entry.sequence} does not count: it is not signed by")
    listed = assay(home.home, "ledger")
    assert listed.returncode == 0 and "U+001B[2Jmallory" in listed.stdout and "\x1b[2J" not in listed.stdout
    assert f"entry {entry.sequence} does not count: it is not signed by" in listed.stdout
    asked = json.loads(assay(home.home, "ledger", "--json").stdout)
    assert [bool(e["does_not_count"]) for e in asked] == [False] * (len(asked) - 1) + [True]
    told_status = assay(home.home, "status")
    assert told_status.returncode == 1 and f"record: entry {entry.sequence} does not count" in told_status.stdout


def test_what_is_no_entry_at_all_is_put_back_by_the_command_that_is_told(home: Settings) -> None:
    """A clone that took the junk for what was there would say afterwards that the ledger was cut off."""
    good = state(home).sequence
    with workspace.worktree(home, BRANCH) as tree:
        (tree / "entry.json").write_text('{"x":1}')
        for command in (("add", "."), ("commit", "-qm", "x"), ("push", "-q", "origin", f"HEAD:refs/heads/{BRANCH}")):
            Git(tree).run(*command)
    for _ in range(2):
        now = state(home)
        assert now.sequence == good and "cannot be read as an entry" in now.problems[0]
    command = now.problems[0].rpartition("in the home's clone: ")[2].removesuffix(".").split()
    Git(home.clone).run(*command[1:])
    assert state(home).problems == [] and verify(home) == []


def test_status_page_and_verify_name_a_tag_by_hand_and_nothing_else_changes(home: Settings) -> None:
    before = overview(home)["models"]
    git = Git(home.clone)
    git.run("tag", "care@v2.0.0!", "refs/remotes/origin/main")
    git.run("push", "--quiet", "origin", "care@v2.0.0!", ":refs/tags/care@v1.0.0")
    found, says = overview(home), "tag care@v2.0.0! is none that Assay makes; it changes nothing."
    stays = "and what serves stays as it is. Put it back with: assay ledger --mend"
    gone = f"tag care@v1.0.0 of entry 7 is missing or moved, {stays}"
    assert found["models"] == before and says in found["record_problems"][0] and found["record_problems"][1] == gone
    assert f"record: {gone}" in overview_text(found)
    watched = ModelStatus("care", "Care", "v1.0.0", "", [], told=told(home, "care")[1])
    assert gone in next_steps(watched)[1] and told(home, "income")[1] == []
    git.run("push", "--quiet", "origin", "refs/remotes/origin/main:refs/tags/care@odd/one")
    assert "tag care@odd/one is none that Assay makes" in told(home, "care")[1][0]
    git.run("push", "--quiet", "origin", ":refs/tags/care@odd/one")
    mended = assay(home.home, "ledger", "--mend")
    assert mended.returncode == 0 and mended.stdout.startswith("put back: tag care@v1.0.0\nnotice: tag care@v2.0.0! is")
    shown = assay(home.home, "policy").stdout
    assert f"first list (root) {state(home).root}" in shown and "(a quorum of one)" in shown


def test_the_status_says_what_the_newest_verdict_says(home: Settings) -> None:
    found = overview(home)
    said = "is fit to serve: 1 of 2 gates passed; the one that did not is advisory: calibration-by-sex"
    assert found["models"]["care"]["verdict"].endswith(said)
    assert f"  newest verdict: {found['models']['care']['verdict']}\n" in overview_text(found)
    assert found["models"]["income"]["verdict"] is None


def test_a_ledger_of_the_old_form_is_verified_and_goes_on_by_the_commands(home: Settings) -> None:
    before = overview(home)["models"]["care"]
    old = in_old_form(home)
    count, holds = len(ledger.entries(old)), "the ledger holds: chain, evidence, signatures and tags are as written; "

    def verified(*more: str) -> str:
        done = assay(old.home, "ledger", "--verify", *more, ASSAY_ORIGIN=old.origin)
        assert done.returncode == 0 and done.stdout.startswith(holds), done.stdout + done.stderr
        return done.stdout

    assert "checked before" not in verified()
    status = json.loads(assay(old.home, "status", "--json", ASSAY_ORIGIN=old.origin).stdout)
    assert (status["models"]["care"]["champion"], status["models"]["care"]["verdict"], status["ledger_entries"]) == (
        before["champion"], before["verdict"], count,
    )  # fmt: skip
    details = StoppedDetails(because="it harms")
    draft = EntryDraft(kind="stopped", model="care", version=before["champion"], actor="dana", reason="person",
                       sentence="it was stopped", details=details)  # fmt: skip
    ledger.append(old, draft)
    assert "checked before" not in verified()
    again = f"the first {count + 1} entries were checked before, and are again with --whole\n"
    assert verified().endswith(again) and "checked before" not in verified("--whole")
    listed = json.loads(assay(old.home, "ledger", "--json", ASSAY_ORIGIN=old.origin).stdout)
    assert [e["sequence"] for e in listed] == [*range(1, count + 2)] and listed[-1]["sentence"] == "it was stopped"
