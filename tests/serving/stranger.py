"""What a stranger tries the service with: any header, bare bytes, a browser, the command line."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tasks.spec.model import load_model
from tests.asking import bearer
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start

PAGE = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home, config = tmp_path_factory.mktemp("access"), load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    (home / "reports/care").mkdir(parents=True)
    for name in ("index.html", "account.html", "care/watching.html"):
        (home / "reports" / name).write_text("<p>a report</p>")
    with (home / "service.log").open("wb") as said:
        running = start(home, config, stdout=said, stderr=subprocess.STDOUT)
        yield running
        running.process.kill()
        running.process.wait(timeout=10)


def ask(service: Service, path: str, key: str = "", method: str = "GET", **more: Any) -> httpx.Response:
    headers = (bearer(key) if key else {}) | more.pop("headers", {})
    return httpx.request(method, service.url + path, headers=headers, timeout=20, **more)


def predict(service: Service, key: str, model: str = "care", **more: Any) -> httpx.Response:
    return ask(service, f"/models/{model}/predict", key, "POST", json={"rows": service.rows(1)}, **more)


def assay(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments]
    environment = os.environ | {"ASSAY_HOME": str(service.home)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=120)


def raw(service: Service, *lines: str, body: bytes = b"") -> bytes:
    """What the service answers to bytes that no client library would send."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        said = b""
        while part := client.recv(65536):
            said += part
    return said


def browser(service: Service) -> httpx.Client:
    return httpx.Client(base_url=service.url, headers=PAGE, timeout=20)


def field(page: str, name: str) -> str:
    found = re.search(rf"name={name} value='([^']*)'", page)
    assert found is not None, page
    return found[1]


def log_in(client: httpx.Client, key: str, next: str = "/") -> httpx.Response:
    page = client.get("/login", params={"next": next}).text
    return client.post("/login", data={"key": key, "form": field(page, "form"), "next": field(page, "next")})
