"""One analysis window: its page, and the same in markdown for Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from tasks.records.pages import watch
from tasks.records.pages.drawings import draw
from tasks.records.pages.embedding_map import embedding_map
from tasks.records.pages.over_time import timeline
from tasks.records.pages.words import PAGES, action, cell, gallery, page_link, sentence
from tasks.spec.display import finding_name, with_display_names
from tasks.spec.evidence import Pictures, WindowReport
from tasks.spec.wording import plural


def window_page(
    report: WindowReport,
    history: Sequence[WindowReport],
    title: str,
    pictures: Pictures | None = None,
    unit: str = "",
    ranks: Mapping[str, int] | None = None,
) -> str:
    """One analysis window: the decision, its findings, the windows before, and what was drawn of this one.

    Args:
        history: earlier windows, oldest first.
        unit: of a regression target.
        ranks: by kind of finding, its place among the findings; other kinds come last.
    """
    drawn, known = pictures or Pictures(), ranks or {}
    return PAGES.get_template("window.html").render(
        heading=f"{title}: window {report.window}",
        report=report,
        findings=sorted(
            report.findings, key=lambda f: (f.value is None, known.get(f.kind, len(known)), -(f.importance or 0.0))
        ),
        pictures=overview([*history, report], unit),
        unit=unit,
        plots=drawn.plots,
        map=embedding_map(drawn.map) if drawn.map else "",
        draw=draw,
    )


def overview(reports: Sequence[WindowReport], unit: str = "") -> list[tuple[str, Markup]]:
    """Decisions by window, and the watched metrics."""
    return [("Versions and decisions", timeline(reports)), *watch.performance(reports, unit)]


def window_markdown(report: WindowReport, history: Sequence[WindowReport], address: str = "", unit: str = "") -> str:
    """One window as Prefect shows it, with the windows before as a picture."""
    alarms = [f for f in report.findings if f.alarm]
    lines = ["| Kind | Subject | Finding |", "|---|---|---|"]
    lines += [
        f"| {finding_name(f.kind)} | {cell(with_display_names(f.subject))} | {cell(with_display_names(f.sentence))} |"
        for f in alarms
    ]
    table = "\n".join(lines) if alarms else "No alarm."
    pictures = gallery(overview([*history, report], unit))
    decided = f"**{action(report.decision)}** {cell(sentence(report.decision.reason))}"
    counted = f"{plural(report.rows, 'prediction')} of {cell(report.version)}, {report.labelled:,} labelled."
    return "\n\n".join([decided, counted, table, pictures]) + page_link(address)
