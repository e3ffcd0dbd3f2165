"""How a text file is written: whether its first line names columns, and the marks inside its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tasks.spec.wording import plural
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
    text, rows = _marked(cells)
    found = {key: said[key] for key in ("decimal", "thousands") if key in said}
    questions = []
    if "decimal" not in found:
        found["decimal"], question = _decimal(text, rows, found.get("thousands", ""), separator)
        questions += question
    if "thousands" not in found:
        decimal = found["decimal"]
        seen = {m: int(rows[_is(text, _sure(m, decimal))].sum()) for m in MARKS if m and m != decimal}
        other = "," if decimal == "." else "."
        once, by_threes = _once(text, rows, other)
        seen[other] += by_threes * (by_threes == once)  # it is no decimal mark, so what else
        best = max(seen, key=lambda mark: seen[mark])
        found["thousands"] = best if seen[best] else ""
    return {k: v for k, v in found.items() if v != {"decimal": ".", "thousands": ""}[k]}, questions


def _marked(cells: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The different cells of all columns that hold a mark between digits, without their units, and their rows."""
    counts = pd.concat([cells[name].value_counts() for name in cells.columns])
    text = pd.Series(counts.index, dtype="str").str.strip("%€$£¥ \u00a0")
    rows = pd.Series(counts.to_numpy()).groupby(text).sum()
    rows = rows[rows.index.str.contains(rf"\d[{''.join(MARKS.values())}]\d")]
    return pd.Series(rows.index, dtype="str"), rows.reset_index(drop=True)


def _is(text: pd.Series, pattern: str) -> pd.Series:
    return text.str.fullmatch(pattern).eq(True)


def _decimal(text: pd.Series, rows: pd.Series, thousands: str, separator: str) -> tuple[str, list[str]]:
    """What most cells say; asked where some say otherwise, or where none does."""
    if thousands in (".", ","):
        return ("," if thousands == "." else "."), []
    text = text.str.replace(rf"(?<=\d)[{MARKS[' ']}{MARKS[chr(39)]}](?=\d{{3}})", "", regex=True)
    said = {mark: _says(text, mark, other) for mark, other in ((",", "."), (".", ","))}
    votes = {mark: int(rows[says].sum()) for mark, says in said.items()}
    if any(votes.values()):
        usual = "," if (votes[","], separator != ",") > (votes["."], separator == ",") else "."
        rare = "." if usual == "," else ","
        if not votes[rare]:
            return usual, []
        return usual, [
            f"{plural(votes[rare], 'cell')} such as {text[said[rare]].iloc[0]} {'has' if votes[rare] == 1 else 'have'} "
            f"{rare!r} as decimal mark, and {votes[usual]:,} such as {text[said[usual]].iloc[0]} {usual!r}, which is "
            f"taken; where it is the other, say --decimal {rare!r}"
        ]
    if not _once(text, rows, ",")[0]:
        return ".", []
    first = str(text[_is(text, grouped(",", "."))].iloc[0])
    if separator == ",":
        return ".", [f"does the comma in {first} part thousands? Where it is a decimal mark, say --decimal ','"]
    return ",", [f"is the comma in {first} a decimal mark? Where it parts thousands, say --thousands ','"]


def _says(text: pd.Series, mark: str, other: str) -> pd.Series:
    """Which numbers tell that this is their decimal mark: the other one parts thousands, or no three digits follow."""
    once = _is(text, rf"[+-]?\d+{re.escape(mark)}\d+") & ~_is(text, grouped(mark, ";"))
    return once | _is(text, _sure(other, mark))


def _once(text: pd.Series, rows: pd.Series, mark: str) -> tuple[int, int]:
    """Rows of numbers with this one mark, and of those in which it stands before three digits."""
    one = _is(text, rf"[+-]?\d+{re.escape(mark)}\d+")
    return int(rows[one].sum()), int(rows[one & _is(text, grouped(mark, ";"))].sum())


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
