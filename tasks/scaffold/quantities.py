"""Numbers of one column: how they are written, which of them stand for a gap, and bounds that leave room."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from tasks.spec.cells import LARGEST
from tasks.spec.data_source import Reading
from tasks.tables.written import plain_numbers

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
UNITS = ("%", "€", "$", "£", "¥")
"""Units that cells of numbers often carry."""
CODES = 3
"""Codes for gaps that are looked for in one column: not asked, not known, refused."""
FEW = 10
"""Distinct values under which a column may be a scale such as -1, 0, 1, and only long codes are seen."""
USUAL = 5
"""Rows from which a value is no slip, and neighbours whose rows say what is usual."""
APART = 3
"""Usual steps, or widths of a scale, beyond which a frequent value at the end stands apart."""


def is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def is_finite(text: str) -> bool:
    """Whether the reader takes it for a number: 1e400 is none."""
    return is_number(text) and abs(float(text)) <= LARGEST


def is_whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


def unit_of(values: Iterable[str]) -> str:
    """The unit that cells carry, where nearly all numbers do; empty where there is none."""
    numbers = [v for v in values if re.search(r"\d", v)]
    for unit in UNITS:
        carried = sum(v.endswith(unit) or v.startswith(unit) for v in numbers)
        if carried and carried >= 0.9 * len(numbers):
            return unit
    return ""


def plain(values: Iterable[str], reading: Reading, unit: str) -> list[str]:
    """Cells as the reader takes them for numbers."""
    return [str(v).strip() for v in plain_numbers(pd.Series(list(values), dtype="str"), reading, unit or None)]


def numbers_of(cells: pd.Series, missing: Iterable[str], reading: Reading, unit: str) -> pd.Series:
    """(n,) floats, NaN where a cell is missing or none."""
    text = cells.where(~cells.isin(list(missing)), "")
    return pd.Series(pd.to_numeric(pd.Series(plain(text, reading, unit)), errors="coerce").to_numpy(), cells.index)


def codes(counts: pd.Series) -> list[float]:
    """Extreme values that look like codes for gaps: 99, 9999, 8888, -1, -999.

    Args:
        counts: rows of each value, in the order of the values.
    """
    found: list[float] = []
    while len(found) < CODES and len(counts) > 2:
        code = next((float(v) for v in (counts.index[0], counts.index[-1]) if _is_code(float(v), counts)), None)
        if code is None:
            break
        found.append(code)
        counts = counts.drop(code)
    return found


def _looks_like_a_code(value: float) -> bool:
    return value == -1 or re.fullmatch(r"-?(9+|8+|7+|9+[78])", figure(value).replace(",", "")) is not None


def _is_code(value: float, counts: pd.Series) -> bool:
    if not _looks_like_a_code(value):
        return False
    alike = [v for v in counts.index if _looks_like_a_code(v) and (v < 0) == (value < 0)]
    rest, rows = counts.drop(alike), int(counts[value])
    if not len(rest):
        return False
    often = rows >= max(USUAL, 0.001 * counts.sum())
    long, few = abs(value) > 76, len(counts) < FEW
    if value < 0 <= rest.index[0]:  # a negative number where none else is
        return long or (often and not (few and value == -1))
    if not often or (few and not long):
        return False
    at_end = value == counts.index[-1]
    near = rest.iloc[-USUAL:] if at_end else rest.iloc[:USUAL]
    gap = abs(value - (rest.index[-1] if at_end else rest.index[0]))
    width = float(rest.index[-1] - rest.index[0])
    if few:  # 99 beside 1 to 5, not beside prices of 19 and 49
        return bool(gap > APART * width)
    steps = np.diff(rest.index.to_numpy(float))
    apart = rows > float(near.median()) and gap > APART * float(np.median(steps))
    return bool(gap > 0.5 * width or (long and apart))


def bounds(name_words: set[str], low: float, high: float) -> tuple[float, float]:
    """Bounds with room beyond what the file holds; of ages, 120."""
    room = (high - low) / 2
    least = 0.0 if low >= 0 else -nice(room - low)
    most = 0.0 if high <= 0 else nice(high + room)
    if name_words & {"age", "alter", "edad", "eta", "idade"} and low >= 0 and high <= 120:
        most = 120.0
    return least, most


def nice(value: float) -> float:
    """The next round number: 1, 2, 5 or 10 times a power of ten, in half steps."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return float(f"{next(step * power for step in steps if step * power >= value * (1 - 1e-9)):.6g}")


def figure(value: float | str | None, figures: int = 6) -> str:
    """A number as people write it: 2012, 0.6, 1,250,000, and no power of ten where it can be helped."""
    if value is None or isinstance(value, str):
        return value or ""
    if value == 0 or not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{figures}g}"
    rounded = float(f"{value:.{figures}g}") if not float(value).is_integer() else value
    if float(rounded).is_integer():
        return f"{int(rounded):,}" if abs(rounded) >= 1e4 else str(int(rounded))
    return f"{rounded:,.{max(figures, 1)}f}".rstrip("0") if abs(rounded) >= 1e4 else f"{rounded:.{figures}g}"
