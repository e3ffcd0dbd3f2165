"""The database below the prediction log: durable, ordered, and never a file that is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from tasks.records.log.migration import HEAD, migrate, revision_of
from tasks.records.log.turns import Turns
from tasks.spec.errors import ConfigError, LogUnavailable

APPEND_ORDER = 0x4153534159  # "ASSAY": the key of the lock that serialises writers on PostgreSQL


class Database:
    """One process's connections to the log's database: SQLite or PostgreSQL.

    Raises:
        ConfigError: another kind of database, or one that a newer release of Assay wrote.
        LogUnavailable: it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        address = sa.engine.make_url(url)
        kind = address.get_backend_name()
        if kind not in {"sqlite", "postgresql"}:
            raise ConfigError(
                f"ASSAY_LOG_URL names a {kind} database; allowed: sqlite and postgresql. Leave it empty for "
                "SQLite below ASSAY_HOME."
            )
        self.where = address.render_as_string(hide_password=True)
        self.file = _file(address.database) if kind == "sqlite" else None
        self._sqlite = kind == "sqlite"
        self._turns = Turns(self.file) if self.file else None
        if self._sqlite:
            self.engine = sa.create_engine(address)
            sa.event.listen(self.engine, "connect", self._prepare_sqlite)
        else:
            # A server may be set to acknowledge before it wrote; this log may not.
            # A stuck writer must not block the others for ever.
            options = {"connect_timeout": 5, "options": "-c synchronous_commit=on -c lock_timeout=20000"}
            self.engine = sa.create_engine(
                address.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=options
            )
        self._opened: tuple[int, int] | None = None
        try:
            if self._revision() != HEAD:
                with self.writing() as connection:  # of processes that start together, one makes or migrates the tables
                    migrate(connection, self.file)
        except BaseException:  # whatever stopped it, a cancellation too: who gets no log cannot close it
            self.close()
            raise

    def _revision(self) -> str | None:
        """The revision of the schema; asking takes no lock, so a reader never waits for the writers."""
        try:
            with self.engine.connect() as connection:
                self._opened = connection.info["files"][0] if self.file else None
                return revision_of(connection)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise LogUnavailable(self.sentence(error)) from None

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One durable transaction, alone among all writers of all processes.

        On PostgreSQL a row's number is assigned at its insert and visible at its commit. Of two concurrent writers the
        later number may be visible first, and a reader that cuts a window there would never count the earlier row.
        The lock is taken before the first number is assigned and released once the commit is visible, so the order of
        numbers is the order of commits. SQLite has one writer at a time; IMMEDIATE makes it so from the first read on.

        Raises:
            LogUnavailable: nothing was written, or it went into a file that is not at the log's path any more.
            sqlalchemy.exc.IntegrityError: a unique key is taken; nothing was written.
        """
        try:
            self._refuse_another_file()
            with self._turns.turn() if self._turns else nullcontext(), self.engine.connect() as connection:
                if self._sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": APPEND_ORDER})
                yield connection
                connection.commit()
                self._refuse_another_file(connection)
        except sa.exc.IntegrityError:
            raise
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise LogUnavailable(self.sentence(error)) from None

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Any]) -> None:
        """Insert rows by the database's own quickest way: SQLite's driver as they are, PostgreSQL by COPY.

        Args:
            rows: NamedTuples, whose fields are columns of the table.
        """
        names = ", ".join(rows[0]._fields)
        if self._sqlite:
            marks = ", ".join("?" for _ in rows[0]._fields)
            connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", [tuple(r) for r in rows])
            return
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def read_anew(self, statement: str) -> None:
        """Run a query as a process would that opens the log now; what this one knows of the file may be its memory.

        Raises:
            LogUnavailable: it cannot be opened or read.
        """
        if self.file is None:
            return
        try:
            with closing(sqlite3.connect(f"{Path(self.file).absolute().as_uri()}?mode=ro", uri=True)) as connection:
                connection.execute(statement).fetchall()
        except sqlite3.Error as error:
            raise LogUnavailable(self.sentence(error)) from None

    def sentence(self, error: Exception | str) -> str:
        cause = (str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__])[0]
        return (
            f"the prediction log at {self.where} cannot be written ({cause}), so nothing is answered. Free the disk "
            "or mend the database; the service goes on by itself."
        )

    def close(self) -> None:
        self.engine.dispose()
        if self._turns:
            self._turns.close()

    def _prepare_sqlite(self, connection: Any, record: Any) -> None:
        for setting in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchone()  # from here on this connection holds the -wal file too
        if self.file:
            record.info["files"] = _identity(self.file), _identity(f"{self.file}-wal")

    def _refuse_another_file(self, connection: sa.Connection | None = None) -> None:
        """An unlinked file takes writes without an error; whoever opens the path later would not find them."""
        if self.file is None:
            return
        found = _identity(self.file)
        same = found == self._opened and (
            connection is None or connection.info["files"] == (found, _identity(f"{self.file}-wal"))
        )
        if not same:
            state = "was replaced or has lost its -wal file" if found else "was deleted"
            raise LogUnavailable(
                f"the prediction log {self.file} {state} while the service had it open, so nothing is answered. "
                "Put the same file back, or start the service again to go on with what is at that path."
            )


def _file(database: str | None) -> str | None:
    """The path that an SQLite URL names, in its short form or as a ``file:`` URI; None for a database in memory."""
    if database in {None, "", ":memory:"}:
        return None
    return unquote(str(database).removeprefix("file:")) if str(database).startswith("file:") else database


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Part:
    """One side of the log; all sides share the database."""

    database: Database
    _closed = False

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LogUnavailable(
                f"the prediction log at {self.database.where} is closed, so nothing is answered. Start the "
                "service again."
            )
