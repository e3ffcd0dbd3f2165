"""The prediction log's tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

POSITION = sa.BigInteger().with_variant(
    sa.Integer, "sqlite"
)  # SQLite's INTEGER has 64 bits and is the only type that numbers itself

meta = sa.MetaData()


def _position() -> sa.Column[int]:
    return sa.Column("seq", POSITION, primary_key=True, autoincrement=True)


def _about() -> list[sa.Column[Any]]:
    """Which prediction a row is about; ``prediction`` is its position, so an index keeps a window's rows together."""
    return [
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(40), nullable=False),
        sa.Column("prediction", POSITION, nullable=False),
    ]


def _value() -> list[sa.Column[Any]]:
    """A value that may be a truth, a class's name or a number: one of the three, so that each comes back as it came."""
    return [
        sa.Column("label", sa.Boolean),
        sa.Column("label_name", sa.String(200)),
        sa.Column("label_number", sa.Float),
    ]


def _sender() -> sa.Column[str]:
    """The public id of the key that sent the row; NULL in rows of before there were keys, and without one."""
    return sa.Column("sender", sa.String(40))


PREDICTIONS = sa.Table(
    "predictions",
    meta,
    _position(),
    sa.Column("id", sa.String(64), unique=True, nullable=False),
    sa.Column("model", sa.String(40), nullable=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("decision", sa.Boolean),
    sa.Column("decision_name", sa.String(200)),
    sa.Column("scores", sa.Text),
    _sender(),
    sa.Index("predictions_in_order", "model", "seq", "version"),
    sqlite_autoincrement=True,  # the position of a row that was deleted is never given to another
)
OUTCOMES = sa.Table(
    "outcomes",
    meta,
    _position(),
    *_about(),
    *_value(),
    sa.Column("time", sa.String(40), nullable=False),
    _sender(),
    sa.Index("outcomes_in_order", "model", "prediction", "seq"),
    sa.Index("outcomes_as_they_came", "model", "seq"),
    sqlite_autoincrement=True,
)
OVERRIDES = sa.Table(
    "overrides",
    meta,
    _position(),
    *_about(),
    *_value(),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    _sender(),
    sa.Index("overrides_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
APPEALS = sa.Table(
    "appeals",
    meta,
    _position(),
    *_about(),
    sa.Column("claim", sa.Text, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    _sender(),
    sa.Index("appeals_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
REVIEWS = sa.Table(
    "reviews",
    meta,
    _position(),
    *_about(),
    sa.Column("window", sa.Integer),
    sa.Column("verdict", sa.String(10), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    _sender(),
    sa.Index("reviews_in_order", "model", "prediction", "seq"),
    sqlite_autoincrement=True,
)
ABOUT_PREDICTIONS = (OUTCOMES, OVERRIDES, APPEALS, REVIEWS)
WINDOWS = sa.Table(
    "windows",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("first_seq", POSITION, nullable=False),
    sa.Column("last_seq", POSITION, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("passed_over", sa.Boolean, nullable=False),
    sa.Column("waits", sa.Boolean, nullable=False),
    sa.UniqueConstraint("model", "first_seq"),
    sa.Index("windows_that_wait", "model", "waits", "number"),
)
"""``waits``: has no report yet, and is to have one."""
REPORTS = sa.Table(
    "reports",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("last", sa.String(40), nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("labelled", sa.Integer, nullable=False),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("report", sa.Text, nullable=False),
)
FINDINGS = sa.Table(
    "findings",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    *[sa.Column(name, sa.Float) for name in ("value", "low", "high", "reference", "limit")],
    sa.Column("alarm", sa.Boolean, nullable=False),
)
"""What the reports found, as numbers: a series is read from here without opening the reports."""
PROFILES = sa.Table(
    "profiles",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
OUTBOX = sa.Table(
    "outbox",
    meta,
    _position(),
    sa.Column("model", sa.String(40), nullable=False),
    sa.Column("draft", sa.Text, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("window", sa.Integer),
    sa.Column("entry", sa.Integer),
    sa.Column("told", sa.String(40)),
    sa.Column("run", sa.String(40)),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("forgets", sa.Text),
    sa.Index("outbox_in_order", "model", "seq"),
    sqlite_autoincrement=True,
)
"""Decisions that not everybody was told of yet."""
