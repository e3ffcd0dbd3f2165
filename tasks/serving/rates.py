"""How much one key may ask in a second: token buckets, one for requests and one for rows.

They count in cells (:mod:`tasks.serving.cells`), so that several processes on one port keep one limit together. The
monotonic clock is the machine's: what one process wrote of it, another reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tasks.serving.cells import Cells, OwnCells

BUCKET, ATTEMPTS = 2, 30
"""Numbers of a cell of buckets, and of one of attempts."""


class Bucket:
    """Holds what a second allows, and fills up again by the clock (Turner 1986).

    Args:
        rate: units a second. One draw that is larger than that is taken from a full bucket, and owed.
        cells: of :data:`BUCKET` numbers.
        name: of the bucket, there.
    """

    def __init__(
        self, rate: float, cells: Cells | None = None, name: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.most, self._clock = rate, max(rate, 1.0), clock
        self._cells, self._name = cells or OwnCells(BUCKET), name

    def draw(self, units: float) -> float:
        """Take units; 0, or the seconds to wait where they are not there, and then nothing is taken."""
        with self._cells.held(self._name) as cell:  # some routes run in threads
            now = self._clock()
            level, since = cell
            level = min(self.most, level + (now - since) * self.rate) if since else self.most
            cell[:] = level, now
            wanted = min(units, self.most)
            if level < wanted - 1e-9:  # what a clock adds up to is not exact
                return (wanted - level) / self.rate
            cell[0] = level - units
            return 0.0


class Attempts:
    """Failed attempts of each address within a minute; who has too many waits.

    Args:
        most: attempts that may fail within ``seconds``; :data:`ATTEMPTS` at most.
        cells: of :data:`ATTEMPTS` numbers.
        kind: of attempts; those of another kind are counted for themselves.
    """

    def __init__(
        self,
        most: int,
        seconds: float = 60.0,
        cells: Cells | None = None,
        kind: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most, self.seconds, self._clock, self._kind = most, seconds, clock, kind
        self._cells = cells or OwnCells(ATTEMPTS)

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 where it may now."""
        with self._cells.held(f"{self._kind} {address}") as cell:
            recent = self._recent(cell)
        return recent[-self.most] + self.seconds - self._clock() if len(recent) >= self.most else 0.0

    def failed(self, address: str) -> None:
        with self._cells.held(f"{self._kind} {address}") as cell:
            cell[cell.index(min(cell))] = self._clock()

    def _recent(self, cell: list[float]) -> list[float]:
        after = self._clock() - self.seconds
        return sorted(moment for moment in cell if moment > after)
