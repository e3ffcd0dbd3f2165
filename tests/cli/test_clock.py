"""A clock that is set between two commands: what is written holds, and who is told how far it is off can set it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.cli import backups
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.registry import authority, ledger, policies
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.signing import signatures
from tasks.spec.errors import PromotionRefused
from tasks.spec.ledger import AwaitingDetails, EntryDraft, Warrant
from tasks.spec.settings import Settings
from tests.cli.test_status import parts, stopped_home
from tests.cli.test_system import assay
from tests.clock import DAY, clock
from tests.keys import key, public
from tests.proof.ledgers import candidate, verdict

HOLDS = "the ledger holds: chain, evidence, signatures and tags are as written; first list "


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    return stopped_home(tmp_path)


def appoint(home: Path, folder: Path, *people: str, **environment: str) -> None:
    """Put approvers on the list; the command that enters it writes one entry of the ledger."""
    path = folder / "list.json"
    path.unlink(missing_ok=True)
    settings = Settings(home=home)
    policies.draft(settings, path, new_root=False)
    document = json.loads(path.read_text())
    document["policy"]["people"] = document["policy"]["people"][:1] + [
        {"name": f"{name}@example.org", "roles": ["approver"], "keys": [public(folder / name)]} for name in people
    ]
    path.write_text(json.dumps(document))
    for name in people:
        policies.sign(path, f"{name}@example.org", folder / name)
    done = assay(home, "policy", "--enter", str(path), **environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("steps", [(DAY, 0.0), (0.0, -DAY)])
def test_entries_of_a_clock_that_jumps_hold_and_status_says_how_far_it_is_off(
    home: Path, tmp_path: Path, steps: tuple[float, float]
) -> None:
    set_by = clock(tmp_path)
    key(tmp_path, "ann"), key(tmp_path, "bo")
    begun = datetime.now(UTC)
    before = len(ledger.entries(Settings(home=home)))
    for step, people in zip(steps, (("ann",), ("ann", "bo")), strict=True):
        set_by.set(step)
        appoint(home, tmp_path, *people, **set_by.environment)
    entries = ledger.entries(Settings(home=home))
    assert len(entries) == before + 2
    times = [datetime.fromisoformat(e.time) for e in entries[-2:]]
    for found, step in zip(times, steps, strict=True):
        assert timedelta(0) <= found - begun - timedelta(seconds=step) < timedelta(minutes=5)
    done = assay(home, "ledger", "--verify", **set_by.environment)
    assert (done.returncode, done.stdout[: len(HOLDS)]) == (0, HOLDS), done.stdout
    assert parts(home)[1]["clock"]["state"] == "well", "the newest entry is not of later than now"


def test_a_clock_that_was_ahead_is_named_with_what_is_of_later_than_now(home: Path, tmp_path: Path) -> None:
    set_by = clock(tmp_path)
    set_by.set(DAY)
    key(tmp_path, "ann")
    appoint(home, tmp_path, "ann", **set_by.environment)
    tomorrow = (datetime.now(UTC) + timedelta(hours=3)).isoformat(timespec="milliseconds")
    log = PredictionLog(Settings(home=home).log_database)
    log.append([Prediction("1", "care", "v1.0.0", tomorrow, {"xage": 1}, 0.5, True)])
    entry = ledger.entries(Settings(home=home))[-1]
    code, found = parts(home)
    assert code == 1 and {name for name, part in found.items() if part["state"] == "not well"} == {"clock"}
    first, second = found["clock"]["says"].split("; ")
    assert first.startswith(f"the ledger's newest entry is of {entry.time}, 24 hours after now, ")
    assert second.startswith(f"the log's newest prediction is of {tomorrow}, 3 hours after now, ")
    assert found["clock"]["fix"] == (
        "set this machine's clock; where it is right, nothing: the next entry and the next prediction end this"
    )
    log.append([Prediction("2", "care", "v1.0.0", datetime.now(UTC).isoformat(), {"xage": 1}, 0.5, True)])
    log.close()
    assert first[:60] in parts(home)[1]["clock"]["says"] and "prediction" not in parts(home)[1]["clock"]["says"]
    key(tmp_path, "bo")
    appoint(home, tmp_path, "ann", "bo")
    assert parts(home)[0] == 0 and assay(home, "ledger", "--verify").returncode == 0


def test_a_clock_set_back_gives_no_signature_more_time(home: Path, tmp_path: Path) -> None:
    """An approval that was over by the newest entry is refused with the way out; signed again, it counts."""
    settings, set_by = Settings(home=home), clock(tmp_path)
    for name in ("ann", "bo"):
        key(tmp_path, name)
    appoint(home, tmp_path, "ann")
    commit = candidate(settings, "care", "one")
    evidence = verdict(tmp_path, "care", commit, None, "v1.0.0")
    ledger.append(settings, EntryDraft(
        kind="awaiting_signature", model="care", commit=commit, actor="dana", reason="push", sentence="waits",
        evidence=evidence, details=AwaitingDetails(author="dana"),
    ))  # fmt: skip
    set_by.set(10 * DAY)
    appoint(home, tmp_path, "ann", "bo", **set_by.environment)
    newest = ledger.entries(settings)[-1].time

    def approve(expires: str) -> str:
        said = authority.approval(state(settings), "care", commit, "ann@example.org", "I read it", expires)
        warrant = Warrant(statement=said, armor=signatures.sign(said, tmp_path / "ann"))
        return Registry(settings).promote("care", commit, evidence, "dana", "person", None, warrant).tag

    over = (datetime.now(UTC) + timedelta(days=5)).date().isoformat()
    with pytest.raises(PromotionRefused) as told:
        approve(over)
    assert str(told.value) == (
        f"what ann@example.org signed expired on {over}, and the ledger's newest entry is of {newest}: this machine's "
        f"clock was set back. Set it; or sign again, with --expires {newest[:10]} or later."
    )
    assert approve(newest[:10]) == "v1.0.0" and assay(home, "ledger", "--verify").returncode == 0
    assert policies.shown(settings)["policy"]["counter"] == 3


def test_a_home_is_restored_twice_in_one_second(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set aside has the time in its name, and a clock that was set back comes by the same time again."""

    class Stands(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2026, 11, 29, tzinfo=UTC)

    file = tmp_path / "assay.tar"
    assert assay(home, "backup", str(file)).returncode == 0
    monkeypatch.setattr(backups, "datetime", Stands)
    notes = [backups.restore(Settings(home=home), file, replace=True).notes[0] for _ in range(2)]
    first = f"what was there is in {home}/replaced-20261129T000000"
    assert notes[0] == first and notes[1].startswith(f"{first}-")
    assert all((Path(note.removeprefix("what was there is in ")) / "origin.git").exists() for note in notes)
    shutil.rmtree(home)
