"""One analysis window: its page, and the same in markdown for Prefect."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tasks.records.pages import watch
from tasks.records.pages.drawings import draw
from tasks.records.pages.embedding_map import embedding_map
from tasks.records.pages.over_time import timeline
from tasks.records.pages.words import PAGES, action, cell, gallery, page_link, sentence
from tasks.spec.evidence import WindowReport
from tasks.spec.pictures import Pictures


def window_page(
    report: WindowReport, history: Sequence[WindowReport], title: str, pictures: Pictures | None = None
) -> str:
    """One analysis window: the decision, its findings, the windows before, and what was drawn of this one."""
    drawn = pictures or Pictures()
    return PAGES.get_template("window.html").render(
        heading=f"{title}: window {report.window}",
        report=report,
        findings=sorted(report.findings, key=lambda f: (f.value is None, watch.ORDER[f.kind], -(f.importance or 0.0))),
        pictures=overview([*history, report]),
        plots=drawn.plots,
        map=embedding_map(drawn.map) if drawn.map else "",
        draw=draw,
    )


def overview(reports: Sequence[WindowReport]) -> list[tuple[str, Markup]]:
    """Decisions by window, and the watched metrics."""
    return [("Versions and decisions", timeline(reports)), *watch.performance(reports)]


def window_markdown(report: WindowReport, history: Sequence[WindowReport], address: str = "") -> str:
    """One window as Prefect shows it, with the windows before as a picture."""
    alarms = [f for f in report.findings if f.alarm]
    lines = ["| Kind | Subject | Finding |", "|---|---|---|"]
    lines += [f"| {f.kind.replace('_', ' ')} | {cell(f.subject)} | {cell(f.sentence)} |" for f in alarms]
    table = "\n".join(lines) if alarms else "No alarm."
    pictures = gallery(overview([*history, report]))
    return f"**{action(report.decision)}** {sentence(report.decision.reason)}\n\n{report.rows:,} predictions of {report.version}, {report.labelled:,} labelled.\n\n{table}\n\n{pictures}{page_link(address)}"
