"""The exit code of a command that starts a run is read from how the run ended, never from a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.spec.requests import FinalState
from tests.conftest import ROOT, git

MAIN = [sys.executable, "-c", "from tasks.cli.app import main; main()"]


class Ended(BaseHTTPRequestHandler):
    """A Prefect server all of whose runs have ended in one state."""

    state: dict[str, str] = {}
    listed: tuple[str, ...] = ("care",)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body.get("parameters", {}).get("request", {}).get("model")
        if body.get("enforce_parameter_schema", True) and asked and asked not in self.listed:  # of the form
            self.send_response(409)
            self.end_headers()
            return
        self.answer([] if self.path.endswith("/filter") else {"id": "run"})

    def do_GET(self) -> None:
        self.answer({"id": "run", "state": self.state})

    def answer(self, body: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Ended) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/api"
        running.shutdown()
        thread.join()


ENDS = [
    (["stop", "care", "--because", "test"], "COMPLETED", FinalState.STOPPED, 0),
    (["monitor", "care"], "COMPLETED", FinalState.NOTHING_TO_WATCH, 0),
    (["monitor", "care"], "COMPLETED", "Completed", 0),
    (["monitor", "care"], "COMPLETED", "A name of tomorrow", 0),
    (["monitor", "care"], "FAILED", "Completed", 1),
    (["monitor", "care"], "CANCELLED", "Cancelled", 1),
    (["examine", "care", "--revision", "main"], "COMPLETED", FinalState.EXAMINED, 0),
    (["examine", "care", "--revision", "main"], "FAILED", FinalState.REJECTED, 1),
    (["examine", "care", "--revision", "main"], "FAILED", FinalState.INSUFFICIENT_EVIDENCE, 2),
    (["examine", "care", "--revision", "main"], "CRASHED", "Crashed", 1),
]


@pytest.mark.parametrize(("arguments", "kind", "name", "code"), ENDS, ids=[f"{e[0][0]}-{e[2]}-{e[1]}" for e in ENDS])
def test_the_exit_code_follows_the_final_state(
    server: str, tmp_path: Path, arguments: list[str], kind: str, name: str, code: int
) -> None:
    Ended.state = {"type": kind, "name": str(name), "message": "Stopped, Promoted and Completed."}
    environment = os.environ | {"ASSAY_HOME": str(tmp_path), "PREFECT_API_URL": server}
    done = subprocess.run([*MAIN, *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert (done.returncode, done.stdout) == (code, f"{name}: Stopped, Promoted and Completed.\n"), done.stderr


def test_a_model_that_nobody_pushed_need_not_be_on_the_forms_list(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is the origin's, and learns of a model by its push; ``examine`` of a checkout comes before that."""
    monkeypatch.setattr(Ended, "listed", ())
    monkeypatch.setattr(Ended, "state", {"type": "COMPLETED", "name": str(FinalState.EXAMINED), "message": "fit"})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
    subprocess.run(["cp", "-r", f"{ROOT}/tasks", str(clone)], check=True)
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "as it stands")
    environment = os.environ | {"ASSAY_HOME": str(tmp_path / "home"), "PREFECT_API_URL": server}

    def examine(*more: str) -> subprocess.CompletedProcess[str]:
        command = [*MAIN, "examine", "care", *more]
        return subprocess.run(command, capture_output=True, text=True, cwd=clone, env=environment, check=False)

    own, named = examine(), examine("--revision", "main")
    assert (own.returncode, own.stdout) == (0, f"{FinalState.EXAMINED}: fit\n"), own.stderr
    assert named.returncode == 1 and named.stderr.startswith("error: the Prefect server refused")
