"""Requests at random, none of which has a key that holds: none is answered, and none ends the service."""

from __future__ import annotations

import random

import pytest

from tasks.serving.permits import PERMITS
from tests.serving.running import Service
from tests.serving.stranger import raw, serving

service = pytest.fixture(scope="module")(serving)


def test_nothing_gets_in_by_chance(service: Service) -> None:
    draw = random.Random(20261129)
    good = service.key("read", models=("income",))
    pieces = [
        "..",
        "%2e%2e",
        "%2f",
        "//",
        ";",
        "?",
        "%00",
        "\\",
        "%0d%0a",
        "\xff",
        "%ff",
        "care",
        "reports",
        "'",
        "<",
        "",
    ]
    headers = [
        *["Accept: text/html"] * 3, "Origin: null", "X-Original-URL: /health/live", "X-HTTP-Method-Override: GET",
        "Cookie: ;;;=", "Cookie: \xff=\xfe", "Forwarded: for=localhost", "Upgrade: h2c", "Expect: 100-continue",
    ]  # fmt: skip
    keys = ["", "Bearer ", "Basic YTpi", f"Bearer {good[:-1]}", "Bearer \xff\xfe", f"Bearer {'x' * 9000}"]
    paths = [permit.path.replace("{name}", "care") for permit in PERMITS if permit.needs != "nothing"]
    seen = set()
    for _ in range(400):
        path = draw.choice(paths)
        for _ in range(draw.randrange(3)):
            at = draw.randrange(len(path) + 1)
            path = path[:at] + draw.choice(pieces) + path[at:]
        method = draw.choice(["GET", "GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "get"])
        host = draw.choice(["Host: localhost"] * 3 + ["Host: evil.example", "Host: localhost, evil.example"])
        said = raw(
            service, f"{method} {path} HTTP/1.1", host, draw.choice(headers), "Content-Length: 0",
            *([f"Authorization: {key}"] if (key := draw.choice(keys)) else []),
        )  # fmt: skip
        status = said.split(b" ")[1] if said.startswith(b"HTTP/1.1 ") else b""
        assert status in (b"303", b"400", b"401", b"405", b"429") or b"/login" in path.encode(), (
            method,
            path,
            said[:200],
        )
        assert b"a report" not in said
        seen.add(status)
    assert {b"303", b"400", b"401"} <= seen
