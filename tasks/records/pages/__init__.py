"""What people read: self-contained pages, and the same in markdown for Prefect's artifacts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.markup import escape
from rich.table import Table

from tasks.records.pages import plots, watch
from tasks.records.pages.drawings import draw
from tasks.records.pages.embedding_map import embedding_map, map_by_group
from tasks.records.pages.forest import FIRST, forest, ordered
from tasks.records.pages.over_time import timeline
from tasks.records.pages.watch import Watched
from tasks.spec.evidence import NOT_TRAINED, Decision, Entry, GateResult, Plot, Verdict, WindowReport
from tasks.spec.pictures import Pictures
from tasks.spec.waivers import Waiver

WORDS = {"pass": "✓ pass", "fail": "✕ fail", "insufficient_evidence": "? insufficient evidence"}
CSS = {"pass": "pass", "fail": "fail", "insufficient_evidence": "open"}
VERSION = re.compile(r"v\d+\.")
SHOWN = 3
"""Plots of what holds that are shown beside those of what does not."""
ACTIONS = {"nothing": "✓ Nothing to do.", "alert": "▲ Alert.", "retrain": "▲ Retrain.", "roll_back": "▲ Roll back.", "stop": "■ Stop."}


def action(decision: Decision) -> str:
    """What was decided, in words."""
    return "▲ Retrain, once labels are there." if decision.waits_for else ACTIONS[decision.action]


def number(value: Any) -> str:
    """A number with the precision that a reader can use."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) and abs(value) >= 10 else f"{value:.4g}"


_PAGES = Environment(loader=PackageLoader("tasks.records.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def when(moment: str) -> str:
    """An ISO 8601 time in UTC as a person reads it: ``2026-11-25 02:17:59``; what is no such time stays as it is."""
    try:
        return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return moment


def sentence(text: str) -> str:
    """A reason with a capital letter, unless it begins with the name of a column, metric or version, and a full stop."""
    first = text.split(" ")[0]
    begin = text[:1] if "_" in first or VERSION.match(first) else text[:1].upper()
    return begin + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


_PAGES.globals.update(num=number, word=WORDS.__getitem__, css=CSS.__getitem__, bar=plots.interval_bar, action=action, when=when, told=sentence)


def verdict_sentence(verdict: Verdict) -> str:
    mandatory = [g for g in verdict.gates if g.mandatory]
    if verdict.passed and verdict.waived:
        return f"{len(mandatory) - len(verdict.waived)} of {len(mandatory)} mandatory gates of {verdict.model} passed; waived: {', '.join(g.gate for g in verdict.waived)}."
    if verdict.passed:
        return f"All {len(mandatory)} mandatory gates of {verdict.model} passed."
    return f"{len(verdict.failed)} of {len(mandatory)} mandatory gates did not pass: {', '.join(g.gate for g in verdict.failed)}."


def verdict_page(verdict: Verdict, title: str, evaluation: dict[str, Any]) -> str:
    """The verdict with every number behind it."""
    return _PAGES.get_template("verdict.html").render(
        heading=f"{title}: verdict",
        verdict=verdict,
        gates=list(enumerate(ordered(verdict.gates), 1)),
        sentence=verdict_sentence(verdict),
        plots=plots.evaluation_plots(evaluation),
        waived=waiver_sentence,
        draw=draw,
        forest=forest,
        gate_plots=_gate_plots,
    )


def _gate_plots(gate: GateResult) -> tuple[list[Plot], list[Plot]]:
    """Plots to show and plots to fold away: where a rule broke, the many that hold wait for the reader."""
    drawn = sorted(gate.plots, key=lambda p: 0 if p.state is None else 1 + FIRST[p.state])
    hold = [p for p in drawn if p.state == "pass"]
    if gate.state == "pass" or len(hold) <= SHOWN:
        return drawn, []
    return [p for p in drawn if p.state != "pass"], hold


def verdict_markdown(verdict: Verdict, evaluation: dict[str, Any], address: str = "") -> str:
    """The verdict as Prefect shows it: the gates as a table, the plots as pictures."""
    head = f"**{'Fit to serve.' if verdict.passed else 'Not fit to serve.'}** {verdict_sentence(verdict)}\n\n"
    lines = ["| Gate | State | Estimate | Interval | Limit | Rows |", "|---|---|---|---|---|---|"]
    lines += [f"| {g.gate} | {WORDS[g.state]} | {_first(g)} |" for g in verdict.gates]
    lines += ["", *(f"- **{g.gate}**: {_cell(sentence(g.reason))} {_cell(sentence(g.remedy)) if g.remedy else ''}" for g in verdict.gates)]
    lines += [f"- **WAIVED: {g.gate}** {_cell(waiver_sentence(g.waiver))}" for g in verdict.waived if g.waiver]
    lines += [f"- {_cell(sentence(problem))}" for problem in verdict.refused_waivers]
    pictures = "\n\n".join(plots.picture(plot) for plot in plots.evaluation_plots(evaluation))
    return head + "\n".join(lines) + f"\n\n{pictures}\n\nCommit `{verdict.commit[:12]}`, compared with {verdict.champion or 'no champion yet'}.{_page(address)}"


def waiver_sentence(waiver: Waiver) -> str:
    """Who let a gate go, until when and why."""
    return f"by {waiver.who} until {waiver.expires}: {sentence(waiver.reason)}"


def _first(gate: GateResult) -> str:
    if not gate.measurements:
        return "| | |"
    m = next((m for m in gate.measurements if m.state == gate.state), gate.measurements[0])
    interval = f"{number(m.low)} to {number(m.high)}" if m.low is not None else ""
    return f"{number(m.value)} | {interval} | {number(m.limit)} | {m.rows:,}"


def data_page(model: str, checks: list[dict[str, Any]]) -> str:
    """The expectations on the data."""
    broken = sum(not c["success"] for c in checks)
    return _PAGES.get_template("data.html").render(heading=f"{model}: data expectations", checks=checks, broken=broken)


def window_page(report: WindowReport, history: Sequence[WindowReport], title: str, pictures: Pictures | None = None) -> str:
    """One analysis window: the decision, its findings, the windows before, and what was drawn of this one."""
    drawn = pictures or Pictures()
    return _PAGES.get_template("window.html").render(
        heading=f"{title}: window {report.window}",
        report=report,
        findings=sorted(report.findings, key=lambda f: (f.value is None, watch.ORDER[f.kind], -(f.importance or 0.0))),
        pictures=_overview([*history, report]),
        plots=drawn.plots,
        map=embedding_map(drawn.map) if drawn.map else "",
        draw=draw,
    )


def _overview(reports: Sequence[WindowReport]) -> list[tuple[str, Markup]]:
    """Decisions by window, and the watched metrics."""
    return [("Versions and decisions", timeline(reports)), *watch.performance(reports)]


MOST_WINDOWS = 25


def model_page(watched: Watched) -> str:
    """One model as it is watched: readable at a glance, then by depth; no script, nothing from outside."""
    reports, newest = watched.reports, watched.newest
    return _PAGES.get_template("model.html").render(
        heading=watched.title,
        state=watch.state(watched),
        newest=newest,
        steps=watch.next_steps(watched),
        timeline=timeline(reports),
        performance=watch.performance(reports),
        fans=watch.fans(watched),
        record=watched.record,
        record_told=watched.record_told,
        fairness=watch.fairness(reports),
        drift=watch.drift(newest) if newest else "",
        map=embedding_map(watched.map, words=not newest or not newest.groups) if watched.map else "",
        groups=watch.groups(watched),
        group_sentence=newest.groups.sentence if newest and newest.groups else "",
        group_events=newest.groups.events if newest and newest.groups else (),
        rules=watch.rules(reports),
        answers=watched.answers,
        windows=list(reversed(reports[-MOST_WINDOWS:])),
        more=max(len(reports) - MOST_WINDOWS, 0),
    )


def model_markdown(watched: Watched, address: str = "") -> str:
    """The same as Prefect shows it: the state, what to look at, the pictures, groups, rules and what people answered."""
    steps = "\n".join(f"{i}. {_cell(sentence(step))}" for i, step in enumerate(watch.next_steps(watched)[:8], 1)) or "Nothing to look at."
    drawn = [*_overview(watched.reports), *watch.fans(watched), *watch.fairness(watched.reports)]
    newest = watched.newest
    if newest:
        drawn.append((f"Drift by importance, window {newest.window}", watch.drift(newest)))
    if watched.map:
        title, by_group = map_by_group(watched.map)
        drawn.append((f"Groups in the model's own view: {title.lower()}", by_group))
    parts = [f"**{sentence(watch.state(watched)[1])}**", steps, _gallery(drawn)]
    if newest and newest.groups:
        parts.append("\n".join([_cell(sentence(newest.groups.sentence)), *(f"- {_cell(sentence(event))}" for event in newest.groups.events)]))
    if ruled := watch.rules(watched.reports):
        parts.append("**Expert rules on live windows**\n\n" + "\n".join(f"- {watch.STATES[rule.css]} {_cell(sentence(rule.sentence))}" for rule in ruled))
    if watched.answers:
        parts.append("**What people answered**\n\n" + "\n".join(f"- {_cell(sentence(answer))}" for answer in watched.answers))
    return "\n\n".join(parts) + _page(address)


def _gallery(drawn: Sequence[tuple[str, Markup]]) -> str:
    """Pictures two to a row, each under its title: a table is all that markdown has for it."""
    lines, shown = [], [(title, picture) for title, picture in drawn if str(picture).startswith("<svg")]
    for i in range(0, len(shown), 2):
        titles, pictures = zip(*shown[i : i + 2], strict=True)
        head = [] if i else ["|" + "---|" * len(titles)]  # as many columns as the first row has, else it is no table
        lines += [f"| {' | '.join(f'**{_cell(title)}**' for title in titles)} |", *head, f"| {' | '.join(map(plots.picture, pictures))} |"]
    return "\n".join(lines)


def window_markdown(report: WindowReport, history: Sequence[WindowReport], address: str = "") -> str:
    """One window as Prefect shows it, with the windows before as a picture."""
    alarms = [f for f in report.findings if f.alarm]
    lines = ["| Kind | Subject | Finding |", "|---|---|---|"]
    lines += [f"| {f.kind.replace('_', ' ')} | {_cell(f.subject)} | {_cell(f.sentence)} |" for f in alarms]
    table = "\n".join(lines) if alarms else "No alarm."
    pictures = _gallery(_overview([*history, report]))
    return f"**{action(report.decision)}** {sentence(report.decision.reason)}\n\n{report.rows:,} predictions of {report.version}, {report.labelled:,} labelled.\n\n{table}\n\n{pictures}{_page(address)}"


def _page(address: str) -> str:
    return f"\n\n[The whole page]({address})" if address else ""


def index_page(paths: Sequence[str]) -> str:
    """All pages, newest first; paths are relative to the report folder, ``model/name.html``."""
    by_model: dict[str, list[str]] = {}
    for path in paths:
        model, _, name = path.rpartition("/")
        by_model.setdefault(model or "all models", []).append(name.removesuffix(".html"))
    return _PAGES.get_template("index.html").render(heading="Reports", models=by_model)


def account_page(entries: Sequence[Entry], reports: Sequence[WindowReport], title: str, acts: Sequence[dict[str, Any]]) -> str:
    """What happened, when, why and on what evidence."""
    windows = {r.window for r in reports}
    links = {e.sequence: _link(e, windows) for e in entries}
    return _PAGES.get_template("account.html").render(
        heading=title, entries=entries, reports=reports, acts=acts, links=links, timeline=timeline(list(reports))
    )


def _link(entry: Entry, windows: set[int]) -> str:
    if entry.sentence.startswith(NOT_TRAINED):
        return f"{entry.model}/data.html"
    if entry.kind in ("promoted", "rejected", "trained", "examined", "awaiting_signature") and entry.commit:
        return f"{entry.model}/verdict-{entry.commit[:12]}.html"
    if entry.kind == "monitored":
        window = int(entry.sentence.split(":")[0].removeprefix("window "))
        return f"{entry.model}/window-{window:05d}.html" if window in windows else ""
    return ""


def account_table(entries: Sequence[Entry]) -> Table:
    """The ledger for a terminal."""
    table = Table(title="The ledger", title_justify="left")
    for name in ("#", "time", "what", "version", "who", "why"):
        table.add_column(name, no_wrap=name != "why")
    for e in entries:
        sentence = e.sentence if len(e.sentence) <= 150 else e.sentence[:147] + "..."
        table.add_row(str(e.sequence), e.time[11:19], e.kind.replace("_", " "), e.version or "", escape(e.actor), escape(sentence))
    return table


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
