"""Candidates made by hand, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.evidence import Verdict
from tasks.spec.settings import Settings


def commit_run(settings: Settings, tree: Path, message: str, branch: str) -> str:
    """Commit a worktree and push it to the origin as a branch of its own; gives the commit."""
    commit = workspace.commit_run(settings, tree, message)
    Git(tree, settings.origin_url).run("push", "--quiet", "origin", f"{commit}:refs/heads/{branch}")
    return commit


def passed(model: str, commit: str, champion: str | None = None) -> dict[str, Any]:
    """Evidence that lets a candidate in: a verdict of that commit, by no gate."""
    found = Verdict(
        model=model, commit=commit, champion=champion, model_digest="sha256:b", created="t", passed=True, gates=()
    )
    return {"verdict": found.model_dump(mode="json")}
