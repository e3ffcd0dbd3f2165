"""Which schema a log has, and the way to the present one: alembic's scripts below ``migrations``, in one transaction.

A log says its revision in the table ``log_revision``, which is not alembic's usual one: the log may share a PostgreSQL
database with Prefect, which migrates by alembic too. Alembic itself is imported only where a log has to move.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tasks.records.log.tables import meta
from tasks.spec.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"
"""The revision of :mod:`tasks.records.log.tables`; the newest script below ``migrations/versions`` leads to it."""
SCRIPTS = Path(__file__).parent / "migrations"
_ALEMBIC = threading.Lock()
"""Alembic keeps the migration that runs in global state: one at a time in a process."""
REVISION = sa.Table(
    "log_revision",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="log_revision_pkc"),
)


def revision_of(connection: sa.Connection) -> str | None:
    """The revision that a log says it has; None where it says none, since it is empty or older than the numbers."""
    if not sa.inspect(connection).has_table(REVISION.name):
        return None
    return connection.execute(sa.select(REVISION.c.version_num)).scalar()


def migrate(connection: sa.Connection, file: str | None = None) -> None:
    """Bring a log to :data:`HEAD`; an empty database gets the tables at once.

    The caller's transaction makes it all or nothing, and keeps other writers out meanwhile.

    Args:
        connection: in a transaction of its own.
        file: the SQLite file, which is copied to ``<file>.before-<revision>`` first where rows are rewritten.

    Raises:
        ConfigError: a newer release wrote the log.
        OSError: the copy cannot be made.
    """
    found = revision_of(connection)
    if found == HEAD:
        return  # another process was faster
    if found is None and not set(meta.tables) & set(sa.inspect(connection).get_table_names()):
        meta.create_all(connection)
        REVISION.create(connection)
        connection.execute(sa.insert(REVISION).values(version_num=HEAD))
        return
    _upgrade(connection, found, file)


def _upgrade(connection: sa.Connection, found: str | None, file: str | None) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config(connection)
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())  # newest first
    known = [script.revision for script in scripts]
    if found is not None and found not in known:
        raise ConfigError(
            f"the prediction log has the schema revision {found!r}, and this release of Assay knows "
            f"revisions up to {HEAD}: a newer release wrote it. Use that release, or go back to a copy of the log "
            "from before its upgrade (docs/log.md)."
        )
    pending = scripts[: known.index(found)] if found is not None else scripts
    if file is not None and any(_rewrites(script.module, connection) for script in pending):
        copy_database(Path(file), Path(f"{file}.before-{HEAD}"))
    with _ALEMBIC:
        command.upgrade(config, HEAD)


def _rewrites(script: Any, connection: sa.Connection) -> bool:
    """Whether a script moves rows; one that does not say so is taken to."""
    asked = getattr(script, "rewrites", None)
    return asked is None or bool(asked(connection))


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, version_table=REVISION.name)
    return config


def copy_database(file: Path, copy: Path) -> None:
    """Copy an SQLite database as it was last committed; the copy stands under its name only once it is whole.

    Raises:
        OSError: it cannot be made, for instance since the disk is full.
    """
    part = copy.with_name(copy.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.chmod(stat.S_IMODE(file.stat().st_mode))  # what may not read the log may not read its copy
        address = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(copy)
    except sqlite3.Error as error:
        raise OSError(f"no copy of {file} can be made: {error}") from None
    finally:
        part.unlink(missing_ok=True)
