"""``python -m tasks.cli.keeper``: the part that clears up after what died, tells Prefect how it ended, and starts what
was pushed.

Prefect's own detection needs a heartbeat that a run misses (prefect#18404, #18653, #16746); here the processes
themselves are looked at. A flow run of this home's pool carries its id in its environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psutil

from tasks.cli.alignment import WATCHING, request_of, restart
from tasks.cli.clocks import AHEAD, clock_problems, set_back
from tasks.cli.logins import own_server
from tasks.cli.prefect_api import POOL, PrefectApi
from tasks.cli.pushes import Pushes
from tasks.records.registry import ledger, pointers
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import told
from tasks.records.repository import leftovers
from tasks.science.monitors.feed.common import span
from tasks.serving.trust import RECORD
from tasks.spec.errors import AssayError
from tasks.spec.ledger import EntryKind, TrainedDetails
from tasks.spec.requests import FinalState
from tasks.spec.settings import Settings

EVERY = 5.0
"""Seconds between two looks, where nobody pushes."""
MOMENT = 0.2
"""Seconds until a push is seen."""
RECORD_EVERY = 60.0
"""Seconds between two looks at the record and at the clock."""
PATIENCE = 45.0
"""Seconds that a run may wait between its worker's claim and its process."""
RECENT = 100
"""Runs that ended last and badly; by their number, since no clock needs to be right for that."""
TRIES = 5
"""Runs of monitoring that are started to publish one champion."""
EFFECTS: dict[str, tuple[EntryKind, str]] = {
    "train": ("promoted", FinalState.PROMOTED),
    "promote": ("promoted", FinalState.PROMOTED),
    "approve": ("promoted", FinalState.PROMOTED),
    "roll-back": ("rolled_back", FinalState.ROLLED_BACK),
    "stop": ("stopped", FinalState.STOPPED),
}
"""What each flow leaves in the ledger once it has done what it is for, and the name of its final state."""


class Keeper:
    """Looks again and again; a run is dead where two looks in a row find no process of it.

    How long something lasts is told by a clock that nobody sets.
    """

    def __init__(self, settings: Settings, api: PrefectApi) -> None:
        self.settings, self.api, self.pushes = settings, api, Pushes(settings, api)
        self._missing: dict[str, tuple[str, float]] = {}
        self._behind = ""
        self._furthest = _wall()
        set_back(settings).unlink(missing_ok=True)
        self._judged: set[str] = set()
        self._started: dict[str, int] = {}
        self._record_due = 0.0

    def look(self) -> None:
        """One look; what it finds is put right, and what cannot be asked keeps none of the rest from that."""
        for step in (self.pushes.look, self._clear, self._end_dead, self._judge_ended, self._let_go, self._each_minute):
            try:
                step()
            except AssayError as error:
                print(error, file=sys.stderr, flush=True)
            except Exception:  # nobody starts it again: it outlives whatever one look meets, a lock or a full disk
                traceback.print_exc()

    def _clear(self) -> None:
        for path in leftovers.clear(self.settings):
            print(f"removed {path}, which a process that died had left", flush=True)

    def _end_dead(self) -> None:
        at_work, now = self._at_work(), time.monotonic()
        here = _run_ids()  # after that: what starts meanwhile is seen, and what ends is not asked for a second time
        found = {run["id"]: (run["state"]["type"], now) for run in at_work if run["id"] not in here}
        for run in at_work:
            before = self._missing.get(run["id"])
            if run["id"] not in found or before is None or before[0] != run["state"]["type"]:
                continue
            found[run["id"]] = before
            waits = before[0] == "PENDING"  # its process may still come
            if not waits or now - before[1] > PATIENCE:
                self._end(run)
                del found[run["id"]]
        self._missing = found

    def _judge_ended(self) -> None:
        for run in self._ended_badly():
            self._judge(run)

    def _each_minute(self) -> None:
        if time.monotonic() >= self._record_due:
            self._record_due = time.monotonic() + RECORD_EVERY
            self._tell_clock()
            self._follow_clock()
            self._point()
            self._tell_record()

    def _tell_clock(self) -> None:
        """Say so where the clock was set back under this system: the services of Prefect's server wait for that time.

        A server that is started anew does not; and neither does one whose clock is again where it was.
        """
        now = _wall()
        self._furthest = max(self._furthest, now)
        path, by = set_back(self.settings), self._furthest - now
        if by <= AHEAD.total_seconds():
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"the clock was set back by {span(by)} while this system ran, and its schedules start nothing until it is "
            "again where it was"
        )

    def _follow_clock(self) -> None:
        """Where the clock was set back, let schedules begin anew, and start what somebody asked for before that.

        Prefect would start nothing until the clock is again where it was.
        """
        newest = self._runs({"end_time": {"is_null_": False}}, sort="END_TIME_DESC", limit=1)
        if newest and newest[0]["id"] != self._behind and _ahead(newest[0]["end_time"]):
            self._behind = newest[0]["id"]
            print(f"a run ended at {newest[0]['end_time']}, which is after now: the clock was set back", flush=True)
            restart(self.api)
            self._start_waiting()

    def _let_go(self) -> None:
        """Of many late runs of one schedule leave the newest: they would all find the same.

        A clock that is set ahead makes everything late at once that was to come, and so does a machine that slept. Who
        asks for a run would wait behind all that.
        """
        late = self._runs(
            {"state": {"name": {"any_": ["Late", "AwaitingConcurrencySlot"]}}}, "EXPECTED_START_TIME_DESC"
        )
        of: dict[str, list[dict[str, Any]]] = {}
        for run in late:
            if run["auto_scheduled"]:
                of.setdefault(json.dumps(run["parameters"], sort_keys=True), []).append(run)
        for runs in of.values():
            for run in runs[1:]:
                self._say(run, "CANCELLED", None, "it was late, and a later run of its schedule waits, too")

    def _start_waiting(self) -> None:
        waits = self._runs({"state": {"type": {"any_": ["SCHEDULED"]}}}, sort="EXPECTED_START_TIME_DESC")
        for run in waits:
            if not run["auto_scheduled"] and _ahead(run["created"]):
                self._say(run, "SCHEDULED", None, "due since the clock was set back", datetime.now(UTC).isoformat())

    def _point(self) -> None:
        for model in pointers.align(self.settings):
            print(f"champion.json of {model} was not what the ledger proves, and was written anew", flush=True)
        for model, (said, entry) in pointers.behind(self.settings).items():
            self._bring_in_line(model, said, entry)

    def _bring_in_line(self, model: str, said: str, entry: str) -> None:
        """Let monitoring publish a champion whose files the release store lacks: the run that promoted it died.

        A run of the model that is at work may be just about to; a schedule that a person paused stays paused.
        """
        if self._started.get(entry, 0) >= TRIES or any(_concerns(run, model) for run in self._at_work()):
            return
        schedules = self.api.call("GET", f"/deployments/name/{WATCHING}")["schedules"]
        if any(one["slug"] == model and one["active"] for one in schedules):
            self._started[entry] = self._started.get(entry, 0) + 1
            self.api.start(WATCHING, request_of(model), listed=False)
            print(f"{said}; a run of monitoring was started, which publishes it", flush=True)

    def _tell_record(self) -> None:
        """Let the service say what is wrong with the record and with the clock, of which it cannot ask itself."""
        path = self.settings.home / "service" / RECORD
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(f".{RECORD}.part")
        said = set_back(self.settings)
        stands = [f"{said.read_text()}: assay down; assay up"] if said.exists() else []
        draft.write_text(json.dumps([*told(self.settings)[1], *clock_problems(self.settings), *stands]))
        draft.replace(path)

    def _at_work(self) -> list[dict[str, Any]]:
        return self._runs({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})

    def _ended_badly(self) -> list[dict[str, Any]]:
        """Runs that ended lately as crashed or failed and were not looked at yet, whoever said that they had."""
        runs = self._runs({"state": {"name": {"any_": ["Crashed", "Failed"]}}}, sort="END_TIME_DESC", limit=RECENT)
        return [run for run in runs if run["id"] not in self._judged]

    def _runs(self, asked: dict[str, Any], sort: str = "ID_DESC", limit: int = 200) -> list[dict[str, Any]]:
        body = {"work_pools": {"name": {"any_": [POOL]}}, "flow_runs": asked, "sort": sort, "limit": limit}
        runs: list[dict[str, Any]] = self.api.call("POST", "/flow_runs/filter", body)
        return runs

    def _end(self, run: dict[str, Any]) -> None:
        cancelled = run["state"]["type"] == "CANCELLING"
        self._say(
            run, "CANCELLED" if cancelled else "CRASHED", None, "its process died, and nothing was left half done"
        )

    def _judge(self, run: dict[str, Any]) -> None:
        """A run that had done what it was for before it died or failed is not told as crashed or failed."""
        found = self._effect(run)
        if found is not None:
            sentence, name = found
            died = run["state"]["type"] == "CRASHED"
            then = "its process died after that" if died else f"it failed after that: {run['state']['message']}"
            self._say(run, "COMPLETED", name, f"{sentence} ({then})")
            self._record_due = 0.0  # what it promoted may not be published yet
        self._judged.add(run["id"])

    def _effect(self, run: dict[str, Any]) -> tuple[str, str] | None:
        """What the ledger says that a run did; None where it did not come so far."""
        request = run["parameters"].get("request") or {}
        flow = self.api.call("GET", f"/flows/{run['flow_id']}")["name"]
        if flow not in EFFECTS or not run["start_time"] or "model" not in request:
            return None
        kind, name = EFFECTS[flow]
        if flow == "train":
            sentence = self._promoted_by(run["id"], request["model"])
            return None if sentence is None else (sentence, name)
        if run["state"]["type"] != "CRASHED":
            return None  # it was refused; what is there may be another run's
        entry = next(ledger.newest(self.settings, request["model"], (kind,)), None)
        if entry is None or datetime.fromisoformat(entry.time) < datetime.fromisoformat(run["start_time"]):
            return None
        return (f"{entry.model} {entry.version}: {entry.sentence}", name) if entry.reason == request["reason"] else None

    def _promoted_by(self, run_id: str, model: str) -> str | None:
        """The candidate's branch has the run's name, and the version has the candidate's commit."""
        end, versions = f"-{run_id.replace('-', '')[:12]}", Registry(self.settings).versions(model)
        trained = islice(ledger.newest(self.settings, model, ("trained",)), RECENT)
        commits = [e.commit for e in trained if isinstance(e.read, TrainedDetails) and e.read.branch.endswith(end)]
        made = next((v for v in versions if v.commit in commits), None)
        return f"{model} {made.tag} is champion" if made else None

    def _say(self, run: dict[str, Any], kind: str, name: str | None, message: str, due: str | None = None) -> None:
        state: dict[str, Any] = {"type": kind, "message": message, **({"name": name} if name else {})}
        state |= {"state_details": {"scheduled_time": due}} if due else {}
        ended = run["state"]["type"] in ("CRASHED", "FAILED")
        body = {"state": state, "force": ended or due is not None}  # one forced to end would keep its place in line
        self.api.call("POST", f"/flow_runs/{run['id']}/set_state", body)
        print(f"flow run {run['name']} ({run['id']}): {kind.lower()}, {message}", flush=True)


def _concerns(run: dict[str, Any], model: str) -> bool:
    return (run["parameters"].get("request") or {}).get("model") == model


def _wall() -> float:
    """How far the time of day is ahead of a clock that nobody sets, in seconds."""
    return time.time() - time.monotonic()


def _ahead(moment: str) -> bool:
    return datetime.fromisoformat(moment) - datetime.now(UTC) > AHEAD


def _run_ids() -> set[str]:
    """Ids of the flow runs that have a process on this machine, as far as this user may look."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
    return found


def main() -> int:
    """Look until the system is stopped; what cannot be asked is asked again."""
    settings = Settings()
    keeper = Keeper(settings, own_server(settings, os.environ["PREFECT_API_URL"]))
    while True:
        keeper.look()
        end = time.monotonic() + EVERY
        while time.monotonic() < end and not keeper.pushes.waits():
            time.sleep(MOMENT)


if __name__ == "__main__":
    sys.exit(main())
