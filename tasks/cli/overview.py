"""What ``assay status`` shows, gathered from the registry, the ledger, the prediction log and the service."""

from __future__ import annotations

from typing import Any

import httpx

from tasks.cli import system
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.verification import told
from tasks.spec.display import with_display_names
from tasks.spec.evidence import Verdict
from tasks.spec.ledger import Entry, EntryKind
from tasks.spec.models import model_names
from tasks.spec.settings import ROOT, Settings
from tasks.spec.verdicts import verdict_sentence

EXAMINED: tuple[EntryKind, ...] = ("examined", "rejected", "awaiting_signature", "promoted")
"""Kinds of entries whose evidence can hold a verdict."""


def overview(settings: Settings) -> dict[str, Any]:
    """One document: the running system or None, and what is known of every model.

    Of a model: the champion, the version that the service answers with, the newest verdict and decision, and the
    commits that wait for a signature.
    """
    running = system.state(settings)
    health = _service(running.service_url) if running else None
    serving, problems = (health["models"], health["problems"]) if health else ({}, {})
    known = settings.origin or (settings.home / "origin.git").exists()
    state, entries, wrong = told(settings) if known else (None, [], [])
    counted = [e for e in entries if state and e.sequence <= state.sequence and e.sequence not in state.refused]
    log = (
        PredictionLog(settings.log_database)
        if (settings.home / "predictions.db").exists() or settings.log_url
        else None
    )
    models = {}
    try:
        for name in model_names(ROOT):
            reports = log.reports(name, last=1) if log else []
            models[name] = {
                "champion": state.of(name).champion if state else None,
                "serving": serving.get(name),
                "problem": problems.get(name),
                "decision": reports[-1].decision.action if reports else None,
                "window": reports[-1].window if reports else None,
                "because": reports[-1].decision.reason if reports else None,
                "verdict": _newest_verdict(settings, [e for e in counted if e.model == name]),
                "awaiting_signature": [commit[:12] for commit in (state.of(name).waiting if state else ())],
            }
    finally:
        if log:
            log.close()
    return {
        "system": running.__dict__ if running else None,
        "service_answers": health is not None,
        "ledger_entries": len(entries),
        "record_problems": wrong,
        "models": models,
    }


def _newest_verdict(settings: Settings, entries: list[Entry]) -> str | None:
    """What the newest verdict of a model says, and on which commit; None before the first candidate was examined."""
    examined = [e for e in entries if e.kind in EXAMINED and e.evidence and not e.rejected_untrained]
    documents = ((e, ledger.evidence(settings, str(e.evidence)).get("verdict")) for e in reversed(examined))
    for entry, document in documents:
        if document:  # a version that was assigned by hand has no verdict of its own
            verdict = Verdict.model_validate(document, strict=False)
            fit = "fit to serve" if verdict.passed else "not fit to serve"
            return f"{str(entry.commit)[:12]} is {fit}: {verdict_sentence(verdict)}"
    return None


def overview_text(found: dict[str, Any]) -> str:
    """The same for a person."""
    running = found["system"]
    lines = [
        f"Prefect UI {running['api_url'].removesuffix('/api')}   service {running['service_url']}"
        if running
        else "no system runs here; start it with: make up"
    ]
    for name, model in found["models"].items():
        if model["champion"] is None:
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
    return "\n".join([*lines, f"{found['ledger_entries']} ledger entries"])


def _serves(model: dict[str, Any], answers: bool) -> str:
    if not answers:
        return "and no service answers"
    if model["serving"] == model["champion"]:
        return "and serves"
    return (
        f"and the service still answers with {model['serving']}"
        if model["serving"]
        else "and the service has not taken it yet"
    )


def _service(url: str) -> dict[str, Any] | None:
    try:
        health: dict[str, Any] = httpx.get(f"{url}/health", timeout=5, trust_env=False).json()
    except httpx.HTTPError:
        return None
    return health
