"""``assay review``: what an expert should look at, with its inputs, and what the expert says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.cli import runs
from tasks.cli.credentials import own_id
from tasks.records.log.predictions import PredictionLog, Review
from tasks.spec.display import with_display_names
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import WindowReport
from tasks.spec.model import load_model
from tasks.spec.review import ANSWERS, ReviewItem
from tasks.spec.settings import Settings
from tasks.spec.wording import number, plural

SHOWN_WINDOWS = 5
LOOKED_BACK = 60
"""Windows whose queues can be answered."""


@contextmanager
def _open(settings: Settings) -> Iterator[Any]:
    """The prediction log, or None where nothing was ever logged; reading must not make one."""
    log = PredictionLog(settings.log_database) if settings.has_log else None
    try:
        yield log
    finally:
        if log is not None:
            log.close()


def queue(settings: Settings, root: Path, model: str) -> list[dict[str, Any]]:
    """The items of the newest windows that have any, newest window first, each with its inputs as the log has them now.

    ``inputs`` is None where the row is not in the log any more; ``answer`` is the newest one, None without.
    """
    names = [c.name for c in load_model(root, model).inputs]
    with _open(settings) as log:
        reports = [r for r in log.reports(model, last=LOOKED_BACK) if r.review][-SHOWN_WINDOWS:] if log else []
        return [
            _shown(item, rows, names)
            for report in reversed(reports)
            for rows in [_logged(log, report)]
            for item in report.review
        ]


def _logged(log: Any, report: WindowReport) -> pd.DataFrame:
    rows: pd.DataFrame = log.frame(report.model, report.first_seq, report.last_seq, extras=True)
    return rows.set_index("_id")


def _shown(item: ReviewItem, rows: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    there = item.id in rows.index
    row = {str(k): v for k, v in rows.loc[item.id].items()} if there else {}
    inputs = {n: _plain(row[n]) for n in names if n in row} if there else None
    return item.model_dump(mode="json") | {"inputs": inputs, "answer": _plain(row.get("_review"))}


def _plain(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value


def table(found: list[dict[str, Any]], model: str) -> Table:
    """The queue for a terminal; few columns, for a row has many inputs."""
    shown = Table(title=f"{model}: predictions to look at", title_justify="left", show_lines=True, expand=True)
    for name, ratio in (("prediction", 2), ("why", 3), ("inputs", 4)):
        shown.add_column(name, ratio=ratio, overflow="fold")
    for item in found:
        score = "no score" if item["score"] is None else f"score {number(item['score'])}"
        decision = "" if item["decision"] is None else f", {str(item['decision']).lower()}"
        said = f"\nanswered: {item['answer']}" if item["answer"] else ""
        alike = item["alike"]
        more = f"; {plural(alike, 'more row')} {'is' if alike == 1 else 'are'} the same" if alike else ""
        inputs = (
            "not in the log any more"
            if item["inputs"] is None
            else ", ".join(f"{k} {'missing' if v is None else v}" for k, v in item["inputs"].items())
        )
        cells = [
            f"{item['id']}\nwindow {item['window']}: {score}{decision}{said}",
            with_display_names("; ".join(item["reasons"])) + more,
            inputs,
        ]
        shown.add_row(*(escape(c) for c in cells))
    return shown


def text(found: list[dict[str, Any]], model: str, width: int | None = None) -> str:
    """The same as text, in the terminal's width."""
    if not found:
        return f"no prediction of {model} waits to be looked at"
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table(found, model))
    return captured.get().rstrip()


def answer(settings: Settings, root: Path, model: str, given: tuple[str, str], because: str) -> dict[str, Any]:
    """Record what the one who runs the command says about one prediction of a queue.

    Raises:
        ConfigError: no such answer, or no window's queue holds the prediction.
    """
    load_model(root, model)
    identifier, verdict = given
    if verdict not in ANSWERS:
        raise ConfigError(f"the answer is {verdict!r}; allowed: {', '.join(ANSWERS)}.")
    with _open(settings) as log:
        known = (
            {item.id: report.window for report in log.reports(model, last=LOOKED_BACK) for item in report.review}
            if log
            else {}
        )
        if identifier not in known:
            raise ConfigError(
                f"no queue of {model} holds the prediction {identifier!r}. List what is there with: assay review "
                f"{model}"
            )
        who = runs.actor(root)
        log.reviews(model, [Review(identifier, known[identifier], verdict, who, because)], own_id(settings))
    return {"id": identifier, "verdict": verdict, "who": who, "because": because}
