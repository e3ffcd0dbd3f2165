"""A prediction log in PostgreSQL, taken and brought back by PostgreSQL's own programs.

A password is handed on by the environment, never as an argument, which every user of a machine can read.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import sqlalchemy as sa

from tasks.records.log.migration import REVISION
from tasks.records.log.tables import meta
from tasks.records.repository import process
from tasks.spec.errors import ConfigError, LogUnavailable
from tasks.spec.settings import Settings

NAME = "prediction-log.dump"
"""In a backup, in pg_dump's custom format."""
TABLES = (*meta.tables, REVISION.name)
INSTALL = "Install PostgreSQL's client (Debian: postgresql-client)"


def in_postgresql(settings: Settings) -> bool:
    return sa.engine.make_url(settings.log_database).get_backend_name() == "postgresql"


def dump(settings: Settings, file: Path) -> None:
    """Write the log's tables into one file, as they are at one moment; writers are not held up.

    Raises:
        LogUnavailable: pg_dump is not here, or refuses; the sentence says what it says, and how to do without.
    """
    tables = [f"--table={name}" for name in TABLES]
    _run(settings, "pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={file}", *tables])
    file.chmod(0o600)


def load(settings: Settings, file: Path) -> None:
    """Bring the tables back into an empty database, all or nothing.

    Raises:
        ConfigError: the database holds a log.
        LogUnavailable: it does not answer, or pg_restore is not here or refuses; nothing was changed.
    """
    how = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--dbname=" + _address(settings)]
    _run(settings, "pg_restore", [*how, str(file)])


def refuse_taken(settings: Settings) -> None:
    """Raise where a backup's log cannot come into the database that ASSAY_LOG_URL names."""
    if not in_postgresql(settings):
        raise ConfigError(
            "the backup holds a log of PostgreSQL, and ASSAY_LOG_URL names none. Make an empty database (createdb "
            "NAME), and name it: ASSAY_LOG_URL=postgresql://USER@HOST/NAME"
        )
    engine = sa.create_engine(sa.engine.make_url(settings.log_database).set(drivername="postgresql+psycopg"))
    try:
        there = sorted(set(TABLES) & set(sa.inspect(engine).get_table_names()))
    except sa.exc.SQLAlchemyError as error:
        why = _first(str(getattr(error, "orig", error)))
        raise LogUnavailable(
            f"the database {_shown(settings)} does not answer ({why}). Start it, or name another one in ASSAY_LOG_URL."
        ) from None
    finally:
        engine.dispose()
    if there:
        raise ConfigError(
            f"the database {_shown(settings)} holds a log already ({', '.join(there[:3])}, ...). Make an empty one "
            "(createdb NAME), and name it in ASSAY_LOG_URL; what is there stays as it is"
        )


def _run(settings: Settings, program: str, arguments: list[str]) -> None:
    if shutil.which(program) is None:
        raise LogUnavailable(
            f"the log is in PostgreSQL, and there is no {program} here. {INSTALL}; or leave the log out and copy it "
            "yourself: assay backup FILE --no-log"
            if program == "pg_dump"
            else f"the backup holds a log of PostgreSQL, and there is no {program} here. {INSTALL}."
        )
    command = [program, "--no-password", *arguments]
    if program == "pg_dump":
        command.append(_address(settings))
    password = sa.engine.make_url(settings.log_database).password
    secret = {"PGPASSWORD": str(password)} if password else {}
    code, _, err = process.run(command, settings.home, os.environ | secret | {"LC_ALL": "C"}, None)
    if code:
        said = _first(err.decode(errors="replace"))
        way = ", or leave the log out and copy it yourself: assay backup FILE --no-log" if program == "pg_dump" else ""
        raise LogUnavailable(f"{program} could not do it for {_shown(settings)}: {said}. Mend that{way}.")


def _address(settings: Settings) -> str:
    """For PostgreSQL's own programs, without the password."""
    url = sa.engine.make_url(settings.log_database)
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return bare.render_as_string(hide_password=False)


def _shown(settings: Settings) -> str:
    return sa.engine.make_url(settings.log_database).render_as_string()


def _first(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return lines[0].removesuffix(".") if lines else "no reason was given"
