"""The command line as a person meets it: sentences, codes, no tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tasks.cli import system

ROOT = Path(__file__).resolve().parents[2]


def assay(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ASSAY_HOME": str(home), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    return subprocess.run([sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments], capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_an_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    done = assay(tmp_path, "monitor", "income")
    assert done.returncode == 7
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in done.stderr and "make up" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = assay(tmp_path, "monitor", "incme")
    assert (done.returncode, "allowed: income, care" in done.stderr) == (2, True)


def test_a_missing_file_and_a_wrong_kind_are_named(tmp_path: Path) -> None:
    assert "does not exist; give a file that ends in .csv" in assay(tmp_path, "predict", "income", "nothing.csv").stderr
    (tmp_path / "rows.xls").write_text("")
    assert "is of an unknown kind" in assay(tmp_path, "predict", "income", str(tmp_path / "rows.xls")).stderr


def test_down_with_nothing_running_says_so(tmp_path: Path) -> None:
    done = assay(tmp_path, "down", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"stopped": []})


def test_down_stops_only_what_up_started(tmp_path: Path) -> None:
    """A pid file whose process has another start time belongs to somebody else by now."""
    from tasks.spec.settings import Settings

    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "run").mkdir()
        (tmp_path / "run/worker.json").write_text(json.dumps({"pid": other.pid, "created": 1.0}))
        assert system.down(Settings(home=tmp_path)) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_taken_port_gives_way_to_a_free_one() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert system.free_port(port) not in (0, port)
