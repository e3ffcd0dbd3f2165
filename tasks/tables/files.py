"""The files of a source, and their bytes: below the root, unpacked while they are read."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tasks.spec.data_source import FileSource, PackageSource, SqlSource
from tasks.spec.errors import ConfigError

POINTER = ".dvc"
PACKED = (".gz", ".zip")
MD5 = re.compile(r"\bmd5: ([0-9a-f]{32}(?:\.dir)?)\b")
ATTRIBUTES = "__MACOSX/"
"""Where macOS puts a file's attributes into a .zip, beside the file."""


def source_files(root: Path, source: PackageSource | FileSource | SqlSource) -> tuple[Path, ...]:
    """The files that a source is read from, in the order in which they are read.

    A file counts whether it is here or only its DVC pointer; a package has none.

    Returns:
        Paths relative to ``root``; of a glob that matches nothing, the glob itself.

    Raises:
        ConfigError: a path leads out of the repository, be it through a symbolic link; DVC's own to its cache are none.
    """
    found = {path for place in source.places for path in _matching(root, place)}
    for path in found:
        target = (root / path).resolve()
        if not target.is_relative_to(root.resolve()) and not _laid_by_dvc(root, path, target):
            raise ConfigError(
                f"data.source names {path.as_posix()}, which leads out of the repository to {target}. "
                "Copy the file below the root and track it with 'dvc add'."
            )
    for path in sorted(found):
        bare = path.with_suffix("") if path.suffix in PACKED else path
        if bare != path and bare in found:
            raise ConfigError(
                f"data.source names both {bare.as_posix()} and {path.as_posix()}, which would give the same rows "
                "twice. Take one of them away, or narrow data.source.paths."
            )
    return tuple(sorted(found))


def _laid_by_dvc(root: Path, path: Path, target: Path) -> bool:
    """Whether a link is one of DVC's, with ``cache.type = symlink``: to the object that a pointer names.

    Objects are named by their MD5, wherever the cache is. The pointer is the file's own, or that of a folder it is in.
    """
    digest = target.parent.name + target.name
    if not (root / path).is_symlink() or re.fullmatch("[0-9a-f]{32}", digest) is None:
        return False
    for tracked in (path, *path.parents[:-1]):
        pointer = root / tracked.with_name(tracked.name + POINTER)
        if not pointer.is_file():
            continue
        for found in MD5.findall(pointer.read_text(encoding="utf-8")):
            listed = target.parents[1] / found[:2] / found[2:]  # of a folder, a list of its files by their MD5
            if found == digest or (found.endswith(".dir") and listed.is_file() and digest in listed.read_text()):
                return True
    return False


def _matching(root: Path, pattern: str) -> set[Path]:
    if not any(mark in pattern for mark in "*?["):
        return {Path(pattern)}
    here = {path.relative_to(root) for path in root.glob(pattern) if path.is_file() and path.suffix != POINTER}
    pointers = {path.relative_to(root).with_suffix("") for path in root.glob(pattern + POINTER)}
    return {path for path in here | pointers if not path.name.startswith(".")} or {Path(pattern)}


def existing(root: Path, path: Path) -> Path:
    """A file of a source, which has to be here.

    Raises:
        ConfigError: it is not.
    """
    file = root / path
    if file.is_file():
        return file
    if file.with_name(file.name + POINTER).exists():
        fix = f"Only its pointer is here; fetch it with 'dvc pull {path.as_posix()}.dvc'."
    else:
        fix = "Put it there and track it with 'dvc add', or mend the path."
    what = "is a folder" if file.is_dir() else "does not exist"
    raise ConfigError(f"data.source names {path.as_posix()!r}, which {what}. {fix}")


def bare_suffix(path: Path) -> str:
    """The ending that tells the format, before .gz or .zip."""
    return Path(path.stem).suffix if path.suffix in PACKED else path.suffix


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends in .gz or .zip.

    Raises:
        ConfigError: it is no such archive, or a .zip that does not hold exactly one file.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                yield cast(BinaryIO, stream)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if not (m.is_dir() or m.filename.startswith(ATTRIBUTES))]
                if len(members) != 1:
                    raise ConfigError(
                        f"{path} holds {len(members)} files; a .zip has to hold exactly one. Unpack it, and name the "
                        "files under data.source.paths."
                    )
                with archive.open(members[0]) as stream:
                    yield cast(BinaryIO, stream)
        else:
            with path.open("rb") as stream:
                yield stream
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ConfigError(
            f"{path} cannot be unpacked: {error}. Pack it again, or mend the ending of its name."
        ) from None


class CheckedText(io.RawIOBase):
    """The text of a stream as UTF-8 bytes without a byte order mark; refuses what is not text.

    Attributes:
        lines: line ends passed so far.
        quotes: quote marks passed so far.
    """

    def __init__(self, raw: BinaryIO, name: str, encoding: str, quote: str = "") -> None:
        import codecs

        self.raw, self.name, self.encoding, self.quote = raw, name, encoding, quote.encode()
        self.plain = codecs.lookup(encoding).name == "utf-8"
        self.decoder = codecs.getincrementaldecoder(encoding)()
        self.lines = self.quotes = 0
        self.begun, self.rest = False, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self.rest:
            block = self.raw.read(max(len(buffer), 1 << 16))
            self.rest = self._checked(block)
            if not block:
                break
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _checked(self, block: bytes) -> bytes:
        pending = self.decoder.getstate()[0]
        try:
            text = self.decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            before = (pending + block)[: error.start].decode(self.encoding, "ignore").count("\n")
            byte = (pending + block)[error.start : error.start + 1]
            raise self._refusal(before, f"the byte 0x{byte.hex()}", error.reason) from None
        except UnicodeError as error:
            raise self._refusal(0, "the text", str(error)) from None
        found = pending + block if self.plain else text.encode()
        if self.plain:
            kept = self.decoder.getstate()[0]
            found = found[: len(found) - len(kept)]
        if not self.begun and text:
            self.begun = True
            found = found.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in found:
            line = self.lines + found[: found.index(b"\0")].count(b"\n") + 1
            raise ConfigError(
                f"{self.name}, line {line:,}: there is a NUL byte, which no text holds. Where the file is UTF-16, say "
                "encoding: utf-16 under data.source; else take the byte out."
            )
        self.lines += found.count(b"\n")
        self.quotes += found.count(self.quote) if self.quote else 0
        return found

    def _refusal(self, before: int, what: str, why: str) -> ConfigError:
        return ConfigError(
            f"{self.name}, line {self.lines + before + 1:,}: {what} is not in the encoding {self.encoding} ({why}). "
            "Say the file's own under data.source.encoding, such as latin-1, cp1252 or utf-16."
        )
