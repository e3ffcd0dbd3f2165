"""Logs that were written by an earlier schema: their tables are made anew, in one transaction, and nothing is lost."""

from __future__ import annotations

import sqlalchemy as sa

from tasks.records.log.tables import OUTCOMES, PREDICTIONS, REPORTS, WINDOWS, insert_report, meta
from tasks.spec.evidence import WindowReport

OLD = "{}_of_before"


def outdated(connection: sa.Connection) -> list[str]:
    """Tables that are there but lack a column."""
    found = {
        name: {c["name"] for c in columns} for (_, name), columns in sa.inspect(connection).get_multi_columns().items()
    }
    return [
        name for name, table in meta.tables.items() if name in found and not set(table.columns.keys()) <= found[name]
    ]


def is_laid(connection: sa.Connection) -> bool:
    return set(meta.tables) <= set(sa.inspect(connection).get_table_names()) and not outdated(connection)


def lay(connection: sa.Connection) -> None:
    """Bring the database to the present schema: make what is missing, make anew what is outdated and fill it from what was there.

    It is the same on SQLite, which cannot drop a NOT NULL, and on PostgreSQL. The caller's transaction makes it all or nothing.
    """
    old = outdated(connection)
    for name in old:
        connection.execute(sa.text(f"ALTER TABLE {name} RENAME TO {OLD.format(name)}"))
    meta.create_all(connection)
    for name in ("predictions", "outcomes", "reports", "windows"):  # each is filled from those before it
        if name in old:
            {"predictions": _predictions, "outcomes": _outcomes, "reports": _reports, "windows": _windows}[name](
                connection
            )
    for name in old:
        connection.execute(sa.text(f"DROP TABLE {OLD.format(name)}"))


def _before(connection: sa.Connection, name: str) -> sa.Table:
    return sa.Table(OLD.format(name), sa.MetaData(), autoload_with=connection)


def _predictions(connection: sa.Connection) -> None:
    old = _before(connection, "predictions")
    names = [c.name for c in old.columns]
    connection.execute(sa.insert(PREDICTIONS).from_select(names, sa.select(*[old.c[n] for n in names])))
    _continue_numbers(connection, PREDICTIONS)


def _outcomes(connection: sa.Connection) -> None:
    old, p = _before(connection, "outcomes"), PREDICTIONS.c
    filled = sa.select(old.c.seq, old.c.id, p.model, p.seq.label("prediction"), old.c.label, old.c.time).join(
        PREDICTIONS, p.id == old.c.id
    )
    connection.execute(sa.insert(OUTCOMES).from_select(["seq", "id", "model", "prediction", "label", "time"], filled))
    _continue_numbers(connection, OUTCOMES)


def _continue_numbers(connection: sa.Connection, table: sa.Table) -> None:
    """PostgreSQL's new table would number from 1; SQLite's goes on by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), (SELECT max(seq) FROM {table.name}))"
            )
        )


def _reports(connection: sa.Connection) -> None:
    for text in connection.execute(sa.select(_before(connection, "reports").c.report)).scalars().all():
        insert_report(connection, WindowReport.model_validate_json(text))


def _windows(connection: sa.Connection) -> None:
    """A log of before windows were kept whole has them in its reports alone."""
    old, r = _before(connection, "windows"), REPORTS.c
    names = ["model", "number", "version", "first_seq", "last_seq", "rows", "passed_over"]
    if set(names) <= {c.name for c in old.columns}:
        reported = sa.exists().where(r.model == old.c.model, r.number == old.c.number)
        filled = sa.select(*[old.c[n] for n in names], sa.and_(sa.not_(old.c.passed_over), ~reported))
        connection.execute(sa.insert(WINDOWS).from_select([*names, "waits"], filled))
        return
    for text in connection.execute(sa.select(r.report)).scalars().all():
        w = WindowReport.model_validate_json(text)
        values = {
            "model": w.model,
            "number": w.window,
            "version": w.version,
            "first_seq": w.first_seq,
            "last_seq": w.last_seq,
            "rows": w.rows,
        }
        connection.execute(sa.insert(WINDOWS).values(**values, passed_over=False, waits=False))
