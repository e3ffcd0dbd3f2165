"""The release store: the files that the prediction service reads, derived from the registry at any time."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from tasks.records.registry import keys
from tasks.signing import signatures
from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.manifest import Pointer
from tasks.spec.settings import Settings

FILES = ("model.skops", "manifest.json")


def publish(settings: Settings, model: str, version: str, files: Path) -> None:
    """Copy one version's files into the store, whole or not at all; a folder that holds the same bytes is kept.

    Raises:
        CorruptionError: a file is missing, or the model file does not have the digest that its manifest names. What
            was in the store before is untouched.
    """
    folder = settings.releases / model / "versions" / version
    draft = folder.with_name(f".{version}-{uuid.uuid4().hex[:8]}")
    draft.mkdir(parents=True)
    try:
        _write(files, draft)
        _check(draft)
        if not folder.exists():
            try:
                draft.rename(folder)
            except OSError:  # another publisher came first
                _mend(draft, folder)
        else:
            _mend(draft, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def point(settings: Settings, model: str, version: str, stopped: str = "", height: int = 0, entry: str = "") -> None:
    """Replace the champion pointer in one step; the service follows. A pointer that says so already is kept.

    Args:
        stopped: why the service must not answer with this version, in a sentence; empty where it may.
        height: sequence of the ledger's entry that decided it.
        entry: digest of that entry.

    Raises:
        CorruptionError: the files of the version do not fit each other.
    """
    folder = settings.releases / model
    digests = _check(folder / "versions" / version)
    key = signatures.examiner_key(settings.examiner)
    keys.keep_own(settings, key)
    pointer = Pointer(
        version=version,
        model_digest=digests[0],
        manifest_digest=digests[1],
        assigned=datetime.now(UTC).isoformat(timespec="seconds"),
        stopped=stopped,
        model=model,
        height=height,
        entry=entry,
    )
    now = current(settings, model)
    if now is not None:
        kept = pointer.model_copy(update={"assigned": now.assigned})
        if now == kept.model_copy(update={"signature": _signature(kept, key)}):
            return
    pointer = pointer.model_copy(update={"signature": _signature(pointer, key)})
    draft = folder / f".champion-{uuid.uuid4().hex[:8]}"
    draft.write_text(pointer.model_dump_json())
    _sync(draft)
    draft.replace(folder / "champion.json")
    _sync(folder)


def _signature(pointer: Pointer, key: Ed25519PrivateKey) -> str:
    return signatures.sign_as_examiner(pointer.signed(), key, signatures.POINTER)


def current(settings: Settings, model: str) -> Pointer | None:
    """The pointer as the service sees it; None where there is none, or none that can be read."""
    try:
        return Pointer.model_validate_json((settings.releases / model / "champion.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def problem(settings: Settings, model: str) -> str | None:
    """What is wrong with what the store gives the service of a model, in a sentence; None where nothing is."""
    folder, pointer = settings.releases / model, current(settings, model)
    if pointer is None:
        return f"{folder / 'champion.json'} is missing or cannot be read" if (folder / "versions").exists() else None
    try:
        found = _check(folder / "versions" / pointer.version)
    except CorruptionError as error:
        return str(error)
    same = found == (pointer.model_digest, pointer.manifest_digest)
    return None if same else f"the files of {model} {pointer.version} are not those that its pointer names"


def _write(files: Path, draft: Path) -> None:
    for name in FILES:
        try:
            shutil.copyfile(files / name, draft / name)
        except FileNotFoundError:
            raise CorruptionError(
                f"{files / name} is missing, so the version is not released. Restore it from the registry."
            ) from None
        _sync(draft / name)
    _sync(draft)


def _mend(draft: Path, folder: Path) -> None:
    """Bring an existing folder in line, file by file: a directory cannot be replaced in one step everywhere.

    The folder is never missing. A reader between two files sees digests that do not match, loads nothing, and tries
    again.
    """
    for name in FILES:
        if not (folder / name).exists() or digest_file(folder / name) != digest_file(draft / name):
            (draft / name).replace(folder / name)
    _sync(folder)


def _check(folder: Path) -> tuple[str, str]:
    """Digests of the model file and the manifest."""
    described = folder / "manifest.json"
    try:
        named = json.loads(described.read_text())["model_digest"]
        found = digest_file(folder / "model.skops")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(
            f"{folder} does not hold a model and its manifest ({type(error).__name__}: {error}). It is not released; "
            "restore it from the registry."
        ) from None
    if found != named:
        raise CorruptionError(
            f"{folder / 'model.skops'} has digest {found}, and its manifest says {named}. It is not released; "
            "restore it from the registry."
        )
    return found, digest_file(described)


def _sync(path: Path) -> None:
    """To the disk: a file's bytes, or a directory's names."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
