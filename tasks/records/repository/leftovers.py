"""What processes leave behind that were killed: worktrees, lock files of git, and temporary folders."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import Timeout

from tasks.records.repository.git import Git
from tasks.records.repository.temporary import left_behind
from tasks.records.repository.workspace import lock, owned
from tasks.spec.settings import Settings

WORKTREE = re.compile(r"[0-9a-f]{12}")
SHARED = ("*.lock", "refs/**/*.lock", "objects/**/*.lock", "info/*.lock")
"""Lock files of a whole repository; one of a worktree goes with the worktree."""
OLD = 10.0
"""Seconds: git makes and removes such a file within moments."""


def clear(settings: Settings) -> list[Path]:
    """Remove what nobody owns any more; gives what was removed. What lives is never touched."""
    return [*_worktrees(settings), *_locks(settings), *_temporary()]


def _temporary() -> Iterator[Path]:
    """Folders in which something ran apart."""
    with left_behind() as found:
        for path in found:
            if not _within(path):
                shutil.rmtree(path, ignore_errors=True)
                yield path


def _worktrees(settings: Settings) -> Iterator[Path]:
    left = [path for path in settings.worktrees.glob("*") if WORKTREE.fullmatch(path.name)]
    for path in left:
        with suppress(Timeout), owned(path):
            for process in _within(path):  # what a killed run had started goes on writing there
                with suppress(psutil.Error):
                    process.kill()
                    process.wait(5)
            shutil.rmtree(path, ignore_errors=True)
            with lock(settings):
                Git(settings.clone).run("worktree", "prune")
            yield path


def _locks(settings: Settings) -> Iterator[Path]:
    origin = Path(settings.origin_url)
    repositories = [settings.clone / ".git", *([origin] if origin.is_dir() and not settings.origin else [])]
    for repository in filter(Path.is_dir, repositories):
        with lock(settings):
            found = [path for pattern in SHARED for path in repository.glob(pattern) if _is_old(path)]
            if found and not _git_works_in(repository):
                for path in found:
                    path.unlink(missing_ok=True)
                    yield path


def _is_old(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) > OLD  # a clock that was set back makes files of the future
    except FileNotFoundError:
        return False


def _git_works_in(repository: Path) -> bool:
    """Whether a git process is at work there; one that tells no folder counts."""
    folder = repository.parent if repository.name == ".git" else repository
    for process in psutil.process_iter(["name"]):
        if not str(process.info["name"] or "").startswith("git"):
            continue
        try:
            at = Path(process.cwd())
        except psutil.NoSuchProcess:
            continue
        except psutil.Error:
            return True
        if at == folder or folder in at.parents:
            return True
    return False


def _within(path: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            at = Path(process.cwd())
            if at == path or path in at.parents:
                found.append(process)
    return found
