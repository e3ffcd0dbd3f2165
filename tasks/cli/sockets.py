"""Serve on a socket that a parent has bound and handed over."""

from __future__ import annotations

import socket
import sys

import uvicorn


def serve(config: uvicorn.Config, number: int | None) -> None:
    """Serve until a signal ends it; without a number on host and port of ``config``.

    Raises:
        SystemExit: it could not start.
    """
    server = uvicorn.Server(config)
    server.run(sockets=None if number is None else [socket.socket(fileno=number)])
    if not server.started:
        sys.exit(3)
