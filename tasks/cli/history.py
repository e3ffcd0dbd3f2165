"""The commands that tell what happened: ``assay history``, ``served`` and ``decision``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.cli.common import ROOT, Json, Model, row, say, settings
from tasks.spec.display import metric_name, metric_said, with_display_names
from tasks.spec.line import flat
from tasks.spec.wording import number, plural

if TYPE_CHECKING:
    from tasks.history import History, Line, Metric, Served
    from tasks.records.registry.spans import Span

AT = "ISO 8601 with a zone, e.g. 2026-11-29T10:00:00+01:00; without a zone it is UTC."
UNSURE = 3
"""Exit code where the record leaves open which version it was."""


def history(model: Model, as_json: Json = False) -> None:
    """Tell every candidate of a model: who asked, what changed, its metrics, and when it served."""
    from tasks.history import history as told

    found = told(settings(), model)
    say(_as_json(found), as_json, _text(found))


def served(model: Model, at: Annotated[str, typer.Option(metavar="TIME", help=AT)], as_json: Json = False) -> None:
    """Say which version served at a time: exit 0 where one did, 1 where none did, 3 where the record leaves it open."""
    from tasks.history import moment
    from tasks.history import served as told

    time, zoned = moment(at)
    found = told(settings(), model, time)
    assumed = "" if zoned else f" ({at.strip()} names no zone and is taken as UTC)"
    say(_served_json(found, zoned), as_json, found.sentence + assumed)
    versions = {span.version for span in found.spans}
    raise typer.Exit(UNSURE if len(versions) != 1 else 0 if versions != {None} else 1)


def decision(
    id: Annotated[str, typer.Argument(help="The id that the prediction was answered with.")],
    explain: Annotated[bool, typer.Option("--explain", help="Also say why the version decides so.")] = False,
    as_json: Json = False,
) -> None:
    """Rebuild one logged prediction. Exit 0: the same score again, bit for bit; 1: another; 3: it cannot be shown."""
    from tasks.cli import decisions
    from tasks.decisions import decision as rebuilt

    found = rebuilt(settings(), id, explain)
    say(decisions.as_json(found), as_json, decisions.text(found))
    raise typer.Exit({True: 0, False: 1, None: UNSURE}[found.again.same])


def rebuild(
    model: Model,
    version: Annotated[str | None, typer.Argument(help="As 'assay versions' names it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every version, one after the other.")] = False,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="Use the running environment where the version's lock file is its own.")
    ] = False,
    record: Annotated[bool, typer.Option(help="Write what came of it into the ledger.")] = True,
    as_json: Json = False,
) -> None:
    """Make a version again from its record alone. Exit 0: identical, or by processor; 1: it differs; 3: impossible."""
    from tasks.cli.runs import actor
    from tasks.rebuilding import Environments, chosen, enter, rebuilt
    from tasks.spec.errors import ConfigError

    if every == (version is not None):
        raise ConfigError("say which version, such as v1.0.0, or --all.")
    here, found = settings(), []
    with Environments(here, reuse) as environments:
        for one in chosen(here, model, version, every):
            done = rebuilt(here, model, one, environments)
            entry = enter(here, done, actor(ROOT), "person") if record else None
            found.append(asdict(done) | {"entry": entry.sequence if entry else None})
            if not as_json:
                kept = f" (entry {entry.sequence})" if entry else ""
                print("\n".join(row(done.version, f"{done.sentence}{kept}")), flush=True)
    if as_json:
        say(found, True, "")
    outcomes = {one["outcome"] for one in found}
    raise typer.Exit(1 if "differs" in outcomes else UNSURE if "impossible" in outcomes else 0)


def _served_json(found: Served, zoned: bool) -> dict[str, Any]:
    versions = [span.version for span in found.spans]
    return {
        "model": found.model,
        "at": found.at.isoformat(),
        "zone_given": zoned,
        "version": versions[0] if len(versions) == 1 else None,
        "certain": len(versions) == 1,
        "spans": [_span(span, None) for span in found.spans],
        "sentence": found.sentence,
    }


def _as_json(found: History) -> dict[str, Any]:
    return {
        "model": found.model,
        "candidates": [_line(line, found.now) for line in found.lines],
        "served": [_span(span, found.now) for span in found.spans if span.decided is not None],
        "notices": list(found.notices),
    }


def _line(line: Line, now: datetime) -> dict[str, Any]:
    told, changed = line.told, line.changed
    return {
        "commit": told.commit,
        "base": told.base,
        "version": told.version,
        "state": told.state,
        "who": told.first.actor,
        "time": told.first.time,
        "reason": told.first.reason,
        "approved_by": list(told.approved_by),
        "waived": list(line.waived),
        "entries": [{"sequence": e.sequence, "kind": e.kind, "time": e.time, "sentence": e.sentence,
                     "evidence": e.evidence} for e in told.entries],
        "served": [_span(span, now) for span in line.served],
        "changed": line.changed_said,
        "changes": None if changed is None else asdict(changed),
        "champion": line.champion,
        "metrics": [asdict(metric) for metric in line.metrics],
    }  # fmt: skip


def _span(span: Span, now: datetime | None) -> dict[str, Any]:
    begin, end = span.decided, span.ended
    return {
        "version": span.version,
        "from": begin.time if begin else None,
        "until": end.time if end else None,
        "begun_by": None if begin is None else {"sequence": begin.sequence, "kind": begin.kind},
        "ended_by": None if end is None else {"sequence": end.sequence, "kind": end.kind},
        "seconds": span.seconds(now or datetime.now(UTC)),
        "clock_ran_backwards": span.uncertain,
    }


def _text(found: History) -> str:
    count = plural(len(found.lines), "candidate")
    lines = [f"{found.model}: {count}, oldest first" if found.lines else f"nothing was ever trained for {found.model}"]
    for line in found.lines:
        lines += ["", *_lines(line, found.now)]
    stops = [span for span in found.spans if span.version is None and span.decided is not None]
    if stops:
        lines += ["", *(f"out of service  {_lasted(span, found.now)}" for span in stops)]
    if found.notices:
        lines += ["", *(f"notice: {text}" for text in found.notices)]
    return "\n".join(lines)


def _lines(line: Line, now: datetime) -> list[str]:
    told = line.told
    head = f"{told.version or '-':<8} {told.commit[:12]}  {told.state}"
    if told.refused or told.state.startswith("fit"):
        head += f": {with_display_names(flat(told.entries[-1].sentence)).partition(': ')[2]}"
    asked = f"{flat(told.first.actor)}, {_short(told.first.time)}, reason: {flat(told.first.reason)}"
    if told.approved_by:
        asked += f"; approved by {', '.join(map(flat, told.approved_by))}"
    rows = [("asked by", asked)]
    if line.waived:
        rows.append(("waived", ", ".join(map(flat, line.waived))))
    rows += [("served", _lasted(span, now)) for span in line.served]
    rows.append(("changed", line.changed_said))
    rows += [("metric", _metric(metric, line.champion)) for metric in line.metrics]
    return [*row("", head), *(part for name, text in rows for part in row(name, text))]


def _lasted(span: Span, now: datetime) -> str:
    assert span.decided is not None
    until = f"to {_short(span.ended.time)}" if span.ended else "and still"
    seconds = span.seconds(now)
    long = "for how long is unknown, since a clock ran backwards" if seconds is None else number(seconds, "seconds")
    return f"{_short(span.decided.time)} {until}, {long}"


def _metric(metric: Metric, champion: str | None) -> str:
    name = metric.label.replace(metric.metric, metric_name(metric.metric), 1)
    said = f"{name}"
    if metric.value is not None:
        said += f" {_number(metric.value, metric)}{_interval(metric.low, metric.high, metric)}"
    if metric.difference is not None:
        low, high = metric.difference_low, metric.difference_high
        said += f"{',' if metric.value is not None else ''} {_number(metric.difference, metric, '+')}"
        said += f"{_interval(low, high, metric, '+')} against {champion or 'the champion'}"
    return f"{said}, {plural(int(metric.rows or 0), 'row')}"


def _number(value: float, metric: Metric, sign: str = "") -> str:
    said = metric_said(value, metric.metric)
    return f"+{said}" if sign and value >= 0 else said


def _interval(low: float | None, high: float | None, metric: Metric, sign: str = "") -> str:
    if low is None or high is None:
        return ""
    return f" ({_number(low, metric, sign)} to {_number(high, metric, sign)})"


def _short(time: str) -> str:
    return flat(time)[:16].replace("T", " ")
