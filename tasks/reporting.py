"""Tasks that put what happened before a person: artifacts in the Prefect UI and self-contained pages."""

from __future__ import annotations

import functools
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import FailedRun
from prefect.states import Failed, State

from tasks.evaluation import version_files
from tasks.records import pages
from tasks.records.predictions import PredictionLog
from tasks.records.registry import Registry
from tasks.spec.errors import AssayError
from tasks.spec.evidence import Verdict, WindowReport
from tasks.spec.settings import Settings
from tasks.training import Candidate


def told_plainly(story: Callable[[Any], State]) -> Callable[[Any], State]:
    """Let a flow end with the sentence of an :class:`AssayError`, in its state and in its log, without a traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_without_traceback)  # adding it again changes nothing

    @functools.wraps(story)
    def told(request: Any) -> State:
        try:
            return story(request)
        except AssayError as error:
            return Failed(message=str(error))

    # Prefect makes its form from the signature, and looks names up where the wrapper was written
    told.__signature__ = inspect.signature(story, eval_str=True)  # type: ignore[attr-defined]
    return told


def _without_traceback(record: logging.LogRecord) -> bool:
    cause = record.exc_info[1] if record.exc_info else None
    if isinstance(cause, AssayError):
        record.exc_info = None
    # A flow that ends in a state of ours has told why; its engine calls the same an unexpected exception.
    return not isinstance(cause, FailedRun)


def write_page(relative: str, html: str) -> Path:
    """Write one page below the report folder, and the list of all pages."""
    path = Settings().reports / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")
    found = [p for p in Settings().reports.rglob("*.html") if p.name != "index.html"]
    newest = [str(p.relative_to(Settings().reports)) for p in sorted(found, key=lambda p: -p.stat().st_mtime)]
    (Settings().reports / "index.html").write_text(pages.index_page(newest), encoding="utf-8")
    return path


def address_of(relative: str) -> str:
    """Where the running service shows a page; empty where no service is known."""
    url = Settings().service_url
    return f"{url}/reports/{relative}" if url else ""


def evidence_of(candidate: Candidate, verdict: Verdict) -> dict[str, Any]:
    """The document whose digest the registry's tags carry."""
    evaluation = _evaluation(candidate)
    return {"verdict": verdict.model_dump(mode="json"), "metrics": evaluation["metrics"], "importance": evaluation["importance"]}


def _evaluation(candidate: Candidate) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((candidate.place.evaluation / "evaluation.json").read_text())
    return document


@task(cache_policy=NO_CACHE, task_run_name="show the data checks")
def report_data(model: str, checks: list[dict[str, Any]]) -> None:
    """The expectations as a table artifact and as a page."""
    write_page(f"{model}/data.html", pages.data_page(model, checks))
    rows = [{"table": c["table"], "expectation": c["sentence"], "holds": "yes" if c["success"] else "NO", "rows": c["rows"]} for c in checks]
    create_table_artifact(key=f"data-{model.replace('_', '-')}", table=rows, description=f"Data expectations of {model}")


@task(cache_policy=NO_CACHE, task_run_name="show the verdict")
def report_verdict(candidate: Candidate, verdict: Verdict) -> str:
    """The verdict as an artifact and as a page; gives the page's path below the report folder."""
    name = f"{candidate.model}/verdict-{candidate.commit[:12]}.html"
    write_page(name, pages.verdict_page(verdict, candidate.place.config().title, _evaluation(candidate)))
    create_markdown_artifact(
        key=f"verdict-{candidate.model.replace('_', '-')}", markdown=pages.verdict_markdown(verdict, _evaluation(candidate), address_of(name)), description=f"Verdict on {candidate.commit[:12]}"
    )
    return name


@task(cache_policy=NO_CACHE, task_run_name="show the windows")
def report_windows(model: str, reports: list[WindowReport]) -> None:
    """Each window as a page, the newest as an artifact."""
    settings = Settings()
    champion = Registry(settings).champion(model)
    title = version_files(settings, model, champion).config.title if champion else model
    log = PredictionLog(settings.log_database)
    try:
        history = log.reports(model)
    finally:
        log.close()
    for report in reports:
        earlier = [r for r in history if r.window < report.window]
        write_page(f"{model}/window-{report.window:05d}.html", pages.window_page(report, earlier, title))
    before = [r for r in history if r.window < reports[-1].window]
    create_markdown_artifact(
        key=f"monitoring-{model.replace('_', '-')}", markdown=pages.window_markdown(reports[-1], before, address_of(f"{model}/window-{reports[-1].window:05d}.html")), description=f"Window {reports[-1].window} of {model}"
    )
