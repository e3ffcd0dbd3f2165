"""The registry and the ledger against real git repositories."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.records import ledger, workspace
from tasks.records.git import Git
from tasks.records.registry import Registry
from tasks.spec.errors import CheckoutError, PromotionConflict, PromotionRefused
from tasks.spec.settings import Settings


def candidate(settings: Settings, text: str) -> str:
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text(text)
        return workspace.commit_run(settings, tree, f"candidate {text}", f"assay/candidates/income/{text}")


def promote(settings: Settings, commit: str, expected: str | None) -> str:
    return Registry(settings).promote("income", commit, {"verdict": commit}, "test", "person", expected).tag


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
    assert [e.kind for e in ledger.entries(settings)] == ["promoted", "promoted", "rolled_back"]
    assert ledger.verify(settings) == []
    assert champion.evidence is not None
    assert ledger.evidence(settings, champion.evidence) == {"verdict": first}


def test_of_two_promotions_that_race_one_wins_and_nothing_is_half_promoted(settings: Settings, tmp_path: Path) -> None:
    one, two = candidate(settings, "one"), candidate(settings, "two")
    homes = [Settings(home=tmp_path / f"home-{i}", origin=settings.origin) for i in range(2)]
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
    assert [e.kind for e in ledger.entries(settings)] == ["promoted"]


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


def test_an_unknown_version_is_named(settings: Settings) -> None:
    promote(settings, candidate(settings, "one"), None)
    with pytest.raises(PromotionRefused, match=r"no version v9\.0\.0; registered: v1\.0\.0"):
        Registry(settings).assign("income", "v9.0.0", "rolled_back", {}, "test", "person", "v1.0.0")


def test_a_rewritten_ledger_is_noticed(settings: Settings) -> None:
    for text in ("one", "two", "three"):
        ledger.append(settings, "trained", "income", None, None, "test", "person", text, {"text": text})
    assert ledger.verify(settings) == []
    git = workspace.ensure_clone(settings)
    with workspace.worktree(settings, ledger.BRANCH) as tree:
        path = tree / "entries/000002.json"
        path.write_text(path.read_text().replace('"two"', '"TWO"'))
        Git(tree).run("commit", "--quiet", "-am", "2: nothing to see here")
        Git(tree).run("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{ledger.BRANCH}")
    assert git.path == settings.clone
    assert ledger.verify(settings) == ["entry 3 does not follow from the one before: it was changed or put in later"]


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
    with pytest.raises(CheckoutError, match="'nonsense' is not a commit that the origin knows. Push it first"), workspace.worktree(settings, "nonsense"):
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

    code = "import sys, tasks.records.registry; sys.exit('gto' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
