"""The outbox: decisions that are on their way to the ledger, to events and to runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

POSITION = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def rewrites(connection: sa.Connection) -> bool:
    """No row moves."""
    return False


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", POSITION, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(40), nullable=False),
        sa.Column("draft", sa.Text, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("window", sa.Integer),
        sa.Column("entry", sa.Integer),
        sa.Column("told", sa.String(40)),
        sa.Column("run", sa.String(40)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_in_order", "outbox", ["model", "seq"])
