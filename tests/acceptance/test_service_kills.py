"""A hundred times SIGKILL under load, of one worker or of the whole service: what was acknowledged is in the log."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until
from tests.serving.under_load import Load

pytestmark = pytest.mark.acceptance

KILLS = int(os.environ.get("ASSAY_SERVICE_KILLS", "100"))
OF_ONE = 3
"""Kills of single workers before the whole service is killed."""


def test_what_was_acknowledged_is_in_the_log_whoever_was_killed(tmp_path: Path) -> None:
    config, draw = load_model(ROOT, "care"), random.Random(1)
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    kills, acknowledged, refused, broken = {"worker": 0, "all": 0}, set[str](), 0, 0
    while sum(kills.values()) < KILLS:
        service = start(tmp_path, config, {"ASSAY_WORKERS": "2"})
        workers = ready(service)
        with Load(service.url, service.rows(1), clients=8) as load:
            for _ in range(OF_ONE):
                time.sleep(draw.uniform(0.05, 0.5))
                victim = draw.choice(sorted(workers))
                os.kill(victim, signal.SIGKILL)
                kills["worker"] += 1
                workers = ready(service, without=victim)
            time.sleep(draw.uniform(0.05, 0.5))
            for one in [psutil.Process(service.process.pid), *psutil.Process(service.process.pid).children()]:
                one.kill()
            kills["all"] += 1
            service.process.wait()
        acknowledged |= load.ids
        refused, broken = refused + sum(load.refused), broken + load.broken
        missing = acknowledged - logged(tmp_path)
        print(json.dumps({"kills": kills, "acknowledged": len(acknowledged), "missing": len(missing)}), flush=True)
        assert not missing and not refused
    with closing(sqlite3.connect(tmp_path / "predictions.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) - count(DISTINCT id) FROM predictions").fetchone() == (0,)
    print(json.dumps({"broken": broken}))
    assert len(acknowledged) > 10 * KILLS


def ready(service: Service, without: int = 0) -> set[int]:
    """The processes that answer, once both do."""
    found: set[int] = set()

    def both() -> bool:
        health = asking.get(f"{service.url}/health").json()
        found.clear()
        found.update(one["process"] for one in health["workers"].values() if "process" in one)
        return health["problems"] == {} and len(found) == 2 and without not in found

    until(both, seconds=60)
    return found


def logged(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "predictions.db")) as database:
        return {row[0] for row in database.execute("SELECT id FROM predictions")}
