"""What stands around a push in a test: the calls of Prefect's API, and a keeper's look."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tasks.cli.prefect_api import PrefectApi
from tasks.cli.pushes import Pushes
from tasks.spec.settings import Settings


class Server(HTTPServer):
    """The calls of Prefect's API that a push leads to; keeps the parameters of each run."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.started: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.scheduled: list[dict[str, Any]] = []
        """Runs of pushes that have not begun, as Prefect tells them."""
        self.cancelled: list[str] = []


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        newest = {"created": "2026-11-30T12:00:00Z", "parameters": {"request": (self.server.started or [{}])[-1]}}
        self._answer({"id": "deployment", "schedules": [], **newest})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Server)
        if self.path.endswith("/set_state"):
            self.server.cancelled.append(self.path.split("/")[-2])
            self._answer({"status": "ACCEPT"})
            return
        if self.path.endswith("/flow_runs/filter"):
            self._answer(self.server.scheduled)
            return
        if not self.path.endswith("/create_flow_run"):  # the schedules and forms that follow the branch
            self._answer([])
            return
        if body["idempotency_key"] not in self.server.keys:  # Prefect starts nothing twice for one key
            self.server.keys.append(body["idempotency_key"])
            self.server.started.append(body["parameters"]["request"])
        self._answer({"id": "run", "name": "run"})

    def _answer(self, document: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Keeping:
    """A keeper's look at pushes, in a thread of its own; one that is killed forgets what it knew."""

    settings: Settings
    api: PrefectApi
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def start(self) -> None:
        pushes = Pushes(self.settings, self.api)
        pushes.look()
        self.stop.clear()
        self.thread = threading.Thread(target=self._look, args=(pushes,))
        self.thread.start()

    def _look(self, pushes: Pushes) -> None:
        while not self.stop.wait(0.02):
            if pushes.waits():
                pushes.look()

    def end(self) -> None:
        self.stop.set()
        if self.thread:
            self.thread.join()
