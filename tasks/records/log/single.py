"""One prediction by its id, with all that was said about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tasks.records.log.database import Part
from tasks.records.log.tables import APPEALS, OUTCOMES, OVERRIDES, PREDICTIONS, REVIEWS
from tasks.records.log.values import from_columns


@dataclass(frozen=True)
class Logged:
    """One prediction as it was answered, and what came after it, each list oldest first."""

    id: str
    model: str
    version: str
    time: str
    inputs: dict[str, Any]
    score: float
    decision: bool | str | None
    scores: dict[str, float] | None
    sender: str | None
    """Public id of the key that asked; None in rows from before there were keys."""
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    overrides: list[dict[str, Any]] = field(default_factory=list)
    appeals: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)


class Single(Part):
    def single(self, key: str) -> Logged | None:
        """The prediction with an id; None where there is none, or none any more."""
        p = PREDICTIONS.c
        with self.database.engine.connect() as connection:
            row = connection.execute(sa.select(PREDICTIONS).where(p.id == key)).one_or_none()
            if row is None:
                return None
            said = {
                name: [_said(found) for found in connection.execute(_about(table, row.model, row.seq))]
                for name, table in (
                    ("outcomes", OUTCOMES), ("overrides", OVERRIDES), ("appeals", APPEALS), ("reviews", REVIEWS),
                )
            }  # fmt: skip
        return Logged(
            id=row.id,
            model=row.model,
            version=row.version,
            time=row.time,
            inputs=json.loads(row.inputs),
            score=row.score,
            decision=row.decision if row.decision_name is None else row.decision_name,
            scores=None if row.scores is None else json.loads(row.scores),
            sender=row.sender,
            **said,
        )


def _about(table: sa.Table, model: str, seq: int) -> sa.Select[Any]:
    return sa.select(table).where(table.c.model == model, table.c.prediction == seq).order_by(table.c.seq)


def _said(row: Any) -> dict[str, Any]:
    """What one row says, without its places in the log; a value of three columns is one."""
    found = {k: v for k, v in row._mapping.items() if k not in ("seq", "id", "model", "prediction")}
    if "label" in found:
        found["value"] = from_columns(found.pop("label"), found.pop("label_name"), found.pop("label_number"))
    return found
