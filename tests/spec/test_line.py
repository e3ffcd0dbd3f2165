"""What people, clients and git may put into a record as a name, a reason or a sentence."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from tasks.cli import runs
from tasks.records.pages.words import cell
from tasks.spec.errors import ConfigError
from tasks.spec.ledger import EntryDraft
from tasks.spec.line import flat, lines_of
from tasks.spec.requests import PromotionRequest
from tasks.spec.waivers import Waiver
from tests.conftest import ROOT

BREAKS = ["\n", "\r", "\x00", "\x1b[2J", "\x85", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff"]


@pytest.mark.parametrize("bad", BREAKS, ids=[f"U+{ord(b[0]):04X}" for b in BREAKS])
def test_a_name_and_a_reason_are_one_visible_line(bad: str) -> None:
    said = f"U\\+{ord(bad[0]):04X}.*one line of visible text"
    for actor, because in ((f"jo{bad}x", "it drifts"), ("jo", f"it drifts{bad}x")):
        with pytest.raises(ValidationError, match=said):
            PromotionRequest(model="care", actor=actor, version="v1.0.0", because=because)
    with pytest.raises(ValidationError, match=said):
        Waiver(gate="auc", version="v1.0.0", reason=f"it is long enough{bad}x", who="jo", expires="2026-12-01")
    draft = EntryDraft(kind="examined", model="care", actor="jo", reason="push", sentence=f"a{bad}b")
    assert draft.sentence == f"a{flat(bad)}b" and flat(bad).isprintable()


def test_words_of_all_languages_stay_as_they_are() -> None:
    for text in ("Zoë O'Neill", "می\u200cخواهم", "山田 太郎", "👩\u200d🔬 → 100 %"):
        assert flat(text) == text
        assert PromotionRequest(model="care", actor=text, version="v1.0.0", because=text).because == text


def test_a_terminal_gets_lines_and_no_commands() -> None:
    assert lines_of("one\ntwo \x1b[31mred\u202e") == "one\ntwo U+001B[31mredU+202E"


def test_text_in_markdown_is_no_link_no_picture_and_no_html() -> None:
    said = cell("![x](http://outside/x.png) <img src=x> [a][b] | [c]: http://outside\n# head")
    assert not re.search(r"(?<!\\)[\[\]|]", said) and "<" not in said and "\n" not in said and "http:" not in said


def test_numbers_in_markdown_stay_as_they_are_and_lists_do_not_begin() -> None:
    assert [cell(text) for text in ("12.3%", "1. one", "3)", "# head")] == ["12.3%", "1\\. one", "3\\)", "\\# head"]


def test_a_wrong_reason_ends_the_command_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "api", lambda: pytest.fail("the server was asked"))
    with pytest.raises(ConfigError, match=r"the request: because: it holds the character U\+000A"):
        runs.start(ROOT, "stop/stop", {"model": "care", "reason": "person", "because": "a\nEvidence: x"})
