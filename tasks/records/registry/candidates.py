"""What became of each candidate of a model, by the ledger's entries that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tasks.spec.ledger import AssignedDetails, Entry, TrainedDetails

ABOUT = ("trained", "examined", "rejected", "awaiting_signature", "promoted")
"""Kinds of entries about one candidate; a later promotion of the same version is none."""


@dataclass
class Told:
    """One candidate: the entries about it, oldest first."""

    commit: str
    """Of what was refused before any training: the commit that was asked for."""
    entries: list[Entry] = field(default_factory=list)
    version: str | None = None
    """That it became."""

    @property
    def first(self) -> Entry:
        return self.entries[0]

    @property
    def base(self) -> str | None:
        """The commit that it was trained from; None where no entry says it."""
        return next((e.read.base for e in self.entries if isinstance(e.read, TrainedDetails)), None)

    @property
    def state(self) -> str:
        """What became of it, in words."""
        last = self.entries[-1]
        if last.kind == "trained":
            return "trained, without a verdict"
        if last.rejected_untrained:
            return "refused before training"
        words = {
            "rejected": "refused",
            "examined": "fit, not promoted as asked",
            "awaiting_signature": "waits for a signature",
        }
        return words.get(last.kind, f"became {self.version}")

    @property
    def refused(self) -> bool:
        return self.entries[-1].kind == "rejected"

    @property
    def approved_by(self) -> tuple[str, ...]:
        """Who signed for it as approver."""
        details = [e.read for e in self.entries if isinstance(e.read, AssignedDetails)]
        return tuple(d.warrant.signer for d in details if d.warrant is not None)

    @property
    def evidence(self) -> str | None:
        """Digest of the newest document that holds its verdict, or what broke its data."""
        return next((e.evidence for e in reversed(self.entries) if e.kind != "trained" and e.evidence), None)

    @property
    def trained_evidence(self) -> str | None:
        return next((e.evidence for e in self.entries if e.kind == "trained"), None)


def candidates(entries: Sequence[Entry], model: str) -> list[Told]:
    """Every candidate of a model, in the order in which the ledger first names them.

    Args:
        entries: those that count, in their order.
    """
    return list(_told(entries, model))


def _told(entries: Sequence[Entry], model: str) -> Iterator[Told]:
    known: dict[str, Told] = {}
    order: list[Told] = []
    for entry in entries:
        if entry.model != model or entry.kind not in ABOUT or not entry.commit:
            continue
        if entry.rejected_untrained:  # the commit that was asked for, which may be asked for again
            order.append(Told(entry.commit, [entry]))
            continue
        told = known.get(entry.commit)
        if told is not None and told.version is not None:
            continue  # promoted again, by hand
        if told is None:
            told = known[entry.commit] = Told(entry.commit)
            order.append(told)
        told.entries.append(entry)
        if entry.kind == "promoted":
            told.version = entry.version
    yield from order
