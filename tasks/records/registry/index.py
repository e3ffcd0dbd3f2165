"""Where the entries and the evidence of the ledger stand, kept by the clone so that nobody reads all to show a few.

Nothing that serves is decided by it. It names the commit up to which it was made, and is made anew where the ledger
does not come after that one. What is read by it is compared with the digest that it says.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from tasks.records.registry import branch
from tasks.records.registry.authority import State
from tasks.records.registry.state import proven
from tasks.records.repository.git import Git, GitError
from tasks.records.repository.workspace import lock
from tasks.spec.errors import CorruptionError
from tasks.spec.ledger import Entry
from tasks.spec.settings import Settings

FORM = 1
NAME = "ledger-index.db"
ASSIGNING = ("promoted", "rolled_back")
AT_ONCE = 64
"""Documents that are held in memory together."""


@dataclass(frozen=True)
class Row:
    """One entry: what is asked for, and git's names of its file and of its evidence."""

    sequence: int
    kind: str
    model: str
    version: str | None
    commit: str | None
    evidence: str | None
    digest: str
    blob: str
    document: str | None


COLUMNS = ", ".join(f'"{field.name}"' for field in fields(Row))


class Index:
    """The index of one clone, brought to what a state was read up to."""

    def __init__(self, path: Path, git: Git, now: State) -> None:
        self.path, self.database, self.git, self.now = path, _opened(path), git, now

    def newest(self, model: str, kinds: Sequence[str]) -> Iterator[Entry]:
        """Entries of a model among these kinds, newest first; those that do not count, too.

        Raises:
            CorruptionError: one cannot be read.
        """
        below = self.now.sequence + 1
        while rows := [row for kind in kinds if (row := self._below(model, kind, below))]:
            row = max(rows, key=lambda r: r.sequence)
            entry, below = self.entry(row), row.sequence
            if entry.model == model and entry.kind in kinds:  # else the row said what is not so, and was made anew
                yield entry

    def assigned(self) -> list[Row]:
        """Promotions and rollbacks, oldest first; those that do not count, too."""
        return self._rows("kind IN (?, ?) ORDER BY sequence", *ASSIGNING)

    def models(self, sequences: Sequence[int]) -> dict[int, str]:
        """Which model entries are about."""
        found = (self._one("sequence = ?", sequence) for sequence in sequences)
        return {row.sequence: row.model for row in found if row is not None}

    def entry(self, row: Row) -> Entry:
        """The entry that a row is of.

        Raises:
            CorruptionError: it cannot be read.
        """
        for _ in range(2):
            entry = self._read(row)
            if entry is not None and row == _row(entry, row.blob, row.document):
                return entry
            self._make_anew()
            row = self._one("sequence = ?", row.sequence) or row
        raise CorruptionError(f"entry {row.sequence} of the ledger cannot be read from the clone {self.git.path}.")

    def evidence(self, digest: str) -> dict[str, Any]:
        """The document with this digest.

        Raises:
            CorruptionError: it is not there, or its bytes do not match.
        """
        row = self._one("evidence = ?", digest)
        try:
            return branch.document(self.git, row.document if row else None, digest)
        except CorruptionError:
            if row is None:
                raise
        self._make_anew()
        row = self._one("evidence = ?", digest)
        return branch.document(self.git, row.document if row else None, digest)

    def documents(self, digests: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The documents with these digests, a few at a time, since a verdict with its plots is large.

        Raises:
            CorruptionError: one is not there, or its bytes do not match.
        """
        for begin in range(0, len(digests), AT_ONCE):
            part = digests[begin : begin + AT_ONCE]
            rows = [self._one("evidence = ?", digest) for digest in part]
            if not all(row and row.document for row in rows):
                yield from ((digest, self.evidence(digest)) for digest in part)
                continue
            found = branch.contents(self.git, [str(row.document) for row in rows if row])
            yield from ((digest, branch.held(content, digest)) for digest, content in zip(part, found, strict=True))

    def mend(self) -> bool:
        """Make it anew where a row was changed since it was written; gives whether that was so."""
        rows = self.database.execute(f"SELECT {COLUMNS} FROM entries ORDER BY sequence")
        if _seal("", rows) == self._kept("seal"):
            return False
        self._make_anew()
        return True

    def bring(self) -> None:
        """Read on to what the state was read up to; from the beginning where it is not made of an earlier part."""
        if not self._fits():
            self._empty()
        if self._kept("tip") != self.now.tip:
            self._read_on()
            if not self._fits():
                self._make_anew()

    def _fits(self) -> bool:
        """Whether it is as it was written, and made of the state's chain or of an earlier part."""
        tip, newest = self._kept("tip"), self._one("TRUE")
        if not tip or newest is None:
            return not tip and newest is None
        if self._kept("writes") != str(self._writes()):
            return False
        if tip == self.now.tip:
            return (newest.sequence, newest.digest) == (self.now.sequence, self.now.digest)
        return self._is_before(tip)

    def _writes(self) -> int:
        """How often the file was written to, which SQLite counts in its header (https://sqlite.org/fileformat2.html)."""
        with self.path.open("rb") as stream:
            return int.from_bytes(stream.read(28)[24:], "big")

    def _is_before(self, tip: str) -> bool:
        try:
            self.git.run("merge-base", "--is-ancestor", tip, self.now.tip)
        except GitError:
            return False
        return True

    def _make_anew(self) -> None:
        self._empty()
        self._read_on()

    def _empty(self) -> None:
        with self.database:
            self.database.execute("DELETE FROM entries")
            self.database.execute("DELETE FROM kept")

    def _read_on(self) -> None:
        """Take in what the commits after its own add, as far as the state goes."""
        newest = self._one("TRUE")
        last, seal = newest.sequence if newest else 0, self._kept("seal")
        rows: list[tuple[Any, ...]] = []
        for one in branch.added(self.git, self._kept("tip"), self.now.tip) if self.now.tip else ():
            if one.number is not None and one.number <= last:
                continue
            entry = branch.parse(one.where, one.content)
            document = one.documents.get(str(entry.evidence)) or one.documents.get("")
            rows.append(astuple(_row(entry, one.blob, document if entry.evidence else None)))
        with self.database:
            marks = ", ".join("?" for _ in fields(Row))
            self.database.executemany(f"INSERT INTO entries ({COLUMNS}) VALUES ({marks})", rows)
            self.database.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?)",
                [("tip", self.now.tip), ("seal", _seal(seal, rows)), ("writes", str(self._writes() + 1))],
            )

    def _read(self, row: Row) -> Entry | None:
        try:
            (content,) = branch.contents(self.git, [row.blob])
            return branch.parse(f"entry {row.sequence}", content)
        except CorruptionError:
            return None

    def _one(self, where: str, *values: Any) -> Row | None:
        rows = self._rows(f"{where} ORDER BY sequence DESC LIMIT 1", *values)
        return rows[0] if rows else None

    def _below(self, model: str, kind: str, sequence: int) -> Row | None:
        return self._one("model = ? AND kind = ? AND sequence < ?", model, kind, sequence)

    def _rows(self, where: str, *values: Any) -> list[Row]:
        asked = self.database.execute(f"SELECT {COLUMNS} FROM entries WHERE {where}", values)
        return [Row(*found) for found in asked]

    def _kept(self, name: str) -> str:
        found = self.database.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""


def _row(entry: Entry, blob: str, document: str | None) -> Row:
    return Row(
        entry.sequence, entry.kind, entry.model, entry.version, entry.commit, entry.evidence, entry.digest(), blob,
        document,
    )  # fmt: skip


def _seal(before: str, rows: Iterable[tuple[Any, ...]]) -> str:
    """A digest over all rows, each in turn."""
    for row in rows:
        before = hashlib.sha256((before + json.dumps(row)).encode()).hexdigest()
    return before


@contextmanager
def index(settings: Settings, git: Git) -> Iterator[Index]:
    """The index of a home's clone, as far as its ledger is proven; one that cannot be read is made anew.

    Nobody else reads on meanwhile, so that it is never of a later tip than the state that it is compared with.
    """
    path = settings.home / NAME
    with lock(settings):
        now = proven(settings, git)
        try:
            found = Index(path, git, now)
            found.bring()
        except sqlite3.DatabaseError:
            path.unlink()
            found = Index(path, git, now)
            found.bring()
        with closing(found.database):
            yield found


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=60)
    columns = [column for _, column, *_ in database.execute("PRAGMA table_info(entries)")]
    if database.execute("PRAGMA user_version").fetchone() != (FORM,) or columns != [f.name for f in fields(Row)]:
        with database:
            for table in ("entries", "kept"):
                database.execute(f"DROP TABLE IF EXISTS {table}")
            database.execute(
                'CREATE TABLE entries (sequence INTEGER PRIMARY KEY, kind, model, version, "commit", evidence, digest, '
                "blob, document)"
            )
            database.execute("CREATE INDEX by_model ON entries (model, kind, sequence)")
            database.execute("CREATE INDEX by_kind ON entries (kind, sequence)")
            database.execute("CREATE INDEX by_evidence ON entries (evidence, sequence)")
            database.execute("CREATE TABLE kept (name PRIMARY KEY, value)")
            database.execute(f"PRAGMA user_version = {FORM}")
    return database
