"""The processes that answer on one port: what each says of itself, and what is said of one that ended.

Each has one file. It writes there how it is; who started it writes there why it ended. So any of them can tell of all.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERY_SECONDS, LEAST_SECONDS, STALE_SECONDS = 0.5, 5.0, 20.0
"""Between two looks at oneself; between two words where nothing changed; after which silence is told."""


@dataclass(frozen=True)
class Place:
    """Of one worker among others: its number, from 1 on, of how many, and the folder of their files."""

    number: int
    of: int
    folder: Path

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.json"


def write_down(place: Place, number: int, words: dict[str, Any]) -> None:
    """Say something in the file of a worker; it is whole at every moment."""
    path = place.file(number)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(words | {"moment": time.monotonic()}))
    draft.replace(path)


class Crew:
    """One worker's view of all.

    Args:
        own: what it says of itself: ``versions`` and ``problems``.
    """

    def __init__(self, place: Place, own: Callable[[], dict[str, Any]]) -> None:
        self.place, self._own = place, own
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="crew", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def told(self) -> dict[str, dict[str, Any]]:
        """What each said last, by its number; nothing of one that said nothing yet."""
        found = {}
        for number in range(1, self.place.of + 1):
            with suppress(OSError, ValueError):
                found[str(number)] = json.loads(self.place.file(number).read_text())
        return found

    def problems(self) -> dict[str, str]:
        """A sentence for each other worker that does not answer, and what the others say that is wrong.

        A name of a model or part is given with the sentence of the first that says one.
        """
        found: dict[str, str] = {}
        told, now = self.told(), time.monotonic()
        for number in range(1, self.place.of + 1):
            if number == self.place.number:
                continue
            said = told.get(str(number))
            if said is None:
                found[f"worker {number}"] = "it has not started yet"
            elif said.get("ended"):
                found[f"worker {number}"] = str(said["ended"])
            elif now - said["moment"] > STALE_SECONDS:
                found[f"worker {number}"] = (
                    f"process {said['process']} has not told how it is for {now - said['moment']:.0f} s; end it, and "
                    "another is started"
                )
            else:
                for name, sentence in said["problems"].items():
                    found.setdefault(name, f"worker {number}: {sentence}")
        return found

    def _tell(self) -> None:
        last: dict[str, Any] = {}
        told = 0.0
        while True:
            now = self._own() | {"process": os.getpid()}
            if now != last or time.monotonic() - told > LEAST_SECONDS:
                with suppress(OSError):  # a disk that takes nothing is told by the log's own try
                    write_down(self.place, self.place.number, now)
                    last, told = now, time.monotonic()
            if self._stop.wait(EVERY_SECONDS):
                return
