"""The local system's own care for processes and ports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli import system as local
from tasks.spec.settings import Settings


def test_down_stops_what_up_started_even_what_lost_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with the mark of this home's system is stopped; one with another mark is not."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mark").write_text("this-one")
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine, other = (subprocess.Popen(sleep, env=os.environ | {local.MARK: mark}) for mark in ("this-one", "another"))
    try:
        local.down(Settings(home=tmp_path))
        assert mine.poll() is not None and other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_a_port_is_free_again_at_once_after_its_connections_closed() -> None:
    port = local.free_port(0)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first lingers
        client.close()
    assert local.free_port(port) == port
