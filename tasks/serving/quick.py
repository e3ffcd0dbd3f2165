"""The way of most requests: plain rows of a model that serves, from bytes to bytes, past the web framework.

What it does not take goes on to the application as it came: another path, a body that needs words, a model that is
stopped. Both ways answer from the same release and write the same rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.serving.access import SENDER, Sender, retry_after, too_many
from tasks.serving.bodies import new_id
from tasks.serving.follower import Follower, Serving
from tasks.serving.metrics import Metrics
from tasks.serving.problems import PROBLEM, refusal
from tasks.serving.together import Together
from tasks.spec.arrivals import LoggedRow
from tasks.spec.errors import LogUnavailable

PREDICT = re.compile(r"/models/([a-z][a-z0-9_]{0,39})/predict")
JSON = b"application/json"
encode = msgspec.json.Encoder().encode


class Quick:
    """ASGI middleware.

    Args:
        failed: is told what could not be written.
        most: bytes of a body; one that is larger, or does not say how large it is, goes on to the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        follower: Follower,
        together: Together,
        metrics: Metrics,
        failed: Callable[[LogUnavailable], None],
        most: int,
    ) -> None:
        self.app, self.follower, self.together = app, follower, together
        self.metrics, self.failed, self.most = metrics, failed, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = self._asked(scope)
        if now is None:
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        body = await _body(receive)
        rows = None if body is None or now.row.quick is None else now.row.quick.read(body)
        scores = None if rows is None else scored(now, rows)
        if rows is None or scores is None:
            await self.app(scope, _again(body, receive), send)
            return
        sender: Sender = scope[SENDER]
        if wait := sender.wait_for_rows(len(rows)):
            self.metrics.refused.labels("all", "rate").inc()
            said, after = refusal(429, too_many(sender, "rows", wait)), retry_after(wait)["retry-after"].encode()
            await _send(send, 429, encode(said), (b"retry-after", after), kind=PROBLEM.encode())
            return
        answers, records = self._answers(now, rows, scores, sender.id)
        try:
            await self.together.add(records)
        except LogUnavailable as error:
            self.metrics.refused.labels("all", "log").inc()
            self.failed(error)
            await _send(send, 503, encode(refusal(503, str(error))), (b"retry-after", b"1"), kind=PROBLEM.encode())
            return
        name = now.pointer.model
        for answer in answers:
            self.metrics.answered(name, now.version, answer["decision"])
        self.metrics.took(name, time.perf_counter() - begun)
        await _send(send, 200, encode({"model": name, "version": now.version, "predictions": answers}))

    def _asked(self, scope: Scope) -> Serving | None:
        """The model that a request asks, where this way may answer it."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        found = PREDICT.fullmatch(scope["path"])
        now = self.follower.serving.get(found[1]) if found else None
        if now is None or now.pointer.stopped or now.release.answering is None:
            return None
        kind = length = b""
        for name, value in scope["headers"]:
            if name == b"content-type":
                kind = value
            elif name == b"content-length":
                length = value
        if not kind.startswith(JSON) or not length.isdigit() or int(length) > self.most:
            return None
        return now

    def _answers(
        self, now: Serving, rows: Sequence[dict[str, Any]], scores: np.ndarray, sender: str | None
    ) -> tuple[list[dict[str, Any]], list[LoggedRow]]:
        """One answer and one row of the log for each row."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        model, version, classes = now.pointer.model, now.version, now.release.manifest.classes
        answers, records = [], []
        for row, score, decision in zip(rows, scores.tolist(), now.release.decide(scores), strict=True):
            key, inputs = new_id(), encode(row).decode()
            if classes:
                by_class = dict(zip(classes, score, strict=True))
                answers.append({"id": key, "score": max(score), "scores": by_class, "decision": decision})
                named = encode(by_class).decode()
                kept = LoggedRow(key, model, version, moment, inputs, max(score), None, str(decision), named, sender)
            else:
                answers.append({"id": key, "score": score, "scores": None, "decision": decision})
                kept = LoggedRow(key, model, version, moment, inputs, score, _truth(decision), None, None, sender)
            records.append(kept)
        return answers, records


def _truth(decision: bool | str | None) -> bool | None:
    return None if decision is None else bool(decision)


def scored(now: Serving, rows: list[dict[str, Any]]) -> np.ndarray | None:
    """Scores by array code; None where it refuses a row, which is for the way with words."""
    code = now.release.answering
    if code is None:  # another release serves by now
        return None
    try:
        scores = code.of_rows(rows)
    except (ValueError, ArithmeticError):
        return None
    return scores if np.isfinite(scores).all() else None


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None where who sent it has gone."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes | None, receive: Receive) -> Receive:
    """What the application receives: the body that was read, and then whatever comes."""
    first: list[Message] = [
        {"type": "http.disconnect"} if body is None else {"type": "http.request", "body": body, "more_body": False}
    ]

    async def replayed() -> Message:
        return first.pop() if first else await receive()

    return replayed


async def _send(send: Send, status: int, content: bytes, *headers: tuple[bytes, bytes], kind: bytes = JSON) -> None:
    headers = ((b"content-type", kind), (b"content-length", str(len(content)).encode()), *headers)
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": content})
