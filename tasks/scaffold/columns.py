"""What each column probably is: its type, gaps, bounds and categories, each with the reason why it is thought so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.scaffold.reading import Look
from tasks.scaffold.words import (
    CODES,
    NOT_A_NUMBER,
    OWNERS,
    column_name,
    identifies,
    words,
)
from tasks.tables.gaps import MISSING, PERHAPS_VALUES

CLOSED = 30
"""Categories up to which a set is thought to be complete, where each is frequent."""
FEW = 50
"""Distinct numbers up to which they are counted one by one, since they may be classes."""
ROOM = pd.Timedelta(days=5 * 365)
"""Least time that the bounds of dates leave on either side of what the file holds."""
EXACT = 2**53
MANY = 0.3
"""Share of the rows from which distinct names are too many to learn from."""
TRUTHS = (frozenset({"true", "false"}), frozenset({"yes", "no"}), frozenset({"1", "0"}))
ISO_DATE = r"\d{4}-\d{2}-\d{2}"
ISO_TIME = ISO_DATE + r"[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?"
OFFSET = r".*(Z|[+-]\d{2}:?\d{2})"
FORMATS = (
    (r"\d{1,2}\.\d{1,2}\.\d{4}", "%d.%m.%Y"),
    (r"\d{1,2}/\d{1,2}/\d{4}", "%d/%m/%Y"),
    (r"\d{1,2}/\d{1,2}/\d{4}", "%m/%d/%Y"),
    (r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"),
    (r"\d{1,2}\.\d{1,2}\.\d{4} \d{2}:\d{2}", "%d.%m.%Y %H:%M"),
    (r"\d{1,2}\.\d{1,2}\.\d{4} \d{2}:\d{2}:\d{2}", "%d.%m.%Y %H:%M:%S"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{2}:\d{2}", "%d/%m/%Y %H:%M"),
    (r"\d{1,2}/\d{1,2}/\d{4} \d{2}:\d{2}", "%m/%d/%Y %H:%M"),
)


@dataclass
class Guess:
    """One column as it will be declared, and why."""

    original: str
    name: str
    type: str = "category"
    missing: tuple[str, ...] = ()
    gaps: int = 0
    distinct: int = 0
    low: float | str | None = None
    high: float | str | None = None
    """Of quantities and dates, the ends of what the file holds."""
    minimum: float | str | None = None
    maximum: float | str | None = None
    categories: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    """Of names and of few numbers, the rows of each value, the most frequent first."""
    format: str = ""
    zone: str = ""
    notes: list[str] = field(default_factory=list)
    question: str = ""
    left_out: str = ""
    """Why it is not declared at all; empty where it is."""
    input: bool = True
    available: str = "before"
    unfeatured: str = ""
    """Why it is declared and no feature; empty where it may be one."""

    @property
    def words(self) -> set[str]:
        return words(self.original)

    @property
    def quantity(self) -> bool:
        return self.type in ("number", "integer")


def guess_columns(look: Look, on_column: Callable[[str], None], kinds: Iterable[str]) -> list[Guess]:
    """Guess every column of a source, in its order.

    Args:
        look: what the source holds.
        on_column: called with each column's name, for a line of progress.
        kinds: the column types that this version of Assay knows.
    """
    taken: set[str] = set()
    found = []
    for original in look.cells.columns:
        on_column(str(original))
        guess = Guess(str(original), column_name(str(original), taken))
        taken.add(guess.name)
        _examine(guess, look.cells[original], look, frozenset(kinds))
        found.append(guess)
    return found


def _examine(guess: Guess, cells: pd.Series, look: Look, kinds: frozenset[str]) -> None:
    counts = cells[cells != ""].value_counts()
    declared = look.typed.get(guess.original, "")
    point = (lambda v: v.replace(",", ".")) if look.source.get("decimal") == "," else (lambda v: v)
    markers, odd = _markers([str(v) for v in counts.index], point)
    kept = counts.drop(list(markers))
    guess.missing, guess.gaps = tuple(sorted(markers)), int(len(cells) - kept.sum())
    guess.distinct = len(kept)
    if odd:
        guess.question = (
            f"{', '.join(map(repr, odd))} ({int(counts[list(odd)].sum())} rows) is no number; taken as missing"
        )
    elif markers:
        guess.notes.append(f"{' and '.join(map(repr, guess.missing))} taken as missing")
    if not len(kept):
        guess.left_out = "it holds no value"
        return
    if len(kept) == 1:
        guess.left_out = f"it holds {str(kept.index[0])[:40]!r} in every row, so it says nothing"
        return
    _type(guess, kept, declared, look, point)
    if guess.type not in kinds:  # a column kind that is not there reads as names
        guess.type, guess.format, guess.zone = "category", "", ""
    _details(guess, cells, kept, point)


def _markers(values: list[str], point: Callable[[str], str]) -> tuple[set[str], list[str]]:
    """Cells that say "missing", and of those, the ones that are known for it by their company only."""
    known = {v for v in values if v in MISSING}
    rest = [v for v in values if v not in known]
    texts = [v for v in rest if not _is_number(point(v))]
    if rest and len(texts) < len(rest) and len(texts) <= 3 and len(rest) - len(texts) >= 5:
        if texts and all(t.lower() in NOT_A_NUMBER or len(t) <= 12 and not re.search(r"\d", t) for t in texts):
            return known | set(texts), sorted(texts)
        if not texts:
            return known, []
    elif rest and not texts:
        return known, []
    return {v for v in known if v not in PERHAPS_VALUES}, []


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", value))


def _type(guess: Guess, kept: pd.Series, declared: str, look: Look, point: Callable[[str], str]) -> None:
    values = [str(v) for v in kept.index]
    lower = {v.lower() for v in values}
    if declared in ("boolean", "date", "datetime"):
        guess.type, guess.zone = declared, look.zones.get(guess.original, "")
        guess.notes.append("the file says so")
        _zone(guess, values)
    elif any(lower == truth for truth in TRUTHS):
        guess.type = "boolean"
        guess.notes.append(f"holds {' and '.join(sorted(values))}")
    elif all(re.fullmatch(r"[+-]?\d+", v) for v in values):
        _whole(guess, values)
    elif all(re.fullmatch(r"[+-]?\d+\.0+", point(v)) for v in values) and len(values) < MANY * kept.sum():
        guess.type = "integer"
        guess.notes.append("whole numbers, written with a decimal mark")
    elif all(_is_number(point(v)) for v in values):
        guess.type = "number"
    else:
        _moment(guess, values)


def _whole(guess: Guess, values: list[str]) -> None:
    if any(len(v) > 1 and v.startswith("0") for v in values):
        guess.notes.append("codes with leading zeros, so names")
    elif max(abs(int(v)) for v in values) > EXACT:
        guess.notes.append("whole numbers beyond 2^53, so names")
    elif guess.words & CODES or identifies(guess.original):
        guess.notes.append("whole numbers, by the column's name codes")
    elif len(values) == 2:
        guess.notes.append(f"two whole numbers, {' and '.join(sorted(values))}, so names")
    else:
        guess.type = "integer"


def _moment(guess: Guess, values: list[str]) -> None:
    if all(re.fullmatch(ISO_DATE, v) for v in values):
        guess.type = "date"
    elif all(re.fullmatch(ISO_TIME, v) for v in values):
        guess.type = "datetime"
        _zone(guess, values)
    else:
        fitting = [form for pattern, form in FORMATS if _parses(values, pattern, form)]
        if not fitting:
            return
        guess.format = fitting[0]
        guess.type = "datetime" if "%H" in guess.format else "date"
        guess.notes.append(f"written as {guess.format}")
        if len(fitting) > 1:
            guess.question = f"could be {' or '.join(fitting)}; no day above 12 tells which"
        _zone(guess, values)


def _zone(guess: Guess, values: list[str]) -> None:
    if guess.type == "datetime" and not guess.zone and not all(re.fullmatch(OFFSET, v) for v in values):
        guess.zone = "UTC"
        guess.question = guess.question or "which zone are these local times of?"


def _parses(values: list[str], pattern: str, form: str) -> bool:
    if not all(re.fullmatch(pattern, v) for v in values):
        return False
    return bool(pd.to_datetime(pd.Series(values), format=form, errors="coerce").notna().all())


def _details(guess: Guess, cells: pd.Series, kept: pd.Series, point: Callable[[str], str]) -> None:
    rows = len(cells)
    if len(kept) <= FEW or guess.type in ("category", "boolean"):
        guess.counts = {str(v): int(n) for v, n in kept.items()}
    if guess.quantity:
        _bounds(guess, kept, point)
        sequential = guess.type == "integer" and guess.distinct == rows
        if sequential and (identifies(guess.original) or _steps(cells)):
            guess.left_out = "every row has its own number, so it is a key"
        return
    if guess.type in ("date", "datetime"):
        moments = parsed_moments(guess, kept.index)
        shown = 10 if guess.type == "date" else 16
        guess.low, guess.high = str(moments.min())[:shown], str(moments.max())[:shown]
        room = max(moments.max() - moments.min(), ROOM)
        guess.minimum, guess.maximum = str((moments.min() - room).date()), str((moments.max() + room).date())
        guess.notes.append(f"holds {guess.low} to {guess.high}")
        return
    if guess.type == "boolean":
        return
    unsure = sorted(set(guess.counts) & MISSING)
    if unsure:
        guess.question = f"does {' or '.join(map(repr, unsure))} mean that nothing is known? Then list it under missing"
    _names(guess, kept, rows)


def _names(guess: Guess, kept: pd.Series, rows: int) -> None:
    length = np.mean([len(str(v)) for v in kept.index])
    if guess.distinct == rows - guess.gaps and rows > 20:
        guess.left_out = "every row has its own, so it is a key" if length < 40 else "it is free text"
    elif guess.distinct > MANY * rows and not (guess.words & OWNERS or identifies(guess.original)):
        guess.left_out = "it is free text" if length > 30 else f"{guess.distinct:,} names in {rows:,} rows"
    elif guess.distinct <= CLOSED and kept.min() >= max(5, rows / 2000):
        guess.categories = tuple(sorted(map(str, kept.index)))
        guess.notes.append("closed: a request with any other value is refused")
    else:
        guess.notes.append(f"open: {guess.distinct:,} values, and others may come")


def _bounds(guess: Guess, kept: pd.Series, point: Callable[[str], str]) -> None:
    """Bounds with room beyond what the file holds, and values that stand apart from all others."""
    numbers = pd.Series(kept.to_numpy(), index=[float(point(str(v))) for v in kept.index]).sort_index()
    spike = _spike(numbers)
    if spike is not None:
        text = next(str(v) for v in kept.index if float(point(str(v))) == spike)
        count = int(numbers[spike])
        guess.missing, guess.gaps = (*guess.missing, text), guess.gaps + count
        numbers = numbers.drop(spike)
        guess.question = f"{text} stands apart from all others in {count} rows; taken as missing, not as a value"
    guess.low, guess.high = float(numbers.index[0]), float(numbers.index[-1])
    room = (guess.high - guess.low) / 2
    guess.minimum = 0.0 if guess.low >= 0 else -_nice(room - guess.low)
    guess.maximum = 0.0 if guess.high <= 0 else _nice(guess.high + room)
    if guess.words & {"age", "alter", "edad", "eta", "idade"} and guess.low >= 0 and guess.high <= 120:
        guess.maximum = 120.0
    guess.notes.append(f"holds {guess.low:g} to {guess.high:g}")


def _spike(numbers: pd.Series) -> float | None:
    """A repeated extreme value that looks like a code: 999, -99, 8888, far from the next value."""
    if len(numbers) < 10:
        return None
    for value, following in ((numbers.index[-1], numbers.index[-2]), (numbers.index[0], numbers.index[1])):
        rest = numbers.drop(value).index
        width = float(rest[-1] - rest[0])
        code = re.fullmatch(r"-?(9+|8+|7+)", f"{value:g}") or value == -1
        far = abs(value - following) > (0.5 * width if value != -1 else 0)
        if code and far and numbers[value] >= max(5, 0.001 * numbers.sum()):
            return float(value)
    return None


def _nice(value: float) -> float:
    """The next round number: 1, 2, 5 or 10 times a power of ten, in half steps."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= value - 1e-9)


def _steps(cells: pd.Series) -> bool:
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    return bool(len(numbers) > 2 and np.all(np.diff(numbers) == 1))


def truth(cell: str) -> str:
    """The name that a cell of a boolean column has in the table, however the file writes it."""
    return {"yes": "true", "1": "true", "no": "false", "0": "false"}.get(cell.lower(), cell.lower())


def parsed_moments(guess: Guess, values: Iterable[str]) -> pd.Series:
    """(n,) instants of dates or times written as guessed, NaT where a cell is none; local ones as if they were UTC."""
    text = pd.Series(list(values), dtype="str")
    form = guess.format or "ISO8601"
    return pd.to_datetime(text, format=form, errors="coerce", utc=True)
