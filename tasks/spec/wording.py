"""Numbers in sentences and tables: their precision and unit, and a noun that agrees."""

from __future__ import annotations

import math
from typing import Literal


def plural(count: int | float, noun: str, nouns: str = "") -> str:
    """A count with its noun: ``1 window``, ``2 windows``, ``1,200 rows``, ``0 entries``, ``1.5 windows``.

    Args:
        count: a whole number, or a number such as a median.
        noun: what is counted, of one.
        nouns: the same of any other number, where it is not ``noun`` with an "s".
    """
    shown = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{shown} {noun if count == 1 else nouns or noun + 's'}"


def ordinal(count: int) -> str:
    """A place in figures: ``1st``, ``2nd``, ``11th``, ``1,003rd``."""
    ending = "th" if count % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count:,}{ending}"


NumberForm = Literal["number", "rate", "seconds", "target"]
"""How people read a value: a plain number, a share of one, a length of time, or in the unit of the model's target."""
PLAIN: NumberForm = "number"


def number(value: float | str | None, form: NumberForm = "number", unit: str = "") -> str:
    """A value with the precision that a reader can use.

    Args:
        value: None is an empty text, and a text stays as it is.
        form: ``number``: counts with separators, else four significant digits. ``rate``: percent with one decimal.
            ``seconds``: in the largest unit of time of which there are at least two.
        unit: of the model's target, for the form ``target``.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if form == "rate":
        return f"{value:.1%}" if value == 0 or abs(value) >= 0.0005 else f"{100 * value:.1g}%"
    if form == "seconds":
        return _time(value)
    count = abs(value) >= 1000 or (value == int(value) and abs(value) >= 10)
    shown = f"{value:,.0f}" if count else f"{value:.4g}"
    return f"{shown} {unit}" if unit and form == "target" else shown


def _time(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} seconds"


def p_value(value: float) -> str:
    """A p-value as a person reads it: ``p 0.013``, or ``p under 1e-12`` where more digits would say no more."""
    return "p under 1e-12" if value < 1e-12 else f"p {value:.2g}"
