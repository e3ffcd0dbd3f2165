"""``assay backup`` and ``assay restore``: a home in one file, taken while its system runs, and back again.

Everything of a home is taken but what is made anew by itself. A database is copied as it was last committed, and the
origin as git hands it out. No flow writes its record meanwhile, so that the copy is one moment of the system.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.cli import dumps, state
from tasks.records.log.migration import copy_database
from tasks.records.registry import index, verification
from tasks.records.registry.memory import NAME as REMEMBERED
from tasks.records.repository.git import Git, GitError
from tasks.records.repository.workspace import ensure_clone, lock, owned
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.formats import BACKUP, refuse_other_format
from tasks.spec.settings import Settings, anonymous

ABOUT, DIGESTS, CLONE = "assay-backup.json", "assay-digests.json", "clone-memory.json"
ORIGIN, CACHE = "origin.git", "dvc-cache"
REMADE = ("run", "logs", "worktrees", "clone", "dvc-site", "tools", "backups", CLONE, index.NAME, verification.KEPT)
"""What a start makes anew; of the clone its memory is taken: what it has seen of the ledger."""
SQLITE = b"SQLite format 3\0"
PRIVATE = 0o600
MEMORY = "refs/assay/"
SERVICE = "service"
"""Where the service keeps what it has seen of each model's pointer."""


@dataclass(frozen=True)
class Found:
    """What a backup holds, for people: sentences about it, and its size in bytes."""

    file: Path
    bytes: int
    files: int
    notes: tuple[str, ...]


def backup(settings: Settings, file: Path, cache: bool = True, log: bool = True) -> Found:
    """Write a home into one tar file, which only its owner may read.

    Args:
        settings: of the home.
        file: must not exist; it stands under its name only once it is whole.
        cache: whether DVC's cache is taken, too.
        log: whether a prediction log in PostgreSQL is taken, too.

    Raises:
        ConfigError: the file exists, lies in what is taken, or there is no home.
        LogUnavailable: the log in PostgreSQL cannot be taken.
        OSError: it cannot be written.
    """
    file = file.expanduser().absolute()
    if not settings.home.is_dir():
        raise ConfigError(f"there is no home at {settings.home}. Name it in ASSAY_HOME.")
    if file.exists():
        raise ConfigError(f"{file} exists. Name another file, or move it away.")
    if file.is_relative_to(settings.home) and file.relative_to(settings.home).parts[0] not in REMADE:
        raise ConfigError(f"{file} lies in the home that is lost with its disk. Name a file elsewhere.")
    _clear(file)
    draft = file.with_name(f".{file.name}-{uuid.uuid4().hex[:8]}")
    staged = settings.worktrees / uuid.uuid4().hex[:12]  # the keeper clears what nobody owns there
    settings.worktrees.mkdir(parents=True, exist_ok=True)
    with owned(staged):
        try:
            staged.mkdir(mode=0o700)
            digests = _write(settings, draft, staged, cache, log)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
            shutil.rmtree(staged, ignore_errors=True)
    return Found(file, file.stat().st_size, len(digests), _notes(settings, cache, log))


def _write(settings: Settings, draft: Path, staged: Path, cache: bool, log: bool) -> dict[str, str]:
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE), "w+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # gone with the process
        with tarfile.open(fileobj=stream, mode="w") as tar:
            digests = _pack(settings, tar, staged, cache, log)
            _add_json(tar, DIGESTS, digests)
        stream.flush()
        os.fsync(stream.fileno())
    return digests


def _clear(file: Path) -> None:
    """Remove what backups to the same file left that were killed; one that is being written is locked."""
    for path in file.parent.glob(f".{glob.escape(file.name)}-{'[0-9a-f]' * 8}"):
        with suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _notes(settings: Settings, cache: bool, log: bool) -> tuple[str, ...]:
    notes = ["it holds keys and every logged prediction, and only its owner may read it (mode 0600)"]
    if dumps.in_postgresql(settings) and log:
        notes.append("the prediction log is in it, as pg_dump took it; assay restore puts it into an empty database")
    elif dumps.in_postgresql(settings):
        notes.append(
            "the prediction log in PostgreSQL is not in it; copy that too: "
            'pg_dump --format=custom --file=LOG.dump "$ASSAY_LOG_URL"'
        )
    elif settings.log_url:
        named = anonymous(settings.log_url)
        notes.append(f"the prediction log is not in it: ASSAY_LOG_URL names {named}, which is yours to copy")
    if settings.origin:
        notes.append(f"the origin {settings.origin_named} is not in it, since it is not below the home")
    if not cache:
        notes.append("DVC's cache is not in it")
    return tuple(notes)


def _pack(settings: Settings, tar: tarfile.TarFile, staged: Path, cache: bool, log: bool) -> dict[str, str]:
    about = {"format": BACKUP.number, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    _add_json(tar, ABOUT, about)
    _add_json(tar, CLONE, _memory(settings))
    with lock(settings):  # no flow writes its record meanwhile
        for database in [path for path in _files(settings.home, cache) if _is_sqlite(path)]:
            target = staged / database.relative_to(settings.home)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_database(database, target)
        if log and dumps.in_postgresql(settings):
            dumps.dump(settings, staged / dumps.NAME)
        if (settings.home / ORIGIN).exists():
            _copy_origin(settings.home / ORIGIN, staged / ORIGIN)
        small = [path for path in _files(settings.home, cache=False) if not _is_sqlite(path)]
        digests = _add(tar, settings.home, small)
    digests |= _add(tar, staged, _below(staged))
    if cache and (settings.home / CACHE).exists():  # files that are never changed, named by their digests
        digests |= _add(tar, settings.home, [p for p in _below(settings.home / CACHE) if p.is_file()])
    return digests


BESIDE = ("-wal", "-shm", "-journal", ".db-gate", ".db-turn")
"""Ends of files that stand beside a database while it is used, and hold nothing once it was copied."""


def _files(home: Path, cache: bool) -> Iterator[Path]:
    """Files of a home that are neither made anew, nor the origin's, nor DVC's cache, nor another file's log."""
    for top in sorted(home.iterdir()):
        skipped = top.name in (*REMADE, ORIGIN, CACHE) or top.name.startswith(("clone-", ".restore-", "replaced-"))
        if skipped or (top.is_file() and top.suffix in (".lock", ".part")):
            continue
        for path in _below(top) if top.is_dir() else [top]:
            if not path.name.endswith(BESIDE) and path.is_file():
                yield path


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(SQLITE)) == SQLITE
    except FileNotFoundError:
        return False


def _copy_origin(origin: Path, copy: Path) -> None:
    """As git hands it out, which no repacking disturbs; hooks and configuration as they are."""
    Git(origin.parent, str(origin)).run("clone", "--quiet", "--mirror", "--no-local", str(origin), str(copy))
    shutil.copy(origin / "config", copy / "config")
    shutil.copytree(origin / "hooks", copy / "hooks", dirs_exist_ok=True)


def _memory(settings: Settings) -> dict[str, dict[str, str]]:
    """What the clone remembers and no other repository says."""
    if not (settings.clone / ".git").exists():
        return {"refs": {}, "config": {}}
    git = Git(settings.clone)
    refs = [line.split(" ") for line in git.lines("for-each-ref", "--format=%(refname) %(objectname)", MEMORY)]
    try:
        lines = git.lines("config", "--local", "--get-regexp", r"^assay\.")
    except GitError:  # it has none
        lines = []
    return {"refs": dict(refs), "config": dict(line.split(" ", 1) for line in lines)}


def _add(tar: tarfile.TarFile, root: Path, paths: list[Path]) -> dict[str, str]:
    digests = {}
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.is_dir():  # git needs some that are empty
            tar.add(path, name, recursive=False)
            continue
        try:
            with path.open("rb") as stream:
                entry = tar.gettarinfo(arcname=name, fileobj=stream)
                hashed = _Hashed(stream)
                tar.addfile(entry, hashed)
        except FileNotFoundError:  # a draft that was renamed meanwhile
            continue
        digests[name] = hashed.digest.hexdigest()
    return digests


class _Hashed(io.RawIOBase):
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self.stream.read(size)
        self.digest.update(found)
        return found


def _add_json(tar: tarfile.TarFile, name: str, document: Any) -> None:
    content = json.dumps(document).encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), PRIVATE
    tar.addfile(entry, io.BytesIO(content))


def restore(settings: Settings, file: Path, replace: bool = False) -> Found:
    """Bring a home back from a backup; what differs from its digests is refused before anything is changed.

    Args:
        settings: of the home, which may lie elsewhere than the one that was backed up.
        file: from :func:`backup`.
        replace: move what the home holds now into a folder ``replaced-TIME`` in it.

    Raises:
        ConfigError: the file is no backup, or a newer release wrote it. The home is in use, or holds what would come.
            The backup holds a log of PostgreSQL, and ASSAY_LOG_URL names no empty database.
        LogUnavailable: that log cannot be brought back; nothing was changed.
        CorruptionError: the file is damaged.
    """
    if state.recorded(settings) is not None:
        raise ConfigError(f"a system was started from {settings.home} and not stopped. Stop it first: assay down")
    settings.home.mkdir(parents=True, exist_ok=True)
    with state.alone(settings), _unpacked(settings, file) as (draft, digests, memory):
        log = draft / dumps.NAME
        if log.exists():
            dumps.refuse_taken(settings)
        coming = {path.name for path in draft.iterdir() if path.name not in (CACHE, dumps.NAME)}
        # what was seen of a newer ledger would accuse an older one, also where the backup holds none of it yet
        taken = sorted(name for name in {*coming, REMEMBERED, SERVICE} if (settings.home / name).exists())
        if taken and not replace:
            raise ConfigError(
                f"{settings.home} holds {', '.join(taken)} already. Name another folder in ASSAY_HOME, or move these "
                "aside with: assay restore --replace"
            )
        if log.exists():
            dumps.load(settings, log)
            log.unlink()
        notes = _set_aside(settings.home) if taken else ()
        _into_place(draft, settings.home)
    notes = (*notes, *_remember(settings, memory), "start the system with: assay up")
    return Found(file, file.expanduser().stat().st_size, len(digests), notes)


@contextmanager
def _unpacked(settings: Settings, file: Path) -> Iterator[tuple[Path, dict[str, str], dict[str, Any]]]:
    draft = settings.home / f".restore-{uuid.uuid4().hex[:8]}"
    draft.mkdir(mode=0o700)
    try:
        try:
            with tarfile.open(file.expanduser()) as tar:
                tar.extractall(draft, filter="data")
            about, digests, memory = (json.loads((draft / name).read_text()) for name in (ABOUT, DIGESTS, CLONE))
        except FileNotFoundError:
            what = "is no whole backup" if file.expanduser().exists() else "is not there"
            raise ConfigError(f"{file} {what}. Name a file that 'assay backup' wrote.") from None
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise CorruptionError(f"{file} cannot be read as a backup ({error}). Take another one.") from None
        refuse_other_format(about, BACKUP, "Use the release of Assay that wrote it.")
        for name in (ABOUT, DIGESTS, CLONE):
            (draft / name).unlink()
        found = {p.relative_to(draft).as_posix(): _digest(p) for p in draft.rglob("*") if p.is_file()}
        wrong = sorted(name for name in {*found, *digests} if found.get(name) != digests.get(name))
        if wrong:
            raise CorruptionError(f"{file} is damaged: {', '.join(wrong[:3])} is not what was backed up.")
        yield draft, digests, memory
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _set_aside(home: Path) -> tuple[str, ...]:
    kept = home / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    if kept.exists():  # twice in one second, or a clock was set back
        kept = kept.with_name(f"{kept.name}-{uuid.uuid4().hex[:8]}")
    kept.mkdir()
    for path in home.iterdir():
        spared = ("backups", "tools", CACHE, "system.lock")
        if path.name not in spared and not path.name.startswith((".restore-", "replaced-")):
            path.rename(kept / path.name)
    return (f"what was there is in {kept}",)


def _into_place(draft: Path, home: Path) -> None:
    """Everything by renaming; the origin comes last, so that half a home is never taken for a whole one."""
    for path in sorted(draft.iterdir(), key=lambda p: (p.name == ORIGIN, p.name)):
        if path.name != CACHE or not (home / CACHE).exists():
            path.rename(home / path.name)
            continue
        for file in [p for p in path.rglob("*") if p.is_file()]:
            target = home / CACHE / PurePosixPath(file.relative_to(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def _remember(settings: Settings, memory: dict[str, Any]) -> tuple[str, ...]:
    """Give a new clone the old one's memory: a ledger that was cut off since must not look whole to it."""
    if not settings.origin and not (settings.home / ORIGIN).exists():
        return ()
    git, notes = ensure_clone(settings), []
    for name, commit in memory["refs"].items():
        try:
            git.run("update-ref", name, commit)
        except GitError:
            notes.append(f"the origin does not hold {commit[:12]} any more, which its clone had seen as {name}")
    for key, value in memory["config"].items():
        git.run("config", key, value)
    return tuple(notes)


def as_text(found: Found, word: str) -> str:
    """What was done, and what has to be known of it, for a person."""
    size = f"{found.bytes / (1 << 20):.1f} MiB, {found.files} files"
    return "\n".join([f"{word} {found.file} ({size})", *(f"  {note}" for note in found.notes)])


def as_json(found: Found) -> dict[str, Any]:
    return {"file": str(found.file), "bytes": found.bytes, "files": found.files, "notes": list(found.notes)}
