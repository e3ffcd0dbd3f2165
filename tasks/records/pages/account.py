"""What happened, in order: the account, the list of all pages, the ledger for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from rich.markup import escape
from rich.table import Table

from tasks.records.pages.over_time import timeline
from tasks.records.pages.words import PAGES
from tasks.spec.display import with_display_names
from tasks.spec.evidence import WindowReport
from tasks.spec.ledger import Entry
from tasks.spec.line import flat


def index_page(paths: Sequence[str]) -> str:
    """All pages, newest first; paths are relative to the report folder, ``model/name.html``."""
    by_model: dict[str, list[str]] = {}
    for path in paths:
        model, _, name = path.rpartition("/")
        by_model.setdefault(model or "all models", []).append(name.removesuffix(".html"))
    return PAGES.get_template("index.html").render(heading="Reports", models=by_model)


def account_page(
    entries: Sequence[Entry], reports: Sequence[WindowReport], title: str, acts: Sequence[dict[str, Any]]
) -> str:
    """What happened, when, why and on what evidence."""
    windows = {r.window for r in reports}
    links = {e.sequence: _link(e, windows) for e in entries}
    return PAGES.get_template("account.html").render(
        heading=title, entries=entries, reports=reports, acts=acts, links=links, timeline=timeline(list(reports))
    )


def _link(entry: Entry, windows: set[int]) -> str:
    folder = quote(entry.model, safe="")  # a relative address, whatever a record says
    if entry.rejected_untrained:
        return f"{folder}/data.html"
    if entry.kind in ("promoted", "rejected", "trained", "examined", "awaiting_signature") and entry.commit:
        return f"{folder}/verdict-{quote(entry.commit[:12])}.html"
    if entry.window is not None and entry.window in windows:
        return f"{folder}/window-{entry.window:05d}.html"
    return ""


def account_table(entries: Sequence[Entry]) -> Table:
    """The ledger for a terminal."""
    table = Table(title="The ledger", title_justify="left")
    for name in ("#", "time", "what", "version", "who", "why"):
        table.add_column(name, no_wrap=name != "why")
    for e in entries:
        said = with_display_names(flat(e.sentence))
        sentence = said if len(said) <= 150 else said[:147] + "..."
        table.add_row(
            str(e.sequence),
            e.time[11:19],
            e.kind.replace("_", " "),
            e.version or "",
            escape(flat(e.actor)),
            escape(sentence),
        )
    return table
