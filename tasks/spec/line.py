"""Free text of people and of the world as one line: what a name, a reason or a sentence of a record may hold."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

SHARED = " (shared login)"
"""Behind a name that came through Prefect's own form or API, where everybody has the same login."""
JOINERS = "\u200c\u200d"
"""Zero-width joiners spell words of some languages; no other invisible character does."""
FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories: controls, formats (such as text direction), half surrogates, private use, line separators."""


def one_line(text: str) -> str:
    """The text itself, where it is one line that reads as it is written.

    Raises:
        ValueError: it holds a character that breaks a line, changes the direction of text, or cannot be seen.
    """
    bad = next((c for c in text if _forbidden(c)), None)
    if bad is not None:
        raise ValueError(
            f"it holds the character U+{ord(bad):04X}, and must be one line of visible text; leave that character out"
        )
    return text


def shared(actor: str) -> str:
    """Who is named by a request that nobody proved to come from them."""
    return actor if actor.endswith(SHARED) else f"{actor[: 100 - len(SHARED)].rstrip()}{SHARED}"


def person(actor: str) -> str:
    """Who an actor says to be, proven or not: one who signs has to be somebody else either way."""
    return actor.removesuffix(SHARED)


def flat(text: str) -> str:
    """Any text as one line: line breaks become blanks, other forbidden characters their code points."""
    return "".join(_shown(c) if _forbidden(c) else c for c in text)


def lines_of(text: str) -> str:
    """Any text for a terminal: its lines stay, what would steer the terminal becomes code points."""
    return "\n".join(flat(line) for line in text.split("\n"))


def _forbidden(character: str) -> bool:
    return character not in JOINERS and unicodedata.category(character) in FORBIDDEN


def _shown(character: str) -> str:
    return " " if character in "\t\n\r\v\f\x85\u2028\u2029" else f"U+{ord(character):04X}"


def _no_option(text: str) -> str:
    if text.startswith("-") or text != text.strip():
        raise ValueError("it must not begin with a hyphen, nor begin or end with a blank; write the name alone")
    return one_line(text)


Line = Annotated[str, AfterValidator(one_line)]
"""One line that a person, a client, git or the environment gave; whoever sends more is told so."""
Who = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_no_option)]
"""What somebody is called, e.g. an email address."""
Flat = Annotated[str, BeforeValidator(lambda value: flat(value) if isinstance(value, str) else value)]
"""A sentence that was put together from what others said; it becomes one line."""
