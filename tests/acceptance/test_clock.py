"""A system whose clock is set a day ahead and back again while it runs: nothing is lost, judged twice or accused."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.records.log.predictions import PredictionLog
from tasks.science.data.tables import as_requests
from tasks.spec.ledger import QuietDetails, WindowDetails
from tasks.spec.model import load_model
from tests import asking
from tests.clock import DAY, Clock, clock
from tests.conftest import ROOT
from tests.system import Running, replay_rows, require_package_index, running_system, set_value

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Clock]]:
    require_package_index()
    folder = tmp_path_factory.mktemp("system")
    made = clock(folder)
    with running_system(folder, **made.environment) as system:
        yield system, made


def predict(running: Running, rows: list[dict[str, Any]]) -> list[str]:
    answer = asking.post(f"{running.system.service_url}/models/care/predict", json={"rows": rows}, timeout=60)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["predictions"]]


def monitored(running: Running) -> dict[str, Any]:
    """As a person does: where the server is too busy after the jump, the command is given again, as it says."""
    end = time.monotonic() + 600
    done = running.assay("monitor", "care", "--json")
    while "Give the command again" in done.stderr and time.monotonic() < end:
        done = running.assay("monitor", "care", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def parts(running: Running) -> dict[str, dict[str, str]]:
    done = running.assay("status", "--json")
    assert "Traceback" not in done.stderr
    return {part["name"]: part for part in json.loads(done.stdout)["parts"]}


def entered(running: Running) -> Counter[int]:
    """How often each window is in the ledger."""
    found: Counter[int] = Counter()
    for entry in running.ledger():
        if isinstance(entry.read, WindowDetails):
            found[entry.read.window] += 1
        elif isinstance(entry.read, QuietDetails):
            found.update(entry.read.windows)
    return found


def test_a_clock_that_goes_a_day_ahead_and_back(running: tuple[Running, Clock]) -> None:
    system, clock = running
    commit = system.push("care: first release", model=set_value("max_iter", "81"))
    assert system.finished("train/training", commit)["name"] == "Promoted"
    system.until(lambda: system.serves("care") == "v1.0.0", "v1.0.0 in the service")
    rows = as_requests(load_model(ROOT, "care"), replay_rows(system, "care").head(500))
    ids = predict(system, rows)
    monitored(system)

    clock.set(DAY)
    ids += predict(system, rows)
    monitored(system)
    commit = system.push("care: more trees", model=set_value("max_iter", "83"))
    assert system.finished("train/training", commit)["type"] == "COMPLETED"
    assert (system.champion(), system.assay("status").returncode) == ("v2.0.0", 0)
    ids += predict(system, rows)

    clock.set(0)
    system.until(lambda: len(health(system)["record"]) == 3, "the clock in /health", 150)
    assert health(system)["status"] == "degraded"
    found = parts(system)
    assert {name for name, part in found.items() if part["state"] != "well"} == {"clock"}
    set_back, entry, prediction = found["clock"]["says"].split("; ")
    assert set_back == (
        "the clock was set back by 24 hours while this system ran, and its schedules start nothing until it is again "
        "where it was"
    )
    assert found["clock"]["fix"] == "assay down; assay up"
    assert entry.startswith("the ledger's newest entry is of ") and ", 24 hours after now" in entry
    assert prediction.startswith("the log's newest prediction is of ") and ", 24 hours after now" in prediction
    assert system.assay("down").returncode == 0
    system.up()
    system.until(lambda: len(coming(system)) > 0, "runs of schedules, after the clock was set back", 150)
    ids += predict(system, rows)
    assert monitored(system)["state"] in ("Completed", "Nothing new")
    back = system.assay("rollback", "care", "--because", "the clock was wrong")
    assert back.returncode == 0, back.stderr
    commit = system.push("care: still more trees", model=set_value("max_iter", "85"))
    assert system.finished("train/training", commit)["type"] == "COMPLETED"
    assert system.champion() == "v3.0.0"
    assert all(part["state"] == "well" for part in parts(system).values()), parts(system)
    system.until(lambda: not health(system)["record"], "an end of it in /health", 90)
    time.sleep(2)
    done = system.assay("ledger", "--verify", "--whole")
    assert done.returncode == 0, done.stdout
    log = PredictionLog(system.settings.log_database)
    try:
        assert set(log.frame("care", 0, 2**62)["_id"]) == set(ids)
        windows = [report.window for report in log.reports("care")]
        log.close()
    finally:
        log.close()
    assert windows == [1, 2, 3, 4] and max(entered(system).values(), default=1) == 1


def health(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = asking.get(f"{running.system.service_url}/health").json()
    return found


def coming(running: Running) -> list[dict[str, Any]]:
    """Runs that schedules made and that are due within the longest of their intervals."""
    soon = datetime.now(UTC) + timedelta(minutes=20)
    return [
        run
        for run in running.api.runs("monitor/monitoring")
        if run["auto_scheduled"] and run["state_type"] == "SCHEDULED"
        and datetime.now(UTC) < datetime.fromisoformat(run["expected_start_time"]) < soon
    ]  # fmt: skip
