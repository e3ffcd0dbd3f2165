"""What every page shares: templates, states in words, numbers, times, and pieces of markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tasks.records.pages import plots
from tasks.spec.display import finding_form, finding_name, metric_form, metric_name, with_display_names
from tasks.spec.evidence import Decision
from tasks.spec.line import flat
from tasks.spec.wording import number, plural

WORDS = {"pass": "✓ pass", "fail": "✕ fail", "insufficient_evidence": "? insufficient evidence"}
CSS = {"pass": "pass", "fail": "fail", "insufficient_evidence": "open"}
VERSION = re.compile(r"v\d+\.")
MARKING = re.compile(r"([\\`*|~\[\]])")
ENTITY = re.compile(r"&(?=#?\w+;)")
BEGINNING = re.compile(r"^(\d*)([#>+=-]|[.)](?=\s|$))")
ADDRESS = re.compile(r"(?i)(https?|ftp|www)([:.])")
"""What markdown would read as something else than text."""
ACTIONS = {
    "nothing": "✓ Nothing to do.",
    "alert": "▲ Alert.",
    "retrain": "▲ Retrain.",
    "roll_back": "▲ Roll back.",
    "stop": "■ Stop.",
}


def action(decision: Decision) -> str:
    """What was decided, in words."""
    return "▲ Retrain, once labels are there." if decision.waits_for else ACTIONS[decision.action]


PAGES = Environment(
    loader=PackageLoader("tasks.records.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def when(moment: str) -> str:
    """An ISO 8601 time in UTC as a person reads it: ``2026-11-25 02:17:59``; what is no such time stays as it is."""
    try:
        return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return moment


def capital(text: str) -> str:
    """A heading: the first letter large, all others as they are."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A reason as a sentence: display names, a full stop, a capital letter unless a column or version comes first."""
    text = with_display_names(text)
    first = text.split(" ")[0]
    begin = text[:1] if "_" in first or VERSION.match(first) else text[:1].upper()
    return begin + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


PAGES.globals.update(
    num=number,
    word=WORDS.__getitem__,
    css=CSS.__getitem__,
    bar=plots.interval_bar,
    action=action,
    when=when,
    say=sentence,
    capital=capital,
    with_display_names=with_display_names,
    metric_name=metric_name,
    metric_form=metric_form,
    finding_name=finding_name,
    finding_form=finding_form,
    plural=plural,
)


def gallery(drawn: Sequence[tuple[str, Markup]]) -> str:
    """Pictures two to a row, each under its title: a table is all that markdown has for it."""
    lines, shown = [], [(title, picture) for title, picture in drawn if str(picture).startswith("<svg")]
    for i in range(0, len(shown), 2):
        titles, pictures = zip(*shown[i : i + 2], strict=True)
        head = [] if i else ["|" + "---|" * len(titles)]  # as many columns as the first row has, else it is no table
        lines += [
            f"| {' | '.join(f'**{cell(title)}**' for title in titles)} |",
            *head,
            f"| {' | '.join(map(plots.picture, pictures))} |",
        ]
    return "\n".join(lines)


def page_link(address: str) -> str:
    return f"\n\n[The whole page]({address})" if address else ""


def code(text: str) -> str:
    """A digest or a commit as markdown's code; what such a name does not have is left out."""
    return f"`{re.sub('[^0-9A-Za-z:._-]', '', text)}`"


def cell(text: str) -> str:
    """Text within markdown that is shown as it is written.

    It ends no cell, code span or list, begins nothing, holds no HTML, and is no link or picture. Some renderers make
    links of bare addresses, which is prevented, too (CommonMark 0.31, 2.4; GFM 0.29, 6.9).
    """
    text = MARKING.sub(r"\\\1", ENTITY.sub("&amp;", flat(text).strip()))
    text = BEGINNING.sub(r"\1\\\2", text)
    return ADDRESS.sub(r"\1\\\2", text).replace("<", "&lt;")
