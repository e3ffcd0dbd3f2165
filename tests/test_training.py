"""Candidates of runs side by side."""

from __future__ import annotations

from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.settings import Settings
from tasks.training import candidate_branch
from tests.candidates import commit_run


def test_two_runs_of_one_commit_in_one_second_leave_two_candidates(settings: Settings) -> None:
    with workspace.worktree(settings, "main") as one, workspace.worktree(settings, "main") as two:
        branches = []
        for number, tree in enumerate((one, two)):
            (tree / "model.txt").write_text(f"trained by run {number}\n")
            branches.append(candidate_branch("care", Git(tree).rev_parse("HEAD"), tree))
        commits = [
            commit_run(settings, tree, "candidate", branch) for tree, branch in zip((one, two), branches, strict=True)
        ]
    known = workspace.ensure_clone(settings)
    assert [known.rev_parse(f"refs/remotes/origin/{branch}") for branch in branches] == commits and len(
        set(commits)
    ) == 2
