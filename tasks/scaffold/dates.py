"""How cells write dates and times: the ISO forms, and the formats that a column may declare."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

ISO_DATE = r"\d{4}-\d{2}-\d{2}"
ISO_TIME = ISO_DATE + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?"
OFFSET = r".*(Z|[+-]\d{2}:?\d{2})"
DAYS = (
    "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d",
    "%d-%b-%Y",
)  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
DIGITS = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%b": "[A-Za-z]{3}", "%H": r"\d{2}",
    "%I": r"\d{1,2}", "%M": r"\d{2}", "%S": r"\d{2}", "%p": "[AaPp][Mm]",
}  # fmt: skip
COMPACT = "%Y%m%d"
FEWEST = 5
"""Different whole numbers of eight digits from which they are dates, where each is one."""
YEARS = ("1900", "2100")


def formats_of(values: Sequence[str]) -> list[str]:
    """The formats in which every value is a date or a time; several where no day above 12 tells."""
    return [day + clock for clock in CLOCKS for day in DAYS if _parses(values, day + clock)]


def compact_dates(values: Sequence[str]) -> bool:
    """Whether whole numbers such as 20240131 are all dates of our time."""
    if len(values) < FEWEST or not all(re.fullmatch(r"\d{8}", v) and YEARS[0] <= v[:4] < YEARS[1] for v in values):
        return False
    return bool(pd.to_datetime(pd.Series(values), format=COMPACT, errors="coerce").notna().all())


def _parses(values: Sequence[str], form: str) -> bool:
    pattern = re.compile(re.sub(r"%[A-Za-z]", lambda part: DIGITS[part[0]], form.replace(".", r"\.")))
    if not all(pattern.fullmatch(v) for v in values):
        return False
    return bool(pd.to_datetime(pd.Series(values), format=form, errors="coerce").notna().all())
