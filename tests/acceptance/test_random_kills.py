"""SIGKILL at random moments of everything that writes a record; afterwards nothing is lost, doubled or half done.

``ASSAY_KILLS`` says how many (8), ``ASSAY_KILLS_SEED`` with which draw. What each one met is a line of JSON in the
file that ``ASSAY_KILLS_TO`` names.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.cli.prefect_api import FINAL
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.registry import Registry
from tasks.records.repository.dvc import WITHIN
from tasks.records.repository.leftovers import SHARED, WORKTREE
from tasks.science.data.tables import LABEL, as_requests
from tasks.spec.ledger import QuietDetails, WindowDetails
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.system import Running, replay_rows, set_value

pytestmark = pytest.mark.acceptance

KILLS = int(os.environ.get("ASSAY_KILLS", "8"))
SEED = int(os.environ.get("ASSAY_KILLS_SEED", "1"))
ROWS = 100
"""Of a window."""
SECONDS = {"monitor": 6.0, "stop": 4.0, "roll-back": 4.0, "promote": 4.0, "train": 14.0}
"""How long each flow takes, roughly; a kill comes at any moment of that, from its process's first."""
VICTIMS = ("flow", "flow", "flow", "git", "dvc", "worker", "server")
OPERATIONS = ("monitor", "monitor", "stop", "roll-back", "promote", "train")


def watched(text: str) -> str:
    """Small windows, one of which is enough, and a limit beyond which a model is stopped."""
    return text.replace(
        "  window_rows: 500\n  minimum_rows: 100\n",
        f"  window_rows: {ROWS}\n  minimum_rows: 50\n  confirm_windows: 1\n  metric_limits: {{log_loss: 0.9}}\n",
    ).replace("  every_seconds: 600\n", "  every_seconds: 86400\n")


class Drill:
    """One system, its people's requests, and what is killed meanwhile."""

    def __init__(self, running: Running) -> None:
        self.running, self.draw = running, random.Random(SEED)
        self.rows = replay_rows(running, "care")
        self.trees = 90
        self.sent = 0

    def send(self, wrong: bool) -> None:
        """A window of rows; with outcomes that contradict every answer where it shall be stopped."""
        rows = self.rows.sample(ROWS, random_state=self.draw.randrange(2**31))
        url = f"{self.running.system.service_url}/models/care"
        answer = asking.post(f"{url}/predict", json={"rows": as_requests(load_model(ROOT, "care"), rows)}, timeout=60)
        assert answer.status_code == 200, answer.text
        self.sent += ROWS
        if wrong:
            told = [{"id": p["id"], "label": p["score"] < 0.5} for p in answer.json()["predictions"]]
            assert asking.post(f"{url}/outcomes", json={"outcomes": told}, timeout=60).status_code == 200
        assert LABEL in rows

    def ask(self, deployment: str, **request: Any) -> str:
        return self.running.api.start(deployment, {"model": "care", "reason": "person", "actor": "drill", **request})

    def start(self, operation: str) -> str:
        """Begin what a person or monitoring would begin; gives the flow run that is to meet its end."""
        running = self.running
        if operation == "monitor":
            self.send(wrong=False)
            return self.ask("monitor/monitoring")
        if operation == "stop":
            self.send(wrong=True)
            self.settled(self.ask("monitor/monitoring"))
            (waiting,) = self.outbox(acting=True)
            assert waiting.run is not None, "a window beyond the absolute limit stops the model"
            return str(waiting.run)
        if operation == "train":
            self.trees += 1
            commit = running.push("care: other trees", model=set_value("max_iter", str(self.trees)))
            return self.ask("train/training", revision=commit)
        tags = [v.tag for v in Registry(running.settings).versions("care")]
        other = self.draw.choice([tag for tag in tags if tag != running.champion()])
        name = "roll-back/rollback" if operation == "roll-back" else "promote/promotion"
        return self.ask(name, version=other, because="a drill")

    def outbox(self, acting: bool = False) -> list[Any]:
        with closing(PredictionLog(self.running.settings.log_database)) as log:
            return [w for w in log.waiting("care") if not acting or (w.decision.window is not None and w.run)]

    def settled(self, run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.running.api.wait(run, seconds=240)
        return state

    def processes(self, run: str) -> list[psutil.Process]:
        """Of one flow run; each that it started has its environment, or is a child of one that has."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                    for one in (process, *process.children(recursive=True)):
                        found[one.pid] = one
        return list(found.values())

    def kill(self, victim: str, run: str) -> str:
        """SIGKILL; gives what was met, as its last words on the command line."""
        family = self.processes(run)
        if victim in ("worker", "server"):
            home = self.running.settings.home
            family = [psutil.Process(json.loads((home / f"run/{victim}.json").read_text())["pid"])]
        elif victim == "git":
            family = [p for p in family if _name(p).startswith("git")]
        elif victim == "dvc":
            family = [p for p in family if WITHIN in _words(p)]
        met = " ".join(_words(family[-1])[-3:])[-60:] if family else ""
        for process in family:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return met


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="module")
def drill(running: Running) -> Iterator[Drill]:
    for trees, edit in ((81, watched), (83, lambda text: text)):
        commit = running.push(
            "care: a release", model=lambda text, n=trees, e=edit: e(set_value("max_iter", str(n))(text))
        )
        state = running.finished("train/training", commit)
        assert state["name"] == "Promoted", state["message"]
    running.until(lambda: running.serves("care") == "v2.0.0", "v2.0.0 in the service")
    yield Drill(running)


def one_kill(drill: Drill, operation: str, victim: str) -> dict[str, Any]:
    """Start, kill, wait for the end, let the next monitoring run carry on; gives what happened."""
    running = drill.running
    champion, before = running.champion(), len(running.ledger())
    run = drill.start(operation)
    delay = drill.draw.uniform(0, SECONDS[operation])
    end = time.monotonic() + 60
    while not drill.processes(run) and running.api.state(run)["type"] not in FINAL and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(delay)
    if victim in ("git", "dvc"):  # they are there for moments: wait for the next one
        until = time.monotonic() + SECONDS[operation]
        while not (met := drill.kill(victim, run)) and time.monotonic() < until:
            time.sleep(0.01)
    else:
        met = drill.kill(victim, run)
    killed = time.monotonic()
    if victim in ("worker", "server"):
        running.up()
    state = drill.settled(run)
    ended = time.monotonic() - killed
    after = running.champion()
    moved = after != champion
    if operation in ("roll-back", "promote", "train") and moved:
        running.until(
            lambda: running.api.state(run)["type"] == "COMPLETED", "a run that promoted to be told so", seconds=60
        )
    return {
        "operation": operation,
        "victim": victim,
        "delay": round(delay, 2),
        "met": met,
        "state": state["name"],
        "told": running.api.state(run)["name"],
        "seconds": round(ended, 1),
        "champion": after,
        "moved": moved,
        "entries": len(running.ledger()) - before,
    }


def mend(drill: Drill) -> None:
    """What a schedule does: monitoring runs until nothing waits; then the model answers again."""
    for _ in range(12):
        state = drill.settled(drill.ask("monitor/monitoring"))
        assert state["type"] in ("COMPLETED", "CRASHED"), state
        acting = [w.run for w in drill.outbox(acting=True)]
        for run in acting:
            drill.settled(run)
        if (
            not [w for w in drill.outbox() if not w.decision.quiet and (w.entry is None or w.told is None)]
            and not acting
        ):
            break
        time.sleep(1)
    else:
        raise AssertionError(f"what was decided was not carried on: {drill.outbox()}")
    running = drill.running
    if Registry(running.settings).state("care").stopped:
        tag = str(running.champion())
        assert drill.settled(drill.ask("promote/promotion", version=tag, because="mended"))["name"] == "Promoted"
    running.until(lambda: running.serves("care") == running.champion(), "the champion in the service")


def check(drill: Drill) -> None:
    """One champion, a record that holds, every window told once, and nothing left behind."""
    running, settings = drill.running, drill.running.settings
    verified = running.assay("ledger", "--verify")
    assert verified.returncode == 0, verified.stdout
    with closing(PredictionLog(settings.log_database)) as log:
        reports = log.reports("care")
    entered = [(e.read, e.evidence) for e in running.ledger() if e.kind == "monitored"]
    told = Counter((read.window, evidence) for read, evidence in entered if isinstance(read, WindowDetails))
    told += Counter((n, "") for read, _ in entered if isinstance(read, QuietDetails) for n in read.windows)
    assert set(told.values()) <= {1}, "a decision is in the ledger twice"
    quiet = {w.decision.draft.details.window for w in drill.outbox() if w.decision.quiet}
    assert {window for window, _ in told} | quiet == {r.window for r in reports}, "a window is not in the ledger"
    body = {"filter": {"event": {"prefix": ["assay.decision."]}, "order": "ASC"}, "limit": 50}
    page = running.api.call("POST", "/events/filter", body)
    assert len({e["id"] for e in page["events"]}) == len(page["events"])
    running.until(lambda: not left(running), "what the killed left to be removed", seconds=60)


def left(running: Running) -> list[Path]:
    settings = running.settings
    trees = [p for p in settings.worktrees.glob("*") if WORKTREE.fullmatch(p.name)]
    locks = [p for pattern in SHARED for p in (settings.clone / ".git").glob(pattern)]
    return trees + locks


def test_whatever_is_killed_nothing_is_lost_doubled_or_half_done(drill: Drill) -> None:
    to = os.environ.get("ASSAY_KILLS_TO")
    for n in range(KILLS):
        operation, victim = drill.draw.choice(OPERATIONS), drill.draw.choice(VICTIMS)
        if victim == "dvc" and operation != "train":
            victim = "flow"
        found = one_kill(drill, operation, victim)
        mend(drill)
        check(drill)
        if to:
            with Path(to).open("a") as stream:
                stream.write(json.dumps({"kill": n + 1, **found}) + "\n")
