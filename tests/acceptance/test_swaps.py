"""Versions change places under load, 180 times by the promotion task and 20 times by whole flows.

No request fails, each answer is of one version, all of them are in the log, and a new version answers seconds after
its pointer was written.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from tasks.cli.environment import for_parts
from tasks.cli.logins import of_client
from tasks.science.data.tables import as_requests
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.under_load import Load, Told
from tests.system import Running, replay_rows, require_package_index, running_system, set_value

pytestmark = pytest.mark.acceptance

TASKS, FLOWS = int(os.environ.get("ASSAY_SWAPS", "180")), int(os.environ.get("ASSAY_SWAPS_BY_FLOW", "20"))
TAGS = ("v1.0.0", "v2.0.0")
TASK = """
import json, sys
from tasks.promotion import assign_version
from tasks.spec.requests import PromotionRequest, RollbackRequest

for line in sys.stdin:
    version, kind = line.split()
    made = RollbackRequest if kind == "rolled_back" else PromotionRequest
    assign_version(made(model="care", version=version, because="a drill", reason="person", actor="drill"), kind)
    print(version, flush=True)
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A system whose service has two processes, with two versions of care."""
    require_package_index()
    with running_system(tmp_path_factory.mktemp("system"), ASSAY_WORKERS="2") as running:
        for trees in (81, 83):
            commit = running.push("care: a release", model=set_value("max_iter", str(trees)))
            running.until(lambda commit=commit: trainings(running, commit) != [], "a training", 300)  # type: ignore[misc]
            state = running.api.wait(trainings(running, commit)[0]["id"], seconds=900)
            assert state["name"] == "Promoted", state["message"]
        running.until(lambda: running.serves("care") == TAGS[1], "v2.0.0 in the service", 120)
        yield running


class Pointed:
    """Watches the pointer; ``moments`` holds when each change was written, and to which version."""

    def __init__(self, running: Running) -> None:
        self.path = running.settings.releases / "care/champion.json"
        self.moments: list[tuple[float, str]] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Pointed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._thread.join()

    def _watch(self) -> None:
        stamp, version = 0, TAGS[1]
        while not self.ended.wait(0.005):
            found = self.path.stat().st_mtime_ns
            if found != stamp:
                stamp, now = found, json.loads(self.path.read_text())["version"]
                if now != version:
                    version = now
                    self.moments.append((found / 1e9, version))


def test_versions_change_places_under_load(released: Running) -> None:
    running = released
    rows = as_requests(load_model(ROOT, "care"), replay_rows(running, "care").head(1))
    url = running.system.service_url
    with Pointed(running) as pointed, Load(url, rows, clients=4, pause=0.004) as load:
        by_task(running, load)
        by_flow(running, load)
        time.sleep(1)
    first, last = seconds(pointed.moments, load.told)
    found = {
        "swaps": len(first), "answers": len(load.told), "refused": sum(load.refused), "broken": load.broken,
        "first new answer, s": {"median": float(np.median(first)), "worst": max(first)},
        "last old answer, s": {"median": float(np.median(last)), "worst": max(last)},
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    assert len(first) == TASKS + FLOWS and not any(load.refused) and not load.broken
    pairs = {(one.version, one.score) for one in load.told}
    assert sorted(version for version, _ in pairs) == list(TAGS), f"a score of another version: {pairs}"
    assert len({score for _, score in pairs}) == 2, "the row tells the versions apart"
    with closing(sqlite3.connect(running.settings.home / "predictions.db")) as database:
        logged = {row[0]: (row[1], row[2]) for row in database.execute("SELECT id, version, score FROM predictions")}
    assert all(logged.get(one.id) == (one.version, one.score) for one in load.told)
    assert np.median(first) < 2 and max(first) < 5
    assert running.assay("ledger", "--verify").returncode == 0


def trainings(running: Running, revision: str) -> list[dict[str, Any]]:
    runs = running.api.runs("train/training")
    return [run for run in runs if run["parameters"]["request"]["revision"] == revision]


def other(running: Running) -> str:
    return next(tag for tag in TAGS if tag != running.champion())


def until_answered(load: Load, version: str) -> None:
    end = time.monotonic() + 30
    while load.told[-1].version != version or load.told[-2].version != version:
        assert time.monotonic() < end, f"{version} does not answer"
        time.sleep(0.01)


def by_task(running: Running, load: Load) -> None:
    """The body of the flows, as a task of its own that Prefect records, in one process."""
    mark = (running.settings.home / "run/mark").read_text()
    environment = for_parts(running.settings, running.system, mark) | of_client(running.settings)
    process = subprocess.Popen(
        [sys.executable, "-c", TASK], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    with process:
        version = other(running)
        for number in range(TASKS):
            process.stdin.write(f"{version} {'rolled_back' if number % 2 else 'promoted'}\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == version
            until_answered(load, version)
            version = next(tag for tag in TAGS if tag != version)
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def by_flow(running: Running, load: Load) -> None:
    for number in range(FLOWS):
        version, name = other(running), "roll-back/rollback" if number % 2 else "promote/promotion"
        asked = {"model": "care", "reason": "person", "actor": "drill", "version": version, "because": "a drill"}
        state = running.api.wait(running.api.start(name, asked), seconds=600)
        assert state["type"] == "COMPLETED", state
        until_answered(load, version)


def seconds(moments: list[tuple[float, str]], told: list[Told]) -> tuple[list[float], list[float]]:
    """Of each swap, from the pointer to the first answer of the new version, and to the last one of the old."""
    told = sorted(told, key=lambda one: one.moment)
    times = np.array([one.moment for one in told])
    first, last = [], []
    for number, (moment, version) in enumerate(moments):
        end = moments[number + 1][0] if number + 1 < len(moments) else np.inf
        here = told[int(np.searchsorted(times, moment)) : int(np.searchsorted(times, end))]
        first.append(next(one.moment for one in here if one.version == version) - moment)
        last.append(max((one.moment - moment for one in here if one.version != version), default=0.0))
    return first, last


def test_the_service_answers_with_two_processes(released: Running) -> None:
    found = asking.get(f"{released.system.service_url}/health").json()
    assert len(found["workers"]) == 2 and found["problems"] == {}
