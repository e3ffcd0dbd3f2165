"""What is done to logged rows by hand: taken out as evidence, or forgotten."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.cli.runs import actor
from tasks.records.log.forgetting import equal
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import Forgotten, PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.erasure import Traces, found_in_files, ids_in, remotes_of, take_out, traces, what_ends_it
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, workspace
from tasks.spec.base import load_registered
from tasks.spec.data import Column
from tasks.spec.errors import AssayError, CheckoutError, ConfigError
from tasks.spec.ledger import EntryDraft, ForgottenDetails
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings

AGE = "age"
"""How an entry says that rows were deleted for their age. What was collected from them before goes on to teach."""
FILES = ("evidence", "collected")
"""Folders of a model's data in which Parquet files hold logged rows by id."""


def export(root: Path, settings: Settings, model: str, number: int) -> dict[str, Any]:
    """Write a window below ``data/<model>/evidence`` of a checkout, and let DVC track it.

    Raises:
        ConfigError: there is no such model or window, or none of its rows is left.
        StageError: DVC failed.
    """
    load_model(root, model)
    log = PredictionLog(settings.log_database)
    try:
        window = log.window(model, number)
        if window is None:
            raise ConfigError(f"{model} has no window {number}; {_windows(log, model)}.")
        done = log.export(
            model,
            window.first_seq,
            window.last_seq,
            root / "data" / model / "evidence" / f"window-{number:06d}.parquet",
            _declared(settings, model, window.version),
        )
    finally:
        log.close()
    dvc.add(root, done.path)
    path = done.path.relative_to(root).as_posix()
    return {
        "file": path,
        "pointer": f"{path}.dvc",
        "digest": done.digest,
        "rows": done.rows,
        "rows_missing": done.rows_missing,
        "version": window.version,
    }


def _declared(settings: Settings, model: str, version: str) -> tuple[Column, ...]:
    """The inputs of a registered version, as it declares them; none of one that the ledger does not know."""
    known = next((v for v in Registry(settings).versions(model) if v.tag == version), None)
    if known is None:
        return ()
    with workspace.worktree(settings, known.commit) as tree:
        return tuple(load_registered(model_folder(tree, model) / "model.yaml", ModelConfig).inputs)


def _windows(log: PredictionLog, model: str) -> str:
    newest = log.newest_window(model)
    return f"they go from 1 to {newest}" if newest else "none was cut yet, which monitoring does"


def forget(
    root: Path, settings: Settings, model: str, ids: list[str], where: str | None, expired: bool, because: str
) -> dict[str, Any]:
    """Delete logged rows by id, by the value of an input, or by age, and let the ledger keep that it happened.

    Raises:
        ConfigError: it is not said which rows, or the model has no such column.
        CheckoutError: the origin does not answer, and nothing was deleted; or the ledger cannot be written, and what
            was deleted is told to it later.
    """
    config = load_model(root, model)
    if bool(ids) + (where is not None) + expired != 1:
        raise ConfigError("say which rows in one way: --id (as often as needed), --where column=value, or --expired.")
    log = PredictionLog(settings.log_database)
    before = None
    try:
        with suppress(AssayError):  # what a command before left open; where it cannot be done yet, it is told below
            before = _finish(settings, log, model)
        if where is not None:
            ids = _found(settings, log, model, where)
        limit = _limit(config.name, config.monitoring.retention_days) if expired else ""
        learned = traces(settings, model, log.older(model, limit) if expired else ids)
        decided = _told(root, settings, model, _way(where, expired), because, learned)
        with workspace.turn(settings, model):
            if expired:
                found = log.expire(model, limit, decided)
            else:
                found = log.forget(model, ids, decided)
                open_ones = {key for waiting in log.waiting(model) for key in waiting.decision.forgets}
                if set(learned.taught) - open_ones and not found.predictions:  # gone from the log, and they teach on
                    log.decide(decided(found))
            copies = [str(path) for path in log.copies_holding(model, None if expired else ids)]
        _enter(settings, log, model, found)
        taught = _finish(settings, log, model) or before
    finally:
        log.close()
    return found.numbers() | {
        "swept": found.swept,
        "still_in": [] if expired else still_in(root, model, ids),
        "copies": copies,
        "learned": list(learned.versions),
        "rewritten": taught,
        "ends": what_ends_it(settings, model, learned, remotes_of(settings) if learned.files else {}),
    }


def _finish(settings: Settings, log: PredictionLog, model: str) -> str | None:
    """Enter what waits, and take deleted rows out of the main branch; gives the newest commit there."""
    with workspace.turn(settings, model):
        log.enter_all(model, partial(ledger.append, settings))
        return take_out(settings, model, log)


def _found(settings: Settings, log: PredictionLog, model: str, where: str) -> list[str]:
    """Ids of rows whose input has a value, in the log and in what was collected from it before."""
    column, value = _condition(where)
    ids = found_in_files(settings, model, lambda values: equal(values, column, value), column)
    try:
        return sorted({*ids, *log.find(model, column, value)})
    except ConfigError:
        if ids:  # the log may hold no row any more
            return ids
        raise


def _told(
    root: Path, settings: Settings, model: str, way: str, because: str, learned: Traces
) -> Callable[[Forgotten], Decision]:
    """The entry of a deletion, once its counts are known."""
    height = ledger.height(settings)

    def decided(found: Forgotten) -> Decision:
        details = ForgottenDetails(by=way, learned=learned.versions, files=learned.files, **found.numbers())
        draft = EntryDraft(
            kind="forgotten",
            model=model,
            actor=actor(root),
            reason="person",
            sentence=_sentence(found, because, learned),
            evidence={"at": datetime.now(UTC).isoformat(), **details.model_dump(mode="json")},
            details=details,
        )
        return Decision(draft, height, forgets=() if way == AGE else learned.taught)

    return decided


def _enter(settings: Settings, log: PredictionLog, model: str, found: Forgotten) -> None:
    try:
        with workspace.turn(settings, model):
            log.enter_all(model, partial(ledger.append, settings))
    except AssayError as error:
        raise CheckoutError(
            f"{_counted(found.predictions, 'logged predictions')} of {model} deleted, and the ledger cannot be told "
            f"yet: {error} The next monitoring run or 'assay forget' tells it."
        ) from None


def _limit(model: str, days: int | None) -> str:
    if days is None:
        raise ConfigError(f"{model} says no monitoring.retention_days, so nothing expires. Add it to its model.yaml.")
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def _condition(where: str) -> tuple[str, str]:
    column, sign, value = where.partition("=")
    if not sign or not column:
        raise ConfigError(f"--where is {where!r}; write column=value, e.g. --where name=Smith.")
    return column, value


def _way(where: str | None, expired: bool) -> str:
    """The value of the column is the person's, and stays out of the ledger."""
    return AGE if expired else f"column {where.partition('=')[0]}" if where else "id"


def _sentence(found: Forgotten, because: str, learned: Traces) -> str:
    others = [_counted(n, name) for name, n in found.numbers().items() if n and name not in ("predictions", "unknown")]
    also = f", with {', '.join(others)}" if others else ""
    by = (
        f"; {', '.join(learned.versions)} learned from such rows, not rebuildable from today"
        if learned.versions
        else ""
    )
    return f"{_counted(found.predictions, 'logged predictions')} deleted{also}{by}; {because}"


def _counted(n: int, names: str) -> str:
    return f"{n} {names if n != 1 else names.removesuffix('s')}"


def still_in(root: Path, model: str, ids: list[str]) -> list[str]:
    """Parquet files of this checkout that were made from the log before and still hold rows of these ids.

    What DVC tracks is named by its content, so it cannot be changed in place. The main branch's collected files hold
    the rows no more: pull it. Exported evidence has to be removed.
    """
    asked = pa.array(ids, type=pa.string())
    paths = sorted(p for folder in FILES for p in (root / "data" / model / folder).glob("*.parquet"))
    return [path.relative_to(root).as_posix() for path in paths if ids_in(path, asked)]


def forgotten_text(found: dict[str, Any]) -> str:
    """A deletion, for the terminal."""
    numbers = [
        _counted(found[name], name)
        for name in ("predictions", "outcomes", "overrides", "appeals", "reviews")
        if found[name]
    ]
    lines = [f"deleted: {', '.join(numbers)}" if numbers else "nothing was deleted"]
    if found["unknown"]:
        lines.append(f"of no logged prediction of this model: {_counted(found['unknown'], 'ids')}")
    if not found["swept"]:
        lines.append(
            "somebody kept the log busy, so the bytes may still be in its files: run the command again when nobody "
            "reads it"
        )
    lines += [
        f"still in {path} of this checkout: git pull and dvc checkout, or remove it with its .dvc pointer"
        for path in found["still_in"]
    ]
    if found["learned"]:
        lines.append(
            f"{', '.join(found['learned'])} learned from such rows: they serve on, and are not rebuildable from today"
        )
    if found["rewritten"]:
        lines.append(f"the collected files of the main branch hold them no more (commit {found['rewritten'][:12]})")
    lines += found["ends"]
    lines += [f"still in {path}, a copy of the log from before an upgrade: delete it" for path in found["copies"]]
    return "\n".join(lines)
