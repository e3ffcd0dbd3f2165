"""When a version served, where a clock ran backwards between the entries that say so."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.records.registry import branch, ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.base import canonical_json
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT
from tests.told import MAIN

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Set(datetime):
    """A clock that stands where a test set it."""

    at = NOON

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return cls.at


def promote(settings: Settings, text: str, champion: str | None, at: datetime) -> str:
    Set.at = at
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(text)
        commit = commit_run(settings, tree, text, f"assay/candidates/care/{text}")
    return Registry(settings).promote("care", commit, passed("care", commit, champion), "test", "person", champion).tag


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """v1.0.0 at noon; v2.0.0 an hour later by a clock that was two hours ahead; v3.0.0 by the right clock again."""
    monkeypatch.setattr(ledger, "datetime", Set)
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    promote(settings, "one", None, NOON)
    promote(settings, "two", "v1.0.0", NOON + timedelta(hours=3))
    promote(settings, "three", "v2.0.0", NOON + timedelta(hours=2))
    return settings


def assay(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MAIN, *words], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def test_a_moment_that_a_clock_made_ambiguous_is_said_to_be_so(home: Settings) -> None:
    entries = {e.version: e.sequence for e in ledger.entries(home) if e.kind == "promoted"}
    done = assay("served", "care", "--at", "2026-11-20T14:30:00Z")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == (
        "v1.0.0 or v2.0.0 or v3.0.0 served for care at 2026-11-20 14:30:00 UTC: a clock ran backwards around the "
        f"ledger's entries {entries['v1.0.0']}, {entries['v2.0.0']}, {entries['v3.0.0']}, so their order is certain "
        "and their time is not\n"
    )
    for at, version in (("2026-11-20T13:30:00Z", "v1.0.0"), ("2026-11-20T17:00:00+01:00", "v3.0.0")):
        found = assay("served", "care", "--at", at, "--json")
        assert (found.returncode, json.loads(found.stdout)["version"]) == (0, version)


def test_history_names_the_entries_and_gives_no_length_that_would_be_negative(home: Settings) -> None:
    found = assay("history", "care")
    assert found.returncode == 0, found.stderr
    said = " ".join(found.stdout.split())
    assert said.count("for how long is unknown, since a clock ran backwards") == 3
    assert "notice: a clock ran backwards around entries 3, 4 of the ledger" in said
    lengths = [span["seconds"] for span in json.loads(assay("history", "care", "--json").stdout)["served"]]
    assert lengths == [None] * 3


def test_entries_that_do_not_count_change_nothing_that_is_told(home: Settings) -> None:
    """A stop that nobody signed, pushed by somebody who may push."""
    before = json.loads(assay("history", "care", "--json").stdout)
    now, git = state(home), Git(home.clone, home.origin)
    forged = Entry(
        sequence=now.sequence + 1, time="2026-11-20T15:00:00.000+00:00", kind="stopped", model="care", version="v3.0.0",
        commit="c" * 40, actor="eve", reason="person", sentence="stopped", evidence=None, previous=now.digest,
        details={"because": "evil", "warrant": None},
    )  # fmt: skip
    tip = branch.commit(git, now.tip, canonical_json(forged.stored()), None, "forged", forged.time)
    git.run("push", "--quiet", "origin", f"{tip}:refs/heads/{branch.BRANCH}")
    after = json.loads(assay("history", "care", "--json").stdout)
    assert (after["candidates"][0], len(after["served"])) == (before["candidates"][0], len(before["served"]))
    assert after["notices"][0] == "1 entry of the ledger does not count and is left out; see: assay ledger"
