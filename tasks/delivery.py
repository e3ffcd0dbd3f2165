"""Tell everybody of a decision: the ledger, Prefect's events, and the run that acts on it; each once, whatever dies."""

from __future__ import annotations

import subprocess
import uuid
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from tasks.records.log.outbox import Decision, Waiting
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import erasure, ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository.workspace import turn
from tasks.science.windows.decisions import asks_for_retraining
from tasks.signing.doors import LABEL, seal
from tasks.spec.base import merkle_root
from tasks.spec.errors import AssayError
from tasks.spec.evidence import WindowReport
from tasks.spec.ledger import QuietDetails, WindowDetails
from tasks.spec.line import flat
from tasks.spec.settings import Settings
from tasks.spec.wording import plural

ATTEMPTS = 5
"""Runs that are started for one decision at most, where each dies or fails."""
STORED_AFTER, FORGOTTEN_AFTER = 30.0, 86_400.0
"""Seconds: Prefect's server stores an event some seconds after it took it, and deletes it days later."""
TOGETHER, DAY = 24, 86_400.0
"""Windows that say nothing are entered by so many, or when the first of them is so many seconds old."""
CLOCKS = 300.0
"""Seconds that clocks may be apart. What is dated later than that after now was looked at before a clock was set."""


@task(cache_policy=NO_CACHE, task_run_name="tell what was decided")
def deliver(model: str) -> None:
    """Carry every decision of a model on from the step that was marked last; those of runs that died, too.

    A decision leaves the outbox once its entry is in the ledger, its events are in Prefect's database, and what it
    started has ended. Entry, events and runs have keys, so a step that is done again changes nothing.

    Raises:
        CheckoutError: the ledger cannot be written; nothing is lost, and the next run tries again.
        CorruptionError: the same, of a ledger that does not hold.
    """
    settings = Settings()
    with (
        turn(settings, model),
        closing(PredictionLog(settings.log_database)) as log,
        get_client(sync_client=True) as client,
    ):
        gather_quiet(log, model)
        for waiting in log.waiting(model):
            if waiting.decision.quiet and waiting.entry is None:
                _told(client, log, waiting)
                continue
            log.enter(waiting, partial(ledger.append, settings))
            if waiting.decision.forgets:
                continue
            told = _told(client, log, waiting)
            acted = _acted(client, log, waiting)
            if told and acted:
                log.settle(waiting)
        take_out(settings, model, log)


def take_out(settings: Settings, model: str, log: PredictionLog) -> None:
    """Take forgotten rows out of the main branch; what watches a model does not stop for it, and tries again."""
    try:
        erasure.take_out(settings, model, log)
    except (AssayError, OSError, pa.ArrowException, subprocess.SubprocessError, KeyError) as error:
        said = str(error) if isinstance(error, AssayError) else f"{type(error).__name__}: {flat(str(error))[:300]}"
        print(f"rows that were forgotten are still in the collected files of {settings.branch}: {said}")


def gather_quiet(log: PredictionLog, model: str) -> None:
    """Make one decision of the windows that said nothing: before anything else is entered, of many, or after a day."""
    quiet: list[Waiting] = []
    for waiting in [*log.waiting(model), None]:
        if waiting is not None and waiting.decision.quiet and waiting.entry is None:
            quiet.append(waiting)
            continue
        if quiet and (waiting is not None or len(quiet) >= TOGETHER or not -CLOCKS <= _age(quiet[0]) <= DAY):
            for begin in range(0, len(quiet), TOGETHER):
                log.gather(part := quiet[begin : begin + TOGETHER], _together([one.decision for one in part]))
        quiet = []


def _age(waiting: Waiting) -> float:
    """Seconds since a window was looked at."""
    created = datetime.fromisoformat(str((waiting.decision.draft.evidence or {}).get("created")))
    return (datetime.now(UTC) - created).total_seconds()


def _together(parts: list[Decision]) -> Decision:
    reports = [part.draft.evidence for part in parts]
    numbers = tuple(part.draft.details.window for part in parts if isinstance(part.draft.details, WindowDetails))
    root = merkle_root(reports)
    named = f"window {numbers[0]}" if len(numbers) == 1 else f"windows {numbers[0]} to {numbers[-1]}"
    draft = parts[-1].draft.model_copy(
        update={
            "sentence": f"{named}: nothing; {plural(len(numbers), 'report')} in one entry",
            "evidence": {"root": root, "reports": reports},
            "details": QuietDetails(windows=numbers, root=root),
        }
    )
    events = [event for part in parts for event in part.identified]
    return Decision(draft, parts[0].height, events)


def _told(client: SyncPrefectClient, log: PredictionLog, waiting: Waiting) -> bool:
    """Send the events unless they are stored; gives whether they are."""
    events = _events(waiting)
    if not events:
        return True
    if waiting.told is not None:
        age = (datetime.now(UTC) - datetime.fromisoformat(waiting.told)).total_seconds()
        if 0 <= age < STORED_AFTER:
            return False
        if age > FORGOTTEN_AFTER or _stored(client, [event["id"] for event in events]):
            return True
    client.request("POST", "/events", json=events)
    log.mark(waiting, told=datetime.now(UTC).isoformat())
    return False


def _events(waiting: Waiting) -> list[dict[str, Any]]:
    draft = waiting.decision.draft
    resource = {"prefect.resource.id": f"assay.model.{draft.model}", "prefect.resource.name": draft.model}
    run = flow_run.id
    related = [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}] if run else []
    return [
        {
            "id": key,
            "occurred": datetime.now(UTC).isoformat(),
            "event": name,
            "resource": resource,
            "related": related,
            "payload": payload,
        }
        for name, payload, key in waiting.decision.identified
    ]


def _stored(client: SyncPrefectClient, ids: list[str]) -> bool:
    found: set[str] = set()
    for begin in range(0, len(ids), 50):  # a page of the server's answer
        asked = {"filter": {"id": {"id": ids[begin : begin + 50]}}, "limit": 50}
        found |= {event["id"] for event in client.request("POST", "/events/filter", json=asked).json()["events"]}
    return found >= set(ids)


def _acted(client: SyncPrefectClient, log: PredictionLog, waiting: Waiting) -> bool:
    """Start the run that the decision asks for, again where it died; gives whether nothing is left to do.

    A retraining that waits for labels is not started: the window that is judged once they are there starts it.
    """
    if waiting.decision.window is None:
        return True
    report = WindowReport.model_validate(waiting.decision.draft.evidence, strict=False)
    attempts = waiting.attempts
    if waiting.run is not None:
        state = _state(client, waiting.run)
        if state not in ("FAILED", "CRASHED"):
            return state in ("COMPLETED", "CANCELLED")
        if state == "FAILED" and asks_for_retraining(report):
            return True  # its verdict, or the reason why there is none, is on record
        attempts += 1
        if attempts >= ATTEMPTS:
            print(f"window {report.window}: {report.decision.action} was given up after {attempts} runs that ended so")
            return True
    registry = Registry(Settings())
    now = registry.state(report.model)
    if report.decision.action == "stop" and now.stopped:
        return True
    asked = what_to_start(report, now.champion, len(now.tenures), Settings().branch, attempts)
    if asked is None:
        return True
    name, request, key = asked
    run = client.create_flow_run_from_deployment(
        client.read_deployment_by_name(name).id,
        parameters={"request": request},
        idempotency_key=key,
        labels={LABEL: seal(Settings().home, name.partition("/")[0], request, key)},
    )
    started = str(run.id)
    print(f"window {report.window}: {report.decision.action} is flow run {started}")
    log.mark(waiting, run=started, attempts=attempts)
    return False


def _state(client: SyncPrefectClient, run: str) -> str:
    """The type of a run's state; CRASHED where the server knows no such run."""
    try:
        found = client.read_flow_run(uuid.UUID(run))
    except ObjectNotFound:
        return "CRASHED"
    return found.state.type.value if found.state else "PENDING"


def what_to_start(
    report: WindowReport, champion: str | None, tenures: int, branch: str, attempts: int = 0
) -> tuple[str, dict[str, Any], str] | None:
    """The deployment that a decision asks for, its request, and the key under which it starts once; None for nothing.

    Args:
        champion: the version that serves now; a decision on another is out of date.
        tenures: how often the alias was pointed.
        branch: what a retraining trains.
        attempts: how many runs were started before and died; a key of Prefect's is for ever one run.
    """
    if champion != report.version:
        return None  # the version that misbehaved does not serve any more
    request: dict[str, Any] = {"model": report.model, "reason": "monitor", "actor": "monitoring"}
    again = f"-again-{attempts}" if attempts else ""
    if asks_for_retraining(report):
        return (
            "train/training",
            request | {"reason": "retrain", "collect": True, "revision": branch},
            f"retrain-{report.model}-{report.version}-{report.window}{again}",
        )
    if report.decision.action == "roll_back":
        # Several windows may call for it; a version leaves once in a tenure.
        key = f"roll_back-{report.model}-{report.version}-{tenures}{again}"
        return (
            "roll-back/rollback",
            request | {"version": report.decision.target, "because": report.decision.reason[:500]},
            key,
        )
    if report.decision.action == "stop":
        return (
            "stop/stop",
            request | {"because": report.decision.reason[:500]},
            f"stop-{report.model}-{report.version}-{tenures}{again}",
        )
    return None
