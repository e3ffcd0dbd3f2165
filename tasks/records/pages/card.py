"""A model card as one page: the same statements under the headings of three readers, and where each is from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from markupsafe import Markup

from tasks.records.pages.words import PAGES

BEGIN, END = '<script type="application/json" id="card">', "</script>"
"""Around the card's JSON within its page."""
VOID = {"meta", "input", "br", "hr", "img", "link"}
"""Elements without an end."""


def card_page(document: Mapping[str, Any]) -> str:
    """The page of a card, with its JSON inside; of equal cards the pages are equal.

    Args:
        document: as ``assay card --json`` prints it.
    """
    statements = {one["id"]: one for one in document["statements"]}
    places = _places(document["statements"])
    return PAGES.get_template("card.html").render(
        heading=f"{document['title']}: model card",
        card=document,
        statements=statements,
        missing=[one for one in document["statements"] if one["state"] == "missing"],
        parted=lambda ids: ([i for i in ids if not is_number(i)], [i for i in ids if is_number(i)]),
        places=places,
        place=lambda source: places[_key(source)],
        judged=_judged,
        named=_named,
        short=_short,
        command=_command,
        embedded=Markup(json.dumps(document, ensure_ascii=True).replace("<", "\\u003c")),
    )


def is_number(id: str) -> bool:
    """Whether a statement is one number of a gate, which is folded away below the gate's answer."""
    return id.startswith("gate.") and id.rpartition(".")[2].isdecimal()


def _judged(one: Mapping[str, Any]) -> str:
    """The class of what a gate did not pass; its words say it too."""
    state = one["value"].get("state") if isinstance(one["value"], dict) else None
    return {"fail": " failed", "insufficient_evidence": " unsure"}.get(str(state), "")


def _key(source: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(source[key] for key in ("kind", "sequence", "digest", "commit", "path"))


def _places(statements: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[int, dict[str, Any]]]:
    """Every record that a statement names, with a number, in the order in which they come."""
    found: dict[tuple[Any, ...], tuple[int, dict[str, Any]]] = {}
    for one in statements:
        for source in one["sources"]:
            found.setdefault(_key(source), (len(found) + 1, source))
    return found


def _named(source: Mapping[str, Any]) -> str:
    if source["kind"] == "file":
        return f"{source['path']} at {source['commit'][:12]}"
    if source["kind"] == "ledger":
        return "the ledger"
    return f"{'entry' if source['kind'] == 'entry' else 'evidence of entry'} {source['sequence']}"


def _short(source: Mapping[str, Any]) -> str:
    """What stands beside a statement."""
    if source["kind"] == "file":
        return str(source["path"]).rpartition("/")[2]
    return "ledger" if source["kind"] == "ledger" else f"{source['kind']} {source['sequence']}"


def _command(source: Mapping[str, Any]) -> str:
    """How a person sees a record with git alone."""
    if source["kind"] == "file":
        return f"git show {source['commit']}:{source['path']}"
    if source["kind"] == "ledger":
        return "assay ledger"
    file = "entry.json" if source["kind"] == "entry" else "evidence.json"
    return f"git show $(git log -1 --format=%H --grep '^{source['sequence']}: ' assay/ledger):{file}"


def embedded(page: str) -> str:
    """The JSON within a page.

    Raises:
        ValueError: there is none, or more than one.
    """
    _, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after:
        raise ValueError("the page holds no card, or more than one")
    return inside


def shown_otherwise(page: str, document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where a page shows something else than its own JSON says: a statement's id, or ``page``, and a sentence each."""
    try:
        again = card_page(document)
    except Exception:  # a document of anybody: whatever is missing in it, it makes no page
        return [("page", "its statements are not complete, so that no page can be made of them")]
    if again == page:
        return []
    shown, meant = _shown(page), _shown(again)
    found = [
        (id, f"the page shows {' '.join(shown.get(id, ['nothing']))!r:.160}, and its own statement says otherwise")
        for id in dict.fromkeys([*meant, *shown])
        if shown.get(id) != meant.get(id)
    ]
    if found:
        return found
    lines = zip(page.splitlines(), again.splitlines(), strict=False)
    first = next((at for at, (one, other) in enumerate(lines, 1) if one != other), None)
    where = f"first in line {first}" if first else "at its end"
    return [("page", f"it is not the page that its statements make, {where}; make it anew")]


class _Reader(HTMLParser):
    """Collects what a page shows of each statement: its text and its links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._depth: list[int] = []
        self._level = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag not in VOID:
            self._level += 1
        if (id := said.get("data-statement")) is not None:
            self._open.append(id)
            self._depth.append(self._level)
        for id in self._open:
            self.found.setdefault(id, []).extend(f"{key}={value}" for key, value in attrs if key in ("href", "title"))

    def handle_endtag(self, tag: str) -> None:
        if self._depth and self._level <= self._depth[-1]:
            self._open.pop()
            self._depth.pop()
        self._level -= tag not in VOID

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.found.setdefault(self._open[-1], []).append(" ".join(data.split()))


def _shown(page: str) -> dict[str, list[str]]:
    reader = _Reader()
    reader.feed(page)
    return reader.found
