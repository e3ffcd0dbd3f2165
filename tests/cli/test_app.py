"""The command line as a person meets it: sentences, codes, no tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.cli import prefect_api, runs
from tasks.cli.overview import overview_text
from tasks.cli.prefect_api import PrefectApi
from tasks.spec.errors import CheckoutError, UnreachableError
from tests.conftest import ROOT, git


def assay(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ASSAY_HOME": str(home), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    return subprocess.run(
        [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )


def test_an_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    done = assay(tmp_path, "monitor", "income")
    assert done.returncode == 7
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in done.stderr and "make up" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = assay(tmp_path, "monitor", "incme")
    assert (done.returncode, "allowed: income, care" in done.stderr) == (2, True)


def test_no_command_reaches_for_a_system_that_is_not_this_homes(tmp_path: Path) -> None:
    """Another system may well be listening on the usual ports."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PREFECT_API_URL", "ASSAY_SERVICE_URL")} | {
        "ASSAY_HOME": str(tmp_path)
    }
    (tmp_path / "rows.csv").write_text("age\n3\n")
    for arguments in (["monitor", "income"], ["predict", "income", str(tmp_path / "rows.csv")]):
        command = [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert (done.returncode, "no system runs from" in done.stderr) == (7, True), done.stderr


def test_a_missing_file_and_a_wrong_kind_are_named(tmp_path: Path) -> None:
    assert "does not exist; give a file that ends in .csv" in assay(tmp_path, "predict", "income", "nothing.csv").stderr
    (tmp_path / "rows.xls").write_text("")
    assert "is of an unknown kind" in assay(tmp_path, "predict", "income", str(tmp_path / "rows.xls")).stderr


def test_down_with_nothing_running_says_so(tmp_path: Path) -> None:
    done = assay(tmp_path, "down", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"stopped": []})


def test_a_file_keeps_codes_words_and_whole_numbers_what_they_are(tmp_path: Path) -> None:
    from tasks.cli.rows_of_files import read_rows
    from tasks.spec.model import load_model

    path = tmp_path / "rows.csv"
    path.write_text("industry_code,education,age,dividends,previous_state\n01,NA,30,1.5,\n")
    assert list(read_rows(path, load_model(ROOT, "income"))) == [
        [{"industry_code": "01", "education": "NA", "age": 30, "dividends": 1.5, "previous_state": None}]
    ]


def test_a_dirty_checkout_is_told_what_is_not_committed(developer: Path) -> None:
    assert len(runs.committed(developer, "care")) == 40
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (developer / name).write_text("work\n")
    with pytest.raises(
        CheckoutError,
        match=(
            r"uncommitted changes \(a.txt, b.txt, c.txt and 1 more\).*Commit and push them, or name a commit: assay "
            r"train care --revision main"
        ),
    ):
        runs.committed(developer, "care")


def test_the_hook_never_refuses_a_push_and_says_that_nothing_runs(tmp_path: Path, developer: Path) -> None:
    origin = tmp_path / "origin.git"
    hook = origin / "hooks/post-receive"
    hook.write_text((ROOT / "deployments/hooks/post-receive").read_text())
    hook.chmod(0o755)
    git(origin, "config", "assay.branch", "trunk")
    assert "assay" not in push(developer, "main")
    git(developer, "commit", "--quiet", "--allow-empty", "-m", "change")
    assert "assay: the push is taken up as soon as the system runs: assay up" in push(developer, "trunk")
    git(developer, "commit", "--quiet", "--allow-empty", "-m", "change")
    both = ["git", "push", "origin", "HEAD:refs/heads/a\u2003b", "HEAD:refs/heads/c\u2028d", "HEAD:trunk"]
    said = subprocess.run(both, cwd=developer, check=True, capture_output=True, text=True).stderr
    assert "as soon as the system runs" in said and "Traceback" not in said
    (origin / "assay").mkdir()
    (origin / "assay/looked").touch()  # it was killed a moment ago
    git(developer, "commit", "--quiet", "--allow-empty", "-m", "change")
    begun = time.monotonic()
    os.utime(origin / "assay/looked", (0, time.time() - 25))
    assert "as soon as the system runs" in push(developer, "trunk") and time.monotonic() - begun < 15


def push(clone: Path, branch: str) -> str:
    return subprocess.run(
        ["git", "push", "origin", f"HEAD:{branch}"], cwd=clone, check=True, capture_output=True, text=True
    ).stderr


def test_a_server_that_is_locked_for_a_moment_is_asked_again_and_starts_one_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice 503, then the answer; every attempt carries the same idempotency key. One that stays busy is called so."""
    asked: list[dict[str, object]] = []
    busy = [2]

    class Locked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(503 if len(asked) <= busy[0] else 201)
            self.end_headers()
            self.wfile.write(b'{"id": "run"}')

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"id": "deployment"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Locked) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert (
                PrefectApi(f"http://127.0.0.1:{server.server_port}").start("train/training", {"model": "care"}) == "run"
            )
            assert len(asked) == 3 and len({str(body["idempotency_key"]) for body in asked}) == 1
            monkeypatch.setattr(prefect_api, "BUSY", 1.0)
            busy[0] = 1000
            with pytest.raises(
                UnreachableError, match=r"is up and has been too busy for [1-9] s\. Give the command again"
            ):
                PrefectApi(f"http://127.0.0.1:{server.server_port}").call("POST", "/flow_runs/", {})
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("serving", "answers", "says"),
    [
        ("v2.0.0", True, "and serves"),
        ("v1.0.0", True, "still answers with v1.0.0"),
        (None, True, "has not taken it yet"),
        (None, False, "no service answers"),
    ],
)
def test_the_status_says_how_far_the_service_is(serving: str | None, answers: bool, says: str) -> None:
    model = {"champion": "v2.0.0", "serving": serving, "problem": None, "decision": None, "awaiting_signature": []}
    model |= {"stopped": False}
    model["verdict"] = None
    assert says in overview_text(
        {
            "system": None,
            "parts": [],
            "service_answers": answers,
            "ledger_entries": 0,
            "record_problems": [],
            "examiner": "sha256:0",
            "models": {"care": model},
        }
    )
