"""Whole systems beside each other, in an environment that is set up for something else, and one whose disk is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.cli import system as local
from tasks.cli.logins import own_server
from tasks.cli.state import state
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.science.data.tables import as_requests
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.conftest import ROOT
from tests.system import Running, replay_rows, set_value

pytestmark = pytest.mark.acceptance

MAIN = [sys.executable, "-c", "from tasks.cli.app import main; main()"]
FOREIGN = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_API_AUTH_STRING": "somebody:else",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nowhere/shared.db",
}
NAMES = ("one", "two, #2?", 'three 100% "Ümlaut')


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ASSAY_", "PREFECT_")) and k != "HOME"}
    return kept | {"ASSAY_HOME": str(home)} | more


def assay(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, *arguments], env=environment(home, **more), capture_output=True, text=True, cwd=ROOT, timeout=600
    )


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[list[Path]]:
    made = [tmp_path / name for name in NAMES]
    yield made
    for home in made:
        local.down(Settings(home=home))


def test_systems_that_start_at_once_are_each_their_own(homes: list[Path]) -> None:
    """All want the usual ports in the same second, behind proxies, beside another Prefect, without HOME."""
    starts = [
        subprocess.Popen(
            [*MAIN, "up", "--json"],
            env=environment(home, **FOREIGN),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for home in homes
    ]
    told: list[dict[str, str]] = []
    for start in starts:
        out, err = start.communicate(timeout=600)
        assert start.returncode == 0, err
        told.append(json.loads(out))
    assert len({url for one in told for url in (one["api_url"], one["service_url"])}) == 2 * len(homes)
    for home, one in zip(homes, told, strict=True):
        assert state(Settings(home=home)) is not None
        api = one["api_url"]
        workers = own_server(Settings(home=home), api).call("POST", "/work_pools/assay/workers/filter", {})
        pids = {json.loads((home / f"run/{part}.json").read_text())["pid"] for part in ("server", "worker", "service")}
        family = {p.pid for pid in pids for p in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))}
        asked = {
            c.pid for c in psutil.net_connections("tcp") if c.raddr and c.raddr.port == int(api.split(":")[2][:-4])
        }
        assert len(workers) == 1 and (asked - {os.getpid(), None}) <= family
        assert (home / "prefect/prefect.db").exists() and (home / "predictions.db").exists()
        done = assay(home, "monitor", "care", "--json", **FOREIGN)  # a flow runs, and says what it found here
        assert json.loads(done.stdout)["message"].startswith("care has no champion yet"), done.stderr
        assert assay(home, "status", **FOREIGN).returncode == 0
    assert sorted(path.name for path in homes[0].parent.iterdir()) == sorted(NAMES)
    assert assay(homes[0], "down").returncode == 0
    assert state(Settings(home=homes[0])) is None and all(state(Settings(home=home)) for home in homes[1:])


def test_a_disk_that_is_lost_under_a_running_system(running: Running, tmp_path: Path) -> None:
    """Backed up while it runs, killed, deleted, restored elsewhere: everything is there, and the watch goes on."""
    commit = running.push("care: first release", model=set_value("max_iter", "81"))
    assert running.finished("train/training", commit)["name"] == "Promoted"
    running.until(lambda: running.serves("care") == "v1.0.0", "v1.0.0 in the service")
    config = load_model(ROOT, "care")
    rows = as_requests(config, replay_rows(running, "care").head(1000))
    answer = asking.post(f"{running.system.service_url}/models/care/predict", json={"rows": rows}, timeout=60)
    assert answer.status_code == 200, answer.text
    answered = {one["id"] for one in answer.json()["predictions"]}
    file = tmp_path / "assay.tar"
    done = running.assay("backup", str(file))
    assert done.returncode == 0, done.stderr
    entries = ledger.entries(running.settings)

    home = running.settings.home
    for part in ("server", "worker", "service"):
        for process in family_of(home, part):
            process.send_signal(signal.SIGKILL)
    local.down(running.settings)
    shutil.rmtree(home)

    now = tmp_path / "another disk"
    settings = Settings(home=now)
    try:
        for command in (("restore", str(file)), ("up",), ("ledger", "--verify"), ("status",)):
            done = assay(now, *command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert [e.digest() for e in ledger.entries(settings)][: len(entries)] == [e.digest() for e in entries]
        system = state(settings)
        assert system is not None
        asking.know(system.service_url, now)
        assert asking.get(f"{system.service_url}/models").json() == {"care": "v1.0.0"}
        log = PredictionLog(settings.log_database)
        assert answered == set(log.frame("care", 0, 2**62)["_id"])
        log.close()
        done = assay(now, "monitor", "care", "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == 0 and found["state"] == "Completed", found
        again = asking.post(f"{system.service_url}/models/care/predict", json={"rows": rows[:2]}, timeout=60)
        assert again.status_code == 200
    finally:
        local.down(settings)


def family_of(home: Path, part: str) -> list[psutil.Process]:
    process = psutil.Process(json.loads((home / f"run/{part}.json").read_text())["pid"])
    return [process, *process.children(recursive=True)]
