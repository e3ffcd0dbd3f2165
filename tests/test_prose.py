"""Docstrings read like technical English: short sentences, the field's words, and what a caller has to know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SENTENCE_WORDS = 30
SOURCE = sorted([*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
UNCLEAR = re.compile(
    r"\bno numbers?\b(?! of)|\breckon|\btold plainly\b|\blay out evidence\b|\b[Ss]ight of\b|\bat stake\b", re.IGNORECASE
)
"""Words that a newcomer of the field would stumble over; say NaN, computed, reported."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of a file, those of attributes included."""
    for node in ast.walk(ast.parse(path.read_text())):
        for child in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                yield child.lineno, child.value.value


def sentences(text: str) -> Iterator[str]:
    """A docstring's sentences; each entry of Args, Returns and Raises, each item and each code block ends one."""
    text = re.sub(r"\n\s*\n|\n(?=\s*(?:[\w`*, ]{1,60}: |- |\d\. |Args:|Returns:|Raises:))", ". ", text)
    for part in re.split(r"(?<=[.!?])\s+|(?<=:)\s*\n", re.sub(r"[ \t]*\n[ \t]*", " ", text)):
        if part.strip(" ."):
            yield part.strip()


def long_sentences(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {len(sentence.split())} words: {sentence[:70]}..."
        for line, text in docstrings(path)
        for sentence in sentences(text)
        if len(sentence.split()) > SENTENCE_WORDS
    ]


@pytest.mark.parametrize("path", SOURCE, ids=lambda p: str(p.relative_to(ROOT)))
def test_sentences_are_short_and_words_are_the_fields(path: Path) -> None:
    assert long_sentences(path) == []
    assert [f"{line}: {text[:80]}" for line, text in docstrings(path) if UNCLEAR.search(text)] == []


def test_a_long_sentence_is_found(tmp_path: Path) -> None:
    words = " ".join(["word"] * 31)
    assert [len(s.split()) for s in sentences(f"Short one. {words}.\n\nArgs:\n    a: {words}.")] == [2, 31, 1, 32]
