"""The release store: the files the prediction service reads. It is derived from the registry and can be laid anew."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings

FILES = ("model.skops", "manifest.json")


def publish(settings: Settings, model: str, version: str, files: Path) -> None:
    """Copy one version's files into the store, whole or not at all.

    Raises:
        CorruptionError: the model file does not have the digest that its manifest names.
    """
    folder = settings.releases / model / "versions" / version
    if folder.exists():
        shutil.rmtree(folder)
    draft = folder.with_name(f".{version}-{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    for name in FILES:
        shutil.copy(files / name, draft / name)
    _check(draft)
    draft.rename(folder)


def point(settings: Settings, model: str, version: str) -> None:
    """Replace the champion pointer in one step; the service follows."""
    folder = settings.releases / model
    digest = _check(folder / "versions" / version)
    pointer = {"version": version, "digest": digest, "assigned": datetime.now(UTC).isoformat(timespec="seconds")}
    draft = folder / f".champion-{uuid.uuid4().hex[:8]}"
    with draft.open("w") as stream:
        json.dump(pointer, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / "champion.json")


def current(settings: Settings, model: str) -> dict[str, Any] | None:
    """The pointer as the service sees it."""
    path = settings.releases / model / "champion.json"
    pointer: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return pointer


def _check(folder: Path) -> str:
    named = json.loads((folder / "manifest.json").read_text())["model_digest"]
    found = digest_file(folder / "model.skops")
    if found != named:
        raise CorruptionError(f"{folder / 'model.skops'} has digest {found}, and its manifest says {named}. It is not released; restore it from the registry.")
    return found
