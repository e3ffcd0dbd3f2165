"""How ``assay decision`` shows one logged prediction."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tasks.cli.common import row
from tasks.decisions import Decision
from tasks.records.log.single import Logged
from tasks.spec.wording import number

INDENT = 12


def as_json(found: Decision) -> dict[str, Any]:
    again = asdict(found.again) | {"explanation": None}
    if found.again.explanation is not None:
        again["explanation"] = found.again.explanation.model_dump(mode="json")
    return {
        **asdict(found.logged),
        "asked_by": found.asked_by,
        "threshold": None if found.manifest is None else found.manifest.decision_threshold,
        "ledger": found.served,
        "again": again,
    }


def text(found: Decision) -> str:
    logged, manifest = found.logged, found.manifest
    rows = [
        ("prediction", f"{logged.id} of {logged.model} {logged.version}, {logged.time}"),
        ("asked by", found.asked_by),
        ("input", ", ".join(f"{k} {'missing' if v is None else v}" for k, v in logged.inputs.items())),
        ("score", _score(logged)),
    ]
    if manifest is not None and manifest.decision_threshold is not None:
        rows.append(("threshold", f"{manifest.decision_threshold!r}"))
    if logged.decision is not None:
        rows.append(("decision", _named(logged.decision, found)))
    rows += _people(logged)
    explanation = found.again.explanation
    if explanation is not None:
        rows += [("reason", reason.says) for reason in explanation.reasons] or [("reasons", explanation.says)]
        leading = list(explanation.attributions.items())[:5]
        shares = ", ".join(f"{name} {value:+.4g}" for name, value in leading)
        rows.append(("moved by", f"{shares} ({explanation.of}, from {number(explanation.base)})"))
    elif found.again.unexplained:
        rows.append(("reasons", f"none: {found.again.unexplained}"))
    if found.served:
        rows.append(("ledger", found.served))
    rows.append(("again", _again(found)))
    return "\n".join(line for name, said in rows for line in row(name, said, INDENT, ""))


def _again(found: Decision) -> str:
    again, version = found.again, found.logged.version
    if again.same:
        return f"{version} gives the same score and decision again, bit for bit"
    if again.same is None:
        return f"it cannot be shown: {again.why}"
    return f"{version} gives {', '.join(map(repr, again.scores))} now; {again.why}"


def _score(logged: Logged) -> str:
    if logged.scores is None:
        return repr(logged.score)
    return ", ".join(f"{name} {score!r}" for name, score in logged.scores.items())


def _named(decision: bool | str, found: Decision) -> str:
    manifest = found.manifest
    if isinstance(decision, str) or manifest is None or not manifest.positive:
        return str(decision).lower() if isinstance(decision, bool) else decision
    return f"{str(decision).lower()} ({manifest.positive if decision else manifest.negative})"


def _people(logged: Logged) -> list[tuple[str, str]]:
    """Outcome, override, appeal and review; the newest of each counts, and earlier ones are shown before it."""
    rows = [("outcome", f"{_value(o)}, {o['time']}") for o in logged.outcomes] or [("outcome", "none yet")]
    rows += [("override", f"{_value(o)} by {o['who']}, {o['time']}: {o['why']}") for o in logged.overrides]
    rows += [
        ("appeal", f"{a['state']} by {a['who']}, {a['time']}" + (f": {a['claim']}" if a["claim"] else ""))
        for a in logged.appeals
    ]
    rows += [
        ("review", f"{r['verdict']} by {r['who']}, {r['time']}" + (f": {r['note']}" if r["note"] else ""))
        for r in logged.reviews
    ]
    return rows


def _value(row: dict[str, Any]) -> str:
    return str(row["value"]).lower() if isinstance(row["value"], bool) else str(row["value"])
