"""Who sent a row: the public id of a key, in every table that clients of the service fill."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def rewrites(connection: sa.Connection) -> bool:
    """No row moves: what was there before has no sender."""
    return False


def upgrade() -> None:
    for table in ("predictions", "outcomes", "overrides", "appeals", "reviews"):
        op.add_column(table, sa.Column("sender", sa.String(40)))
