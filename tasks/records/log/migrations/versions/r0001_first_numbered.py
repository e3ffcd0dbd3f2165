"""The first numbered schema: made where there is none, adopted where it stands, rebuilt from the two schemas before it.

Logs were not numbered until 2026-11-28; their columns show which of three schemas they have. Tables that lack a column
are renamed, made anew and filled from the renamed ones, for SQLite cannot drop a NOT NULL. The definitions below never
change.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OLD = "{}_of_before"
POSITION = sa.BigInteger().with_variant(sa.Integer, "sqlite")
meta = sa.MetaData()


def _text(name: str, length: int, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=optional)


def _seq() -> sa.Column[int]:
    return sa.Column("seq", POSITION, primary_key=True, autoincrement=True)


def _about() -> list[sa.Column[Any]]:
    return [_text("id", 64), _text("model", 40), sa.Column("prediction", POSITION, nullable=False)]


def _value() -> list[sa.Column[Any]]:
    return [
        sa.Column("label", sa.Boolean),
        _text("label_name", 200, optional=True),
        sa.Column("label_number", sa.Float),
    ]


def _window() -> list[sa.Column[Any]]:
    return [
        sa.Column("model", sa.String(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    ]


PREDICTIONS = sa.Table(
    "predictions",
    meta,
    _seq(),
    sa.Column("id", sa.String(64), unique=True, nullable=False),
    _text("model", 40),
    _text("version", 20),
    _text("time", 40),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("decision", sa.Boolean),
    _text("decision_name", 200, optional=True),
    sa.Column("scores", sa.Text),
    sa.Index("predictions_in_order", "model", "seq", "version"),
    sqlite_autoincrement=True,
)
OUTCOMES = sa.Table(
    "outcomes",
    meta,
    _seq(),
    *_about(),
    *_value(),
    _text("time", 40),
    sa.Index("outcomes_in_order", "model", "prediction", "seq"),
    sa.Index("outcomes_as_they_came", "model", "seq"),
    sqlite_autoincrement=True,
)
OVERRIDES = sa.Table(
    "overrides",
    meta,
    _seq(),
    *_about(),
    *_value(),
    _text("who", 200),
    sa.Column("why", sa.Text, nullable=False),
    _text("time", 40),
    sa.Index("overrides_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
APPEALS = sa.Table(
    "appeals",
    meta,
    _seq(),
    *_about(),
    sa.Column("claim", sa.Text, nullable=False),
    _text("state", 10),
    _text("who", 200),
    _text("time", 40),
    sa.Index("appeals_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
REVIEWS = sa.Table(
    "reviews",
    meta,
    _seq(),
    *_about(),
    sa.Column("window", sa.Integer),
    _text("verdict", 10),
    _text("who", 200),
    sa.Column("note", sa.Text, nullable=False),
    _text("time", 40),
    sa.Index("reviews_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
WINDOWS = sa.Table(
    "windows",
    meta,
    *_window(),
    _text("version", 20),
    sa.Column("first_seq", POSITION, nullable=False),
    sa.Column("last_seq", POSITION, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("passed_over", sa.Boolean, nullable=False),
    sa.Column("waits", sa.Boolean, nullable=False),
    sa.UniqueConstraint("model", "first_seq"),
    sa.Index("windows_that_wait", "model", "waits", "number"),
)
REPORTS = sa.Table(
    "reports",
    meta,
    *_window(),
    _text("version", 20),
    _text("last", 40),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("labelled", sa.Integer, nullable=False),
    _text("action", 20),
    sa.Column("report", sa.Text, nullable=False),
)
FINDINGS = sa.Table(
    "findings",
    meta,
    *_window(),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    _text("kind", 40),
    sa.Column("subject", sa.Text, nullable=False),
    *[sa.Column(name, sa.Float) for name in ("value", "low", "high", "reference", "limit")],
    sa.Column("alarm", sa.Boolean, nullable=False),
)
PROFILES = sa.Table(
    "profiles",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)


def rewrites(connection: sa.Connection) -> bool:
    """Whether rows are moved, so that a copy has to be made first."""
    return bool(_outdated(connection))


def upgrade() -> None:
    connection = op.get_bind()
    outdated = _outdated(connection)
    for name in outdated:
        op.rename_table(name, OLD.format(name))
    meta.create_all(connection)
    for table in meta.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)  # some unnumbered logs lack one
    for name, fill in FILL.items():  # each is filled from those before it
        if name in outdated:
            fill(connection)
    for name in outdated:
        op.drop_table(OLD.format(name))


def _outdated(connection: sa.Connection) -> list[str]:
    """Tables that are there but lack a column."""
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    return [
        name
        for name, table in meta.tables.items()
        if name in there and not set(table.columns.keys()) <= {c["name"] for c in inspector.get_columns(name)}
    ]


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
        largest = f"(SELECT max(seq) FROM {table.name})"
        connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), {largest})"))


def _reports(connection: sa.Connection) -> None:
    for text in connection.execute(sa.select(_before(connection, "reports").c.report)).scalars().all():
        report = json.loads(text)
        place = {"model": report["model"], "number": report["window"]}
        facts = {name: report[name] for name in ("version", "last", "rows", "labelled")}
        action = report["decision"]["action"]
        connection.execute(sa.insert(REPORTS).values(**place, **facts, action=action, report=text))
        numbers = ("kind", "subject", "value", "low", "high", "reference", "limit", "alarm")
        found = [
            place | {"place": n} | {name: finding.get(name) for name in numbers}
            for n, finding in enumerate(report["findings"])
        ]
        if found:
            connection.execute(sa.insert(FINDINGS), found)


def _windows(connection: sa.Connection) -> None:
    """Where the oldest schema kept no more than a window's end, its windows are those of the reports."""
    old, r = _before(connection, "windows"), REPORTS.c
    names = ["model", "number", "version", "first_seq", "last_seq", "rows", "passed_over"]
    if set(names) <= {c.name for c in old.columns}:
        reported = sa.exists().where(r.model == old.c.model, r.number == old.c.number)
        filled = sa.select(*[old.c[n] for n in names], sa.and_(sa.not_(old.c.passed_over), ~reported))
        connection.execute(sa.insert(WINDOWS).from_select([*names, "waits"], filled))
        return
    for text in connection.execute(sa.select(r.report)).scalars().all():
        report = json.loads(text)
        values = {name: report[name] for name in ("model", "version", "first_seq", "last_seq", "rows")}
        values |= {"number": report["window"], "passed_over": False, "waits": False}
        connection.execute(sa.insert(WINDOWS).values(**values))


FILL = {"predictions": _predictions, "outcomes": _outcomes, "reports": _reports, "windows": _windows}
