"""What the page of one watched model says: its state in a sentence, and pictures of every window so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from markupsafe import Markup

from tasks.records.pages.canvas import ACCENT, BAD, INK, SOFT, WIDTH, line, short, svg, text
from tasks.records.pages.fan import fan
from tasks.records.pages.over_time import SHOWN, STYLES, PlotLine, begins, over_windows
from tasks.records.pages.words import capital
from tasks.spec.display import metric_form, metric_name, with_display_names
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.forecast import Forecast, Observation
from tasks.spec.groupings import EmbeddingMap
from tasks.spec.wording import plural

STATES = {"pass": "✓", "fail": "✕", "open": "?"}
COLUMNS = 12
"""Columns that the drift picture shows at most: those that touch the output most."""
NAMED = 4
"""Subjects that are named beside the first one of a kind."""
STRIP = 24
"""Windows in a rule's strip."""


@dataclass(frozen=True)
class ModelStatus:
    """One model, and everything that its page shows."""

    model: str
    title: str
    champion: str | None
    """Version tag; None before the first release."""
    stopped: str
    """Why it may not answer; empty while it may."""
    reports: Sequence[WindowReport]
    """Oldest first."""
    told: Sequence[str] = ()
    """What is wrong with the record of the model: what somebody made past the ledger, a sentence each."""
    silence: Sequence[Finding] = ()
    """Findings on the feed as it is now."""
    answers: Sequence[str] = ()
    """Reviews by experts, overrides by people and appeals of those concerned, a sentence each."""
    forecasts: Sequence[tuple[Forecast, Sequence[Observation]]] = ()
    """The newest forecasts, each with its series."""
    record: Sequence[dict[str, str]] = ()
    """The trigger's calls, each with what became of it."""
    record_sentence: str = ""
    """How many calls of the trigger turned out right."""
    map: EmbeddingMap | None = None
    unit: str = ""
    """Of a regression target."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Rank of each kind of finding in the order of alarms; other kinds come last, by name."""

    @property
    def newest(self) -> WindowReport | None:
        return self.reports[-1] if self.reports else None


def state(watched: ModelStatus) -> tuple[str, str]:
    """A class of the style sheet (pass, fail, open) and the model's state in one sentence."""
    newest, silent = watched.newest, [f for f in watched.silence if f.alarm]
    if watched.champion is None:
        return "open", "? No version serves yet."
    if watched.stopped:
        return "fail", f"■ {watched.champion} is stopped: {watched.stopped}"
    if silent:
        return "fail", f"▲ {watched.champion} serves, and its feed is silent: {silent[0].sentence}"
    if newest is None:
        return "open", f"? {watched.champion} serves; no analysis window is complete yet."
    if newest.version != watched.champion:
        return (
            "open",
            f"? {watched.champion} serves, newly assigned; the newest window was still answered by {newest.version}.",
        )
    if newest.decision.action == "nothing":
        return "pass", f"✓ {watched.champion} serves and is fit: nothing to do after window {newest.window}."
    words = {
        "alert": "a person should look",
        "retrain": "a retraining is due",
        "roll_back": "it is rolled back",
        "stop": "it is being stopped",
    }
    return "fail", f"▲ {watched.champion} serves, and {words[newest.decision.action]} after window {newest.window}."


def next_steps(watched: ModelStatus) -> list[str]:
    """What a person should look at, most urgent first; an empty list where there is nothing."""
    steps = [f"the record: {problem}" for problem in watched.told]
    steps += [f.sentence for f in watched.silence if f.alarm]
    newest = watched.newest
    if newest is None:
        return steps
    steps += _alarms(newest, watched.ranks)
    if newest.decision.waits_for:
        missing = newest.decision.waits_for
        verb = "lets" if missing == 1 else "let"
        steps.append(f"report outcomes: {plural(missing, 'more labelled row')} {verb} the retraining start")
    if newest.review:
        waiting = plural(len(newest.review), "prediction")
        verb = "waits" if len(newest.review) == 1 else "wait"
        steps.append(f"{waiting} of window {newest.window} {verb} for an expert: assay review {watched.model}")
    request = newest.label_request
    if request is not None and newest.asked_rounds < request.rounds and not _realized(newest):
        asked = plural(len(request.rows) - newest.asked_rounds * len(request.strata), "outcome")
        steps.append(f"{asked} of window {newest.window} would settle what is open: assay label {watched.model}")
    blind = [f for f in newest.findings if f.kind == "estimated_performance" and f.value is None]
    return steps + [f.sentence for f in blind]


def _realized(report: WindowReport) -> bool:
    return any(f.kind == "realized_performance" and f.value is not None for f in report.findings)


def _alarms(report: WindowReport, ranks: Mapping[str, int]) -> list[str]:
    """One line for each kind of alarm: the finding that weighs most, and who else."""
    alarms = sorted(
        (f for f in report.findings if f.alarm),
        key=lambda f: (ranks.get(f.kind, len(ranks)), f.kind, -(f.importance or 0.0)),
    )
    lines = []
    for _, group in groupby(alarms, key=lambda f: f.kind):
        first, *others = group
        named = ", ".join(f.subject for f in others[:NAMED]) + (", ..." if len(others) > NAMED else "")
        lines.append(first.sentence + (f" (and {len(others)} more: {named})" if others else ""))
    return lines


def performance(reports: Sequence[WindowReport], unit: str = "") -> list[tuple[str, Markup]]:
    """A picture for each watched metric: realized and estimated, with intervals and the newest limit."""
    drawn = []
    for metric in _subjects(reports, ("realized_performance", "estimated_performance")):
        lines = [
            _line(reports, kind, metric, name)
            for kind, name in (
                ("realized_performance", "realized, 95 %"),
                ("estimated_performance", "estimated without labels, 95 %"),
            )
        ]
        limits = [
            f.limit
            for r in reports
            for f in r.findings
            if f.kind in ("realized_performance", "estimated_performance")
            and f.subject == metric
            and f.limit is not None
        ]
        name, form = metric_name(metric), metric_form(metric)
        picture = over_windows(
            f"{name} by window", name, lines, limits[-1] if limits else None, begins(reports), form, unit
        )
        drawn.append((capital(name), picture))
    return drawn


def fairness(reports: Sequence[WindowReport]) -> list[tuple[str, Markup]]:
    """Pictures by protected attribute: the selection rate of its groups, and gaps, estimated and by labels apart."""
    drawn = []
    subjects = _subjects(reports, ("selection_rate",))
    for attribute in dict.fromkeys(s.split(" ")[0] for s in subjects):
        lines = [
            _line(reports, "selection_rate", s, s.removeprefix(f"{attribute} "))
            for s in subjects
            if s.split(" ")[0] == attribute
        ]
        drawn.append(
            (
                f"Selected, by {attribute.replace('_', ' ')}",
                over_windows(
                    f"selection rate by {attribute}", "selection rate", lines, begins=begins(reports), form="rate"
                ),
            )
        )
    for kind, how in (("realized_fairness", "by labels"), ("estimated_fairness", "estimated without labels")):
        gaps = [s for s in _subjects(reports, (kind,)) if " difference by " in s]
        for attribute in dict.fromkeys(s.split(" difference by ")[1] for s in gaps):
            lines = [
                _line(reports, kind, s, metric_name(s.split(" difference by ")[0]))
                for s in gaps
                if s.endswith(f" by {attribute}")
            ]
            title = f"Gaps by {attribute.replace('_', ' ')}, {how}"
            shown = lines[: len(STYLES)]
            drawn.append((title, over_windows(title, "largest difference", shown, begins=begins(reports), form="rate")))
    return drawn


def drift(report: WindowReport) -> Markup:
    """Columns by how much of the output their drift touches: distance from the reference beside their importance."""
    found = [f for f in report.findings if f.kind == "data_drift" and f.value is not None]
    if not found:
        return Markup('<p class="soft">Drift was not computed in this window.</p>')
    top = sorted(found, key=lambda f: (-(f.importance or 0.0) * (f.value or 0.0), -(f.importance or 0.0)))[:COLUMNS]
    farthest = max([f.value or 0.0 for f in top] + [f.limit or 0.0 for f in top]) * 1.08 or 1.0
    heaviest = max((f.importance or 0.0) for f in top) or 1.0
    body = text(128, 12, "distance", "start", ' font-weight="600"') + text(
        338, 12, "attribution", "end", ' font-weight="600"'
    )
    for i, f in enumerate(top):
        y, value, share = 30 + 19 * i, f.value or 0.0, f.importance or 0.0
        colour = BAD if f.alarm else ACCENT
        body += text(
            120,
            y + 4,
            ("▲ " if f.alarm else "") + short(f.subject, 14 if f.alarm else 16),
            "end",
            ' font-weight="700"' if f.alarm else "",
        )
        body += f'<rect x="128" y="{y - 5}" width="{120 * min(value / farthest, 1):.1f}" height="10" fill="{colour}"/>'
        body += f'<rect x="268" y="{y - 5}" width="{34 * share / heaviest:.1f}" height="10" fill="{SOFT}"/>' + text(
            338, y + 4, f"{share:.0%}", "end"
        )
        if f.limit is not None:
            x = 128 + 120 * f.limit / farthest
            body += line(x, y - 9, x, y + 9, INK, 1, "3 2")
    return svg(WIDTH, 30 + 19 * len(top), body, "Drift by importance; dashed: the limit")


@dataclass(frozen=True)
class RuleStrip:
    """One expert rule over the newest windows."""

    subject: str
    css: str
    sentence: str
    strip: str


def rules(reports: Sequence[WindowReport]) -> list[RuleStrip]:
    """Each expert rule: what it is now, and a mark for each of the newest windows; broken ones first."""
    strips = []
    for subject in _subjects(reports, ("expert_rule",)):
        found = [
            next((f for f in r.findings if (f.kind, f.subject) == ("expert_rule", subject)), None)
            for r in reports[-STRIP:]
        ]
        newest = next(f for f in reversed(found) if f is not None)
        marks = "".join(" " if f is None else STATES[_css(f)] for f in found)
        strips.append(RuleStrip(subject, _css(newest), newest.sentence, marks))
    return sorted(strips, key=lambda rule: ("fail", "open", "pass").index(rule.css))


def _css(finding: Finding) -> str:
    return "fail" if finding.alarm else "open" if finding.value is None else "pass"


def _subjects(reports: Sequence[WindowReport], kinds: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(f.subject for r in reports[-SHOWN:] for f in r.findings if f.kind in kinds))


def _line(reports: Sequence[WindowReport], kind: str, subject: str, name: str) -> PlotLine:
    points = [
        (r.window, f.value, f.low, f.high)
        for r in reports
        for f in r.findings
        if (f.kind, f.subject) == (kind, subject) and f.value is not None
    ]
    return PlotLine(name, tuple((w, float(v), low, high) for w, v, low, high in points if v is not None))


def fans(watched: ModelStatus) -> list[tuple[str, Markup]]:
    """The newest forecast of each series that has one, with the windows that it rests on."""
    newest = watched.newest
    if newest is None:
        return []
    return [
        (
            f"{capital(with_display_names(made.subject))}: {plural(made.horizon, 'window')} ahead",
            fan(series, made, watched.unit),
        )
        for made, series in watched.forecasts
        if made.valid
    ]


def groups(watched: ModelStatus) -> list[dict[str, Any]]:
    """The groups of the newest window beside the reference, with what sets each apart."""
    if watched.newest is None or watched.newest.groups is None:
        return []
    words = {} if watched.map is None else {g.name: g.words for g in watched.map.groups}
    return [
        {"name": g.name, "typical": words.get(g.name, ""), "share": g.share, "reference": g.reference_share}
        for g in watched.newest.groups.groups
    ]
