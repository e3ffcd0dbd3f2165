"""From the cells of a source to columns of the declared types, and from there to requests.

The declaration decides, never the look of the cells. A request is made from the table form, so that a file that is
trained on, one that is scored and a row that is served cannot be read differently.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from tasks.spec.cells import LONGEST, category_text, names, numbers, rounded, shown
from tasks.spec.data import Column
from tasks.spec.data_source import Reading
from tasks.spec.errors import ConfigError, Problem
from tasks.tables.written import hint, plain_numbers

SHOWN = 5
"""Columns with wrong cells that are reported at once."""


def typed(
    columns: Iterable[Column],
    cells: pd.DataFrame,
    reading: Reading | None = None,
    file: str = "the table",
    before: int = 0,
) -> pd.DataFrame:
    """Give columns their declared types.

    Args:
        columns: those to convert; each is a column of ``cells``.
        cells: (n, columns) in source form, by declared names; others are left out.
        file: its name in error messages.
        before: rows of the file that came before these.

    Returns:
        (n, columns) in table form.

    Raises:
        ConfigError: cells are not values of their columns' types; the message gives rows and values.
    """
    reading = reading or Reading()
    found: dict[str, pd.Series] = {}
    problems: list[Problem] = []
    for column in columns:
        values, wrong = column_values(column, cells[column.name], reading)
        if wrong.any():
            said = _problem(column, cells[column.name], wrong, file, before, reading)
            problems.append(Problem(("data", "columns", column.name), said))
        found[column.name] = values
    if problems:
        more = f" And so in {len(problems) - SHOWN} other columns." if len(problems) > SHOWN else ""
        raise ConfigError(" ".join(p.sentence for p in problems[:SHOWN]) + more, tuple(problems))
    return pd.DataFrame(found, index=cells.index)


def column_values(column: Column, cells: pd.Series, reading: Reading) -> tuple[pd.Series, pd.Series]:
    """One column in table form, and which of its cells are not values of its type."""
    kind = column.kind
    markers = {"", *reading.missing, *column.missing}
    text = isinstance(cells.dtype, pd.StringDtype)
    if text:
        if reading.trim or (kind.numeric and (len(markers) > 1 or not kind.has_decimals)):
            cells = cells.str.strip()
        if len(markers) > 1 or not kind.has_decimals:  # numbers pass over an empty cell by themselves, and faster
            cells = _without(cells, markers)
        if kind.has_decimals:
            cells = plain_numbers(cells, reading, column.unit)
    elif cells.dtype == object:
        cells = _plain_text(cells, markers, trim=reading.trim or kind.numeric)
    values, wrong = kind.from_source(cells, column)
    if column.served and not kind.numeric:
        wrong |= values.str.len() > LONGEST
    if len(markers) == 1 and (text or kind.numeric):  # an empty cell is missing already
        return values, wrong
    gone = values.isin(_quantities(column, markers, reading if text else Reading())) if kind.numeric else wrong & False
    if not text and (not kind.numeric or wrong.any()):
        gone |= names(cells).isin(markers)
    return values.mask(gone), wrong & ~gone


def _plain_text(cells: pd.Series, markers: set[str], trim: bool) -> pd.Series:
    """Values of mixed types, with NaN for texts that mean "missing".

    Only an explicit dtype keeps them as they are: pandas infers floats of whole numbers with gaps, and of identifiers
    beyond 2^53 it keeps the nearest.
    """
    plain = [value.strip() if trim and isinstance(value, str) else value for value in cells]
    kept = [None if isinstance(value, str) and value in markers else value for value in plain]
    return pd.Series(kept, cells.index, dtype=object)


def _without(cells: pd.Series, markers: set[str]) -> pd.Series:
    """Text with NaN in place of what means "missing"; the same object where nothing does."""
    text = pa.array(cells.array)
    gone = compute.is_in(text, value_set=pa.array(sorted(markers), text.type))
    return cells.mask(gone.to_numpy(zero_copy_only=False)) if compute.any(gone).as_py() else cells


def markers(column: Column, reading: Reading) -> tuple[str, ...]:
    """What means "missing" in a column of a file, as requests would write it."""
    given = {*reading.missing, *column.missing}
    if not column.kind.numeric:
        return tuple(sorted(given))
    found = _quantities(column, given, reading)
    return tuple(sorted({str(column.kind.to_json(value)) for value in found}))


def _quantities(column: Column, markers: set[str], reading: Reading) -> pd.Series:
    """The markers that are values of a column of quantities, in table form: 9 also means 9.0."""
    texts = pd.Series(sorted(markers), dtype="str")
    if column.kind.has_decimals:
        return numbers(plain_numbers(texts, reading, column.unit))[0].dropna()
    found = column.kind.from_source(texts, column)[0].dropna().tolist()
    for marker in sorted(markers):  # a typed file holds no text in the declared format
        with suppress(ValueError):
            found.append(column.kind.bound(marker, column))
    return pd.Series(found, dtype="float64")


def _problem(column: Column, cells: pd.Series, wrong: pd.Series, file: str, before: int, reading: Reading) -> str:
    at = int(wrong.to_numpy().argmax())
    named = f" ({column.source!r} in the file)" if column.source not in (None, column.name) else ""
    more = int(wrong.sum()) - 1
    others = f", and {more:,} more like it among the {len(cells):,} rows from {before + 1:,} on" if more else ""
    said = hint(cells.iloc[at], reading) if column.kind.has_decimals else ""
    where = f"{file}, row {before + at + 1:,}, column {column.name}{named}: {shown(cells.iloc[at])}"
    if column.kind.has_decimals and not column.kind.whole and rounded(cells.iloc[at]):
        return (
            f"{where} is a whole number that a float would round{others}. Declare the column category, which keeps all "
            "digits, or let the file write it with an exponent."
        )
    if not column.kind.numeric and len(str(cells.iloc[at])) > LONGEST:
        return (
            f"{where} has {len(str(cells.iloc[at])):,} characters{others}, and a category that requests hold has at "
            f"most {LONGEST:,}. Shorten it, or set input: false for the column."
        )
    if not column.kind.numeric and isinstance(cells.iloc[at], float):
        return f"{where} is an infinite number, which names no category{others}. {column.kind.advice}."
    return f"{where} is no {column.kind.noun}{others}. {column.kind.advice}.{said}"


def as_json(columns: Iterable[Column], table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a client would send them: whole numbers as integers, what is missing as None.

    Args:
        table: (n, columns) in table form.
    """
    found = {
        c.name: [
            None if gone else c.kind.to_json(value)
            for value, gone in zip(table[c.name].tolist(), table[c.name].isna().tolist(), strict=True)
        ]
        for c in columns
    }
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def plain_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that a Parquet file can hold: columns of mixed types, such as pickles have, as text."""
    mixed = {
        name: cells[name].map(category_text, na_action="ignore").astype("str")
        for name in cells.columns
        if cells[name].dtype == object
    }
    return cells.assign(**mixed)
