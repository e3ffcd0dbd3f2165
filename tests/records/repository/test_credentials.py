"""A password in the origin's URL: git gets it, and nobody reads it in a command line, the clone or an error."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.records.repository import sandbox
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import UnreachableError
from tasks.spec.settings import Settings, anonymous
from tests.conftest import git

USER, PASSWORD = "assay", "p@ss:w/ord %"
IN_URL = "assay:p%40ss%3Aw%2Ford%20%25"
LOOK = """
import os
for one in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{one}/cmdline", "rb") as file:
            print(file.read())
    except OSError:
        pass
"""


class Origin(SimpleHTTPRequestHandler):
    """A repository behind a password, as plain files; while git waits, a stage looks at every process."""

    seen: list[str] = []

    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="origin"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not self.seen:
            with sandbox.apart([]) as words:
                done = subprocess.run([*words, sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
            self.seen.append(done.stdout)
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def address(developer: Path) -> Iterator[str]:
    folder = developer.parent / "origin.git"
    git(folder, "update-server-info")
    Origin.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Origin, directory=str(folder.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}/origin.git"
        server.shutdown()


def test_a_stage_reads_no_password_of_the_origin(address: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", origin=f"http://{IN_URL}@{address}")
    clone = ensure_clone(settings)
    assert clone.run("rev-parse", "refs/remotes/origin/main")
    (seen,) = Origin.seen
    assert "git" in seen and address in seen, "the command lines were open to be read"
    for secret in (PASSWORD, IN_URL, IN_URL.partition(":")[2]):
        assert secret not in seen
        assert secret not in (settings.clone / ".git/config").read_text()
    clone.run("config", "remote.origin.url", f"http://{IN_URL}@{address}")  # as an older release left it
    ensure_clone(settings)
    assert f"url = http://{address}\n" in (settings.clone / ".git/config").read_text()


def test_what_is_refused_is_told_without_it(address: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", origin=f"http://assay:wrong@word@{address}")
    with pytest.raises(UnreachableError) as caught:
        ensure_clone(settings)
    assert f"the origin http://{address} does not answer" in str(caught.value) and "wrong" not in str(caught.value)
    assert settings.origin_named == f"http://{address}"


def test_a_user_without_a_password_is_asked_of_their_own_helper(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "credential.helper")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"!f() {{ echo 'password={PASSWORD}'; }}; f")
    assert Git(tmp_path, f"http://{USER}@{address}").run("ls-remote", f"http://{address}", "refs/heads/main")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://a:b@c@host/x@y.git", "https://host/x@y.git"),
        ("https://u@h/x", "https://h/x"),
        ("HTTP://u:p@h/x", "HTTP://h/x"),
        ("https://h:8443/x@y", "https://h:8443/x@y"),
        ("ssh://git@h/x", "ssh://git@h/x"),
        ("ssh://git@h:22/x", "ssh://git@h:22/x"),
        ("ssh://git:p:w@d@h:22/x", "ssh://git@h:22/x"),
        ("postgresql://u:p@host:5432/log", "postgresql://u@host:5432/log"),
        ("/home/a@b/origin.git", "/home/a@b/origin.git"),
        ("git@host:x.git", "git@host:x.git"),
    ],
)
def test_the_name_of_a_url(url: str, named: str) -> None:
    assert anonymous(url) == named


def test_a_clone_asks_an_origin_over_ssh_as_its_user(
    developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, command = tmp_path / "seen", tmp_path / "ssh"
    # As ssh is: the options, whom to ask, and the command that runs there.
    command.write_text(f'#!/bin/sh\necho "$@" >> {seen}\nfor last; do :; done\nexec sh -c "$last"\n')
    command.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(command))
    origin = f"ssh://git@host.test{developer.parent / 'origin.git'}"
    settings = Settings(home=tmp_path / "home", origin=origin)
    assert ensure_clone(settings).run("rev-parse", "refs/remotes/origin/main")
    assert f"url = {origin}\n" in (settings.clone / ".git/config").read_text()
    assert all("git@host.test" in line for line in seen.read_text().splitlines())
