"""What DVC is let to beside a worktree and its cache, where it reads what somebody pushed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tasks.records.repository.git import Git
from tasks.spec.settings import Settings


def git_folders(worktree: Path) -> list[Path]:
    """Where git keeps what DVC looks up about a worktree."""
    asked = ("rev-parse", "--path-format=absolute", "--git-common-dir", "--absolute-git-dir")
    return [Path(line) for line in Git(worktree).lines(*asked)]


def folders(worktree: Path, addresses: Iterable[str]) -> Iterator[Path]:
    """Remotes that are folders of this machine; whoever pushes names them, so none is taken that holds a home."""
    home = Settings().home.resolve()
    for address in addresses:
        if "://" in address:
            continue
        path = (worktree / ".dvc" / Path(address).expanduser()).resolve()
        if not home.is_relative_to(path) and not path.is_relative_to(home):
            yield path


def ports(addresses: Iterable[str]) -> set[int]:
    """Those that addresses of remotes name, and the usual ones."""
    found = {22, 80, 443}
    for address in addresses:
        try:
            found |= {urlsplit(address).port or 443}
        except ValueError:
            continue
    return found
