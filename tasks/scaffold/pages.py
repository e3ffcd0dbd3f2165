"""The three files of a model's folder as text, with a comment at every line that is a guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

WIDE = 100_000
"""Columns of a line of YAML that is not broken."""


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=WIDE, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def comment(guesses: list[str], question: str) -> str:
    """What stands behind a line: nothing, what it is guessed from, or what a person has to say."""
    said = "; ".join(g for g in guesses if g)
    text = f"guess: {said}" if said else ""
    if question:
        text += ("; " if text else "") + f"question: {question}"
    return f"  # {' '.join(text.split())}" if text else ""


def page(template: str, asked: Callable[[str], str], **values: Any) -> str:
    """One file of the model's folder.

    Args:
        template: its name, such as ``model.yaml``.
        asked: gives the comment of a value that a person was asked for, empty where they answered.
        values: what the template names.
    """
    text: str = TEMPLATES.get_template(f"{template}.j2").render(asked=asked, comment=comment, **values)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


TEMPLATES = Environment(
    loader=PackageLoader("tasks.scaffold"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    keep_trailing_newline=True,
)  # fmt: skip
TEMPLATES.filters["flow"] = flow
