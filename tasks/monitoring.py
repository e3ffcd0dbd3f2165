"""Tasks of monitoring: look at each window once, judge it again when its labels come, decide, act."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment
from prefect.events import emit_event

from tasks.evaluation import VersionFiles, version_files
from tasks.records import ledger
from tasks.records.git import Git
from tasks.records.predictions import PredictionLog, Window
from tasks.records.registry import Registry
from tasks.science.alternatives import compare_versions
from tasks.science.decisions import Case, asks_for_retraining, decide
from tasks.science.monitoring import examine_window
from tasks.science.tables import LABEL, SCORE
from tasks.serving.release import load_release
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Alternative, Finding, WindowReport
from tasks.spec.requests import MonitoringRequest
from tasks.spec.settings import Settings

EARLIER_VERSIONS = 2
PERFORMANCE = {"estimated_performance", "realized_performance", "prediction_drift", "selection_rate"}


@contextmanager
def open_log() -> Iterator[PredictionLog]:
    log = PredictionLog(Settings().log_database)
    try:
        yield log
    finally:
        log.close()


@task(cache_policy=NO_CACHE, task_run_name="find what is new")
def find_work(request: MonitoringRequest) -> tuple[list[Window], list[WindowReport]]:
    """Windows that nobody has looked at, and reports whose labels have come since.

    Raises:
        ConfigError: the model has no champion yet.
    """
    model = request.model.value
    champion = Registry(Settings()).champion(model)
    if champion is None:
        raise ConfigError(f"{model} has no champion yet, so there is nothing to watch. Train it first: assay train {model}")
    config = version_files(Settings(), model, champion).config.monitoring
    with open_log() as log:
        unseen = log.next_windows(model, config.window_rows, config.minimum_rows, request.windows)
        late = [r for r in log.reports(model)[-request.windows :] if _labels_came(log, r, config.label_share)]
    return unseen, late


def _labels_came(log: PredictionLog, report: WindowReport, share: float) -> bool:
    if any(f.kind == "realized_performance" for f in report.findings):
        return False
    rows = log.frame(report.model, report.first_seq, report.last_seq)
    return bool(rows["_label"].notna().mean() >= share)


@task(cache_policy=NO_CACHE, task_run_name="window {first_seq} to {last_seq}")
def look_at_window(model: str, number: int, version: str, first_seq: int, last_seq: int) -> WindowReport:
    """Compare one window with the reference window of the version that answered it, decide, and keep the report."""
    settings = Settings()
    registry = Registry(settings)
    known = {v.tag: v for v in registry.versions(model)}
    if version not in known:
        raise ConfigError(f"window {number} of {model} was answered by {version}, which the registry does not know; registered: {', '.join(known)}.")
    files = version_files(settings, model, known[version])
    config = files.config
    with open_log() as log:
        rows = log.frame(model, first_seq, last_seq)
        reports = [r for r in log.reports(model) if r.version == version]
        history = [r for r in reports if r.window != number]
        before = next((r for r in reports if r.window == number), None)
        findings = examine_window(config, files.reference(), rows, files.evaluation["importance"], config.seed)
        alternatives = _alternatives(registry, files, rows, findings, model)
        since = max(_collected_until(registry, model), _trouble_began(history, first_seq) - 1)
        labelled = log.count_labelled(model, since)
        decision = decide(Case(config, findings, history, alternatives, labelled, number, _leaving(history, number)))
        created = datetime.now(UTC).isoformat(timespec="seconds")
        if before is not None and asks_for_retraining(before) and decision.action != "roll_back":
            # What was asked for stands, with its time: else a second look would forget that the retraining was started.
            decision, created = before.decision, before.created
        report = WindowReport(
            model=model,
            version=version,
            window=number,
            first=str(rows["_time"].iloc[0]),
            last=str(rows["_time"].iloc[-1]),
            first_seq=first_seq,
            last_seq=last_seq,
            rows=len(rows),
            labelled=int(rows[LABEL].notna().sum()),
            created=created,
            findings=tuple(findings),
            alternatives=tuple(alternatives),
            decision=decision,
        )
        log.save_report(report)
    return report


def _alternatives(
    registry: Registry, files: VersionFiles, rows: pd.DataFrame, findings: Sequence[Finding], model: str
) -> list[Alternative]:
    """Earlier champions scored on the same window; only asked for where something that matters has moved."""
    if not any(f.alarm and f.kind in PERFORMANCE for f in findings):
        return []
    settings, config = Settings(), files.config
    label = rows[LABEL].to_numpy(float)
    judged = rows[LABEL].notna().to_numpy() if rows[LABEL].notna().mean() >= config.monitoring.label_share else None
    alternatives = []
    for earlier in registry.previous_champions(model)[:EARLIER_VERSIONS]:
        if earlier.tag == files.version:
            continue
        release = load_release(version_files(settings, model, earlier).model)
        if not release.fits(rows):
            continue  # it cannot answer for rows of another schema
        scores = release.score(rows)
        current = rows[SCORE].to_numpy(float)
        if judged is None:
            alternatives.append(compare_versions(None, current, scores, earlier.tag, config.threshold, config.seed))
        else:
            truth = label[judged].astype(bool)
            alternatives.append(
                compare_versions(truth, current[judged], scores[judged], earlier.tag, config.threshold, config.seed)
            )
    return alternatives


def _trouble_began(history: Sequence[WindowReport], first_seq: int) -> int:
    """The first row of the unbroken run of windows with alarms that ends here; older labels do not teach the cause."""
    began = first_seq
    for report in sorted((r for r in history if r.first_seq < first_seq), key=lambda r: -r.window):
        if not any(f.alarm and f.kind in PERFORMANCE for f in report.findings):
            break
        began = report.first_seq
    return began


def _leaving(history: Sequence[WindowReport], number: int) -> bool:
    """Whether the unbroken run of this version's windows before this one called for a rollback."""
    by_number = {r.window: r for r in history}
    while (number := number - 1) in by_number:
        if by_number[number].decision.action == "roll_back":
            return True
    return False


def _collected_until(registry: Registry, model: str) -> int:
    """The last row of the log that the champion's data version already holds."""
    champion = registry.champion(model)
    if champion is None:
        return 0
    names = Git(Settings().clone).run("ls-tree", "--name-only", champion.commit, f"data/{model}/collected/")
    return max((int(n) for n in re.findall(r"rows-\d+-(\d+)\.parquet\.dvc", names)), default=0)


@task(cache_policy=NO_CACHE, task_run_name="record window {report.window}")
def record(report: WindowReport, request: MonitoringRequest) -> None:
    """Write the decision into the ledger and send an event for every finding that is an alarm."""
    ledger.append(
        Settings(),
        kind="monitored",
        model=report.model,
        version=report.version,
        commit=None,
        actor=request.actor,
        reason=request.reason,
        sentence=f"window {report.window}: {report.decision.action.replace('_', ' ')}; {report.decision.reason}",
        evidence=report.model_dump(mode="json"),
    )
    resource = {"prefect.resource.id": f"assay.model.{report.model}", "prefect.resource.name": report.model}
    for finding in report.findings:
        if finding.alarm:
            payload = {"window": report.window, "version": report.version, **finding.model_dump(mode="json")}
            emit_event(event=f"assay.finding.{finding.kind}", resource=resource, payload=payload)
    decision = {"window": report.window, "version": report.version, **report.decision.model_dump(mode="json")}
    emit_event(event=f"assay.decision.{report.decision.action}", resource=resource, payload=decision)


@task(cache_policy=NO_CACHE, task_run_name="act on window {report.window}: {report.decision.action}")
def act(report: WindowReport) -> str | None:
    """Start the retraining, the rollback or the stop that was decided; the last two once in a tenure.

    A retraining that waits for labels is not started: the window that is judged once they are there starts it.

    Returns:
        The id of the flow run that was started, if any.
    """
    registry = Registry(Settings())
    champion = registry.champion(report.model)
    asked = what_to_start(report, champion.tag if champion else None, registry.assignments(report.model), Settings().branch)
    if asked is None:
        return None
    name, request, key = asked
    run = run_deployment(name, parameters={"request": request}, timeout=0, idempotency_key=key, as_subflow=False)
    return str(run.id)


def what_to_start(report: WindowReport, champion: str | None, tenures: int, branch: str) -> tuple[str, dict[str, Any], str] | None:
    """The deployment that a decision asks for, its request, and the key under which it starts once; None for nothing.

    Args:
        champion: the version that serves now; a decision on another is out of date.
        tenures: how often the alias was pointed.
        branch: what a retraining trains.
    """
    if champion != report.version:
        return None  # the version that misbehaved does not serve any more
    request: dict[str, Any] = {"model": report.model, "reason": "monitor", "actor": "monitoring"}
    if asks_for_retraining(report):
        return "train/training", request | {"reason": "retrain", "collect": True, "revision": branch}, f"retrain-{report.model}-{report.version}-{report.window}"
    if report.decision.action == "roll_back":
        # Several windows may call for it; a version leaves once in a tenure.
        key = f"roll_back-{report.model}-{report.version}-{tenures}"
        return "roll-back/rollback", request | {"version": report.decision.target, "because": report.decision.reason[:500]}, key
    if report.decision.action == "stop":
        return "stop/stop", request | {"because": report.decision.reason[:500]}, f"stop-{report.model}-{report.version}-{tenures}"
    return None
