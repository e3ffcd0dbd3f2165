"""What a stage imports: the code of its commit, and nothing else that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.records.repository.temporary import own_folder

IMPORTED = ("tasks", "flows", "deployments")
"""What a stage may import from its checkout."""


@contextmanager
def importable(worktree: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder through which Python finds the code of a checkout, and the variables that make it look there alone.

    Otherwise it would look in the checkout first, also for a module of its own library or of a package. An
    ``argparse.py`` at the top of a commit would run in every stage then, and no list of sources names it.
    """
    with own_folder("apart") as folder:
        for name in IMPORTED:
            if (worktree / name).is_dir():
                (folder / name).symlink_to((worktree / name).resolve())
        yield folder, {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(folder)}
