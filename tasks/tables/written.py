"""Numbers as people write them: with a unit, with marks that part thousands, with a decimal comma."""

from __future__ import annotations

import re

import pandas as pd

from tasks.spec.data_source import Reading

MARKS = {"": "", ",": ",", ".": ".", "'": "'’", " ": " \u00a0\u202f"}
"""By mark of ``data.source.thousands``, the characters that are taken for it."""

UNIT_BEFORE = r"\s*[+-]?\s*([A-Z]{3}|[$€£¥])\s*[+-]?[0-9][0-9.,' ]*"
UNIT_BEHIND = r"\s*[+-]?[0-9][0-9.,']*\s*((?<=\s)[A-Za-zµ²³/]{1,6}|[$€£¥°])\s*"


def plain_numbers(cells: pd.Series, reading: Reading, unit: str | None) -> pd.Series:
    """Numbers in text as Python writes them: without unit and thousands marks, with a decimal point.

    What is not written as declared stays as it is and is refused: ``12,5`` where a comma parts thousands, any point
    where a comma is the decimal mark.
    """
    if unit and cells.str.contains(unit, regex=False).any():
        for pattern in _unit(unit):
            cells = cells.str.replace(pattern, r"\g<sign>", regex=True)
    if reading.thousands:
        marked = cells.str.fullmatch(grouped(reading.thousands, reading.decimal)).eq(True)
        cells = cells.mask(marked, cells.str.replace(f"[{MARKS[reading.thousands]}]", "", regex=True).str.strip())
    if reading.decimal == ",":
        cells = cells.str.replace(".", ";", regex=False).str.replace(",", ".", regex=False)
    return cells


def grouped(thousands: str, decimal: str) -> str:
    """The pattern of a number with at least one mark, by threes: 0,123 is none, for its comma is a decimal mark."""
    return rf"\s*[+-]?[1-9][0-9]{{0,2}}(?:[{MARKS[thousands]}][0-9]{{3}})+(?:{re.escape(decimal)}[0-9]*)?\s*"


def _unit(unit: str) -> list[str]:
    """Patterns of a unit behind and before a number; none where unit and number could not be told apart.

    What stays of a match is its ``sign``: a unit may stand behind it, as in -$5.
    """
    behind = [] if unit[0] in "+-.,'0123456789" else [rf"(?<=[0-9.,])(?P<sign>)\s*{re.escape(unit)}\s*$"]
    before = [] if unit[-1] in "+-.,'0123456789" else [rf"^\s*(?P<sign>[+\-]?)\s*{re.escape(unit)}\s*(?=[+\-0-9.,])"]
    return behind + before


def hint(value: object, reading: Reading) -> str:
    """What to declare where a cell is a number written with thousands marks or a unit; empty where it is none."""
    if not isinstance(value, str):
        return ""
    if re.fullmatch(r"\s*[+-]?[0-9.,' ]+\s*%\s*", value):
        return ' Where it is a per cent, say unit: "%" of the column.'
    if re.fullmatch(r"\s*\([^()]*[0-9][^()]*\)\s*", value):
        return " Where brackets mean a negative number, let the source write a minus."
    if unit := re.fullmatch(UNIT_BEFORE, value) or re.fullmatch(UNIT_BEHIND, value):
        return f' Where {unit[1]} is its unit, say unit: "{unit[1]}" of the column.'
    others = [mark for mark in MARKS if mark not in ("", reading.thousands, reading.decimal)]
    found = next((mark for mark in others if re.fullmatch(grouped(mark, reading.decimal), value)), "")
    if found:
        return f' Where {found!r} parts thousands, say thousands: "{found}" under data.source.'
    mark = {",": ".", ".": ","}[reading.decimal]
    if re.fullmatch(rf"\s*[+-]?[0-9]*{re.escape(mark)}[0-9]+\s*", value):
        return f' Where {mark!r} is the decimal mark, say decimal: "{mark}" under data.source.'
    return ""
