"""Whether the service is alive, and whether it should be asked: what is true, not what was true at its start."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol

from tasks.serving.crew import Crew, Place
from tasks.serving.follower import EVERY_SECONDS, Follower
from tasks.spec.errors import LogUnavailable

PROBE_SECONDS = 5.0
"""Between two tries to write to the log."""
STALE_SECONDS = 20.0
"""Without a look at the release store, or a try to write, after which nobody knows what is true."""
LOG, FOLLOWER, RECORD = "prediction log", "follower", "record"
"""Names under which problems are told that are no model's; no model can have them."""


class Probed(Protocol):
    """What can be tried."""

    def probe(self) -> None:
        """Write something durably.

        Raises:
            LogUnavailable: nothing can be written.
        """


class Health:
    """Tries the log in a thread of its own, and says what is wrong.

    Args:
        place: where several processes answer on one port, that of this one; what is wrong with another is told, too.
    """

    def __init__(self, follower: Follower, log: Probed, place: Place | None = None) -> None:
        self.follower, self.log = follower, log
        self.crew = None if place is None else Crew(place, self._of_this_one)
        self.log_problem, self._probed = "", time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._try()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)
        self._thread.start()
        if self.crew:
            self.crew.start()

    def stop(self) -> None:
        self._stop.set()
        if self.crew:
            self.crew.stop()
        if self._thread:
            self._thread.join(timeout=10)

    def failed(self, error: LogUnavailable) -> None:
        """A request could not be written; the next try says whether that is over."""
        self.log_problem = str(error)

    def problems(self) -> dict[str, str]:
        """A sentence for each model that is not answered as its pointer asks, and for each part that does not work."""
        return (self.crew.problems() if self.crew else {}) | self._own_problems()

    def workers(self) -> dict[str, dict[str, object]]:
        """Of each process that answers on this port, what it said last; nothing where this one is alone."""
        return self.crew.told() if self.crew else {}

    def _of_this_one(self) -> dict[str, object]:
        versions = {name: now.version for name, now in self.follower.serving.items()}
        return {"versions": versions, "problems": self._own_problems()}

    def _own_problems(self) -> dict[str, str]:
        found = {
            name: f"stopped: {now.pointer.stopped}"
            for name, now in self.follower.serving.items()
            if now.pointer.stopped
        }
        for name, now in self.follower.serving.items():
            if gone := [path for path in now.files if not path.is_file()]:
                found[name] = (
                    f"{_names(gone)} of {now.version} vanished; it is still answered, and gone once this restarts"
                )
            elif now.release.trouble and not now.pointer.stopped:
                found[name] = now.release.trouble
        found |= self.follower.problems
        if self.log_problem:
            found[LOG] = self.log_problem
        now_is = time.monotonic()
        if now_is - self.follower.looked > STALE_SECONDS:
            found[FOLLOWER] = (
                f"the release store was not looked at for {now_is - self.follower.looked:.0f} s (every "
                f"{EVERY_SECONDS} s is usual), so a stop or a new version is not seen; start the service again"
            )
        if now_is - self._probed > STALE_SECONDS and not self.log_problem:
            found[LOG] = f"a try to write has not come back for {now_is - self._probed:.0f} s"
        return found

    def _watch(self) -> None:
        while not self._stop.wait(PROBE_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.log.probe()
        except LogUnavailable as error:
            self.log_problem = str(error)
        except Exception as error:  # whatever it is, nothing is known to be written
            self.log_problem = f"the prediction log cannot be tried ({type(error).__name__}: {error})"
        else:
            self.log_problem = ""
        self._probed = time.monotonic()


def _names(paths: list[Path]) -> str:
    return " and ".join(path.name for path in paths)
