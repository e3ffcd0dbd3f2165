"""Markup from outside stays text on every page and in every artifact, wherever in a document it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from pydantic import ValidationError

from tasks.records.pages.account import account_page, index_page
from tasks.records.pages.model import model_markdown, model_page
from tasks.records.pages.verdict import data_page, data_rows, verdict_markdown, verdict_page
from tasks.records.pages.watch import ModelStatus
from tasks.records.pages.window import window_markdown, window_page
from tasks.records.pages.words import cell
from tests.records.pages.test_pages import ENTRY, REPORT, RICH, VERDICT
from tests.records.pages.watched import life

PLANTED = (
    "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>",
    "' onmouseover='alert(1)' x='",
    '" onmouseover="alert(1)" x="',
    "![p](https://evil.example/p.png)",
    "[here](javascript:alert(1))",
    "https://evil.example/",
    "www.evil.example",
    "| a | b |",
    "a\\| b",
    "`code",
    "# heading",
    "1. first",
    "> said",
    "a\n\n<script>alert(1)</script>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "<https://evil.example>",
    "<!-- ",
)
USUAL = (
    "a\\\\",
    "a`b`",
    "*a* _b_ ~~c~~",
    "18 < age <= 35, [18, 35)",
    "AT&T & Co. #1 (2)",
    "50 % - 3",
    "- a",
    "+1",
    "= b",
)
RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
EVALUATION = {"curves": {"roc": [[0, 0], [1, 1]], "calibration": [[0.1, 0.2, 10]]}, "importance": {"age": 0.5}}


def planted(document: Any, text: str) -> Any:
    """A document with the text in every place that takes it; where a place has a form of its own, it is left."""
    kind, values = type(document), document.model_dump(mode="json")
    for place in list(_texts(values)):
        before = _set(values, place, text)
        try:
            kind.model_validate(values, strict=False)
        except ValidationError:
            _set(values, place, before)
    found = kind.model_validate(values, strict=False)
    assert repr(text.split("\n")[0])[1:-1] in repr(found)
    return found


def _texts(value: Any, place: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(one, (*place, key))
    elif isinstance(value, str):
        yield place


def _set(values: Any, place: tuple[Any, ...], text: str) -> str:
    for key in place[:-1]:
        values = values[key]
    before: str = values[place[-1]]
    values[place[-1]] = text
    return before


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, handlers and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.odd: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attributes:
            to = (value or "").strip().lower()
            if name.startswith("on") or re.match(r"(javascript:|https?:|//)", to) and name in ("href", "src"):
                self.odd.append(f"{tag} {name}={value}")


def status(text: str) -> ModelStatus:
    reports = [planted(report, text) for report in life(3)]
    return ModelStatus("income", text, "v1.0.0", text, reports, told=[text], answers=[text], record_sentence=text)


ACT = {"act": 1, "seconds": 1, "ok": False}
CHECK = {"table": "ingested", "sentence": "", "success": False, "observed": None, "rows": 3}
PAGES: dict[str, Callable[[str], str]] = {
    "verdict": lambda t: verdict_page(planted(RICH, t), t, EVALUATION, t),
    "verdict of few gates": lambda t: verdict_page(planted(VERDICT, t), t, EVALUATION | {"importance": {t: 0.5}}, t),
    "window": lambda t: window_page(planted(REPORT, t), [], t, None, t, {}),
    "model": lambda t: model_page(status(t)),
    "data": lambda t: data_page("income", [CHECK | {"table": t, "sentence": t, "observed": t}]),
    "account": lambda t: account_page(
        [planted(ENTRY, t)], [], t, [{"act": 1, "title": t, "outcome": t, "seconds": 1, "ok": False}]
    ),
    "index": lambda t: index_page(["income/data.html"]),
}
MARKDOWN: dict[str, Callable[[str], str]] = {
    "verdict": lambda t: verdict_markdown(planted(RICH, t), EVALUATION, "", t),
    "verdict of few gates": lambda t: verdict_markdown(planted(VERDICT, t), EVALUATION, "", t),
    "window": lambda t: window_markdown(planted(REPORT, t), [], "", t),
    "model": lambda t: model_markdown(status(t)),
    "data": lambda t: str(data_rows([CHECK | {"table": t, "sentence": t}])[0]["expectation"]),
}


@pytest.mark.parametrize("name", PAGES)
def test_markup_stays_text_on_pages(name: str) -> None:
    for text in PLANTED:
        seen = Seen(PAGES[name](text))
        assert seen.odd == [] and seen.elements & {"h1", "style"} and not seen.elements & {"script", "img", "form"}, (
            text
        )


@pytest.mark.parametrize("name", MARKDOWN)
def test_markup_stays_text_in_markdown(name: str) -> None:
    for text in PLANTED:
        usual = RENDERER.render(MARKDOWN[name]("X " + re.sub(r"[^\w\s]", "X", text)))
        made = RENDERER.render(MARKDOWN[name](text))
        source = re.sub("`[^`]*`", "", MARKDOWN[name](text))
        assert not re.search(r"(?i)https?://|www\.", source), "no address that a renderer makes a link of"
        seen = Seen(made)
        assert seen.odd == [] and not seen.elements & {"script", "a", "h1", "blockquote"}, (text, made)
        for tag in ("<td", "<tr", "<li", "<p>", "<code", "<img"):
            assert made.count(tag) == usual.count(tag), (text, tag, made)


@pytest.mark.parametrize("text", [*PLANTED, *USUAL])
def test_a_cell_is_read_as_it_was_written(text: str) -> None:
    """What a reader sees is what was written, to the letter, but for line breaks."""
    made = RENDERER.render(f"| a |\n|---|\n| {cell(text)} |\n")

    class Text(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.said = ""
            self.feed(made)

        def handle_data(self, data: str) -> None:
            self.said += data

    shown = Text().said.removeprefix("\n").split()
    assert shown[0] == "a" and " ".join(shown[1:]).replace("_", "") == " ".join(text.split()).replace("_", "")
