"""What `assay ledger --verify` sees, on a real origin that somebody rewrites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.records.registry import ledger
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import verify
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import CorruptionError
from tasks.spec.ledger import EntryDraft, StoppedDetails, TrainedDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run

Change = Callable[[Path], None]


@pytest.fixture
def written(settings: Settings) -> Settings:
    """Three entries on trainings, then a promotion, then one more training."""
    for text in ("one", "two", "three"):
        training(settings, text)
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    Registry(settings).promote("income", commit, {"verdict": "fit"}, "test", "person", None)
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
            ("add", "--all", "entries", "evidence"),
            *commands,
            ("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{BRANCH}"),
        ):
            Git(tree).run(*command)


def word(number: int, old: str, new: str) -> Change:
    def change(tree: Path) -> None:
        path = tree / f"entries/{number:06d}.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def test_an_entry_changed_by_a_later_commit_is_noticed(written: Settings) -> None:
    push(written, ("commit", "--quiet", "-m", "3: nothing to see here"), change=word(3, '"two"', '"TWO"'))
    chain, refused, history = verify(written)
    assert refused.startswith("entry 3 does not count: it is not signed by an examiner")
    assert chain == "entry 4 does not follow from the one before: it was changed or put in later"
    assert history.endswith("changes or removes entries/000003.json, and what is written stays as it is")
    assert verify(fresh(written)) == [chain, refused, history]
    with pytest.raises(CorruptionError, match="entries/000004.json does not follow from the entry before it"):
        training(fresh(written), "six")
    assert Registry(fresh(written)).champion("income") is None  # nothing behind the break is proven to a newcomer
    champion = Registry(written).champion("income")
    assert champion is not None and champion.tag == "v1.0.0"  # and what was proven before it goes on serving


def test_the_newest_entry_changed_in_place_is_noticed_and_nothing_is_written_on_it(written: Settings) -> None:
    push(written, ("commit", "--quiet", "--amend", "--no-edit"), change=word(6, '"five"', '"FIVE"'))
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
    push(written, ("commit", "--quiet", "--amend", "--no-edit"), change=word(5, '"actor":"test"', '"actor":"them"'))
    assert [f.split(" names an entry")[0].split(":")[0] for f in verify(fresh(written))] == [
        "entry 5 does not count",
        "tag income#champion#1",
        "tag income@v1.0.0",
    ]
    assert Registry(fresh(written)).champion("income") is None


def test_an_entry_that_cannot_be_read_is_a_sentence(written: Settings) -> None:
    push(
        written,
        ("commit", "--quiet", "-m", "oops"),
        change=lambda tree: (tree / "entries/000003.json").write_text("{\n\n}") and None,
    )
    first, history = verify(written)
    assert first.startswith("entries/000003.json of the ledger cannot be read as an entry: it is no document in")
    assert "changes or removes entries/000003.json" in history
    with pytest.raises(CorruptionError, match="entries/000003.json of the ledger cannot be read"):
        ledger.entries(written)


def test_a_removed_entry_changed_evidence_and_stray_files_are_noticed(written: Settings) -> None:
    def change(tree: Path) -> None:
        (tree / "entries/000001.json").unlink()
        evidence = next(p for p in (tree / "evidence").iterdir() if "five" in p.read_text())
        evidence.write_text(evidence.read_text().replace("five", "FIVE"))

    push(written, ("commit", "--quiet", "-m", "tidy"), change=change)
    push(
        written,
        ("commit", "--quiet", "-m", "two at once"),
        change=lambda tree: (
            (tree / "entries/000007.json").write_bytes((tree / "entries/000006.json").read_bytes()) and None
        ),
    )
    text = "\n".join(verify(written))
    for part in (
        "entry 1 is missing: 2 stands in its place",
        "entry 6: evidence sha256:",
        "changes or removes entries/000001.json, evidence/",
        "entry 2 does not follow",
    ):
        assert part in text, text


def test_a_commit_that_adds_no_entry_or_two_is_noticed(written: Settings) -> None:
    push(written, ("commit", "--quiet", "--allow-empty", "-m", "nothing"))
    assert [p.split(" adds ", 1)[1] for p in verify(written)] == [
        "0 entries, and a commit of the ledger adds one entry with its evidence"
    ]


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
    assert verbs.count("fetch") == 1


def test_the_newest_entry_of_some_kinds_is_found_from_the_newest_backwards(
    written: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ledger.newest_of(written, "income", ("promoted", "stopped"))
    assert found is not None and (found.kind, found.sequence) == ("promoted", 5)
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
    newest = ledger.newest_of(written, "income", ("promoted", "rolled_back", "stopped"))
    assert newest is not None and newest.sentence == "it was stopped"
    monkeypatch.setattr(ledger, "READ_FIRST", 1)  # read in several steps
    assert [e.sequence for e in (ledger.newest_of(written, "income", ("promoted",)),) if e] == [5]
    assert ledger.newest_of(written, "incom", ("promoted",)) is None
    assert ledger.newest_of(written, "income", ("rolled_back",)) is None


def test_the_newest_entry_of_a_kind_is_found_by_its_content_and_not_by_the_commits_subject(written: Settings) -> None:
    push(written, ("commit", "--quiet", "--allow-empty", "-m", "6: income stopped"))
    newest = ledger.newest_of(written, "income", ("promoted", "rolled_back", "stopped"))
    assert newest is not None and newest.kind == "promoted"
