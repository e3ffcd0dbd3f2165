"""The verdict on one candidate, and the checks of its data: pages, and markdown for Prefect."""

from __future__ import annotations

from typing import Any

from tasks.records.pages import networks, plots
from tasks.records.pages.drawings import draw
from tasks.records.pages.forest import FIRST, forest, ordered
from tasks.records.pages.words import PAGES, WORDS, cell, code, page_link, sentence
from tasks.spec.data_record import SourceFile
from tasks.spec.display import metric_form, metric_name
from tasks.spec.evidence import GateResult, Plot, Verdict
from tasks.spec.search import Estimate
from tasks.spec.verdicts import verdict_sentence
from tasks.spec.waivers import Waiver
from tasks.spec.wording import number, ordinal, plural

SHOWN = 3
"""Plots of what holds that are shown beside those of what does not."""


FILES = 20
"""Files of a source that are listed in markdown; the page lists all."""


def verdict_page(verdict: Verdict, title: str, evaluation: dict[str, Any], unit: str = "") -> str:
    """The verdict with every number behind it; ``unit`` is that of a regression target."""
    return PAGES.get_template("verdict.html").render(
        heading=f"{title}: verdict",
        verdict=verdict,
        gates=list(enumerate(ordered(verdict.gates), 1)),
        sentence=sentence(verdict_sentence(verdict)),
        plots=plots.evaluation_plots(evaluation),
        network=networks.figures(evaluation),
        waived=waiver_sentence,
        draw=draw,
        forest=forest,
        gate_plots=_gate_plots,
        unit=unit,
        data=data_sentences(verdict),
        search=search_sentence(verdict),
        holdout=holdout_sentence(verdict),
        envelope=verdict.envelope,
    )


def data_sentences(verdict: Verdict) -> list[str]:
    """Which rows the model was made from: files by digest, what was dropped and why, and what the rest is for."""
    record = verdict.data
    if record is None:
        return []
    kept = record.sides
    said = [f"{plural(record.rows, 'row')} from {plural(len(record.files), 'file')}"]
    said += record.losses
    said += [
        f"{kept.get('train', 0):,} train, {kept.get('holdout', 0):,} examine, and {kept.get('replay', 0):,} are kept "
        "for replay"
    ]
    if record.weight is not None:
        said.append(f"rows weigh by {record.weight} in training; gates are unweighted and count every row once")
    if record.collected:
        said.append(f"{plural(record.collected, 'row')} collected in production joined those that train and examine")
    return said


def search_sentence(verdict: Verdict) -> str:
    """Which study tried the configuration, and how it did there; empty where none did."""
    found = verdict.search
    if found is None:
        return ""
    value, low, high = (number(v, metric_form(found.metric)) for v in _ends(found.estimate))
    between = f" ({low} to {high})" if low else ""
    return (
        f"its configuration is that of trial {found.trial} of study {found.study}, one of "
        f"{plural(found.trials, 'trial')}; {metric_name(found.metric)} was {value}{between} over folds of training rows"
    )


def holdout_sentence(verdict: Verdict) -> str:
    """How often the rows have been asked, and what that does to a bound; empty where the verdict does not say."""
    use = verdict.holdout
    if use is None:
        return ""
    times = "time" if use.budget is None else f"of {use.budget:,} times"
    said = f"the {use.rows:,} rows of the holdout answer for the {ordinal(use.asked)} {times}, asked by "
    said += plural(use.actors, "name")
    if use.elsewhere:
        said += f", {use.elsewhere:,} of them as the rows of another model"
    if use.counted < use.asked - 0.005:
        said += f"; by the share of rows that each answer saw, {use.counted:.1f} times"
    if use.unknown:
        said += f"; of {plural(use.unknown, 'answer')} nobody knows the rows, so all count as asked"
    if use.level is not None:
        return f"{said}; the holdout is sealed, and this answer spends {use.level:.3g} of the level of its gates"
    if use.counted > 1:
        said += (
            f"; a bound that holds whatever was read of them is {use.widening:.2g} times as wide as of a first answer"
        )
    if use.unsure:
        said += f", and by it {', '.join(use.unsure)} would not pass"
    return said


def _ends(found: Estimate) -> tuple[float | None, float | None, float | None]:
    return found.value, found.low, found.high


def _files(verdict: Verdict) -> tuple[SourceFile, ...]:
    return () if verdict.data is None else verdict.data.files


def _gate_plots(gate: GateResult) -> tuple[list[Plot], list[Plot]]:
    """Plots to show and plots to fold away: where a rule broke, the many that hold wait for the reader."""
    drawn = sorted(gate.plots, key=lambda p: 0 if p.state is None else 1 + FIRST[p.state])
    hold = [p for p in drawn if p.state == "pass"]
    if gate.state == "pass" or len(hold) <= SHOWN:
        return drawn, []
    return [p for p in drawn if p.state != "pass"], hold


def verdict_markdown(verdict: Verdict, evaluation: dict[str, Any], address: str = "", unit: str = "") -> str:
    """The verdict as Prefect shows it: the gates as a table, the plots as pictures."""
    fit = "Fit to serve." if verdict.passed else "Not fit to serve."
    head = f"**{fit}** {cell(sentence(verdict_sentence(verdict)))}\n\n"
    lines = ["| Gate | State | Estimate | Interval | Limit | Rows |", "|---|---|---|---|---|---|"]
    lines += [f"| {cell(g.gate)} | {WORDS[g.state]} | {_first(g, unit)} |" for g in verdict.gates]
    lines += [
        "",
        *(
            f"- **{cell(g.gate)}**: {cell(sentence(g.reason))} {cell(sentence(g.remedy)) if g.remedy else ''}"
            for g in verdict.gates
        ),
    ]
    lines += [f"- **WAIVED: {cell(g.gate)}** {cell(waiver_sentence(g.waiver))}" for g in verdict.waived if g.waiver]
    lines += [f"- {cell(sentence(problem))}" for problem in verdict.refused_waivers]
    lines += envelope_lines(verdict)
    if verdict.isolation and not verdict.isolation.enough:
        lines.append(f"- **Not kept apart.** {cell(sentence(verdict.isolation.sentence))}")
    if verdict.unprotected:
        lines.append(f"- **No protected group is looked after.** {cell(sentence(verdict.unprotected))}")
    origin = [search_sentence(verdict), holdout_sentence(verdict), *data_sentences(verdict)]
    lines += [f"- {cell(sentence(said))}" for said in origin if said]
    lines += [f"- {cell(file.name)}: sha256 {code(file.sha256)}" for file in _files(verdict)[:FILES]]
    network = networks.figures(evaluation)
    drawn = [*plots.evaluation_plots(evaluation), *(picture for _, picture, _ in network)]
    lines += [f"- {title}: {cell(sentence(said))}" for title, _, said in network if said]
    pictures = "\n\n".join(plots.picture(plot) for plot in drawn)
    return (
        head + "\n".join(lines) + f"\n\n{pictures}\n\nCommit {code(verdict.commit[:12])}, compared with "
        f"{cell(verdict.champion or 'no champion yet')}.{page_link(address)}"
    )


def envelope_lines(verdict: Verdict) -> list[str]:
    """What an envelope allowed, what the retraining did, and whether a person signs; nothing without one."""
    held = verdict.envelope
    if held is None:
        return []
    head = f"- **Envelope.** {cell(sentence(held.sentence))}" + ("" if held.inside else " A person signs.")
    checks = (f"{c.name}, {WORDS[c.state]}: {c.found}; {c.allowed}" for c in held.checks)
    return [head, *(f"  - {cell(sentence(said))}" for said in checks)]


def waiver_sentence(waiver: Waiver) -> str:
    """Who let a gate go, until when and why."""
    return f"by {waiver.who} until {waiver.expires}: {sentence(waiver.reason)}"


def _first(gate: GateResult, unit: str) -> str:
    if not gate.measurements:
        return "| | |"
    m = next((m for m in gate.measurements if m.state == gate.state), gate.measurements[0])
    numbers = (number(v, metric_form(m.quantity), unit) for v in (m.value, m.low, m.high, m.limit))
    value, low, high, limit = map(cell, numbers)
    return f"{value} | {f'{low} to {high}' if low else ''} | {limit} | {m.rows:,}"


def data_rows(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same as rows of a table in Prefect, which reads each cell as markdown."""
    return [
        {
            "table": cell(c["table"]),
            "expectation": cell(c["sentence"]),
            "holds": "yes" if c["success"] else "NO",
            "rows": c["rows"],
        }
        for c in checks
    ]


def data_page(model: str, checks: list[dict[str, Any]]) -> str:
    """The expectations on the data."""
    broken = sum(not c["success"] for c in checks)
    return PAGES.get_template("data.html").render(heading=f"{model}: data expectations", checks=checks, broken=broken)
