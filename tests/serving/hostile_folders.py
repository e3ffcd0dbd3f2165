"""Releases whose folders hold what no training puts there: pipes, devices, links, bombs, another model's words."""

from __future__ import annotations

import os
import socket
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.signing import signatures
from tasks.spec.base import digest_file
from tasks.spec.manifest import Manifest, Pointer
from tasks.spec.settings import Settings

OTHER, LIKE = "wages", "linear"
"""The name under which the hostile release lies, and the model whose files it begins with."""


def put(home: Path, change: Callable[[Path], None]) -> None:
    """A release of another model's name, spoiled, and then pointed at with digests that fit what lies there."""
    model = home / "releases" / OTHER
    folder = model / "versions/v1.0.0"
    folder.mkdir(parents=True)
    for file in (home / "releases" / LIKE / "versions/v1.0.0").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rewrite(folder, model=OTHER)
    named = Manifest.model_validate_json((folder / "manifest.json").read_text()).model_digest
    described = digest_file(folder / "manifest.json")
    change(folder)
    if (folder / "manifest.json").is_file():
        described = digest_file(folder / "manifest.json")
        named = Manifest.model_validate_json((folder / "manifest.json").read_text()).model_digest
    if not (model / "champion.json").exists():
        pointer = Pointer(version="v1.0.0", model_digest=named, manifest_digest=described, assigned="now", model=OTHER)
        key = signatures.examiner_key(Settings(home=home).examiner)
        signed = signatures.sign_as_examiner(pointer.signed(), key, signatures.POINTER)
        pointer = pointer.model_copy(update={"signature": signed})
        (model / "champion.json").write_text(pointer.model_dump_json())


def rewrite(folder: Path, **update: Any) -> None:
    """Write the manifest anew, with the digest of the model file that lies there."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    made = manifest.model_copy(update={"model_digest": digest_file(folder / "model.skops"), **update})
    (folder / "manifest.json").write_text(made.model_dump_json())


def another_name(folder: Path) -> None:
    rewrite(folder, model=LIKE)


def another_kind(folder: Path) -> None:
    rewrite(folder, kind="multiclass", classes=("a", "b", "c"))


def fifo(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name if name != "champion.json" else folder.parents[1] / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return change


def device(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").symlink_to("/dev/zero")


def unix_socket(folder: Path) -> None:
    (folder / "model.skops").unlink()
    here = os.getcwd()
    os.chdir(folder)  # a path of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("model.skops")
    finally:
        os.chdir(here)


def folder_instead(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").mkdir()


def circle(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").symlink_to("model.skops")


class Zeros:
    """Compresses a chunk of zeros as it did the one before, so that a bomb takes seconds to make."""

    def __init__(self, chunk: bytes) -> None:
        made = zlib.compressobj(1, zlib.DEFLATED, -15)
        self.packed = made.compress(chunk) + made.flush(zlib.Z_FULL_FLUSH)

    def compress(self, _: bytes) -> bytes:
        return self.packed

    def flush(self) -> bytes:
        return b"\x03\x00"  # an empty last block


def bomb(folder: Path) -> None:
    """5 GiB of zeros in 5 MB."""
    path, chunk = folder / "model.skops", bytes(1 << 23)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("schema.json", "w", force_zip64=True) as member,
    ):
        member._compressor = Zeros(chunk)  # type: ignore[attr-defined]
        for _ in range(640):
            member.write(chunk)
    rewrite(folder)


def huge(folder: Path) -> None:
    os.truncate(folder / "model.skops", 1 << 40)


def deep(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", "[" * 200_000)
    rewrite(folder)


FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another model's manifest": (another_name, f"is the manifest of {LIKE}, and {OTHER} is asked for"),
    "another kind": (another_kind, ""),
    "a pipe for a model file": (fifo("model.skops"), "is no plain file"),
    "a pipe for a manifest": (fifo("manifest.json"), "is no plain file"),
    "a pipe for a pointer": (fifo("champion.json"), "is no plain file"),
    "a device": (device, "is no plain file"),
    "a socket": (unix_socket, "cannot be read"),
    "a folder": (folder_instead, ""),
    "a link to itself": (circle, "cannot be read"),
    "a bomb": (bomb, "unpacks to 5,368,709,120 bytes"),
    "a terabyte": (huge, "has 1,099,511,627,776 bytes"),
    "nested without end": (deep, ""),
}


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        with suppress(IsADirectoryError, PermissionError):
            path.unlink()
            continue
        path.rmdir()
    folder.rmdir()
