"""What DVC wrote down in a commit, ``dvc.lock`` and ``.dvc`` files: whoever pushes one may write anything there."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import yaml

from tasks.spec.base import Bounded, parse_yaml
from tasks.spec.errors import ConfigError, StageError

LOCK = "dvc.lock"
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
"""What names an object of the cache; anything else would name a path."""
_Quick: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Quick(Bounded, _Quick):  # type: ignore[misc]
    """The same grammar in C, where it is installed: such a file is long, and a history holds thousands of them."""

    largest = 16 << 20

    def __init__(self, stream: Any) -> None:
        _Quick.__init__(self, stream)
        self.anchors: dict[str, yaml.Node] = {}  # of the composer in Python


def claim_nothing(worktree: Path, model: str) -> None:
    """Strike a model's stages from ``dvc.lock``, so that each is run here, or was before by the same code.

    Whoever pushed the file could name any content of the cache as what a stage makes.

    Raises:
        ConfigError: it is no file of DVC's.
    """
    path = worktree / LOCK
    if path.exists():
        stages = stages_of(read(path, LOCK), LOCK).items()
        kept = {name: stage for name, stage in stages if name.partition("@")[2] != model}
        replace(worktree, LOCK, yaml.safe_dump({"schema": "2.0", "stages": kept}, sort_keys=False).encode())


def stages_of(text: str, source: str) -> dict[str, Any]:
    """The stages of a ``dvc.lock`` by their names; of each, ``deps`` and ``outs`` are lists of mappings with ``path``.

    Args:
        source: what errors call the text; an empty one has no stages.

    Raises:
        ConfigError: it holds something else.
    """
    stages = (parse_yaml(text, source, Quick) if text.strip() else {}).get("stages") or {}
    if not isinstance(stages, dict):
        raise _other(source, "stages")
    for name, stage in stages.items():
        known = isinstance(name, str) and isinstance(stage, dict)
        if not (known and _items(stage.get("deps") or [], False) and _items(stage.get("outs") or [], True)):
            raise _other(source, f"stage {name!r}")
    return stages


def pointed(text: str, source: str) -> list[dict[str, Any]]:
    """The files that a ``.dvc`` file stands for, each a mapping with ``path`` and ``md5``.

    Raises:
        ConfigError: it holds something else.
    """
    outs = parse_yaml(text, source, Quick).get("outs")
    if not _items(outs, True):
        raise _other(source, "outs")
    found: list[dict[str, Any]] = outs  # type: ignore[assignment]
    return found


def _items(items: Any, digests: bool) -> bool:
    """Whether it is a list of what has a path and, where it is there or has to be, an MD5."""
    return isinstance(items, list) and all(
        isinstance(item, dict)
        and isinstance(item.get("path"), str)
        and (isinstance(item["md5"], str) and MD5.fullmatch(item["md5"]) if "md5" in item else not digests)
        for item in items
    )


def _other(source: str, where: str) -> ConfigError:
    return ConfigError(
        f"{source} is no record as DVC writes it: look at {where}. Let dvc write it anew, and commit it."
    )


def read(path: Path, name: str) -> str:
    """The text of such a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"{name} cannot be read ({why}). Put the file there that dvc writes.") from None


def replace(worktree: Path, name: str, content: bytes) -> None:
    """Write a file of a checkout in one step; where a link stands there, it is the link that goes.

    Raises:
        StageError: a folder stands there.
    """
    path = worktree / name
    draft = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    with draft.open("xb") as file:  # never through a link
        file.write(content)
    try:
        draft.replace(path)
    except OSError as error:
        draft.unlink()
        raise StageError(f"{name} cannot be written ({error.strerror}). Take away what stands there.") from None


def make_folder(worktree: Path, folder: Path) -> None:
    """Make a folder of a checkout where none is.

    Raises:
        StageError: something else stands there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        named = folder.relative_to(worktree).as_posix()
        raise StageError(
            f"the folder {named} cannot be made ({error.strerror}). Take away what stands there."
        ) from None
