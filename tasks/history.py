"""The history of a model, from the ledger's entries that count: its candidates, what changed, and when each served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.records.registry import ledger
from tasks.records.registry.candidates import Told, candidates
from tasks.records.registry.spans import Span, spans
from tasks.records.repository.differences import Difference, differences
from tasks.records.repository.objects import Objects
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import ConfigError
from tasks.spec.ledger import Entry, StoppedDetails
from tasks.spec.models import model_file
from tasks.spec.settings import ROOT, Settings
from tasks.spec.wording import plural

PAIRED = ", challenger minus champion,"
"""What the label of a comparison's measurement has beyond the floor's."""


@dataclass(frozen=True)
class Metric:
    """A main metric on one benchmark, as the verdict recorded it."""

    metric: str
    label: str
    rows: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    """Challenger minus champion on the same rows, with its interval."""
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True)
class Line:
    """One candidate of the history."""

    told: Told
    served: tuple[Span, ...]
    changed: Difference | None
    """Since the candidate before; None for the first, and where the clone lacks one of the two."""
    changed_said: str
    metrics: tuple[Metric, ...]
    champion: str | None
    """That the verdict compares with."""
    waived: tuple[str, ...]


@dataclass(frozen=True)
class History:
    model: str
    lines: tuple[Line, ...]
    spans: tuple[Span, ...]
    now: datetime
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Served:
    """What served at a moment."""

    model: str
    at: datetime
    spans: tuple[Span, ...]
    """One; several where a clock that ran backwards leaves it open."""
    sentence: str


def history(settings: Settings, model: str) -> History:
    """All candidates of a model, oldest first, those that were refused included.

    Raises:
        ConfigError: there is no such model.
        CorruptionError: the ledger proves nothing, or evidence was changed.
        UnreachableError: the origin does not answer.
    """
    entries, refused = _entries(settings, model)
    told, when = candidates(entries, model), spans(entries, model)
    changed = _changed(settings, model, told)
    verdicts = _verdicts(settings, told)
    lines, rows = [], 0
    for one in told:
        found, verdict = changed.get(id(one)), verdicts.get(one.evidence or "", {})
        difference = found if isinstance(found, Difference) else None
        said = "the first candidate" if found is None else found if isinstance(found, str) else found.sentence
        if rows and verdict.get("rows") and rows != verdict["rows"]:
            said += f"; {rows:,} rows became {verdict['rows']:,}"
        rows = verdict.get("rows") or rows
        served = tuple(span for span in when if one.version and span.version == one.version)
        lines.append(Line(one, served, difference, said, *_read(verdict)))
    notices = []
    if refused:
        left = "does not count and is" if refused == 1 else "do not count and are"
        notices.append(f"{plural(refused, 'entry', 'entries')} of the ledger {left} left out; see: assay ledger")
    notices += _clock(when)
    return History(model, tuple(lines), tuple(when), datetime.now(UTC), tuple(notices))


def served(settings: Settings, model: str, at: datetime) -> Served:
    """Which version served at a moment.

    Raises:
        ConfigError: there is no such model, or the moment is to come; else as :func:`history`.
    """
    entries, _ = _entries(settings, model)
    now = datetime.now(UTC)
    found = spans(entries, model)
    if at > now:
        last = found[-1]
        serving = f"{last.version} serves" if last.version else "no version serves"
        raise ConfigError(f"{_said(at)} is to come, and nobody knows what will serve then; now {serving}.")
    held = tuple(span for span in found if span.may_hold(at))
    return Served(model, at, held, _sentence(model, at, held))


def moment(text: str) -> tuple[datetime, bool]:
    """An ISO 8601 time, and whether it named its zone; without one it is UTC.

    Raises:
        ConfigError: it is no such time.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        return (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)), found.tzinfo is not None
    except (ValueError, OverflowError):
        raise ConfigError(
            f"--at is {text!r}, which is no time; write ISO 8601 with a zone, such as 2026-11-29T10:00:00+01:00."
        ) from None


def _entries(settings: Settings, model: str) -> tuple[list[Entry], int]:
    entries, refused = ledger.counting(settings)
    if not any(entry.model == model for entry in entries):
        model_file(ROOT, model)  # a model that nobody lists, and that left no entry, is a wrong name
    return entries, refused


def _changed(settings: Settings, model: str, told: Sequence[Told]) -> dict[int, Difference | str]:
    """By candidate, what changed since the one before, or why nobody can say; nothing for the first."""
    objects = Objects(ensure_clone(settings, tags=False))
    lacking = objects.lacking(one.commit for one in told)
    pairs = {id(one): (before.commit, one.commit) for before, one in zip(told, told[1:], strict=False)}
    there = differences(objects, model, [pair for pair in pairs.values() if not lacking & set(pair)])
    return {key: there.get(pair) or _lost(next(iter(lacking & set(pair)))) for key, pair in pairs.items()}


def _lost(commit: str) -> str:
    return (
        f"unknown: the clone has no commit {commit[:12]}, so the origin was truncated or has lost it; complete the "
        "origin with git fetch --unshallow"
    )


def _verdicts(settings: Settings, told: Sequence[Told]) -> dict[str, dict[str, Any]]:
    """Verdicts by the digest of the evidence that holds them, without their plots."""
    asked = list(dict.fromkeys(one.evidence for one in told if one.evidence))
    found = {}
    for digest, document in ledger.documents(settings, asked):
        verdict = document.get("verdict")
        if isinstance(verdict, dict):
            gates = [g for g in verdict.get("gates") or () if isinstance(g, dict)]
            found[digest] = {
                "champion": verdict.get("champion"),
                "rows": _rows(verdict.get("data")),
                "waived": [str(g.get("gate")) for g in gates if g.get("waiver")],
                "measured": [
                    m for g in gates if g.get("kind") in ("floor", "comparison") for m in g.get("measurements") or ()
                ],
            }
    return found


def _rows(data: Any) -> int:
    """How many rows a verdict's data have on all sides, collected ones included; 0 where it does not say."""
    sides = data.get("sides") if isinstance(data, dict) else None
    return sum(sides.values()) + int(data.get("collected") or 0) if isinstance(sides, dict) else 0


def _read(verdict: dict[str, Any]) -> tuple[tuple[Metric, ...], str | None, tuple[str, ...]]:
    """Metrics, the champion that they are compared with, and the gates that were waived."""
    found: dict[str, dict[str, Any]] = {}
    for measured in verdict.get("measured", ()):
        label = str(measured.get("label"))
        paired = PAIRED in label
        plain = label.replace(PAIRED, "")
        metric = str(measured.get("quantity") or plain.split(" ")[0])
        numbers = {name: measured.get(name) for name in ("value", "low", "high")}
        if paired:
            numbers = {"difference" + ("" if name == "value" else f"_{name}"): v for name, v in numbers.items()}
        found.setdefault(plain, {"metric": metric, "label": plain, "rows": measured.get("rows")}).update(numbers)
    metrics = tuple(Metric(**numbers) for numbers in found.values())
    return metrics, verdict.get("champion"), tuple(verdict.get("waived", ()))


def _clock(found: Sequence[Span]) -> list[str]:
    """Decisions that a clock which ran backwards leaves without a certain time."""
    unsure = [s.decided.sequence for s in found if s.decided is not None and s.earliest != s.latest]
    if not unsure:
        return []
    named = ", ".join(map(str, unsure[:5])) + (f" and {len(unsure) - 5} more" if len(unsure) > 5 else "")
    word = "entry" if len(unsure) == 1 else "entries"
    return [f"a clock ran backwards around {word} {named} of the ledger: their order is certain, and their time is not"]


def _sentence(model: str, at: datetime, held: Sequence[Span]) -> str:
    if len(held) != 1:
        names = " or ".join(dict.fromkeys(span.version or "no version" for span in held)) or "nobody knows which"
        near = ", ".join(str(s.decided.sequence) for s in held if s.decided is not None)
        return (
            f"{names} served for {model} at {_said(at)}: a clock ran backwards around the ledger's entries {near}, so "
            "their order is certain and their time is not"
        )
    span = held[0]
    until = f"; {_ending(span.ended)} at {_stamp(span.ended)} (entry {span.ended.sequence})" if span.ended else ""
    if span.decided is None:
        return f"nothing served for {model} at {_said(at)}, which is before its first release{until}"
    if span.version is None:
        why = span.decided.read.because if isinstance(span.decided.read, StoppedDetails) else span.decided.sentence
        since = f"since {_stamp(span.decided)} (entry {span.decided.sequence})"
        return f"nothing served for {model} at {_said(at)}: it was stopped {since}, because {why}{until}"
    verb = "rolled back to" if span.decided.kind == "rolled_back" else "promoted"
    return (
        f"{span.version} served for {model} at {_said(at)}: {verb} at {_stamp(span.decided)} (entry "
        f"{span.decided.sequence}){until or ', and it serves still'}"
    )


def _ending(entry: Entry) -> str:
    if entry.kind == "stopped":
        return "the model was stopped"
    return f"{entry.version} was {'rolled back to' if entry.kind == 'rolled_back' else 'promoted'}"


def _stamp(entry: Entry) -> str:
    return entry.time[:19].replace("T", " ")


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
