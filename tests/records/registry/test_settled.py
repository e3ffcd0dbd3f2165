"""Branches of candidates of long ago are gathered below one, from which every clone has their commits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tasks.proof.verify import check
from tasks.records.registry import ledger, settled
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.repository import workspace
from tasks.records.repository.git import Git, GitError
from tasks.spec.ledger import EntryDraft, TrainedDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run
from tests.conftest import git
from tests.proof.ledgers import verdict


def trained(settings: Settings, model: str, count: int, first: int = 0) -> dict[str, str]:
    """Candidates as runs leave them: commits on branches of their own, in one push; gives commits by branch."""
    clone = workspace.ensure_clone(settings)
    base = clone.rev_parse("refs/remotes/origin/main")
    made = {}
    for number in range(first, first + count):
        date = f"{1_700_000_000 + 60 * number} +0000"
        commit = clone.run(
            "commit-tree", f"{base}^{{tree}}", "-p", base, "-m", f"{model} {number}",
            env={"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date},
        )  # fmt: skip
        made[f"{settled.CANDIDATES}/{model}/{number}"] = commit
    clone.run("push", "--quiet", "origin", *(f"{commit}:refs/heads/{name}" for name, commit in made.items()))
    return made


def heads(settings: Settings) -> dict[str, str]:
    listed = git(Path(settings.origin), "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/heads")
    return dict(line.split() for line in listed.splitlines())


def test_all_but_the_newest_of_each_model_are_gathered_and_any_clone_has_them(
    settings: Settings, tmp_path: Path
) -> None:
    of = {model: trained(settings, model, count) for model, count in (("care", 35), ("income", 12))}
    assert settled.gather(settings) == 25 + 2 and settled.gather(settings) == 0
    there = heads(settings)
    kept = [name for made in of.values() for name in list(made)[-settled.KEPT :]]
    assert set(there) == {"main", settled.SETTLED, *kept}
    more = trained(settings, "care", 21, first=35)
    assert settled.gather(settings) == 21 and heads(settings)[settled.SETTLED] != there[settled.SETTLED]
    git(tmp_path, "clone", "--quiet", "--no-local", "--single-branch", "-b", settled.SETTLED, settings.origin, "one")
    text = git(tmp_path / "one", "log", "--first-parent", "--format=%B")
    for name, commit in (of["care"] | of["income"]).items():
        if name not in kept or name.startswith(f"{settled.CANDIDATES}/care"):
            assert f"{commit} {name}" in text and git(tmp_path / "one", "cat-file", "-t", commit) == "commit"
    fresh = workspace.ensure_clone(Settings(home=tmp_path / "fresh", origin=settings.origin))
    for commit in (*of["care"].values(), *of["income"].values(), *more.values()):
        assert fresh.rev_parse(commit) == commit


@pytest.mark.parametrize("date", ["-5", "99999999999", "99999999999999999999"])
def test_a_commit_of_a_time_that_no_clock_has_holds_up_nothing(settings: Settings, developer: Path, date: str) -> None:
    tree = git(developer, "rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor e <e@x> {date} +0000\ncommitter e <e@x> {date} +0000\n\nodd\n"
    (developer / "odd").write_text(text)
    odd = git(developer, "hash-object", "-t", "commit", "--literally", "-w", "odd")
    git(developer, "push", "--quiet", "origin", f"{odd}:refs/heads/{settled.CANDIDATES}/care/odd")
    made = trained(settings, "care", 31)
    assert settled.gather(settings) == 22
    kept = {name for name in heads(settings) if name.startswith(settled.CANDIDATES)}
    assert len(kept) == settled.KEPT and {*list(made)[-settled.KEPT + 1 :]} <= kept


def test_what_was_gathered_can_still_be_promoted_and_the_record_holds(settings: Settings) -> None:
    with workspace.worktree(settings, "main") as tree:
        (tree / "model.txt").write_text("slow")
        commit = commit_run(settings, tree, "slow", f"{settled.CANDIDATES}/care/slow")
    ledger.append(settings, EntryDraft(
        kind="trained", model="care", commit=commit, actor="a", reason="push", sentence="trained",
        details=TrainedDetails(base="a" * 40, branch=f"{settled.CANDIDATES}/care/slow"),
    ))  # fmt: skip
    clone = Git(settings.clone)
    base = clone.rev_parse("refs/remotes/origin/main")
    later = {f"{settled.CANDIDATES}/care/{n}": "" for n in range(30)}
    for number, name in enumerate(later):
        date = f"{4_000_000_000 + number} +0000"  # of after the slow one
        later[name] = clone.run(
            "commit-tree", f"{base}^{{tree}}", "-p", base, "-m", name, env={"GIT_COMMITTER_DATE": date}
        )
    clone.run("push", "--quiet", "origin", *(f"{commit}:refs/heads/{name}" for name, commit in later.items()))
    assert settled.gather(settings) == 21
    assert f"{settled.CANDIDATES}/care/slow" not in heads(settings)
    evidence = verdict(Path(), "care", commit, None, "v1.0.0")
    assert Registry(settings).promote("care", commit, evidence, "a", "push", None).commit == commit
    found = check(Path(settings.origin), state(settings).root)
    assert (found.problems, found.notices, found.champions) == ([], [], {"care": "v1.0.0"})
    with workspace.worktree(settings, "care@v1.0.0") as tree:
        assert (tree / "model.txt").read_text() == "slow"


def test_a_branch_that_moves_meanwhile_stays_and_so_does_everything(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trained(settings, "care", 40)
    name, real = next(iter(made)), Git.run

    def run(self: Git, *arguments: str, **more: object) -> str:
        if arguments[0] == "push":
            git(Path(settings.origin), "update-ref", f"refs/heads/{name}", "main")
        return real(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Git, "run", run)
    with pytest.raises(GitError):
        settled.gather(settings)
    monkeypatch.undo()
    there = heads(settings)
    assert settled.SETTLED not in there and len(there) == 41 and there[name] == there["main"]
    assert settled.gather(settings) == 30


def test_a_push_of_tags_alone_is_seen_by_who_asks_for_tags(settings: Settings) -> None:
    """Branches alone are asked for where an entry is written: a tag does not make the clone stale there."""
    clone = workspace.ensure_clone(settings)
    subprocess.run(["git", "tag", "care@v9.0.0", "main"], cwd=settings.origin, check=True)
    workspace.ensure_clone(settings, tags=False)
    assert clone.run("tag") == ""
    assert Registry(settings).next_version("care") == "v1.0.0" and clone.run("tag") == "care@v9.0.0"
