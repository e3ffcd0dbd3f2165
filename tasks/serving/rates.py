"""How much one key may ask in a second: token buckets, one for requests and one for rows, in each process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """Holds what a second allows, and fills up again by the clock (Turner 1986).

    Args:
        rate: units a second. One draw that is larger than that is taken from a full bucket, and owed.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.most, self._clock = rate, max(rate, 1.0), clock
        self._level, self._since, self._lock = self.most, clock(), threading.Lock()

    def draw(self, units: float) -> float:
        """Take units; 0, or the seconds to wait where they are not there, and then nothing is taken."""
        with self._lock:  # some routes run in threads
            now = self._clock()
            self._level = min(self.most, self._level + (now - self._since) * self.rate)
            self._since = now
            wanted = min(units, self.most)
            if self._level < wanted - 1e-9:  # what a clock adds up to is not exact
                return (wanted - self._level) / self.rate
            self._level -= units
            return 0.0


class Attempts:
    """Failed attempts of each address within a minute; who has too many waits.

    Args:
        most: attempts that may fail within ``seconds``.
    """

    MOST_ADDRESSES = 10_000

    def __init__(self, most: int, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.seconds, self._clock = most, seconds, clock
        self._failed: dict[str, list[float]] = {}

    def wait(self, address: str) -> float:
        """Seconds until the address may try again; 0 where it may now."""
        recent = self._recent(address)
        return recent[-self.most] + self.seconds - self._clock() if len(recent) >= self.most else 0.0

    def failed(self, address: str) -> None:
        recent = self._recent(address)
        if len(self._failed) >= self.MOST_ADDRESSES:  # the one that came first is forgotten
            self._failed.pop(next(iter(self._failed)))
        self._failed[address] = [*recent, self._clock()][-self.most :]

    def _recent(self, address: str) -> list[float]:
        after = self._clock() - self.seconds
        return [moment for moment in self._failed.get(address, ()) if moment > after]
