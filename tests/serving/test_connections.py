"""What a client leaves out or sends too much of: half requests, idle connections, endless names."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until

MOST, SECONDS = 12, 3
HALF = b"POST /models/care/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home, config = tmp_path_factory.mktemp("home"), load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    bounds = {"ASSAY_MOST_CONNECTIONS": str(MOST), "ASSAY_READ_SECONDS": str(SECONDS)}
    found = start(home, config, bounds)
    yield found
    found.process.kill()
    found.process.wait()


def opened(service: Service, *parts: bytes) -> socket.socket:
    address = urlsplit(service.url)
    made = socket.create_connection((address.hostname, address.port), timeout=30)
    for part in parts:
        made.sendall(part)
    return made


def rest(made: socket.socket) -> str:
    """All that comes until the other side closes."""
    got = b""
    while part := made.recv(65536):
        got += part
    return got.decode()


@pytest.mark.parametrize(
    "sent",
    [
        b"", b"GE", HALF, HALF + b"content-length: 400\r\n\r\n" + b'{"row": ',
        HALF + b"transfer-encoding: chunked\r\n\r\n4\r\n",
    ],
    ids=["nothing", "half a line", "half the headers", "half a body", "half a chunk"],
)  # fmt: skip
def test_a_request_that_never_ends_is_closed_with_a_sentence(service: Service, sent: bytes) -> None:
    begun = time.monotonic()
    with opened(service, sent) as made:
        said = rest(made)
    assert said.startswith("HTTP/1.1 4") and SECONDS - 1 < time.monotonic() - begun < SECONDS + 5, said
    assert f"the request did not arrive within {SECONDS} s; send it again" in said or "401" in said
    assert service.predict(rows=service.rows(1)).status_code == 200


def test_a_trickle_of_bytes_gains_no_time(service: Service) -> None:
    begun = time.monotonic()
    with opened(service, HALF) as made:
        made.settimeout(0.2)
        said = b""
        while time.monotonic() - begun < SECONDS + 6:
            try:
                made.sendall(b"x-more: 1\r\n")
                if not (part := made.recv(65536)):
                    break
                said += part
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - begun < SECONDS + 5 and b" 408 " in said


def test_connections_beyond_the_most_are_told_so_and_the_next_ones_are_answered(service: Service) -> None:
    held = [opened(service, HALF) for _ in range(MOST)]
    try:
        with opened(service) as one_more:
            said = rest(one_more)
        assert said.startswith("HTTP/1.1 503 ") and f"{MOST} connections are open, which is the most" in said
        until(lambda: service.predict(rows=service.rows(1)).status_code == 200, seconds=SECONDS + 10)
    finally:
        for made in held:
            made.close()


def test_a_name_has_a_greatest_length_that_the_schema_tells(service: Service) -> None:
    (row,) = service.rows(1)
    assert service.predict(row=row | {"site": "ü" * 1000}).status_code == 200
    for length in (1001, 4_000_000):
        answer = service.predict(row=row | {"site": "ü" * length})
        assert answer.status_code == 422 and len(answer.text) < 2000
        (problem,) = answer.json()["problems"]
        assert problem["field"] == "site" and problem["message"] == "String should have at most 1000 characters"
    schema = asking.get(f"{service.url}/models/care").json()["row"]["properties"]["site"]
    assert schema["maxLength"] == 1000
    assert service.log()["site"].str.len().max() == 1000
