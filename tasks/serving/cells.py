"""A few numbers under a name, which threads share, and where several processes answer on one port those, too."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

TAG, NEAR = 16, 8
"""Bytes of a name's hash; places at which a name may stand."""
PLACES = 16_384


class Cells(Protocol):
    """Where numbers are kept."""

    def held(self, name: str) -> AbstractContextManager[list[float]]:
        """The numbers of a name, for whoever holds them alone; what is written into the list is kept."""


class OwnCells:
    """Numbers of this process.

    Args:
        size: how many stand under each name; they begin as 0.
        most: names; beyond that the one that came first is forgotten.
    """

    def __init__(self, size: int, most: int = PLACES) -> None:
        self.size, self.most = size, most
        self._known: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def held(self, name: str) -> Iterator[list[float]]:
        with self._lock:
            found = self._known.get(name)
            if found is None:
                if len(self._known) >= self.most:
                    self._known.pop(next(iter(self._known)))
                found = self._known[name] = [0.0] * self.size
            yield found


class SharedCells:
    """Numbers in a file that several processes map; one that dies while it holds them keeps nobody out.

    A name that was used least lately makes way for another where none of its places is free.

    Args:
        file: an open one, of this process; a lock of the kernel goes with the process that holds it.
    """

    def __init__(self, file: int, size: int) -> None:
        self.size, self._file, self._lock = size, file, threading.Lock()
        self._record = struct.Struct(f"={TAG}sd{size}d")
        self._map = mmap.mmap(file, PLACES * self._record.size)

    @staticmethod
    def prepare(file: int, size: int) -> None:
        """Make room in an empty file, before anybody maps it."""
        os.ftruncate(file, PLACES * struct.calcsize(f"={TAG}sd{size}d"))

    @contextmanager
    def held(self, name: str) -> Iterator[list[float]]:
        tag = hashlib.blake2b(name.encode(), digest_size=TAG).digest()
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                at, numbers = self._place(tag)
                yield numbers
                self._record.pack_into(self._map, at, tag, time.monotonic(), *numbers)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _place(self, tag: bytes) -> tuple[int, list[float]]:
        """Where a name stands, or will, and what stands there of it."""
        first, oldest, when = int.from_bytes(tag[:8], "little"), 0, float("inf")
        for number in range(NEAR):
            at = (first + number) % PLACES * self._record.size
            found, used, *numbers = self._record.unpack_from(self._map, at)
            if found == tag:
                return at, numbers
            if used < when:  # one that was never used is of the time 0
                oldest, when = at, used
        return oldest, [0.0] * self.size
