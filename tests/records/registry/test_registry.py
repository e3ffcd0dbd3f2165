"""The registry and the ledger against real git repositories."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import verify
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import CheckoutError, PromotionConflict, PromotionRefused, UnreachableError
from tasks.spec.ledger import EntryDraft
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT


def candidate(settings: Settings, text: str) -> str:
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(text)
        return commit_run(settings, tree, f"candidate {text}", f"assay/candidates/income/{text}")


def promote(settings: Settings, commit: str, expected: str | None) -> str:
    return (
        Registry(settings).promote("income", commit, passed("income", commit, expected), "test", "person", expected).tag
    )


def test_promote_then_roll_back_is_an_assignment_and_every_step_is_on_record(settings: Settings) -> None:
    registry = Registry(settings)
    first, second = candidate(settings, "one"), candidate(settings, "two")
    assert promote(settings, first, None) == "v1.0.0"
    assert promote(settings, second, "v1.0.0") == "v2.0.0"
    assert [v.tag for v in registry.previous_champions("income")] == ["v1.0.0"]
    registry.assign("income", "v1.0.0", "rolled_back", {"because": "test"}, "test", "person", "v2.0.0")
    champion = registry.champion("income")
    assert champion is not None and (champion.tag, champion.commit) == ("v1.0.0", first)
    assert [v.tag for v in registry.versions("income")] == ["v1.0.0", "v2.0.0"]
    assert [e.kind for e in ledger.entries(settings)] == ["policy", "promoted", "promoted", "rolled_back"]
    assert verify(settings) == []
    assert champion.evidence is not None
    assert ledger.evidence(settings, champion.evidence) == passed("income", first)


def test_gto_reads_what_the_registry_wrote(settings: Settings) -> None:
    from gto import api

    registry = Registry(settings)
    promote(settings, candidate(settings, "one"), None)
    promote(settings, candidate(settings, "two"), "v1.0.0")
    registry.assign("income", "v1.0.0", "rolled_back", {"because": "test"}, "test", "person", "v2.0.0")
    found = api.show(str(settings.clone), "income@greatest")
    assert [v["version"] for v in api.show(str(settings.clone), "income")] == ["v2.0.0", "v1.0.0"]
    assert found[0]["version"] == "v2.0.0"
    (champion,) = api.show(str(settings.clone), "income#champion")
    assert champion["version"] == "v1.0.0"


def test_of_two_promotions_that_race_one_wins_and_nothing_is_half_promoted(settings: Settings, tmp_path: Path) -> None:
    one, two = candidate(settings, "one"), candidate(settings, "two")
    homes = [
        Settings(home=tmp_path / f"home-{i}", origin=settings.origin, examiner_key=settings.examiner) for i in range(2)
    ]
    for home in homes:
        workspace.ensure_clone(home)

    def attempt(home: Settings, commit: str) -> str:
        try:
            return promote(home, commit, None)
        except PromotionConflict:
            return "conflict"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, homes, (one, two)))
    assert sorted(outcomes) == ["conflict", "v1.0.0"]
    tags = Git(tmp_path / "origin.git").run("tag").splitlines()
    assert sorted(tags) == ["income#champion#1", "income@v1.0.0"]
    assert [e.kind for e in ledger.entries(settings)] == ["policy", "promoted"]


def test_a_stale_comparison_is_refused(settings: Settings) -> None:
    promote(settings, candidate(settings, "one"), None)
    with pytest.raises(PromotionConflict, match=r"v1\.0\.0 is champion, and the evidence compares with none"):
        promote(settings, candidate(settings, "two"), None)


def test_the_way_back_never_leads_to_what_was_withdrawn(settings: Settings) -> None:
    registry = Registry(settings)
    for text, expected in (("one", None), ("two", "v1.0.0"), ("three", "v2.0.0")):
        promote(settings, candidate(settings, text), expected)
    registry.assign("income", "v2.0.0", "rolled_back", {"step": 1}, "test", "monitor", "v3.0.0")
    assert [v.tag for v in registry.previous_champions("income")] == ["v1.0.0"]
    registry.assign("income", "v1.0.0", "rolled_back", {"step": 2}, "test", "person", "v2.0.0")
    assert registry.previous_champions("income") == []
    registry.assign("income", "v3.0.0", "promoted", {"step": 3}, "test", "person", "v1.0.0")
    assert [v.tag for v in registry.previous_champions("income")] == ["v1.0.0"]


def test_a_rollback_recorded_before_tags_named_their_kind_is_still_one(settings: Settings) -> None:
    promote(settings, candidate(settings, "one"), None)
    promote(settings, candidate(settings, "two"), "v1.0.0")
    promote(settings, candidate(settings, "three"), "v2.0.0")
    Registry(settings).assign("income", "v2.0.0", "rolled_back", {}, "test", "monitor", "v3.0.0")
    git = Git(settings.clone)
    for tag in tags(settings.clone):
        message = git.run("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")
        assert message.count("\nKind: ") == 1
        old = message.split("\nKind: ")[0]
        git.run("tag", "--force", "-a", "-m", old, tag, f"{tag}^{{commit}}")
    git.run("push", "--quiet", "--force", "origin", "--tags")
    assert verify(settings) == []
    assert [v.tag for v in Registry(settings).previous_champions("income")] == ["v1.0.0"]


@pytest.mark.parametrize(
    "actor", ["test\n\nEvidence: sha256:0\n", "a\u2028b", "a\u202eb", "-x", " a", "a\x00", "", "a" * 101]
)
def test_who_asks_is_one_visible_line(settings: Settings, actor: str) -> None:
    with pytest.raises(ValidationError):
        Registry(settings).promote("income", candidate(settings, "one"), {}, actor, "person", None)
    assert ledger.entries(settings) == [] and tags(settings.clone) == []


def test_an_unknown_version_is_named(settings: Settings) -> None:
    promote(settings, candidate(settings, "one"), None)
    with pytest.raises(PromotionRefused, match=r"no version v9\.0\.0; registered: v1\.0\.0"):
        Registry(settings).assign("income", "v9.0.0", "rolled_back", {}, "test", "person", "v1.0.0")


def hook(repository: Path, name: str, script: str) -> None:
    path = repository / "hooks" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def tags(path: Path) -> list[str]:
    return Git(path).run("tag").splitlines()


def test_a_promotion_goes_on_when_only_the_ledger_moved(settings: Settings, tmp_path: Path) -> None:
    commit = candidate(settings, "one")
    root, other = ROOT, Settings(home=tmp_path / "other", origin=settings.origin)
    code = "import sys; from tests.records.registry.test_registry import other_entry; other_entry(*sys.argv[1:])"
    # the origin runs this once ours has been sent and before it moves a ref: nothing can come later
    hook(
        Path(settings.origin),
        "pre-receive",
        f"[ -e {tmp_path}/once ] && exit 0\ntouch {tmp_path}/once\n"
        f"unset $(git rev-parse --local-env-vars) GIT_QUARANTINE_PATH\ncd {root} && {sys.executable} -c '{code}' "
        f"{other.home} {other.origin} {settings.examiner}",
    )
    assert promote(settings, commit, None) == "v1.0.0"
    assert [(e.kind, e.model) for e in ledger.entries(settings)] == [
        ("policy", ""),
        ("examined", "care"),
        ("promoted", "income"),
    ]
    assert verify(settings) == []
    assert tags(Path(settings.origin)) == tags(settings.clone) == ["income#champion#1", "income@v1.0.0"]


def other_entry(home: str, origin: str, key: str) -> None:
    draft = EntryDraft(kind="examined", model="care", actor="test", reason="person", sentence="unrelated")
    ledger.append(Settings(home=Path(home), origin=origin, examiner_key=Path(key)), draft)


@pytest.mark.parametrize("name", ["pre-receive", "update"])
def test_a_refusal_by_a_hook_is_quoted(settings: Settings, name: str) -> None:
    commit = candidate(settings, "one")
    hook(Path(settings.origin), name, "echo 'no release on a Friday' >&2; exit 1")
    with pytest.raises(
        PromotionRefused,
        match=r"a hook of the origin refused income v1\.0\.0, and nothing was changed\. "
        r"It says: no release on a Friday",
    ):
        promote(settings, commit, None)
    assert tags(settings.clone) == tags(Path(settings.origin)) == []
    with pytest.raises(CheckoutError, match="no release on a Friday"):
        other_entry(str(settings.home), settings.origin, str(settings.examiner))


@pytest.mark.parametrize(
    ("script", "error"), [("kill -9 $PPID", UnreachableError), ("kill -INT {us}; sleep 20", KeyboardInterrupt)]
)
def test_a_push_that_breaks_off_leaves_no_tag_that_the_origin_has_not(
    settings: Settings, script: str, error: type[BaseException]
) -> None:
    commit = candidate(settings, "one")
    hook(Path(settings.origin), "pre-receive", script.format(us=os.getpid()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(error):
            promote(settings, commit, None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert tags(settings.clone) == tags(Path(settings.origin)) == []
    (Path(settings.origin) / "hooks/pre-receive").unlink()
    assert promote(settings, commit, None) == "v1.0.0"


def test_what_cannot_be_registered_is_one_sentence(settings: Settings) -> None:
    commit = candidate(settings, "one")
    with pytest.raises(ValidationError, match="String should match pattern"):
        Registry(settings).promote("Not a name", commit, {}, "test", "person", None)
    with pytest.raises(
        PromotionRefused, match="income at 000000000000 cannot be registered: the origin has no such commit"
    ):
        promote(settings, "0" * 40, None)
    promote(settings, commit, None)
    with pytest.raises(
        PromotionRefused,
        match=r"is registered already, as v1\.0\.0\. Make that version champion: assay promote income v1\.0\.0",
    ):
        promote(settings, commit, "v1.0.0")
    assert tags(settings.clone) == tags(Path(settings.origin))


def test_the_developers_tree_index_and_branch_are_never_touched(settings: Settings, developer: Path) -> None:
    (developer / "model.txt").write_text("uncommitted work\n")
    (developer / "new.txt").write_text("untracked\n")
    (developer / "staged.txt").write_text("staged\n")
    mine = Git(developer)
    mine.run("add", "staged.txt")
    before = mine.run("status", "--porcelain=v2", "--branch"), (developer / "model.txt").read_text()
    promote(settings, candidate(settings, "one"), None)
    assert (mine.run("status", "--porcelain=v2", "--branch"), (developer / "model.txt").read_text()) == before
    assert list(settings.worktrees.iterdir()) == []


def test_changed_files_are_named_in_full(developer: Path) -> None:
    (developer / "model.txt").write_text("changed\n")
    assert Git(developer).changed_files() == ["model.txt"]


def test_an_unknown_revision_says_what_to_do(settings: Settings) -> None:
    with (
        pytest.raises(CheckoutError, match="'nonsense' is not a commit that the origin knows. Push it first"),
        workspace.worktree(settings, "nonsense"),
    ):
        pass


def test_data_are_not_pushed_over_a_branch_that_moved(settings: Settings, developer: Path) -> None:
    with workspace.worktree(settings, "main") as tree:
        (developer / "model.txt").write_text("second\n")
        for command in (("commit", "--quiet", "-am", "second"), ("push", "--quiet", "origin", "main")):
            Git(developer).run(*command)
        (tree / "rows.txt").write_text("rows\n")
        with pytest.raises(CheckoutError, match="moved while data were collected"):
            workspace.push_data(settings, tree, "data")


def test_readers_of_the_registry_do_not_import_gto() -> None:
    import subprocess

    code = "import sys, tasks.records.registry.registry; sys.exit('gto' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
