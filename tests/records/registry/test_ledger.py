"""What `assay ledger --verify` sees, on a real origin that somebody rewrites."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tasks.records.registry import index, ledger, memory
from tasks.records.registry.branch import BRANCH, SEEN
from tasks.records.registry.registry import Registry, mend
from tasks.records.registry.state import state
from tasks.records.registry.verification import KEPT, told, verified, verify
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.base import canonical_json
from tasks.spec.errors import CorruptionError
from tasks.spec.ledger import EntryDraft, EntryKind, StoppedDetails, TrainedDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import git
from tests.proof.ledgers import in_old_form
from tests.told import MAIN

Change = Callable[[Path], None]


@pytest.fixture
def written(settings: Settings) -> Settings:
    """Three entries on trainings, then a promotion, then one more training."""
    for text in ("one", "two", "three"):
        training(settings, text)
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None)
    training(settings, "five")
    assert verify(settings) == []
    return settings


def training(settings: Settings, text: str) -> None:
    details = TrainedDetails(base="a" * 40, branch="assay/candidates/income/one")
    draft = EntryDraft(
        kind="trained",
        model="income",
        actor="test",
        reason="person",
        sentence=text,
        evidence={"text": text},
        details=details,
    )
    ledger.append(settings, draft)


def fresh(settings: Settings) -> Settings:
    return Settings(home=settings.home.with_name("fresh"), origin=settings.origin)


def push(settings: Settings, *commands: tuple[str, ...], change: Change | None = None) -> None:
    """Do to the ledger branch what nobody should, and force it on the origin."""
    with workspace.worktree(settings, BRANCH) as tree:
        if change:
            change(tree)
        for command in (
            ("add", "--all", ":!.dvc"),
            *commands,
            ("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{BRANCH}"),
        ):
            Git(tree).run(*command)


def word(old: str, new: str, path: str = "entry.json") -> Change:
    def change(tree: Path) -> None:
        text = (tree / path).read_text()
        assert old in text
        (tree / path).write_text(text.replace(old, new))

    return change


def test_an_entry_of_the_old_form_changed_by_a_later_commit_is_noticed_and_changes_nothing(written: Settings) -> None:
    old = in_old_form(written)
    assert verify(old) == []
    change = word('"two"', '"TWO"', "entries/000003.json")
    push(old, ("commit", "--quiet", "-m", "3: nothing to see here"), change=change)
    (history,) = verify(old)
    assert history.endswith("changes or removes entries/000003.json, and what is written stays as it is")
    assert verify(fresh(old)) == [history]
    for home in (old, fresh(old)):  # who sees it for the first time reads the entry as it was added, too
        champion = Registry(home).champion("income")
        assert champion is not None and champion.tag == "v1.0.0"
        assert [e.sentence for e in ledger.entries(home)][1:4] == ["one", "two", "three"]


def test_an_entry_told_once_more_is_noticed(written: Settings) -> None:
    content = canonical_json(ledger.entries(written)[2].stored())
    change = lambda tree: (tree / "entry.json").write_bytes(content.replace(b'"two"', b'"TWO"')) and None  # noqa: E731
    push(written, ("commit", "--quiet", "-m", "3: nothing to see here"), change=change)
    place, chain, evidence = verify(written)
    assert place == "entry 7 is missing: 3 stands in its place" and evidence.startswith("entry 3: evidence sha256:")
    assert chain == "entry 3 does not follow from the one before: it was changed or put in later"
    with pytest.raises(CorruptionError, match=r"commit \w{12} does not follow from the entry before it"):
        training(fresh(written), "six")
    for home in (written, fresh(written)):
        champion = Registry(home).champion("income")
        assert champion is not None and champion.tag == "v1.0.0"  # what was proven before it goes on serving


def test_the_newest_entry_changed_in_place_is_noticed_and_nothing_is_written_on_it(written: Settings) -> None:
    push(written, ("commit", "--quiet", "--amend", "--no-edit"), change=word('"five"', '"FIVE"'))
    rewritten, unsigned = verify(written)
    assert rewritten.startswith("the ledger was rewritten or cut off since this clone last saw it: its newest commit ")
    assert unsigned.startswith(
        "entry 6 does not count: it is not signed by an examiner of the list in force (it names "
    )
    assert verify(fresh(written)) == [unsigned]
    with pytest.raises(
        CorruptionError, match="nothing is written on a ledger that does not hold: the ledger was rewri"
    ):
        training(written, "six")
    champion = Registry(written).champion("income")
    assert champion is not None and champion.tag == "v1.0.0"
    command = rewritten.split("Put it back with git ")[1].split(", or accept")[0].split()
    Git(written.home).run(*command)
    assert verify(written) == []


def test_entries_that_were_cut_off_are_noticed(written: Settings) -> None:
    push(written, ("reset", "--quiet", "--hard", "HEAD~2"))
    found = verify(fresh(written))
    assert [f.split(" names an entry for commit ")[0] for f in found] == ["tag income#champion#1", "tag income@v1.0.0"]
    assert verify(written)[1:] == found and "rewritten or cut off" in verify(written)[0]
    Git(written.clone).run("push", "--quiet", "origin", f":refs/heads/{BRANCH}")
    assert "the branch is gone" in verify(written)[0]


def test_a_promotion_told_otherwise_is_noticed_by_everybody(written: Settings) -> None:
    push(written, ("reset", "--quiet", "--hard", "HEAD~1"))
    push(written, ("commit", "--quiet", "--amend", "--no-edit"), change=word('"actor":"test"', '"actor":"them"'))
    assert [f.split(" names an entry")[0].split(":")[0] for f in verify(fresh(written))] == [
        "entry 5 does not count",
        "tag income#champion#1",
        "tag income@v1.0.0",
    ]
    assert Registry(fresh(written)).champion("income") is None


def test_an_entry_that_cannot_be_read_is_a_sentence(written: Settings) -> None:
    change = lambda tree: (tree / "entry.json").write_text("{\n\n}") and None  # noqa: E731
    push(written, ("commit", "--quiet", "-m", "oops"), change=change)
    (told,) = verify(written)
    assert re.match(r"commit \w{12} of the ledger cannot be read as an entry: it is no document in", told)
    with pytest.raises(CorruptionError, match=r"commit \w{12} of the ledger cannot be read as an entry. Look at"):
        ledger.entries(written)
    for _ in range(2):  # the state that is kept says it again
        assert re.match(r"commit \w{12} of the ledger cannot be read as an entry. Look", state(written).problems[0])
    assert next(ledger.newest(written, "income", ("trained",))).sentence == "five"


def test_removed_and_changed_files_of_the_old_form_are_noticed(written: Settings) -> None:
    old = in_old_form(written)

    def change(tree: Path) -> None:
        (tree / "entries/000001.json").unlink()
        evidence = next(p for p in (tree / "evidence").iterdir() if "five" in p.read_text())
        evidence.write_text(evidence.read_text().replace("five", "FIVE"))

    push(old, ("commit", "--quiet", "-m", "tidy"), change=change)
    again = lambda tree: (  # noqa: E731
        (tree / "entries/000007.json").write_bytes((tree / "entries/000006.json").read_bytes()) and None
    )
    push(old, ("commit", "--quiet", "-m", "two at once"), change=again)
    text = "\n".join(verify(old))
    for part in (
        "changes or removes entries/000001.json, evidence/",
        "entries/000007.json of the ledger cannot be read as an entry: its number is not that of its file",
        "entry 6: evidence sha256:",
    ):
        assert part in text, text


def test_a_commit_that_adds_no_entry_is_noticed_and_stops_nobody(written: Settings) -> None:
    push(written, ("commit", "--quiet", "--allow-empty", "-m", "nothing"))
    told = ["0 entries, and a commit of the ledger adds one entry with its evidence"]
    assert [p.split(" adds ", 1)[1] for p in verify(written)] == told
    training(written, "six")
    assert [p.split(" adds ", 1)[1] for p in verify(fresh(written))] == told and len(ledger.entries(written)) == 7


def test_an_entry_in_a_place_of_the_old_form_is_named_and_does_not_count(written: Settings) -> None:
    """What a home of an earlier version would write on a ledger that went on without it."""
    content = canonical_json(ledger.entries(written)[2].stored())

    def change(tree: Path) -> None:
        (tree / "entries").mkdir()
        (tree / "entries/000007.json").write_bytes(content)

    push(written, ("commit", "--quiet", "-m", "7: income trained"), change=change)
    (told,) = verify(written)
    assert told.endswith(
        " adds 0 entries and entries/000007.json, and a commit of the ledger adds one entry with its evidence"
    )
    training(written, "six")
    assert [e.sentence for e in ledger.entries(written)][-2:] == ["five", "six"]


def test_a_ledger_of_the_old_form_goes_on_in_the_present_one(written: Settings) -> None:
    old = in_old_form(written)
    assert [e.sentence for e in ledger.entries(old)] == [e.sentence for e in ledger.entries(written)]
    training(old, "six")
    git = Git(Path(old.origin))
    assert git.run("ls-tree", "-r", "--name-only", BRANCH).split() == ["entry.json", "evidence.json"]
    assert "entries/000006.json" in git.run("ls-tree", "-r", "--name-only", f"{BRANCH}~1")
    with workspace.worktree(old, "main") as tree:
        commit = commit_run(old, tree, "second", "assay/candidates/income/two")
    Registry(old).promote("income", commit, passed("income", commit, "v1.0.0"), "test", "person", "v1.0.0")
    training(old, "one")  # evidence that the old form holds already
    for home in (old, fresh(old)):
        assert verify(home) == [] and Registry(home).next_version("income") == "v3.0.0"
        found = ledger.entries(home)
        assert [e.sequence for e in found] == [*range(1, 10)]
        assert [ledger.evidence(home, str(e.evidence)).get("text") for e in found[1:]] == [
            "one", "two", "three", None, "five", "six", None, "one",
        ]  # fmt: skip


def test_a_tag_set_past_the_ledger_is_noticed(written: Settings) -> None:
    git = Git(written.clone)
    message = git.run("for-each-ref", "--format=%(contents)", "refs/tags/income@v1.0.0")
    git.run("tag", "-a", "-m", message, "income#champion#2", "refs/remotes/origin/main")
    git.run("tag", "income@v2.0.0", "refs/remotes/origin/main")
    git.run("tag", "release-notes", "refs/remotes/origin/main")
    git.run("push", "--quiet", "origin", "--tags")
    moved, bare = verify(written)
    assert (
        moved.startswith("tag income#champion#2 names an entry for commit ")
        and bare == "tag income@v2.0.0 names no evidence: it was not made by Assay, and changes nothing"
    )


def test_the_whole_ledger_is_read_with_one_fetch(
    written: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert verify(written) == []
    started = [
        line.split("trace: built-in: ")[1].split()
        for line in (tmp_path / "trace").read_text().splitlines()
        if "trace: built-in: " in line
    ]
    verbs = [words[1] for words in started]
    assert (verbs.count("ls-remote"), verbs.count("fetch")) == (1, 0)


def test_the_newest_entry_of_some_kinds_is_found(written: Settings) -> None:
    def newest(model: str, *kinds: EntryKind) -> list[int]:
        return [e.sequence for e in ledger.newest(written, model, kinds)]

    assert newest("income", "promoted", "stopped") == [5]
    draft = EntryDraft(
        kind="stopped",
        model="income",
        version="v1.0.0",
        actor="test",
        reason="person",
        sentence="it was stopped",
        details=StoppedDetails(because="it drifts"),
    )
    ledger.append(written, draft)
    push(written, ("commit", "--quiet", "--allow-empty", "-m", "8: income promoted"))  # a subject says nothing
    assert newest("income", "promoted", "rolled_back", "stopped") == [7, 5] and newest("income", "promoted") == [5]
    assert newest("incom", "promoted") == newest("income", "rolled_back") == []


LIES = {
    "a kind more": "UPDATE entries SET kind = 'promoted' WHERE sequence = 1",
    "a kind less": "UPDATE entries SET kind = 'examined' WHERE sequence = 6",
    "another file": "UPDATE entries SET blob = (SELECT blob FROM entries WHERE sequence = 2)",
    "a file that nobody has": f"UPDATE entries SET blob = '{'1' * 40}', document = '{'1' * 40}'",
    "another evidence": "UPDATE entries SET document = (SELECT document FROM entries WHERE sequence = 2)",
    "entries left out": "DELETE FROM entries WHERE sequence IN (3, 5)",
    "the newest left out": "DELETE FROM entries WHERE sequence > 4",
    "another tip": f"UPDATE kept SET value = '{'1' * 40}' WHERE name = 'tip'",
    "nothing": "DELETE FROM entries",
    "other columns": "ALTER TABLE entries RENAME COLUMN blob TO blub",
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_changes_nothing_and_is_made_anew(written: Settings, lie: str) -> None:
    def seen() -> object:
        found = [e.sequence for kind in ("trained", "promoted") for e in ledger.newest(written, "income", (kind,))]
        return found, ledger.evidence(written, str(ledger.entries(written)[2].evidence)), told(written)

    before = seen()
    with closing(sqlite3.connect(written.home / index.NAME)) as database, database:
        database.execute(LIES[lie])
    champion = Registry(written).champion("income")
    assert champion is not None and champion.tag == "v1.0.0" and seen() == before
    training(written, "six")
    assert verify(written) == [] and next(ledger.newest(written, "income", ("trained",))).sentence == "six"


def test_an_index_changed_past_its_database_is_found_by_verify(written: Settings) -> None:
    next(ledger.newest(written, "income", ("trained",)))
    path = written.home / index.NAME
    path.write_bytes(path.read_bytes().replace(b"trainedincome", b"examinincome "))
    assert verified(written).found.notices == [
        "the index of this clone was not as it was written, and was made anew; look at who may write its home"
    ]
    assert verified(written).found.notices == []
    for content in (b"no database at all" * 100, b"", path.read_bytes()[:9000]):
        path.write_bytes(content)
        assert [e.sequence for e in ledger.newest(written, "income", ("trained",))] == [6, 4, 3, 2]


def test_verify_goes_on_from_what_it_verified_last(written: Settings) -> None:
    """And from the beginning where what it kept is of another ledger, root or verifier, or was not all right."""
    assert verified(written).before == 6
    training(written, "six")
    assert [verified(written).before for _ in range(2)] == [6, 7] and verified(written).found.entries == 7
    Git(written.clone).run("push", "--quiet", "origin", "--delete", "income@v1.0.0")
    assert [p.split(" of entry")[0] for p in verify(written)] == ["tag income@v1.0.0"]
    kept = written.home / KEPT
    for change in ('"by": ["sha256:', '"models"', '{"by"'):
        kept.write_text(kept.read_text().replace(change, change[:-1]))
        assert verified(written).before == 0 and mend(written) in (["income@v1.0.0"], [])
        assert verify(written) == [] and [verified(written, whole).before for whole in (False, True)] == [7, 0]
    push(written, ("commit", "--quiet", "--allow-empty", "-m", "nothing"))
    for _ in range(2):
        found = verified(written)
        assert found.before == 7 and " adds 0 entries, and a commit" in found.problems[0]
    push(written, ("reset", "--quiet", "--hard", "HEAD~2"))
    assert "rewritten or cut off" in verify(written)[0]
    Git(written.clone).run("update-ref", "-d", SEEN)  # a person accepts what is there now
    (written.home / memory.NAME).unlink()
    assert verified(written).before == 0 and verified(written).found.entries == 6


def test_a_shallow_origin_is_told_to_be_one(written: Settings, tmp_path: Path) -> None:
    """What it has of the ledger would look as if somebody had changed it, and its versions as if there were none."""
    where = tmp_path / "shallow.git"
    git(tmp_path, "clone", "--quiet", "--mirror", "--depth", "1", "--no-single-branch", f"file://{written.origin}",
        str(where))  # fmt: skip
    known = {**os.environ, "ASSAY_HOME": str(tmp_path / "another"), "ASSAY_ORIGIN": str(where)}
    for words in ("history income", "diff income v1.0.0 main", "rebuild income v1.0.0 --reuse --no-record"):
        done = subprocess.run([*MAIN, *words.split()], env=known, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (
            2,
            f"error: the origin {where} is a shallow clone, and its ledger is cut off before its first entry, so "
            "nothing can be told from it. Complete it there: git fetch --unshallow\n",
        )
