"""Requests by the thousand that nobody here shaped: made from the OpenAPI document by Schemathesis, and of raw bytes.

Each has to be answered wholly, below 500, and no connection may be reset.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import asking
from tests.serving.running import Service

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
FEW = 12
"""Requests of one operation and kind in a round."""


OWN = "/models/care/predict"
"""The path of the document at which the columns of the one model that serves are described."""


def _untold(problem: dict[str, Any]) -> bool:
    """Whether a schema cannot say what is refused: to it 7.0 is an integer, and it knows not what takes long."""
    return problem["message"] == "Input should be a valid integer" or problem["field"] == "explain"


@dataclass
class Seen:
    """What came back: how often each status, by the kind of request, and what should not have been."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    def of(self, kind: str) -> dict[int, int]:
        return {status: count for (k, status), count in sorted(self.statuses.items()) if k == kind}

    def kinds(self) -> dict[str, dict[int, int]]:
        return {kind: self.of(kind) for kind in sorted({k for k, _ in self.statuses})}


def by_document(service: Service, total: int, seed: int = 0) -> Seen:
    """Requests that the service's document allows, and as many that it does not."""
    headers = asking.headers(service.url)
    document = asking.get(f"{service.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    seen, session = Seen(), requests.Session()
    session.headers.update(headers)
    operations = [found.ok() for found in schema.get_all_operations()][::-1]  # a model's own path comes first

    def play(case: schemathesis.Case, kind: str) -> None:
        if seen.total >= total or len(seen.wrong) > 20:
            return
        try:
            answer = case.call(base_url=service.url, session=session, headers=headers, timeout=30)
        except requests.RequestException as error:
            seen.wrong.append(f"{kind} {case.method} {case.path}: {type(error).__name__}: {error}"[:400])
            return
        seen.statuses[f"{kind} {case.method} {case.path}", answer.status_code] += 1
        if kind == MODES[0].value and case.path == OWN and answer.status_code != 200:
            seen.wrong += [
                f"the document allows {p['value']}: {p}" for p in answer.json()["problems"] if not _untold(p)
            ]
        try:
            case.validate_response(answer, checks=CHECKS, headers=headers)
        except BaseExceptionGroup as errors:
            told = "; ".join(str(one).replace("\n", " ") for one in errors.exceptions)
            seen.wrong.append(f"{kind} {case.method} {case.path}: {told}"[:600])
        except schemathesis.core.failures.Failure as error:
            seen.wrong.append(f"{kind} {case.method} {case.path}: {error}"[:600])

    number = seed
    while seen.total < total and len(seen.wrong) <= 20:
        before = seen.total
        for operation in operations:
            for mode in MODES:
                _round(operation.as_strategy(mode), number, lambda case, m=mode: play(case, m.value))  # type: ignore[misc]
        number += 1
        assert seen.total > before or seen.wrong, "no more requests can be made of the document"
    return seen


def _round(strategy: object, number: int, play: Callable[[schemathesis.Case], None]) -> None:
    @seeded(number)
    @settings(
        max_examples=FEW,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def every(case: schemathesis.Case) -> None:
        play(case)

    with suppress(Unsatisfiable):  # nothing can be wrong with a request that says nothing
        every()


# -- raw bytes -------------------------------------------------------------------------------------------------------

ODD = (
    b"\x00", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\xff\xfe", b"%00", b"%", b"..", b"/../", b" ", b"\t", b":", b";",
    b"%2e%2e%2f", "\ud7ff".encode(), b"\xed\xa0\x80", b"{", b"}", b"[" * 50, b'"', b"\\", b"1e999", b"NaN", b"-0",
    b"9" * 400, b"null", b"HTTP/1.1", b"HTTP/9.9", b"Host: x", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"A" * 5000,
)  # fmt: skip
METHODS = (
    b"GET",
    b"GET",
    b"GET",
    b"POST",
    b"POST",
    b"POST",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"",
)
PATHS = (
    b"/", b"/models", b"/models/care", b"/models/care/predict", b"/models/care/outcomes", b"/models/care/overrides",
    b"/models/care/appeals", b"/models/care/reviews", b"/health", b"/health/live", b"/health/ready", b"/metrics",
    b"/openapi.json", b"/login", b"/login/once?token=x", b"/logout", b"/reports/", b"/reports/../access/keys.json",
    b"/reports/%2e%2e/access/key", b"/models/%00/predict", b"/models/care/predict/", b"//models", b"*",
    b"http://127.0.0.1/models", b"/models/" + b"a" * 2000 + b"/predict", b"/models/\xc3\xa9/predict",
)  # fmt: skip
FINAL = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def raw_requests(service: Service, total: int, seed: int = 0) -> Seen:
    """Requests that are right but for what chance does to their bytes, over connections of their own."""
    seen, chance = Seen(), random.Random(seed)
    bodies = [json.dumps({"rows": service.rows(n, n)}).encode() for n in (1, 2, 5)]
    bodies += [
        b'{"outcomes": [{"id": "x", "label": true}]}',
        b'{"appeals": [{"id": "x", "who": "a", "claim": "b"}]}',
        b"",
        b"key=x&form=y",
    ]
    key = asking.headers(service.url)["authorization"].encode()
    made = [_mutated(chance, bodies, key) for _ in range(total)]
    asyncio.run(_send_all(service, made, seen))
    return seen


def _request(chance: random.Random, bodies: list[bytes], key: bytes) -> bytes:
    body = chance.choice(bodies)
    lines = [b"%s %s HTTP/1.1" % (chance.choice(METHODS), chance.choice(PATHS)), b"Host: 127.0.0.1"]
    if chance.random() < 0.85:
        lines.append(b"Authorization: " + key)
    kind = chance.choice([b"application/json"] * 5 + [b"application/x-www-form-urlencoded", b"text/plain", b"\xff"])
    lines.append(b"Content-Type: " + kind)
    if chance.random() < 0.2:
        cut = chance.randrange(len(body) + 1)
        sizes = [part for part in (body[:cut], body[cut:]) if part]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in sizes) + b"0\r\n\r\n"
        lines.append(b"Transfer-Encoding: chunked")
    else:
        length = len(body) + chance.choice([0] * 12 + [-1, 1, 10**6, 10**30])
        lines.append(b"Content-Length: %d" % length)
    chance.shuffle(lines[1:])
    return b"\r\n".join([*lines, b"", b""]) + body


def _mutated(chance: random.Random, bodies: list[bytes], key: bytes) -> tuple[str, bytes]:
    request = _request(chance, bodies, key)
    kind = chance.choice(["as it is", "bytes", "inserted", "cut", "twice", "lines", "noise"])
    if kind == "bytes":
        changed = bytearray(request)
        for _ in range(chance.randint(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        request = bytes(changed)
    elif kind == "inserted":
        at = chance.randrange(len(request))
        request = request[:at] + chance.choice(ODD) + request[at:]
    elif kind == "cut":
        request = request[: chance.randrange(len(request))]
    elif kind == "twice":
        request += _request(chance, bodies, key)
    elif kind == "lines":
        lines = request.split(b"\r\n")
        at = chance.randrange(len(lines))
        lines[at:at] = lines[at : at + 1] * chance.randint(1, 200)
        request = b"\r\n".join(lines)
    elif kind == "noise":
        request = chance.randbytes(chance.randint(1, 400))
    return kind, request


async def _send_all(service: Service, made: list[tuple[str, bytes]], seen: Seen) -> None:
    address = urlsplit(service.url)
    waiting = iter(made)

    async def one_after_another() -> None:
        for kind, request in waiting:
            try:
                status = await asyncio.wait_for(_sent(address.hostname or "", address.port or 0, request), 60)
            except (OSError, TimeoutError, AssertionError) as error:
                seen.statuses[kind, 0] += 1
                seen.wrong.append(f"{kind}: {type(error).__name__} {error} over {request[:300]!r}")
                continue
            seen.statuses[kind, status] += 1
            if status >= 500:
                seen.wrong.append(f"{kind}: {status} over {request[:300]!r}")

    await asyncio.gather(*(one_after_another() for _ in range(48)))


async def _sent(host: str, port: int, request: bytes) -> int:
    """The status of the first answer, which has to come wholly."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = FINAL.match(head)
            assert found, f"no answer: {head[:80]!r}"
            status = int(found[1])
            if status >= 200:
                break
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if not request.startswith(b"HEAD") and length:
            await reader.readexactly(int(length[1]))
        return status
    except asyncio.IncompleteReadError as error:
        raise AssertionError(f"closed after {error.partial[:80]!r}") from None
    finally:
        writer.close()
