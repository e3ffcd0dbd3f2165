"""Folders for what runs apart, held by the process that made them; who was killed leaves one that is known as such."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

NAMES, OWNED = re.compile(r"assay-(apart|model|probe|machine|mixed|why)-\w+"), ".owned"
DAY = 86_400.0
"""Seconds: nothing ran apart for so long in a release whose folders nobody held."""


@contextmanager
def own_folder(kind: str) -> Iterator[Path]:
    """An empty folder for as long as the block lasts, held by this process; whichever thread ends the block.

    Age says nothing of it: a service's model lives for weeks, and a clock may jump.
    """
    with (
        tempfile.TemporaryDirectory(prefix=f"assay-{kind}-", ignore_cleanup_errors=True) as made,
        FileLock(Path(made) / OWNED, thread_local=False),
    ):
        yield Path(made)


@contextmanager
def left_behind() -> Iterator[list[Path]]:
    """Folders of this user that nobody holds, held meanwhile so that nobody else removes them."""
    held: list[FileLock] = []
    found = []
    try:
        for path in Path(tempfile.gettempdir()).glob("assay-*-*"):
            with suppress(OSError, Timeout):
                if not _ours(path):
                    continue
                if (path / OWNED).exists():
                    mark = FileLock(path / OWNED, timeout=0, thread_local=False)
                    mark.acquire()
                    held.append(mark)
                elif abs(time.time() - path.lstat().st_mtime) <= DAY:
                    continue
                found.append(path)
        yield found
    finally:
        for mark in held:
            mark.release()


def _ours(path: Path) -> bool:
    about = path.lstat()
    return bool(NAMES.fullmatch(path.name)) and stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
