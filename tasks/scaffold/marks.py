"""How a text file is written: whether its first line names columns, and the marks inside its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tasks.tables.gaps import MISSING
from tasks.tables.written import MARKS, grouped

YEARS = range(1900, 2101)
USUAL = 0.9
"""Share of a column's cells that make it one of numbers."""
FEWEST = 2
"""Signs against a header that outweigh a first line of words."""


def decimal_and_thousands(
    cells: pd.DataFrame, said: Mapping[str, Any], separator: str
) -> tuple[dict[str, str], list[str]]:
    """The decimal mark and the mark of thousands, where they are not the defaults, and what is to be asked.

    ``1,234`` can be either. Other numbers of the file may tell. Else a comma parts thousands in a file that is cut at
    commas, where it had to be quoted, and is a decimal mark in others; both are asked.
    """
    text = pd.Series(cells.to_numpy().ravel(), dtype="str").str.strip("%€$£¥ \u00a0")
    found = {key: said[key] for key in ("decimal", "thousands") if key in said}
    questions = []
    if "decimal" not in found:
        found["decimal"], question = _decimal(text, found.get("thousands", ""), separator)
        questions += question
    if "thousands" not in found:
        decimal = found["decimal"]
        seen = {m: int(text.str.fullmatch(_sure(m, decimal)).sum()) for m in MARKS if m and m != decimal}
        other = "," if decimal == "." else "."
        once, by_threes = _once(text, other)
        seen[other] += by_threes * (by_threes == once)  # it is no decimal mark, so what else
        best = max(seen, key=lambda mark: seen[mark])
        found["thousands"] = best if seen[best] else ""
    return {k: v for k, v in found.items() if v != {"decimal": ".", "thousands": ""}[k]}, questions


def _decimal(text: pd.Series, thousands: str, separator: str) -> tuple[str, list[str]]:
    if thousands in (".", ","):
        return ("," if thousands == "." else "."), []
    text = text.str.replace(rf"(?<=\d)[{MARKS[' ']}{MARKS[chr(39)]}](?=\d{{3}})", "", regex=True)
    comma, point = (_sure(mark, other) for mark, other in ((",", "."), (".", ",")))
    by_comma, by_point = int(text.str.fullmatch(comma).sum()), int(text.str.fullmatch(point).sum())
    if by_comma != by_point:  # a mark that parts thousands is no decimal mark
        return ("." if by_comma > by_point else ","), []
    (commas, thousands_by_comma), (points, thousands_by_point) = _once(text, ","), _once(text, ".")
    if commas > thousands_by_comma and points == thousands_by_point:
        return ",", []
    if points > thousands_by_point or not commas or commas > thousands_by_comma:
        return ("," if commas - thousands_by_comma > points - thousands_by_point else "."), []
    first = str(text[text.str.fullmatch(grouped(",", ".")).eq(True)].iloc[0])
    if separator == ",":
        return ".", [f"does the comma in {first} part thousands? Where it is a decimal mark, say --decimal ','"]
    return ",", [f"is the comma in {first} a decimal mark? Where it parts thousands, say --thousands ','"]


def _once(text: pd.Series, mark: str) -> tuple[int, int]:
    """Numbers with this one mark, and those of them in which it stands before three digits."""
    one = text.str.fullmatch(rf"[+-]?\d+{re.escape(mark)}\d+").eq(True)
    return int(one.sum()), int(text[one].str.fullmatch(grouped(mark, ";")).sum())


def _sure(mark: str, decimal: str) -> str:
    """A number in which this mark can only part thousands: twice, beside a decimal mark, or no decimal mark at all."""
    once = "+" if mark not in ",." else "{2,}"
    group = f"[{MARKS[mark]}][0-9]{{3}}"
    part = rf"[+-]?[1-9][0-9]{{0,2}}(?:{group}){once}"
    return rf"{part}(?:{re.escape(decimal)}[0-9]*)?|[+-]?[1-9][0-9]{{0,2}}(?:{group})+{re.escape(decimal)}[0-9]+"


def header_of(records: Sequence[Sequence[str]]) -> tuple[bool, list[str]]:
    """Whether the first of some records names the columns, and what is to be asked about it.

    A line of words that names nearly every column is a header unless several columns speak against it. Another one is
    a header where more columns set it apart from the rows below than not: words above numbers, years above measures.
    """
    first, *rows = ([cell.strip() for cell in record] for record in records)
    votes = [_apart(cell, [r[at] for r in rows if at < len(r) and r[at]]) for at, cell in enumerate(first)]
    words = all(first[1:]) and not any(map(_is_number, first))
    balance = sum(votes)
    header = balance > -max(FEWEST, len(first) / 2) if words else balance > 0
    shown = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
    if not header:
        return False, [f"the first line ({shown}) is taken for data; where it names the columns, say --header"]
    if balance >= 0 and not any(map(_is_number, first)):
        return True, []
    return True, [f"the first line ({shown}) is taken for names; where it is data, say --no-header"]


def _apart(cell: str, below: list[str]) -> int:
    """Whether a cell looks like a name of what stands below it: 1, -1 for one of its values, 0 where it may be both."""
    if not cell or not below:
        return 0
    numbers = [b for b in below if _is_number(b)]
    if len(numbers) >= USUAL * len(below):
        if not _is_number(cell):
            return 0 if cell in MISSING else 1
        years = sum(_is_year(b) for b in numbers)
        return 1 if _is_year(cell) and cell not in below and years < 0.5 * len(numbers) else -1
    if _is_number(cell):
        return 1 if _is_year(cell) and cell not in below and not numbers else -1
    return -1 if cell in below else int(len(set(below)) <= len(below) / 2)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) is not None


def _is_year(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) in YEARS
