"""Tasks of monitoring: look at each window once, judge it again when its labels come, decide, act."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.apart import model_apart
from tasks.label_faults import fault_of_labels, fault_of_window
from tasks.labels import NOBODY, count_taught, labels_policy
from tasks.records.log.forgetting import Forgotten
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import PredictionLog, Window
from tasks.records.registry import erasure, ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository.changes import collected_until
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import turn
from tasks.science.data.tables import LABEL, label_array, score_array
from tasks.science.monitors.feed.silence import silence_findings
from tasks.science.monitors.performance.sampled import representative
from tasks.science.monitors.protocol import Reference, WindowInput
from tasks.science.windows.alternatives import compare_versions
from tasks.science.windows.decisions import (
    DecisionContext,
    asks_for_retraining,
    being_rolled_back,
    decide,
    foresees,
    of_the_model,
    performance_at_risk,
)
from tasks.science.windows.label_requests import answered_rounds, labelled_share
from tasks.science.windows.look import WindowResult, examine_window, judge_again
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Alternative, Finding, Pictures, WindowReport
from tasks.spec.ledger import EntryDraft, FeedDetails, ForgottenDetails, WindowDetails
from tasks.spec.requests import MonitoringRequest
from tasks.spec.review import LabelRequest
from tasks.spec.settings import Settings
from tasks.versions import VersionFiles, version_files
from tasks.window_inputs import answers_of, open_log, read_window, reference_of

EARLIER_VERSIONS = 2


@task(cache_policy=NO_CACHE, task_run_name="find a champion")
def waits_for_a_release(request: MonitoringRequest) -> bool:
    """Whether a schedule is ahead of the first release, which is nobody's mistake.

    A person who asks too early gets an error from :func:`find_work`.
    """
    return request.reason == "schedule" and Registry(Settings()).champion(request.model) is None


@task(cache_policy=NO_CACHE, task_run_name="find what is new")
def find_work(request: MonitoringRequest) -> tuple[list[Window], list[Window]]:
    """Windows that nobody has looked at, and windows whose labels have come since they were.

    Raises:
        ConfigError: the model has no champion yet.
    """
    model = request.model
    champion = Registry(Settings()).champion(model)
    if champion is None:
        raise ConfigError(
            f"{model} has no champion yet, so there is nothing to watch. Train it first: assay train {model}"
        )
    config = version_files(Settings(), model, champion).config.monitoring
    with open_log() as log:
        if config.retention_days is not None:
            _expire(log, request, config.retention_days)
        unseen = log.next_windows(model, config.window_rows, config.minimum_rows, request.windows)
        late = [r for r in log.reports(model, last=request.windows) if _labels_came(log, r, config.label_share)]
        return unseen, [w for r in late if (w := log.window(model, r.window)) is not None]


def _expire(log: PredictionLog, request: MonitoringRequest, days: int) -> None:
    """Delete what is older than the model keeps; the ledger says how much, and nothing where there was nothing."""
    settings, before = Settings(), datetime.now(UTC) - timedelta(days=days)
    height = ledger.height(settings)
    learned = erasure.traces(settings, request.model, older) if (older := log.older(request.model, before)) else None

    def decided(found: Forgotten) -> Decision:
        sentence = (
            f"{found.predictions:,} predictions older than {days} days were deleted, as monitoring.retention_days says"
        )
        of = {"learned": learned.versions, "files": learned.files} if learned else {}
        details = ForgottenDetails(by="age", **found.numbers(), **of)  # type: ignore[arg-type]
        draft = EntryDraft(
            kind="forgotten",
            model=request.model,
            actor=request.actor,
            reason=request.reason,
            sentence=sentence,
            evidence={"before": before.isoformat(), **details.model_dump(mode="json")},
            details=details,
        )
        return Decision(draft, height)

    with turn(settings, request.model):
        log.expire(request.model, before, decided)


def _labels_came(log: PredictionLog, report: WindowReport, share: float) -> bool:
    """Whether a second look would find more: enough of all labels, or the next answers to what was asked for."""
    shown = [f for f in report.findings if f.kind == "realized_performance"]
    if shown and all(f.value is not None for f in shown):
        return False
    now, request = log.labelled_share(report.model, report.first_seq, report.last_seq), report.label_request
    if now <= report.labelled / max(report.rows, 1) and request is None:
        return False
    if request is None:
        return now >= share
    rows = answers_of(log, report.model, report.first_seq, report.last_seq)
    if now > report.labelled / max(report.rows, 1) and labelled_share(request, rows) >= share:
        return True
    return now > 0 and answered_rounds(request, rows) > report.asked_rounds


@task(cache_policy=NO_CACHE, task_run_name="window {window.number}")
def look_at_window(request: MonitoringRequest, window: Window) -> WindowReport:
    """Compare one window with the reference of the version that answered it, decide, and keep report and decision.

    Where another run looked at it meanwhile, that run's report is given, and nothing is decided a second time.
    """
    settings, model = Settings(), request.model
    registry = Registry(settings)
    known = {v.tag: v for v in registry.versions(model)}
    if window.version not in known:
        raise ConfigError(
            f"window {window.number} of {model} was answered by {window.version}, which the registry does not "
            f"know; registered: {', '.join(known)}."
        )
    files = version_files(settings, model, known[window.version])
    reference = reference_of(files, settings.log_database)
    with open_log() as log:
        window_input = read_window(log, files, reference, window)
        before = next((r for r in window_input.history if r.window == window.number), None)
        if before is not None and not _labels_came(log, before, files.config.monitoring.label_share):
            return before
        seen = (
            examine_window(files.config, reference, window_input)
            if before is None
            else judge_again(files.config, reference, window_input, before)
        )
        rows = representative(window_input.rows, seen.request)
        alternatives = _alternatives(registry, files, rows, seen.findings, model)
        report = _report(log, registry, files, reference, window, window_input, seen, alternatives)
        if before is not None and asks_for_retraining(before) and report.decision.action not in ("roll_back", "stop"):
            # What was asked for stands, with its time: else a second look would forget that the retraining was started.
            stands = {key: getattr(before, key) for key in ("decision", "created", "newest_seq")}
            report = report.model_copy(update=stands)
        if before is None:
            log.keep_pictures(model, window.number, Pictures(plots=seen.plots, map=seen.map))
        if not log.save_report(report, _decision(report, request, before), before):
            report = log.report(model, window.number) or report
    return report


def _decision(report: WindowReport, request: MonitoringRequest, before: WindowReport | None) -> Decision:
    """What is to be told of a window: an entry, an event for every finding that is an alarm, and one for the action.

    Of a second look only what is new has an event: nobody is told twice of one cause.
    """
    about = {"window": report.window, "version": report.version}
    draft = EntryDraft(
        kind="monitored",
        model=report.model,
        version=report.version,
        actor=request.actor,
        reason=request.reason,
        sentence=f"window {report.window}: {report.decision.action.replace('_', ' ')}; {report.decision.reason}",
        evidence=report.model_dump(mode="json"),
        details=WindowDetails(window=report.window, action=report.decision.action),
    )
    told = {(f.kind, f.subject) for f in before.findings if f.alarm} if before else set()
    new = [f for f in report.findings if f.alarm and (f.kind, f.subject) not in told]
    events = [(f"assay.finding.{f.kind}", {**about, **f.model_dump(mode="json")}) for f in new]
    if before is None or report.decision.action != before.decision.action:
        decided = {**about, **report.decision.model_dump(mode="json")}
        events.append((f"assay.decision.{report.decision.action}", decided))
    return Decision(draft, ledger.height(Settings()), events, report.window if request.act else None)


def _report(
    log: PredictionLog,
    registry: Registry,
    files: VersionFiles,
    reference: Reference,
    window: Window,
    window_input: WindowInput,
    seen: WindowResult,
    alternatives: Sequence[Alternative],
) -> WindowReport:
    model = files.config.name
    history = [r for r in window_input.history if r.window != window.number]
    since = max(_collected_until(registry, model), _trouble_began(history, window.first_seq) - 1)
    labelled = count_taught(log, Settings(), files.config, since)
    untaught = "" if labels_policy(files.config).sources else NOBODY
    if not untaught and (performance_at_risk(files.config, seen.findings) or foresees(seen.findings)):
        untaught = fault_of_labels(log, Settings(), files, _collected_until(registry, model))
    decision = decide(
        DecisionContext(
            files.config,
            seen.findings,
            history,
            alternatives,
            labelled,
            window.number,
            being_rolled_back(history, window.number),
            untaught,
            fault_of_window(files.config, reference.rows, window_input.rows),
        )
    )
    return WindowReport(
        model=model,
        version=window.version,
        window=window.number,
        first=window_input.facts.first_time or "",
        last=window_input.facts.last_time or "",
        first_seq=window.first_seq,
        last_seq=window.last_seq,
        rows=window_input.profile.rows,
        labelled=log.count_labelled(model, window.first_seq - 1, window.last_seq),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        newest_seq=log.newest_seq(model),
        findings=seen.findings,
        first_estimates=_first_estimates(next((r for r in window_input.history if r.window == window.number), None)),
        alternatives=tuple(alternatives),
        forecasts=seen.forecasts,
        groups=seen.groups,
        review=seen.review,
        label_request=seen.request,
        asked_rounds=_asked_rounds(log, model, window, seen.request),
        decision=decision,
    )


def _asked_rounds(log: PredictionLog, model: str, window: Window, request: LabelRequest | None) -> int:
    if request is None:
        return 0
    return answered_rounds(request, answers_of(log, model, window.first_seq, window.last_seq))


def _first_estimates(before: WindowReport | None) -> tuple[Finding, ...]:
    """What the first look at a window estimated; the report of a later one keeps it, for it takes the other's place."""
    if before is None:
        return ()
    return before.first_estimates or tuple(f for f in before.findings if f.kind == "estimated_performance")


def _alternatives(
    registry: Registry, files: VersionFiles, rows: pd.DataFrame, findings: Sequence[Finding], model: str
) -> list[Alternative]:
    """Earlier champions scored on the same rows; only asked for where something that matters has moved."""
    settings, config = Settings(), files.config
    if not performance_at_risk(config, findings):
        return []
    known = rows[LABEL].notna()
    judged = bool(known.mean() >= config.monitoring.label_share)
    part = rows[known] if judged else rows
    alternatives = []
    for earlier in registry.previous_champions(model)[:EARLIER_VERSIONS]:
        if earlier.tag == files.version:
            continue
        with model_apart(version_files(settings, model, earlier).model) as release:
            if not release.fits(part):
                continue  # it cannot answer for rows of another schema
            scores = release.score(part)
        label = label_array(config, part[LABEL]) if judged else None
        found = compare_versions(
            config.kind,
            label,
            score_array(config, part),
            scores,
            earlier.tag,
            config.threshold,
            config.seed,
        )
        alternatives += [found] if found is not None else []
    return alternatives


@task(cache_policy=NO_CACHE, task_run_name="watch the feed")
def watch_feed(request: MonitoringRequest) -> list[Finding]:
    """Whether predictions or outcomes have stopped; it needs no window, for a stopped feed closes none.

    It is reported once, and again when it is over.
    """
    settings, model = Settings(), request.model
    champion = Registry(settings).champion(model)
    if champion is None:
        return []
    config = version_files(settings, model, champion).config
    with open_log() as log:
        newest = log.newest_times(model)
        found = silence_findings(config, *newest, datetime.now(UTC))
        silent = sorted(f.subject for f in found if f.alarm)
        if silent == log.silent_feeds(model):
            return found
    said = "; ".join(f.sentence for f in found if f.alarm) or "what had stopped arrives again"
    draft = EntryDraft(
        kind="monitored",
        model=model,
        version=champion.tag,
        actor=request.actor,
        reason=request.reason,
        sentence=f"feed: {said}",
        evidence={"at": datetime.now(UTC).isoformat(), "findings": [f.model_dump(mode="json") for f in found]},
        details=FeedDetails(silent=tuple(silent)),
    )
    events = [("assay.finding.feed", {"version": champion.tag, **f.model_dump(mode="json")}) for f in found if f.alarm]
    with open_log() as log:
        log.keep_silent_feeds(model, silent, Decision(draft, ledger.height(settings), events))
    return found


def _trouble_began(history: Sequence[WindowReport], first_seq: int) -> int:
    """The first row of the unbroken run of windows with alarms that ends here; older labels do not teach the cause."""
    began = first_seq
    for report in sorted((r for r in history if r.first_seq < first_seq), key=lambda r: -r.window):
        if not any(of_the_model(f) for f in report.findings):
            break
        began = report.first_seq
    return began


def _collected_until(registry: Registry, model: str) -> int:
    """The last row of the log that the champion's data version already holds."""
    champion = registry.champion(model)
    return collected_until(Git(Settings().clone), champion.commit, model) if champion else 0
