"""Processes die without warning: what was acknowledged is kept, what was half done leaves no trace on record."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from tasks.cli.processes import MARK
from tasks.records.log.predictions import PredictionLog
from tasks.records.repository.dvc import WITHIN
from tasks.science.data.tables import as_requests
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.system import Running, replay_rows, set_value

pytestmark = pytest.mark.acceptance

Found = TypeVar("Found")


def part(running: Running, *words: str) -> psutil.Process | None:
    """A process of this very system whose command line holds all words."""
    mark = (running.settings.home / "run/mark").read_text()
    for process in psutil.process_iter():
        try:
            if set(words) <= set(process.cmdline()) and process.environ().get(MARK) == mark:
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def dvc_below(running: Running) -> psutil.Process | None:
    """DVC at work for a flow of this system; it runs without the mark, as it runs without all that is ours."""
    flow = part(running, "prefect.engine")
    try:
        family = flow.children(recursive=True) if flow else []
        return next((one for one in family if {WITHIN, "repro"} <= set(one.cmdline())), None)
    except psutil.NoSuchProcess:
        return None


def waited(find: Callable[[], Found | None], what: str, seconds: float = 120) -> Found:
    """What ``find`` gives once it gives anything; it fails after so many seconds."""
    end = time.monotonic() + seconds
    while (found := find()) is None:
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def released(running: Running) -> str:
    """The commit of ``care`` v1.0.0."""
    commit = running.push("care: first release", model=set_value("max_iter", "81"))
    state = running.finished("train/training", commit)
    assert state["name"] == "Promoted", state["message"]
    running.until(lambda: running.serves("care") == "v1.0.0", "v1.0.0 in the service")
    return commit


def test_a_training_that_is_killed_leaves_nothing_and_the_next_one_comes_through(
    running: Running, released: str
) -> None:
    """SIGKILL to the flow's process while DVC trains: no entry, no version, no lock that stands in the way."""
    kinds = [entry.kind for entry in running.ledger()]
    commit = running.push("care: more trees", model=set_value("max_iter", "83"))
    runs = waited(lambda: trainings(running, commit) or None, "a training run")
    stage = waited(lambda: dvc_below(running), "DVC below the flow")
    flow = next(p for p in stage.parents() if "prefect.engine" in p.cmdline())
    family = [flow, *flow.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)

    state = running.api.wait(runs[0]["id"], seconds=120)
    assert state["type"] == "CRASHED", state
    assert ([entry.kind for entry in running.ledger()], running.champion()) == (kinds, "v1.0.0")
    again = running.assay("train", "care", "--revision", commit)
    assert again.returncode == 0 and again.stdout.startswith("Promoted: care v2.0.0 is champion: "), again.stderr
    assert running.assay("ledger", "--verify").returncode == 0


def trainings(running: Running, revision: str) -> list[dict[str, Any]]:
    runs = running.api.runs("train/training")
    return [run for run in runs if run["parameters"]["request"]["revision"] == revision]


def test_a_system_whose_service_is_killed_under_load_comes_back_with_every_answer_it_gave(
    running: Running, released: str
) -> None:
    config = load_model(ROOT, "care")
    rows = as_requests(config, replay_rows(running, "care").head(10))
    acknowledged: list[str] = []
    first, killed = threading.Event(), threading.Event()

    def ask() -> None:
        url = running.system.service_url
        with httpx.Client(base_url=url, headers=asking.headers(url), timeout=10) as client:
            while not killed.is_set():
                try:
                    answer = client.post("/models/care/predict", json={"rows": rows})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.extend(p["id"] for p in answer.json()["predictions"])
                    first.set()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    assert first.wait(30)
    time.sleep(1)
    service = waited(lambda: part(running, "tasks.cli.service"), "the service's process")
    service.send_signal(signal.SIGKILL)
    killed.set()
    for client in clients:
        client.join(30)

    running.up()
    log = PredictionLog(running.settings.log_database)
    logged = set(log.frame("care", 0, 2**62)["_id"])
    log.close()
    assert len(acknowledged) >= 10 and set(acknowledged) <= logged
    answer = asking.post(f"{running.system.service_url}/models/care/predict", json={"rows": rows}, timeout=30)
    assert answer.status_code == 200 and answer.json()["version"] == running.champion()
