"""When each version served, by the ledger's entries that count, and what a clock that ran backwards leaves unknown.

The order of entries is certain, since each is chained to the one before. Their times are those of the machines that
wrote them. So each decision lies between two times: no earlier entry may be later, and no later one earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.spec.ledger import Entry

DECIDING = ("promoted", "rolled_back", "stopped")
"""Kinds of entries from which on another version serves, or none."""
LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """What held from one decision to the next: a version that served, or that none did."""

    version: str | None
    """None: the model was out of service, or nothing was promoted yet."""
    decided: Entry | None
    """None before the first promotion."""
    ended: Entry | None
    """None while it lasts."""
    earliest: datetime | None = None
    latest: datetime | None = None
    """Between these two it began; the same where no clock ran backwards."""
    end_earliest: datetime | None = None
    end_latest: datetime | None = None

    @property
    def uncertain(self) -> bool:
        """Whether a clock that ran backwards hides when it began or ended."""
        return self.earliest != self.latest or self.end_earliest != self.end_latest

    def seconds(self, now: datetime) -> float | None:
        """How long it lasted, or has lasted so far; None where a clock that ran backwards hides it."""
        end = self.end_earliest or now
        if self.uncertain or self.earliest is None or end < self.earliest:
            return None
        return (end - self.earliest).total_seconds()

    def may_hold(self, moment: datetime) -> bool:
        """Whether it may have held at a moment; of all spans exactly one may, unless a clock ran backwards."""
        return (self.earliest is None or self.earliest <= moment) and (
            self.end_latest is None or moment < self.end_latest
        )


def instant(text: str) -> datetime | None:
    """The moment that an entry's time says, in UTC; None where it is no time."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def spans(entries: Sequence[Entry], model: str) -> list[Span]:
    """What served of a model, oldest first; the first one is the time before the first promotion.

    Args:
        entries: all entries of the ledger that count, of all models, in their order.
    """
    bounds = _bounds(entries)
    found: list[Span] = []
    version: str | None = None
    decided: Entry | None = None
    begin: tuple[datetime | None, datetime | None] = (None, None)
    for entry in entries:
        if entry.model != model or entry.kind not in DECIDING:
            continue
        if entry.kind == "stopped" and version is None:
            continue  # it was stopped already
        low, high = bounds[entry.sequence]
        found.append(Span(version, decided, entry, *begin, low, high))
        version, decided, begin = None if entry.kind == "stopped" else entry.version, entry, (low, high)
    return [*found, Span(version, decided, None, *begin)]


def _bounds(entries: Sequence[Entry]) -> dict[int, tuple[datetime, datetime]]:
    """Between which times each entry was written: the least of it and all later ones, the greatest of all earlier."""
    begin = datetime.min.replace(tzinfo=UTC)
    times = [(entry.sequence, instant(entry.time)) for entry in entries]
    highest, found = begin, {}
    for sequence, time in times:
        highest = max(highest, time or begin)
        found[sequence] = highest
    lowest, both = LAST, {}
    for sequence, time in reversed(times):
        lowest = min(lowest, time or LAST)
        both[sequence] = (min(lowest, found[sequence]), max(lowest, found[sequence]))
    return both
