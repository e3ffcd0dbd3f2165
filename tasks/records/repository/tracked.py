"""Files that DVC tracks by a pointer beside them, as they are in a checkout."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tasks.records.repository import lockfile
from tasks.spec.data_source import source_folder
from tasks.spec.settings import Settings


def changed(root: Path, model: str) -> list[str]:
    """Files of a model's source that are not any more what their pointers say; git does not see such a change."""
    found = []
    for pointer in sorted((root / source_folder(model)).rglob("*.dvc")):
        name = pointer.relative_to(root).as_posix()
        for out in lockfile.pointed(lockfile.read(pointer, name), name):
            path = pointer.parent / out["path"]
            if path.is_file() and md5_of(path) != out["md5"]:
                found.append(path.relative_to(root).as_posix())
    return found


def say_add(paths: list[str]) -> str:
    """The sentence about such files."""
    named = ", ".join(paths)
    return (
        f"{named} was changed since DVC tracked it, and what is pushed names the rows of before. Run: dvc add "
        f"{' '.join(paths)}; then commit the pointer"
    )


def share(path: Path) -> None:
    """Put a tracked file into the cache of the home that ASSAY_HOME names, where its flows look for it."""
    settings = Settings()
    if "home" not in settings.model_fields_set:
        return
    there = kept(settings.cache, md5_of(path))
    if not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f".{there.name}.part")
        shutil.copy(path, part)
        part.replace(there)


def kept(cache: Path, md5: str) -> Path:
    """Where a cache keeps a file."""
    return cache / "files/md5" / md5[:2] / md5[2:]


def md5_of(path: Path) -> str:
    """DVC's name of a file's content.

    Raises:
        FileNotFoundError: there is none.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content(path: Path) -> str:
    """DVC's name of what a file or folder holds: its md5, or that of the sorted list; empty where nothing is there."""
    if path.is_file():
        return md5_of(path)
    if not path.is_dir():
        return ""
    files = [f for f in path.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    items = [{"md5": md5_of(f), "relpath": f.relative_to(path).as_posix()} for f in files]
    items.sort(key=lambda item: tuple(item["relpath"].split("/")))
    return hashlib.md5(json.dumps(items, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
