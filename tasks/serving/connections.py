"""Connections of the service: so many at once, and each request within a time."""

from __future__ import annotations

import asyncio
import http
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tasks.serving.problems import PROBLEM, refusal


class Bounded(HttpToolsProtocol):
    """A connection that is closed where it is one too many, or where its next request does not arrive in time.

    uvicorn waits for ever for the rest of a request: a few thousand half ones would be all that a service does.
    """

    most: int
    """Connections of this process."""
    seconds: float
    """From the first byte of a request to its last; a new connection has as long to begin with one."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._end: asyncio.TimerHandle | None = None
        if len(self.connections) > self.most:
            self._refuse(503, f"{self.most:,} connections are open, which is the most; try again in a moment")
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is no HTTP/1.1 request that can be read; send one as RFC 9112 says")

    def _wait(self) -> None:
        self._arrived()
        self._end = self.loop.call_later(self.seconds, self._late)

    def _arrived(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _late(self) -> None:
        self._refuse(408, f"the request did not arrive within {self.seconds:g} s; send it again")

    def _refuse(self, status: int, sentence: str) -> None:
        """Say why, where no answer has begun, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps(refusal(status, sentence)).encode()
            head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: {PROBLEM}\r\n"
            more = f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
            self.transport.write((head + more).encode() + body)
        if self.cycle is not None:
            self.cycle.disconnected = True  # what answers it meanwhile must not write to a closed connection
        self.pipeline.clear()
        self.transport.close()


def bounded(most: int, seconds: float) -> type[asyncio.Protocol]:
    """The class of connections with these bounds."""
    return type("BoundedConnection", (Bounded,), {"most": most, "seconds": seconds})
