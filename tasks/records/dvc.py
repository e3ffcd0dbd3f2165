"""DVC, by its own command, in a session of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tasks.spec.errors import CorruptionError, StageError

LAST_LINES = 15
CORRUPT = re.compile(r"(corrupted|cache file .* is missing|missing cache files|failed to load directory)", re.IGNORECASE)


def reproduce(worktree: Path, *targets: str, timeout: float = 3600) -> None:
    """Bring the targets up to date.

    Raises:
        StageError: a stage failed; a stage's own ``error:`` line is the message where it printed one.
        CorruptionError: the cache does not hold what was recorded.
    """
    _dvc(worktree, "repro", *targets, timeout=timeout)


def checkout(worktree: Path, *targets: str) -> None:
    """Lay tracked files from the cache into the worktree."""
    _dvc(worktree, "checkout", "--force", *targets, timeout=600)


def add(worktree: Path, path: Path) -> None:
    """Track one file."""
    _dvc(worktree, "add", "--quiet", str(path.relative_to(worktree)), timeout=600)


def _dvc(worktree: Path, *arguments: str, timeout: float) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Stages say 'python': it has to be this one, whatever the caller's PATH is.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment |= {"DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=worktree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise StageError(f"dvc {' '.join(arguments)} was stopped after {timeout:.0f} s.") from None
    except BaseException:  # cancellation must not leave the stage's process behind
        _kill(process)
        raise
    if process.returncode:
        raise _failure(arguments, output)


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(arguments: tuple[str, ...], output: str) -> StageError | CorruptionError:
    own = [line.removeprefix("error: ") for line in output.splitlines() if line.startswith("error: ")]
    lines = [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
    if own:
        return StageError(own[-1])
    if CORRUPT.search(output):
        return CorruptionError("the DVC cache does not hold what was recorded. Restore it (dvc pull), or delete the file named here and run again: " + " | ".join(lines[-3:]))
    return StageError(f"dvc {' '.join(arguments)} failed:\n" + "\n".join(lines))
