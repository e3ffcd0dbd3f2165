"""Writers of one SQLite file take turns, in the order in which they come.

SQLite lets a writer that finds another one at work look again after up to 100 ms, and the one that was there first may
be there again by then. Here the next one waits at a gate that nobody passes who comes later. Only time depends on
this: who gets no turn asks SQLite, whose own lock keeps writers apart.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST, SHORTEST_LOOK, LONGEST_LOOK = 5.0, 0.0002, 0.002
"""Seconds to wait for a turn, of which a writer that was stopped may never give one; and between two looks."""


class Turns:
    """The turns of one file; a lock of the kernel goes with the process that holds it.

    Args:
        path: of the database; the files ``<path>-gate`` and ``<path>-turn`` hold nothing.
    """

    def __init__(self, path: str) -> None:
        self._paths = (f"{path}-gate", f"{path}-turn")
        self._files: list[int] = []
        self._alone = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn, where one comes in time."""
        until = time.monotonic() + LONGEST
        alone = self._alone.acquire(timeout=LONGEST)
        try:
            if alone and self._open():
                gate, turn = self._files
                if _locked(gate, until):
                    _locked(turn, until)
                    fcntl.flock(gate, fcntl.LOCK_UN)
            yield
        finally:
            if alone:
                for file in self._files:
                    fcntl.flock(file, fcntl.LOCK_UN)
                self._alone.release()

    def close(self) -> None:
        files, self._files = self._files, []
        for file in files:
            os.close(file)

    def _open(self) -> bool:
        """Whether the files are there; a disk that makes none may still take rows."""
        if not self._files:
            with suppress(OSError):
                self._files = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644) for path in self._paths]
        return bool(self._files)


def _locked(file: int, until: float) -> bool:
    look = SHORTEST_LOOK
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(look)
            look = min(2 * look, LONGEST_LOOK)
        else:
            return True
