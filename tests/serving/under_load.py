"""Clients that ask one model without end, and keep what they were told."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import httpx

from tests import asking
from tests.serving.running import until


@dataclass(frozen=True)
class Told:
    """One answer: when it came, by the wall clock, and what stood in it."""

    moment: float
    id: str
    version: str
    score: float


class Load:
    """Threads that ask until the block ends.

    ``told`` are the answers; ``broken`` counts connections that broke, ``refused`` statuses other than 200.
    """

    def __init__(
        self, url: str, rows: list[dict[str, Any]], model: str = "care", clients: int = 6, pause: float = 0.0
    ) -> None:
        self.url, self.body, self.path, self.pause = url, {"rows": rows[:1]}, f"/models/{model}/predict", pause
        self.ended = threading.Event()
        self.told: list[Told] = []
        self.broken, self.refused = 0, [0] * 600
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    @property
    def ids(self) -> set[str]:
        return {one.id for one in self.told}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.told) > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self) -> None:
        with asking.client(self.url) as client:
            while not self.ended.wait(self.pause):
                try:
                    answer = client.post(self.path, json=self.body)
                except httpx.HTTPError:
                    self.broken += 1
                    time.sleep(0.01)
                    continue
                if answer.status_code != 200:
                    self.refused[answer.status_code] += 1
                    continue
                said = answer.json()
                for one in said["predictions"]:
                    self.told.append(Told(time.time(), one["id"], said["version"], one["score"]))
