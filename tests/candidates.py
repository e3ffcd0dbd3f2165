"""Candidates made by hand, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path

from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.settings import Settings


def commit_run(settings: Settings, tree: Path, message: str, branch: str) -> str:
    """Commit a worktree and push it to the origin as a branch of its own; gives the commit."""
    commit = workspace.commit_run(settings, tree, message)
    Git(tree, settings.origin_url).run("push", "--quiet", "origin", f"{commit}:refs/heads/{branch}")
    return commit
