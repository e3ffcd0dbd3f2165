"""A client that asks one URL over many kept connections: ``python -m tests.load HOST PORT PATH N SECONDS``.

It reads headers and bodies from stdin, JSON with a text and a list of texts. It sends each connection's next request as
soon as its answer is there, and prints seconds, answers and latencies. It is written on bare sockets, so that it costs
the same for every server and far less than any of them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import uvloop

from tests import asking


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, requests: list[bytes], at: int, until: float, ended: asyncio.Future[None]) -> None:
        self.requests, self.at, self.until, self.ended = requests, at, until, ended
        self.taken: list[float] = []
        self.bad = 0
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.at = (self.at + 1) % len(self.requests)
        self.sent = time.perf_counter()
        self.transport.write(self.requests[self.at])

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        low = head.lower()
        begin = low.index(b"content-length:") + 15
        if len(rest) < int(low[begin:].split(b"\r\n", 1)[0]):
            return
        now = time.perf_counter()
        self.taken.append(now - self.sent)
        self.bad += not head.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def ask(
    host: str, port: int, path: str, headers: str, bodies: list[bytes], connections: int, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n{headers}content-length: "
    requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
    begun = time.perf_counter()
    made = []
    for number in range(connections):
        ended: asyncio.Future[None] = loop.create_future()
        at = number * len(requests) // connections
        _, protocol = await loop.create_connection(
            lambda at=at, ended=ended: Connection(requests, at, begun + seconds, ended),
            host,
            port,  # type: ignore[misc]
        )
        made.append(protocol)
    await asyncio.gather(*(p.ended for p in made))
    taken = [t for p in made for t in p.taken]
    print(json.dumps({"seconds": time.perf_counter() - begun, "taken": taken, "bad": sum(p.bad for p in made)}))


def measured(
    url: tuple[str, int, str], bodies: list[str], connections: int, seconds: float
) -> tuple[float, np.ndarray]:
    """Requests a second, and the latency of each (n,) in milliseconds, by a client in a process of its own.

    Raises:
        AssertionError: an answer was not 200.
    """
    host, port, path = url
    headers = "".join(f"{name}: {value}\r\n" for name, value in asking.headers(f"http://{host}:{port}").items())
    command = [sys.executable, "-m", "tests.load", host, str(port), path, str(connections), str(seconds)]
    done = subprocess.run(command, input=json.dumps([headers, bodies]), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert not found["bad"], f"{found['bad']} of {len(found['taken'])} answers were refusals"
    return len(found["taken"]) / found["seconds"], np.array(found["taken"]) * 1000


if __name__ == "__main__":
    host, port, path, connections, seconds = sys.argv[1:]
    headers, texts = json.load(sys.stdin)
    bodies = [text.encode() for text in texts]
    uvloop.run(ask(host, int(port), path, headers, bodies, int(connections), float(seconds)))
