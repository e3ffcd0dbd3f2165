"""The local system's own care for processes, ports and everything its user has set up otherwise."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tasks.cli import system as local
from tasks.cli.environment import for_parts, without_proxy_to_here
from tasks.cli.processes import HOME, MARK, Processes, listen
from tasks.cli.state import System
from tasks.spec.settings import Settings
from tests.conftest import ROOT

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def assay(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if not k.startswith(("ASSAY_", "PREFECT_"))}
    command = [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, env=known | {HOME: str(home)} | environment
    )


@contextmanager
def sleeping(*environments: dict[str, str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [subprocess.Popen(SLEEP, env=os.environ | one) for one in environments]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def a_part(home: Path) -> Iterator[Processes]:
    """A home in which a real part runs: an HTTP server of Python's own on the socket that was bound for it."""
    (home / "logs").mkdir(parents=True)
    processes = Processes(home)
    mark = processes.begin()
    code = home / "part.py"
    code.write_text(
        "import http.server, socket, sys\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler, False)\n"
        "server.socket = socket.socket(fileno=int(sys.argv[2]))\n"
        "server.serve_forever()\n"
    )
    bound = listen(0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    environment = os.environ | {MARK: mark, HOME: str(home), "PYTHONPATH": str(home)}
    processes.start("service", ["part"], environment, bound)
    (home / "url").write_text(url)
    try:
        assert httpx.get(url, timeout=20).status_code == 200
        yield processes
    finally:
        processes.stop("service")


def test_down_stops_what_up_started_even_what_lost_its_worker(tmp_path: Path) -> None:
    """A process with the mark of this home's system is stopped, and one of this home without it; no other home's."""
    Processes(tmp_path).begin()
    mark = (tmp_path / "run/mark").read_text()
    marks = ({MARK: mark}, {MARK: "lost", HOME: str(tmp_path)}, {MARK: "another"}, {HOME: str(tmp_path)})
    with sleeping(*marks) as processes:
        local.down(Settings(home=tmp_path))
        assert [p.poll() is None for p in processes] == [False, False, True, True]


def test_ports_asked_for_at_once_are_never_given_twice() -> None:
    """They are bound when they are told: of many that want one port at the same moment each has its own."""
    first = listen(0)
    wanted = first.getsockname()[1]
    found: list[socket.socket] = []
    asking = [threading.Thread(target=lambda: found.append(listen(wanted))) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    ports = {s.getsockname()[1] for s in found}
    assert len(ports) == 20 and wanted not in ports
    for one in (first, *found):
        one.close()


def test_a_port_is_free_again_at_once_after_its_connections_closed() -> None:
    with listen(0) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first lingers
        client.close()
    with listen(port) as again:
        assert again.getsockname()[1] == port


def test_what_answers_is_ours_or_it_counts_for_nothing(tmp_path: Path) -> None:
    """A stranger's server at our address, a number that another process has by now, a home that was copied."""
    home, copy = tmp_path / "home", tmp_path / "copy"
    with a_part(home) as processes, listen(0) as stranger:
        url = (home / "url").read_text()
        assert processes.answers_at("service", url)
        assert not processes.answers_at("service", f"http://127.0.0.1:{stranger.getsockname()[1]}")
        assert not processes.answers_at("worker", url)
        shutil.copytree(home, copy)
        assert Processes(copy).alive("service") is None and not Processes(copy).answers_at("service", url)
        assert assay(copy, "down").stdout == "nothing was running\n" and processes.alive("service")

        known = json.loads((home / "run/service.json").read_text())
        with sleeping({}, {MARK: (home / "run/mark").read_text()}) as others:
            for other in others:
                (home / "run/service.json").write_text(json.dumps(known | {"pid": other.pid}))
                assert processes.alive("service") is None and not processes.stop("service")
            assert [other.poll() for other in others] == [None, None]
        for damaged in ("", "[]", '{"pid": "x"}', '{"pid": -1, "command": []}'):
            (home / "run/service.json").write_text(damaged)
            assert processes.alive("service") is None
        (home / "run/service.json").write_text(json.dumps(known))


def test_a_home_that_was_moved_knows_what_runs_and_says_so(tmp_path: Path) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    with a_part(before):
        before.rename(now)
        processes = Processes(now)
        assert processes.alive("service") and processes.moved_from() == str(before)
        process = processes.alive("service")
        threading.Thread(target=lambda: os.waitpid(process.pid, 0)).start()  # else it stays as a child that has ended
        assert assay(now, "down").stdout == "stopped: service\n"
        now.rename(before)


def test_a_clock_that_was_set_changes_nothing(tmp_path: Path) -> None:
    """When a process began, as the clock has it, is no part of who it is."""
    with a_part(tmp_path / "home") as processes:
        known = json.loads((processes.folder / "service.json").read_text())
        assert set(known) == {"pid", "command"} and psutil.Process(known["pid"]).is_running()


def test_of_a_users_prefect_nothing_but_switches_reaches_a_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_URL", "API_KEY", "API_AUTH_STRING", "SERVER_DATABASE_CONNECTION_URL", "PROFILE", "LOGGING_LEVEL"):
        monkeypatch.setenv(f"PREFECT_{name}", "theirs")
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED", "false")
    system = System("http://127.0.0.1:1/api", "http://127.0.0.1:2", "o")
    found = for_parts(Settings(home=tmp_path), system, "mark")
    assert [name for name, value in found.items() if value == "theirs"] == ["PREFECT_LOGGING_LEVEL"]
    assert found["PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED"] == "false"
    assert found["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == f"sqlite+aiosqlite:///{tmp_path}/prefect/prefect.db"


def test_proxies_are_for_other_machines() -> None:
    """Python's HTTP clients, asked in a process of their own, go straight to this machine whatever the proxy is."""
    with listen(0) as here:
        port = here.getsockname()[1]
        users = {
            "HTTP_PROXY": "http://192.0.2.1:3128",
            "https_proxy": "http://192.0.2.1:3128",
            "ALL_PROXY": "socks5://192.0.2.1:1080",
            "no_proxy": "intranet.example.org",
        }
        found = without_proxy_to_here(os.environ | users)
        code = (
            "import httpx, sys\ntry: httpx.get(sys.argv[1], timeout=0.3)\nexcept httpx.ReadTimeout: print('arrived')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, f"http://127.0.0.1:{port}"], env=found, capture_output=True, text=True
        )
    assert done.stdout == "arrived\n", done.stderr
    assert found["NO_PROXY"] == found["no_proxy"] == "intranet.example.org,127.0.0.1,localhost"
    assert found["HTTP_PROXY"] == users["HTTP_PROXY"] and "ALL_PROXY" not in found
