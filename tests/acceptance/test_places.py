"""Trainings that never end hold no place that a rollback, a stop or a look at new windows needs."""

from __future__ import annotations

import json
import time

import pytest

from tasks.cli.prefect_api import PLACES
from tests.system import Running, set_value

pytestmark = pytest.mark.acceptance

ASLEEP = "from pathlib import Path\nimport time\n\ntime.sleep(100_000 + {number})\n"
SECONDS = 90.0
"""In which an order has to be obeyed on a machine that does other things, too; a quiet one takes 15 to 20."""


@pytest.fixture(scope="module")
def asleep(running: Running) -> Running:
    """Two versions, and then as many trainings whose stage sleeps as there are places, and one more."""
    for rounds in ("81", "87"):
        commit = running.push(f"care: {rounds} rounds", model=set_value("max_iter", rounds))
        state = running.finished("train/training", commit, seconds=500)
        assert state["name"] == "Promoted", state["message"]
    stage = running.clone / "tasks/stages/prepare.py"
    honest = stage.read_text()
    for number in range(PLACES["training"] + 1):
        stage.write_text(honest.replace("from pathlib import Path\n", ASLEEP.format(number=number), 1))
        running.push(f"care: asleep {number}")
        at_work = min(number + 1, PLACES["training"])
        running.until(lambda many=at_work: _at_work(running) == many, "the sleeping trainings", 180)  # type: ignore[misc]
    return running


def _at_work(running: Running) -> int:
    return sum(run["state_name"] == "Running" for run in running.api.runs("train/training"))


def test_a_rollback_and_a_stop_do_not_wait_for_them(asleep: Running) -> None:
    assert asleep.champion() == "v2.0.0"
    begun = time.monotonic()
    done = asleep.assay("rollback", "care", "--because", "it harms")
    assert done.returncode == 0, done.stdout + done.stderr
    asleep.until(lambda: asleep.serves("care") == "v1.0.0", "v1.0.0", SECONDS)
    took = time.monotonic() - begun
    begun = time.monotonic()
    done = asleep.assay("stop", "care", "--because", "it harms, too")
    assert done.returncode == 0, done.stdout + done.stderr
    asleep.until(lambda: asleep.serves("care") is None, "a stop", SECONDS)
    stopped = time.monotonic() - begun
    print(f"rolled back after {took:.0f} s and stopped after {stopped:.0f} s, beside {_at_work(asleep)} trainings")
    assert _at_work(asleep) == PLACES["training"] and max(took, stopped) < SECONDS


def test_monitoring_does_not_wait_for_them(asleep: Running) -> None:
    done = asleep.assay("monitor", "care")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _at_work(asleep) == PLACES["training"]


def test_what_waits_for_a_place_is_told(asleep: Running) -> None:
    def worker() -> str:
        found = json.loads(asleep.assay("status", "--json").stdout)
        (part,) = (part for part in found["parts"] if part["name"] == "worker")
        assert part["state"] == "well", part
        return str(part["says"])

    asleep.until(lambda: " runs wait for a place: training " in worker(), "who waits", 180)


def test_a_newer_push_takes_the_place_of_one_that_waits(asleep: Running) -> None:
    (before,) = [run for run in asleep.api.runs("train/training") if run["state_type"] == "SCHEDULED"]
    commit = asleep.push("care: newer", model=set_value("max_iter", "95"))
    assert (
        f"; it overtakes that of {before['parameters']['request']['revision'][:8]}, which had not begun" in asleep.said
    )
    state = asleep.api.state(before["id"])
    said = f"a newer push, {commit[:8]}, overtook it before it began"
    assert (state["type"], state["message"]) == ("CANCELLED", said)
    assert _at_work(asleep) == PLACES["training"]
