"""No request body beyond a size, whatever its header says of it."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Count a body while it is read, chunked ones included, and refuse it with 413 once it is too large."""

    def __init__(self, app: ASGIApp, most: int, refused: Callable[[], None]) -> None:
        self.app, self.most, self.refused = app, most, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        taken = int(declared) if declared.isdigit() else 0
        counted = 0

        async def limited() -> Message:
            nonlocal counted
            if taken <= self.most:  # a body that says it is too large is not read at all
                message = await receive()
                counted += len(message.get("body", b""))
                if counted <= self.most:
                    return message
            self.refused()
            sentence = (
                f"the request's body has {max(taken, counted):,} bytes or more; allowed: {self.most:,}. Send fewer "
                "rows at a time."
            )
            raise HTTPException(413, sentence)  # FastAPI lets this one through from the reading of a body

        await self.app(scope, limited, send)
