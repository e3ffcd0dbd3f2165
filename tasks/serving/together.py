"""Group commit: what waits is written in one transaction, and nobody is answered before it is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasks.spec.errors import LogUnavailable

MOST_WAITING = 20_000
"""Rows that wait at most; beyond that a request is refused, since nothing may be forgotten."""
AT_ONCE = 5_000
"""Rows of one transaction at most, so that the first of them does not wait for too many others."""
BUSY = (
    f"{MOST_WAITING:,} rows wait to be written to the prediction log, so this request was not taken. Send it again in "
    "a second"
)


class Together:
    """Collects rows while a transaction is under way, and writes them in the next one.

    The pattern is DeWitt et al.'s group commit (SIGMOD 1984), with the disk's own time as the length of a group.

    Args:
        write: returns once the rows are on disk, or raises and has written none of them.
    """

    def __init__(self, write: Callable[[Sequence[Any]], None]) -> None:
        self._write = write
        self._waiting: list[tuple[Sequence[Any], asyncio.Future[None]]] = []
        self._rows, self._working = 0, False
        self._thread = ThreadPoolExecutor(1, "group-commit")

    async def add(self, rows: Sequence[Any]) -> None:
        """Return once the rows are on disk.

        Raises:
            LogUnavailable: they are not, and none of them is in the log.
        """
        if self._rows + len(rows) > MOST_WAITING:
            raise LogUnavailable(BUSY)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((rows, done))
        self._rows += len(rows)
        if not self._working:
            self._working = True
            self._task = loop.create_task(self._work())
        await done

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, size = 0, 0
            while group < len(self._waiting) and (not group or size + len(self._waiting[group][0]) <= AT_ONCE):
                size += len(self._waiting[group][0])
                group += 1
            taken, self._waiting = self._waiting[:group], self._waiting[group:]
            try:
                await loop.run_in_executor(self._thread, self._write, [row for rows, _ in taken for row in rows])
            except BaseException as error:
                for _, done in taken:
                    if not done.done():  # who asked may have gone
                        done.set_exception(error)
            else:
                for _, done in taken:
                    if not done.done():
                        done.set_result(None)
            finally:
                self._rows -= size
        self._working = False
