"""What ``assay status`` shows, gathered from the registry, the ledger, the prediction log and the service."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tasks.cli import state
from tasks.cli.parts import parts, service_health
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.authority import State
from tasks.records.registry.verification import told
from tasks.records.repository.installed import examiner_digest
from tasks.spec.display import with_display_names
from tasks.spec.errors import AssayError
from tasks.spec.ledger import EntryKind
from tasks.spec.models import model_names
from tasks.spec.settings import ROOT, Settings
from tasks.spec.verdicts import verdict_sentence

EXAMINED: tuple[EntryKind, ...] = ("examined", "rejected", "awaiting_signature", "promoted")
"""Kinds of entries whose evidence can hold a verdict."""


def overview(settings: Settings) -> dict[str, Any]:
    """One document: the running system or None, each of its parts, what examines, and what is known of every model.

    Of a model: the champion, the version that the service answers with, the newest verdict and decision, and the
    commits that wait for a signature. What cannot be known of one hides nothing of the others.
    """
    running = state.state(settings)
    health = _health(settings, running.service_url) if running else None
    code = Path(running.code) if running else ROOT
    found = parts(settings)
    broken = {part.name for part in found if part.state == "not well"}
    known = settings.has_origin and "clone" not in broken
    proven, wrong = _told(settings) if known else (None, [])
    log = PredictionLog(settings.log_database) if settings.has_log and "database" not in broken else None
    try:
        models = {name: _model(settings, name, health, log, proven) for name in model_names(ROOT)}
    finally:
        if log:
            log.close()
    return {
        "system": running.__dict__ if running else None,
        "parts": [part.__dict__ for part in found],
        "service_answers": health is not None,
        "examiner": examiner_digest(code) if (code / "tasks").is_dir() else None,
        "ledger_entries": proven.sequence if proven else 0,
        "record_problems": wrong,
        "models": models,
    }


def _told(settings: Settings) -> tuple[State | None, list[str]]:
    """What is proven; a home whose own files about the ledger are broken is one problem, and hides no part."""
    try:
        return told(settings)
    except (AssayError, OSError, sqlite3.Error) as error:
        return None, [f"the ledger cannot be read here: {error}"]


def _health(settings: Settings, url: str) -> dict[str, Any] | None:
    try:
        return service_health(settings, url)
    except AssayError:  # the part "service" says why
        return None


def _model(
    settings: Settings,
    name: str,
    health: dict[str, Any] | None,
    log: PredictionLog | None,
    proven: State | None,
) -> dict[str, Any]:
    """What is known of one model.

    Args:
        settings: of the home.
        name: of the model.
        health: what the service says; None where it does not answer.
        log: None where there is none, or none that can be read.
        proven: what the ledger proves; None where there is none, or no clone of it.
    """
    serving, problems = (health["models"], health["problems"]) if health else ({}, {})
    model: dict[str, Any] = {
        "champion": None,
        "serving": serving.get(name),
        "problem": problems.get(name),
        "stopped": name in (health or {}).get("stopped", ()),
        "decision": None,
        "window": None,
        "because": None,
        "verdict": None,
        "awaiting_signature": [],
    }
    try:
        if log and (reports := log.reports(name, last=1)):
            decision = reports[-1].decision
            model |= {"decision": decision.action, "window": reports[-1].window, "because": decision.reason}
        if proven is not None:
            model["champion"] = proven.of(name).champion
            model["awaiting_signature"] = [commit[:12] for commit in proven.of(name).waiting]
            model["verdict"] = _newest_verdict(settings, name, proven)
    except AssayError as error:
        model["problem"] = "; ".join(filter(None, [model["problem"], str(error)]))
    return model


def _newest_verdict(settings: Settings, model: str, proven: State) -> str | None:
    """What the newest verdict of a model says, and on which commit; None before the first candidate was examined."""
    newest = (e for e in ledger.newest(settings, model, EXAMINED) if e.sequence not in proven.refused)
    examined = (e for e in newest if e.evidence and not e.rejected_untrained)
    for entry in examined:
        verdict = ledger.verdict(settings, str(entry.evidence))
        if verdict:  # a version that was assigned by hand has no verdict of its own
            fit = "fit to serve" if verdict.passed else "not fit to serve"
            return f"{str(entry.commit)[:12]} is {fit}: {verdict_sentence(verdict)}"
    return None


def overview_text(found: dict[str, Any]) -> str:
    """The same for a person."""
    started = [part for part in found["parts"] if part["state"] != "not started"]
    unwell = [part for part in started if part["state"] == "not well"]
    lines = [_part_line(part) for part in started]
    if not any(part["name"] == "Prefect server" for part in started):
        lines.append("no system runs here; start it with: make up")
    for name, model in found["models"].items():
        if model["champion"] is None and any(part["name"] in ("clone", "ledger") for part in unwell):
            lines.append(f"{name}: nobody knows which version is champion, until the record can be read")
        elif model["champion"] is None:
            lines.append(f"{name}: no champion yet; train it with: assay train {name}")
        else:
            lines.append(f"{name}: {model['champion']} is champion {_serves(model, found['service_answers'])}")
        if model["problem"]:
            lines.append(f"  problem: {model['problem']}")
        if model["verdict"]:
            lines.append(f"  newest verdict: {model['verdict']}")
        if model["decision"]:
            lines.append(
                f"  window {model['window']}: {model['decision'].replace('_', ' ')}; "
                f"{with_display_names(model['because'])}"
            )
        lines += [
            f"  {commit} waits for a signature: assay approve {name} {commit} --as YOU --key FILE --because WHY"
            for commit in model["awaiting_signature"]
        ]
    lines += [f"record: {sentence}" for sentence in found["record_problems"]]
    lines.append(f"{found['ledger_entries']} ledger entries")
    examiner = found["examiner"] or "unknown: the checkout that the system runs from is gone"
    return "\n".join([*lines, f"examiner {examiner}"])


def _serves(model: dict[str, Any], answers: bool) -> str:
    if not answers:
        return "and no service answers"
    if model["stopped"]:
        return "and answers nothing, since it is stopped"
    if model["serving"] == model["champion"]:
        return "and serves"
    return (
        f"and the service still answers with {model['serving']}"
        if model["serving"]
        else "and the service has not taken it yet"
    )


def _part_line(part: dict[str, Any]) -> str:
    if part["state"] == "well":
        return f"✓ {part['name']:<15}{part['says']}"
    return f"✕ {part['name']:<15}{part['says'].removesuffix('.')}. Mend it: {part['fix']}"
