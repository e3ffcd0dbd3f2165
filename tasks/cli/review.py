"""``assay review``: what an expert should look at, with its inputs, and what the expert says. ``assay label``: rows
whose outcomes would settle what is open."""

from __future__ import annotations

import math
import os
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
from tasks.science.windows.label_requests import waiting_rows
from tasks.spec.display import with_display_names
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import WindowReport
from tasks.spec.model import ModelConfig, load_model
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


# -- outcomes that are asked for --------------------------------------------------------------------------------------

UNKNOWN = "unknown"
"""The answer that nobody can say an outcome; it counts as whichever would be the worst."""
LABEL_COLUMN = "outcome"
OWN_COLUMNS = ("id", "window", "round")


def asked(settings: Settings, root: Path, model: str) -> list[dict[str, Any]]:
    """Rows whose outcomes are waited for, the newest window first, in the order of asking.

    Each has id, window, round, chance of having been drawn, score, inputs, and why it is asked for.
    """
    names = [c.name for c in load_model(root, model).inputs]
    found = []
    with _open(settings) as log:
        reports = [r for r in log.reports(model, last=LOOKED_BACK) if r.label_request is not None] if log else []
        for report in reversed(reports[-SHOWN_WINDOWS:]):
            rows = log.frame(model, report.first_seq, report.last_seq, extras=True)
            by_id = rows.set_index("_id")
            for row in waiting_rows(report, rows):
                logged = {str(k): _plain(v) for k, v in by_id.loc[row.id].items()}
                found.append(
                    {
                        "id": row.id,
                        "window": report.window,
                        "round": row.turn + 1,
                        "chance": report.label_request.chance(row),
                        "score": logged.get("_score"),
                        "inputs": {n: logged[n] for n in names if n in logged},
                        "why": report.label_request.why,
                    }
                )
    return found


def asked_text(found: list[dict[str, Any]], model: str, width: int | None = None) -> str:
    """The newest window's rows for a terminal; those of earlier ones are counted."""
    if not found:
        return f"no outcome of {model} is asked for"
    window = found[0]["window"]
    mine = [row for row in found if row["window"] == window]
    shown = Table(title=f"{model}: outcomes asked for in window {window}", title_justify="left", expand=True)
    for name, ratio in (("round", 1), ("prediction", 4), ("inputs", 8)):
        shown.add_column(name, ratio=ratio, overflow="fold")
    for row in mine:
        inputs = ", ".join(f"{k} {'missing' if v is None else v}" for k, v in row["inputs"].items())
        shown.add_row(str(row["round"]), escape(row["id"]), escape(inputs))
    console = Console(width=width)
    with console.capture() as captured:
        console.print(shown)
    more = len(found) - len(mine)
    lines = [
        captured.get().rstrip(),
        f"why: {with_display_names(mine[0]['why'])}",
        *([f"{plural(more, 'outcome')} of earlier windows, too: --csv FILE lists all"] if more else []),
        f"answer one: assay label {model} --answer ID OUTCOME, or {UNKNOWN!r} where nobody can say",
        f"answer many: assay label {model} --csv FILE, fill in its last column, assay label {model} --answers FILE",
    ]
    return "\n".join(lines)


def write_asked(found: list[dict[str, Any]], file: Path) -> int:
    """Write the rows as CSV, their outcome to be filled in; gives their number."""
    flat = [
        {"id": r["id"], "window": r["window"], "round": r["round"]}
        | {f"{k} (input)" if k in (*OWN_COLUMNS, LABEL_COLUMN) else k: _cell(v) for k, v in r["inputs"].items()}
        | {LABEL_COLUMN: None}
        for r in found
    ]
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as sheet:
            pd.DataFrame(flat, columns=None if flat else ["id", LABEL_COLUMN]).to_csv(sheet, index=False)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; name another file with --csv.") from None
    return len(flat)


def _cell(value: Any) -> Any:
    """What a spreadsheet shows and does not run as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def read_answers(file: Path) -> list[tuple[str, str]]:
    """Ids and outcomes of a CSV file; rows without an outcome are left out.

    Raises:
        ConfigError: it cannot be read, or lacks a column.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{file} cannot be read as CSV: {reason}; give the file that --csv wrote.") from None
    missing = [name for name in ("id", LABEL_COLUMN) if name not in table]
    if missing:
        raise ConfigError(
            f"{file} has no column {missing[0]!r}; allowed is a file with id and {LABEL_COLUMN}, as --csv writes it."
        )
    pairs = [(i.strip(), o.strip()) for i, o in zip(table["id"], table[LABEL_COLUMN], strict=True)]
    found: dict[str, str] = {}
    for name, outcome in pairs:
        if outcome and found.setdefault(name, outcome) != outcome:
            raise ConfigError(
                f"{file} gives {name!r} two outcomes, {found[name]!r} and {outcome!r}; leave one. Nothing was recorded."
            )
    return list(found.items())


def label(settings: Settings, root: Path, model: str, given: list[tuple[str, str]], because: str) -> dict[str, int]:
    """Record outcomes that were asked for, all or none; gives how many are known now, unknown, and still waited for.

    Raises:
        ConfigError: an outcome is none of the model's, or an id was not asked for.
    """
    config = load_model(root, model)
    outcomes = {name: outcome_of(config, name, text) for name, text in given}
    with _open(settings) as log:
        reports = [r for r in log.reports(model, last=LOOKED_BACK) if r.label_request is not None] if log else []
        window_of = {row.id: r.window for r in reports for row in r.label_request.rows}
        strange = next((name for name in outcomes if name not in window_of), None)
        if strange is not None:
            raise ConfigError(
                f"the outcome of {strange!r} is not asked for. List what is asked for with: assay label {model}; "
                "outcomes of other predictions come in by the service."
            )
        sender, who = own_id(settings), runs.actor(root)
        known = [(name, outcome) for name, outcome in outcomes.items() if outcome is not None]
        unknown = [name for name, outcome in outcomes.items() if outcome is None]
        if known:
            log.outcomes(model, known, sender)
        if unknown:
            log.reviews(model, [Review(n, window_of[n], "unsure", who, because) for n in unknown], sender)
    return {"known": len(known), "unknown": len(unknown), "waiting": len(asked(settings, root, model))}


def outcome_of(config: ModelConfig, name: str, text: str) -> bool | float | str | None:
    """What a person wrote as an outcome of the model; None where nobody can say it.

    Raises:
        ConfigError: the model has no such outcome.
    """
    target = config.data.target
    found: bool | float | str | None
    if text.casefold() == UNKNOWN and UNKNOWN not in config.classes:
        return None
    if target.kind == "binary":
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        words |= {target.positive.casefold(): True, target.negative.casefold(): False}  # the model's own words win
        found = words.get(text.casefold())
        allowed = f"true ({target.positive}) or false ({target.negative})"
    elif target.kind == "multiclass":
        found = text if text in config.classes else None
        allowed = ", ".join(config.classes)
    else:
        low = -math.inf if target.minimum is None else target.minimum
        high = math.inf if target.maximum is None else target.maximum
        try:
            number_given = float(text)
        except ValueError:
            number_given = math.nan
        found = number_given if math.isfinite(number_given) and low <= number_given <= high else None
        allowed = f"a finite number from {low:g} to {high:g} in {target.unit}"
    if found is None:
        raise ConfigError(f"the outcome of {name} is {text!r}; allowed: {allowed}, or {UNKNOWN}. Nothing was recorded.")
    return found
