"""Other programs, each in a session of its own, so that none outlives the call that started it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GRACE = 3.0
"""Seconds between asking a program to end and killing it: git needs them to remove its lock files."""


def run(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float | None, stdin: bytes | None = None
) -> tuple[int, bytes, bytes]:
    """Run one program; gives its exit code and what it wrote to stdout and stderr.

    Raises:
        subprocess.TimeoutExpired: it took too long; it and all it had started were ended.
    """
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except BaseException:  # a timeout or a cancellation must not leave the program or its children behind
        _end(process)
        raise
    return process.returncode, out, err


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with suppress(OSError):  # bytes that were still to be written to a program that is gone
                stream.close()
