"""Candidates of runs side by side."""

from __future__ import annotations

import shutil

import pytest

from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import StageError
from tasks.spec.requests import TrainingRequest
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.training import candidate_branch, commit_candidate
from tests.candidates import commit_run
from tests.conftest import ROOT


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


@pytest.mark.parametrize("large", ["manifest.json", "metrics.json"])
def test_what_a_candidates_own_code_wrote_for_the_record_is_bounded(settings: Settings, large: str) -> None:
    """Everybody who checks the ledger reads it; nothing is committed."""
    with workspace.worktree(settings, "main") as tree:
        shutil.copytree(ROOT / "deployments", tree / "deployments")
        paths = ModelPaths(tree, "income")
        paths.model.mkdir(parents=True)
        for path in (paths.metrics, paths.model / "manifest.json"):
            path.write_text('{"x": "' + "a" * (34 << 20 if path.name == large else 1) + '"}')
        with pytest.raises((StageError, ValueError)) as caught:
            commit_candidate.fn(tree, TrainingRequest(model="income", reason="push", actor="mallory@example.org"))
    assert str(caught.value) == (
        f"{large} of the candidate has 35,651,593 bytes, and allowed are 4,194,304: it goes into the ledger, which "
        "everybody reads. Let the stage that writes it write less."
    )
