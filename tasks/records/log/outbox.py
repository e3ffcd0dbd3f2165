"""The outbox: decisions that are kept together with what they were made on, until everybody was told of them.

A decision goes to three places that share no transaction: the ledger, Prefect's events, and the run that it starts. So
it is written here first, in one transaction with the report of its window. Whoever looks next carries on from the
last step that was marked, whatever died in between (the transactional outbox; Richardson, Microservices Patterns, 3.2).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from tasks.records.log.database import Part
from tasks.records.log.tables import OUTBOX
from tasks.spec.base import digest_json
from tasks.spec.ledger import Entry, EntryDraft, WindowDetails

IDS = uuid.uuid5(uuid.NAMESPACE_URL, "assay.event")


@dataclass(frozen=True)
class Decision:
    """What was decided, and everybody who is to be told."""

    draft: EntryDraft
    """Of the ledger's entry. Its evidence is the decision's key, so it holds what tells this decision from others."""
    height: int
    """Sequence of the newest entry before; the entry of this decision comes after it."""
    events: Sequence[tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]] = ()
    """Name and payload of each, and its id once it has one, by which nobody hears it twice."""
    window: int | None = None
    """The window whose decision is to be acted on; None where nothing is to be started."""
    forgets: tuple[str, ...] = ()
    """Ids of deleted rows that the main branch's collected files held then, and that are to be taken out of them."""

    def __post_init__(self) -> None:
        if self.draft.evidence is None:
            raise ValueError(f"a decision of kind {self.draft.kind!r} has no evidence, and that is its key")

    @property
    def identified(self) -> list[tuple[str, dict[str, Any], str]]:
        """The events with their ids, made of the key and their place."""
        key = digest_json(self.draft.evidence)
        return [
            (event[0], event[1], event[2] if len(event) > 2 else str(uuid.uuid5(IDS, f"{key}/{self.height}/{place}")))
            for place, event in enumerate(self.events)
        ]

    @property
    def quiet(self) -> bool:
        """Whether a window says nothing, so that its entry may wait for those of others."""
        read, found = self.draft.details, (self.draft.evidence or {}).get("findings", ())
        nothing = isinstance(read, WindowDetails) and read.action == "nothing"
        return nothing and not any(one["alarm"] for one in found)


@dataclass(frozen=True)
class Waiting:
    """A decision that not everybody was told of yet."""

    seq: int
    decision: Decision
    entry: int | None = None
    """Sequence of its entry, once that is in the ledger."""
    told: str | None = None
    """When its events were sent last."""
    run: str | None = None
    """The flow run that acts on it."""
    attempts: int = 0
    """How often a run was started in place of one that died."""


class Append(Protocol):
    """Writes an entry into the ledger unless there is one of the same kind, model and evidence after ``once_after``."""

    def __call__(self, draft: EntryDraft, once_after: int | None = None) -> Entry: ...


class Outbox(Part):
    """Decisions on their way, oldest first."""

    def decide(self, decision: Decision) -> None:
        """Keep a decision that comes with no report."""
        with self.database.writing() as connection:
            keep(connection, decision)

    def waiting(self, model: str) -> list[Waiting]:
        """What not everybody was told of, in the order of the decisions."""
        query = sa.select(OUTBOX).where(OUTBOX.c.model == model).order_by(OUTBOX.c.seq)
        with self.database.engine.connect() as connection:
            return [_read(row) for row in connection.execute(query)]

    def enter(self, waiting: Waiting, append: Append) -> int:
        """The sequence of a decision's entry, which is written unless a run that died has written it.

        Raises:
            AssayError: the ledger cannot be written; the decision goes on waiting.
        """
        if waiting.entry is not None:
            return waiting.entry
        sequence = append(waiting.decision.draft, once_after=waiting.decision.height).sequence
        self.mark(waiting, entry=sequence)
        return sequence

    def enter_all(self, model: str, append: Append) -> None:
        """Enter what waits and tell nobody else, as a deletion by a command does; errors as of :meth:`enter`."""
        for waiting in self.waiting(model):
            self.enter(waiting, append)
            decision = waiting.decision
            if not decision.events and decision.window is None and not decision.forgets:
                self.settle(waiting)

    def gather(self, parts: Sequence[Waiting], whole: Decision) -> None:
        """Put one decision in the place of several, all or nothing."""
        with self.database.writing() as connection:
            connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.seq.in_([one.seq for one in parts])))
            keep(connection, whole, at=min(one.seq for one in parts))

    def mark(self, waiting: Waiting, **step: Any) -> None:
        """Note a step: ``entry``, ``told``, ``run``, ``attempts``."""
        with self.database.writing() as connection:
            connection.execute(sa.update(OUTBOX).where(OUTBOX.c.seq == waiting.seq).values(**step))

    def settle(self, waiting: Waiting) -> None:
        """Everybody was told."""
        with self.database.writing() as connection:
            connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.seq == waiting.seq))


def keep(connection: sa.Connection, decision: Decision, instead_of: int | None = None, at: int | None = None) -> int:
    """Put a decision into the outbox within the caller's transaction; gives its position.

    Args:
        instead_of: the position of an earlier form of it, from before more was done.
        at: a position that is free, where it is not to come last.
    """
    row = {
        "model": decision.draft.model,
        "draft": decision.draft.model_dump_json(),
        "height": decision.height,
        "events": json.dumps(decision.identified),
        "window": decision.window,
        "forgets": json.dumps(decision.forgets) if decision.forgets else None,
    }
    if instead_of is not None:
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.seq == instead_of).values(**row))
        return instead_of
    place = {} if at is None else {"seq": at}
    done = connection.execute(sa.insert(OUTBOX).values(**row, **place, attempts=0))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


def _read(row: sa.Row[Any]) -> Waiting:
    draft = EntryDraft.model_validate_json(row.draft)
    events = tuple((name, payload, key) for name, payload, key in json.loads(row.events))
    decision = Decision(draft, row.height, events, row.window, tuple(json.loads(row.forgets or "[]")))
    return Waiting(row.seq, decision, row.entry, row.told, row.run, row.attempts)
