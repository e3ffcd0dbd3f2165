"""Tasks that put what happened before a person: artifacts in the Prefect UI and self-contained pages."""

from __future__ import annotations

import functools
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Failed

from tasks.asked import sealed
from tasks.callers import as_proven
from tasks.card import card, page_of
from tasks.evaluation import base_rates
from tasks.records.log.predictions import PredictionLog
from tasks.records.pages.account import index_page
from tasks.records.pages.model import model_markdown, model_page
from tasks.records.pages.study import study_markdown, study_page
from tasks.records.pages.verdict import data_page, data_rows, verdict_markdown, verdict_page
from tasks.records.pages.watch import ModelStatus
from tasks.records.pages.window import window_markdown, window_page
from tasks.records.registry.registry import Registry, stopped_because
from tasks.records.registry.verification import told
from tasks.science.monitors.forecast.findings import watched_series
from tasks.science.monitors.forecast.track_record import record_rows, record_sentence, trigger_record
from tasks.science.windows.monitors import ranks
from tasks.science.windows.review_answers import answered_by_people, review_summary
from tasks.searching import Searching, show_progress
from tasks.spec.errors import AssayError
from tasks.spec.evidence import Finding, Verdict, WindowReport
from tasks.spec.forecast import Forecast, Observation, TriggerRecord
from tasks.spec.model import ModelConfig
from tasks.spec.review import ReviewAnswer
from tasks.spec.settings import Settings
from tasks.spec.targets import RegressionTarget
from tasks.versions import Candidate, version_files
from tasks.window_inputs import open_log

SHOWN = 60
"""Windows that pages look back on."""
REVIEWED = 5
"""Windows whose review queues are summed up."""


def fail_with_message(story: Callable[[Any], State]) -> Callable[[Any], State]:
    """Let a flow end with the sentence of an :class:`AssayError`, in its state and in its log, without a traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_without_traceback)  # adding it again changes nothing

    @functools.wraps(story)
    def guarded(request: Any) -> State:
        try:
            return story(as_proven(request))
        except AssayError as error:
            return Failed(message=str(error))

    # Prefect makes the form by this signature, in which annotations have to be types.
    guarded.__signature__ = inspect.signature(story, eval_str=True)  # type: ignore[attr-defined]
    return guarded


def _without_traceback(record: logging.LogRecord) -> bool:
    cause = record.exc_info[1] if record.exc_info else None
    if isinstance(cause, AssayError):
        record.exc_info = None
    # A flow that ends in a state of ours has said why; its engine calls the same an unexpected exception.
    return not isinstance(cause, FailedRun)


def write_page(relative: str, html: str) -> Path:
    """Write one page below the report folder, and the list of all pages."""
    path = Settings().reports / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    found = [p for p in Settings().reports.rglob("*.html") if p.name != "index.html"]
    newest = [str(p.relative_to(Settings().reports)) for p in sorted(found, key=lambda p: -p.stat().st_mtime)]
    (Settings().reports / "index.html").write_text(index_page(newest), encoding="utf-8")
    return path


def address_of(relative: str) -> str:
    """Where the running service shows a page; empty where no service is known."""
    url = Settings().service_url
    return f"{url}/reports/{relative}" if url else ""


def evidence_of(candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
    """The document whose digest the registry's tags carry."""
    evaluation = _evaluation(candidate)
    return {
        "verdict": verdict.model_dump(mode="json"),
        "metrics": evaluation["metrics"],
        "importance": evaluation["importance"],
        "base_rates": base_rates(candidate.paths, candidate.config, closed=sealed(candidate.config)),
    }


def _evaluation(candidate: Candidate) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((candidate.paths.evaluation / "evaluation.json").read_text())
    return document


@task(cache_policy=NO_CACHE, task_run_name="show the data checks")
def report_data(model: str, checks: list[dict[str, Any]]) -> None:
    """The expectations as a table artifact and as a page."""
    write_page(f"{model}/data.html", data_page(model, checks))
    create_table_artifact(
        key=f"data-{model.replace('_', '-')}", table=data_rows(checks), description=f"Data expectations of {model}"
    )


@task(cache_policy=NO_CACHE, task_run_name="show the verdict")
def report_verdict(candidate: Candidate, verdict: Verdict) -> str:
    """The verdict as an artifact and as a page; gives the page's path below the report folder."""
    name = f"{candidate.model}/verdict-{candidate.commit[:12]}.html"
    config, evaluation = candidate.config, _evaluation(candidate)
    write_page(name, verdict_page(verdict, config.title, evaluation, _unit(config)))
    create_markdown_artifact(
        key=f"verdict-{candidate.model.replace('_', '-')}",
        markdown=verdict_markdown(verdict, evaluation, address_of(name), _unit(config)),
        description=f"Verdict on {candidate.commit[:12]}",
    )
    return name


def report_search(found: Searching) -> None:
    """A study as it stands: how far it is as a bar, its trials as a page and as an artifact."""
    record, importance = found.study.record(), found.study.importance()
    name, key = f"{record.model}/search-{record.study}.html", f"search-{_key(record.model)}"
    show_progress(found, f"{key}-progress")
    write_page(name, study_page(record, found.config.title, importance))
    create_markdown_artifact(
        key=key,
        markdown=study_markdown(record, importance, address_of(name)),
        description=f"Study {record.study}",
    )


@task(cache_policy=NO_CACHE, task_run_name="show the windows")
def report_windows(model: str, reports: list[WindowReport]) -> None:
    """Each window as a page, the newest as an artifact; also those that a run which died had looked at."""
    settings = Settings()
    with open_log() as log:
        history = log.reports(model, last=SHOWN)
        known = {r.window for r in reports}
        lost = [r for r in history if r.window not in known and not _page_of(settings, r).exists()]
        reports = sorted([*lost, *reports], key=lambda r: r.window)
        drawn = {r.window: log.pictures(model, r.window) for r in reports}
    title, unit = _title_and_unit(settings, model)
    for report in reports:
        earlier = [r for r in history if r.window < report.window]
        write_page(
            _name_of(report),
            window_page(report, earlier, title, drawn[report.window], unit, ranks()),
        )
    before = [r for r in history if r.window < reports[-1].window]
    address = address_of(_name_of(reports[-1]))
    create_markdown_artifact(
        key=f"monitoring-{_key(model)}",
        markdown=window_markdown(reports[-1], before, address, unit),
        description=f"Window {reports[-1].window} of {model}",
    )


def _name_of(report: WindowReport) -> str:
    return f"{report.model}/window-{report.window:05d}.html"


def _page_of(settings: Settings, report: WindowReport) -> Path:
    return settings.reports / _name_of(report)


@task(cache_policy=NO_CACHE, task_run_name="show the model")
def report_model(model: str, silence: list[Finding]) -> None:
    """The page of the watched model, and the same as an artifact.

    What was decided and done before holds whatever happens here: a run that promoted never ends as failed since a page
    could not be written. The flow's log says so, with the traceback.
    """
    try:
        _report_model(model, silence)
    except Exception:  # whatever a page raises comes after the promotion, and must not undo how the run is told
        get_run_logger().exception("The page of %s could not be written; what was decided holds.", model)


def _report_model(model: str, silence: list[Finding]) -> None:
    settings = Settings()
    champion = Registry(settings).champion(model)
    if champion is None:
        return
    config = version_files(settings, model, champion).config
    with open_log() as log:
        reports = log.reports(model, last=SHOWN)
        record = _of_metrics(config, trigger_record(config, reports))
        watched = ModelStatus(
            model=model,
            title=config.title,
            champion=champion.tag,
            stopped=stopped_because(settings, model),
            reports=reports,
            told=told(settings, model)[1],
            silence=silence,
            answers=_answers(log, config, reports),
            forecasts=_forecasts(config, reports),
            record=record_rows(record),
            record_sentence=record_sentence(record),
            map=log.pictures(model, reports[-1].window).map if reports else None,
            unit=_unit(config),
            ranks=ranks(),
        )
    name = f"{model}/watching.html"
    write_page(name, model_page(watched))
    create_markdown_artifact(
        key=f"watching-{_key(model)}",
        markdown=model_markdown(watched, address_of(name)),
        description=f"How {model} is doing",
    )
    write_page(f"{model}/card.html", page_of(card(settings, model, champion.tag)))


def _answers(log: PredictionLog, config: ModelConfig, reports: list[WindowReport]) -> list[str]:
    """Reviews of the newest queues, overrides and appeals, a sentence each; none of what did not happen."""
    if not reports:
        return []
    counted = log.tally(config.name, reports[0].first_seq, reports[-1].last_seq)
    return [
        sentence
        for sentence in (
            _reviewed(log, config, reports),
            *answered_by_people(counted["overrides"], counted["appeals"], f"since window {reports[0].window}"),
        )
        if sentence
    ]


def _reviewed(log: PredictionLog, config: ModelConfig, reports: list[WindowReport]) -> str:
    """The newest review queues against outcomes, where there are any; empty where nobody was asked."""
    items = [item for report in reports[-REVIEWED:] for item in report.review]
    if not items:
        return ""
    first = min(r.first_seq for r in reports[-REVIEWED:] if r.review)
    rows = log.frame(
        config.name, first, reports[-1].last_seq, extras=True, columns=["_id", "_decision", "_label", "_review"]
    )
    said = rows[rows["_review"].notna()]
    answers = [ReviewAnswer(id=row["_id"], verdict=row["_review"], who="") for _, row in said.iterrows()]
    known = rows[rows["_label"].notna()]
    right = (
        {
            str(row["_id"]): row["_decision"] == (row["_label"] if config.kind == "multiclass" else row["_label"] > 0.5)
            for _, row in known.iterrows()
        }
        if config.kind != "regression"
        else {}
    )
    return review_summary(items, answers, right).sentence


def _of_metrics(config: ModelConfig, record: TriggerRecord) -> TriggerRecord:
    """The calls on watched metrics; those on rates and gaps of groups are in the findings."""
    return record.model_copy(update={"calls": tuple(c for c in record.calls if c.subject in config.watched)})


def _forecasts(config: ModelConfig, reports: list[WindowReport]) -> list[tuple[Forecast, tuple[Observation, ...]]]:
    """The newest window's forecasts, each with the series that it was made from."""
    if not reports:
        return []
    own = [(r.window, r.findings) for r in reports if r.version == reports[-1].version]
    series = {w.subject: w.series for w in watched_series(config, own)}
    return [(made, series.get(made.subject, ())) for made in reports[-1].forecasts]


def _title_and_unit(settings: Settings, model: str) -> tuple[str, str]:
    champion = Registry(settings).champion(model)
    if champion is None:
        return model, ""
    config = version_files(settings, model, champion).config
    return config.title, _unit(config)


def _unit(config: ModelConfig) -> str:
    """Of what a regression model predicts; empty for the other kinds."""
    target = config.data.target
    return target.unit if isinstance(target, RegressionTarget) else ""


def _key(model: str) -> str:
    return model.replace("_", "-")
