"""The installed code beside a candidate's own: what both make of the same data and model has to be the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from tasks.records.repository import dvc, lockfile, workspace
from tasks.records.repository.git import Git
from tasks.spec.base import digest_file, digest_json
from tasks.spec.errors import AssayError
from tasks.spec.settings import ROOT, Settings

CODE = ("tasks", "flows")
FILES = ("dvc.yaml", "requirements.lock", "pyproject.toml")
"""What decides, beside the code, which stages run and how."""


@lru_cache(maxsize=1)
def examiner_digest(root: Path = ROOT) -> str:
    """The digest of what examines: the installed code and its lock file, never a candidate's own copy of them.

    It is that of the canonical JSON of an object from each path to its file's digest.

    Args:
        root: the checkout whose code it is.
    """
    files = [*(root / "tasks").rglob("*.py"), *(root / "flows").rglob("*.py"), root / "requirements.lock"]
    return digest_json({f.relative_to(root).as_posix(): digest_file(f) for f in files if f.exists()})


def other_than_installed(settings: Settings, commit: str, model: str) -> str | None:
    """Examine a candidate's outputs by making them anew with the installed code.

    The holdout's rows, the metrics, the attributions and the reference window come from the stages of the candidate's
    commit, which it may have changed. Where its code is the installed one, nothing is to be done.

    Args:
        commit: the candidate's, whose ``dvc.lock`` this system wrote.

    Returns:
        None where the code is the installed one; else what differs, in a sentence, or an empty string for nothing.

    Raises:
        UnreachableError: the origin does not answer.
    """
    with workspace.worktree(settings, commit) as tree, _with_installed_code(settings, tree) as differs:
        if not differs:
            return None
        own = dvc.made(tree, *(f"{stage}@{model}" for stage in ("ingest", "prepare", "evaluate")))
        try:
            dvc.checkout(tree, f"train@{model}")
            lockfile.claim_nothing(tree, model)
            dvc.reproduce(tree, f"prepare@{model}")
            dvc.reproduce(tree, f"evaluate@{model}", alone=True)
        except AssayError as error:
            return f"the installed code cannot make the candidate's data and measurements anew: {error}"
        here = dvc.made(tree, *(f"{stage}@{model}" for stage in ("ingest", "prepare", "evaluate")))
    other = sorted(path for path in own.keys() | here.keys() if own.get(path) != here.get(path))
    return f"the candidate's own stages made another {', '.join(other)} than the installed ones" if other else ""


@contextmanager
def _with_installed_code(settings: Settings, tree: Path) -> Iterator[bool]:
    """Put the installed code in place of a commit's, as a commit of the worktree alone; gives whether it differs."""
    for name in (*CODE, *FILES):
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in CODE:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    git = Git(tree, settings.origin_url)
    differs = bool(git.run("status", "--porcelain", "--untracked-files=all", "--", *CODE, *FILES))
    if differs:  # DVC remembers runs by the code of the commit
        workspace.commit_run(settings, tree, "the installed code beside a candidate's data and model")
    yield differs
