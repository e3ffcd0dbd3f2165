"""Ids of rows that a deletion has still to take out of the collected files: a step of the outbox like all others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def rewrites(connection: sa.Connection) -> bool:
    """No row moves: what was there before has nothing to take out."""
    return False


def upgrade() -> None:
    op.add_column("outbox", sa.Column("forgets", sa.Text))
