"""What each column probably is: its type, gaps, bounds and categories, each with the reason why it is thought so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tasks.scaffold.dates import COMPACT, ISO_DATE, ISO_TIME, OFFSET, compact_dates, formats_of
from tasks.scaffold.quantities import bounds, codes, figure, is_finite, is_number, is_whole, numbers_of, plain, unit_of
from tasks.scaffold.reading import Look
from tasks.scaffold.words import (
    CODES,
    NOT_A_NUMBER,
    OWNERS,
    column_name,
    identifies,
    owns,
    words,
)
from tasks.spec.cells import LARGEST
from tasks.spec.data_source import Reading
from tasks.spec.wording import plural
from tasks.tables.gaps import MISSING

CLOSED = 30
"""Categories up to which a set is thought to be complete, where each is frequent."""
FEW = 50
"""Distinct numbers up to which they are counted one by one, since they may be classes."""
ROOM = pd.Timedelta(days=5 * 365)
"""Least time that the bounds of dates leave on either side of what the file holds."""
GAPS = frozenset(marker.lower() for marker in MISSING)
PERHAPS_VALUES = frozenset("-*")
"""Of the gaps without a letter, the ones that are often a category: nothing was given."""
EXACT = 2**53
NEARLY = 0.97
"""Share of the cells from which a column is one of numbers, and the others are slips that are asked."""
MOSTLY = 0.5
"""Share of numbers from which a column of names is asked whether it is one of numbers."""
OFTEN = 3
"""Rows from which a letter with digits is a code and no slip."""
IDENTIFIED = 0.9
"""Share of a column's values that makes them numbers, or codes with digits."""
ROUND = 0.5
"""Share of multiples of ten from which whole numbers are amounts."""
SHOWN = 8
"""Values that a question names."""
MANY = 0.3
"""Share of the rows from which distinct names are too many to learn from."""
TRUTHS = (frozenset({"true", "false"}), frozenset({"yes", "no"}), frozenset({"1", "0"}))


@dataclass
class Guess:
    """One column as it will be declared, and why."""

    original: str
    name: str
    type: str = "category"
    missing: tuple[str, ...] = ()
    gaps: int = 0
    distinct: int = 0
    only: str = ""
    """The value of every row, where there is one alone."""
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
    unit: str = ""
    """That its cells carry, such as %."""
    reading: Reading = field(default_factory=Reading, repr=False)
    """How the source writes numbers."""
    notes: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
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

    def numbers(self, cells: pd.Series) -> pd.Series:
        """(n,) floats of its cells, NaN where one is missing."""
        return numbers_of(cells, self.missing, self.reading, self.unit)


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
    guess.reading = look.reading
    guess.unit = unit_of(map(str, counts.index))
    texts = dict(zip(map(str, counts.index), plain(counts.index, guess.reading, guess.unit), strict=True))
    markers, odd = _markers(guess, counts, texts)
    kept = counts.drop(list(markers))
    guess.missing, guess.gaps = tuple(sorted(markers)), int(len(cells) - kept.sum())
    guess.distinct = len(kept)
    if odd:
        guess.questions.append(f"{_no_numbers(odd, cells)}; taken as missing")
    elif markers:
        guess.notes.append(f"{' and '.join(map(repr, guess.missing))} taken as missing")
    if not len(kept):
        guess.left_out = "it holds no value"
        return
    if len(kept) == 1:
        guess.only = str(kept.index[0])[:40]
        guess.left_out = f"it holds {guess.only!r} in every row, so it says nothing"
        return
    declared = look.typed.get(guess.original, "")
    _type(guess, {str(v): texts[str(v)] for v in kept.index}, int(kept.sum()), declared, look)
    if guess.type not in kinds:  # a column kind that is not there reads as names
        guess.type, guess.format, guess.zone = "category", "", ""
    _details(guess, cells, kept, texts)
    others = [str(v) for v in kept.index if not is_number(texts[str(v)])]
    if guess.type == "category" and others and MOSTLY * kept.sum() <= kept.drop(others).sum() and not _codes(guess):
        guess.questions.append(
            f"{_no_numbers(others, cells)}, so the column is taken for names; where it is one of numbers, list these "
            "under missing and write type: number"
        )


def _listed(values: list[str]) -> str:
    return ", ".join(map(repr, values))


def _no_numbers(odd: list[str], cells: pd.Series) -> str:
    """The first cells that are not numeric, each with its row; of the others, how many there are."""
    shown = []
    for value in odd[:SHOWN]:
        at = np.flatnonzero((cells == value).to_numpy())
        where = f"row {at[0] + 1:,}" if len(at) == 1 else f"{len(at):,} rows, the first is {at[0] + 1:,}"
        shown.append(f"{value[:40]!r} ({where})")
    more = f" and {plural(len(odd) - SHOWN, 'other value')}" if len(odd) > SHOWN else ""
    return f"{', '.join(shown)}{more} {'is no number' if len(odd) == 1 else 'are no numbers'}"


def _codes(guess: Guess) -> bool:
    return bool(guess.words & CODES) or identifies(guess.original)


def _slips(guess: Guess, odd: list[str], numbers: list[str], counts: pd.Series, texts: dict[str, str]) -> bool:
    """Whether cells are slips in a column of numbers: nearly all others are numbers, and no codes such as V57."""
    if len(numbers) < 2 or _codes(guess) or any(re.fullmatch(r"0\d+", texts[v]) for v in numbers):
        return False
    if any(re.fullmatch(r"[A-Za-z]{1,3}[- ]?\d[\d.]*|\d+[A-Za-z]", v) and counts[v] >= OFTEN for v in odd):
        return False
    return bool(counts[numbers].sum() >= NEARLY * counts[numbers + odd].sum())


def _markers(guess: Guess, counts: pd.Series, texts: dict[str, str]) -> tuple[set[str], list[str]]:
    """Cells that say "missing", and of those, the ones that are known for it by their company only.

    Beside names, a word such as NA or null may be a name as well: it stays one and is asked.
    """
    values = list(texts)
    known = {v for v in values if v.lower() in GAPS}
    rest = [v for v in values if v not in known]
    names = [v for v in rest if not is_number(texts[v])]
    numbers = len(rest) - len(names)
    if rest and not names and all(is_finite(texts[v]) for v in rest):
        return known, []
    said = [t.lower() in NOT_A_NUMBER or (len(t) <= 12 and not re.search(r"\d", t)) for t in names]
    if names and numbers >= 5 and len(names) <= 3 and all(said):
        return known | set(names), sorted(names)
    odd = [v for v in rest if not is_finite(texts[v])]
    if odd and _slips(guess, odd, [v for v in rest if is_finite(texts[v])], counts, texts):
        return known | set(odd), sorted(odd)
    return (known if rest and not names else {v for v in known if not _may_be_a_name(v)}), []


def _may_be_a_name(marker: str) -> bool:
    return any(c.isalpha() for c in marker) or marker in PERHAPS_VALUES


def _type(guess: Guess, texts: dict[str, str], rows: int, declared: str, look: Look) -> None:
    """Guess the type from the cells that hold a value, each as it stands and as a number."""
    values = list(texts)
    numbers = list(texts.values())
    lower = {v.lower() for v in values}
    if declared in ("boolean", "date", "datetime"):
        guess.type, guess.zone = declared, look.zones.get(guess.original, "")
        guess.notes.append("the file says so")
        _zone(guess, values)
    elif any(lower == truth for truth in TRUTHS):
        guess.type = "boolean"
        guess.notes.append(f"holds {' and '.join(sorted(values))}")
    elif all(is_whole(v) for v in numbers):
        _whole(guess, numbers)
    elif all(re.fullmatch(r"[+-]?\d+\.0+", v) for v in numbers) and len(values) < MANY * rows:
        guess.type = "integer"
        guess.notes.append("whole numbers, written with a decimal mark")
    elif all(is_number(v) for v in numbers):
        guess.type = "number"
    else:
        guess.unit = ""
        _moment(guess, values)
    _carried(guess, values)


def _carried(guess: Guess, values: list[str]) -> None:
    if not guess.quantity:
        guess.unit = ""
    elif guess.unit:
        guess.notes.append(f"{guess.unit} is its unit, and 12.5{guess.unit} is 12.5")
        bare = [v for v in values if guess.unit not in v]
        if bare:
            guess.questions.append(f"{_listed(bare[:3])} stand without {guess.unit}; are they in the same unit?")


def _whole(guess: Guess, numbers: list[str]) -> None:
    if any(len(v) > 1 and v.startswith("0") for v in numbers):
        guess.notes.append("codes with leading zeros, so names")
    elif compact_dates(numbers):
        guess.type, guess.format = "date", COMPACT
        guess.questions.append(
            f"{numbers[0]} and the like are taken for dates; where they are numbers, write type: integer"
        )
    elif max(abs(int(v)) for v in numbers) > EXACT:
        guess.notes.append("whole numbers beyond 2^53, so names")
    elif guess.words & CODES or identifies(guess.original):
        guess.notes.append("whole numbers, by the column's name codes")
    elif len(numbers) == 2:
        guess.notes.append(f"two whole numbers, {' and '.join(sorted(numbers))}, so names")
    else:
        guess.type = "integer"


def _moment(guess: Guess, values: list[str]) -> None:
    if all(re.fullmatch(ISO_DATE, v) for v in values):
        guess.type = "date"
    elif all(re.fullmatch(ISO_TIME, v) for v in values):
        guess.type = "datetime"
        _zone(guess, values)
    else:
        fitting = formats_of(values)
        if not fitting:
            return
        guess.format = fitting[0]
        guess.type = "datetime" if "%M" in guess.format else "date"
        guess.notes.append(f"written as {guess.format}")
        if "%y" in guess.format:
            guess.questions.append("years have two digits; 68 is taken for 2068 and 69 for 1969, is that so?")
        if len(fitting) > 1:
            guess.questions.append(f"could be {' or '.join(fitting)}; no day above 12 tells which")
        _zone(guess, values)


def _zone(guess: Guess, values: list[str]) -> None:
    if guess.type == "datetime" and not guess.zone and not all(re.fullmatch(OFFSET, v) for v in values):
        guess.zone = "UTC"
        guess.questions.append("which zone are these local times of?")


def _details(guess: Guess, cells: pd.Series, kept: pd.Series, texts: dict[str, str]) -> None:
    rows = len(cells)
    if len(kept) <= FEW or guess.type in ("category", "boolean"):
        guess.counts = {str(v): int(n) for v, n in kept.items()}
    if guess.quantity:
        _bounds(guess, kept, texts)
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
    unsure = sorted(v for v in guess.counts if v.lower() in GAPS)
    if unsure:
        said = " or ".join(map(repr, unsure))
        guess.questions.append(f"does {said} mean that nothing is known? Then list it under missing")
    _names(guess, kept, rows)


def _names(guess: Guess, kept: pd.Series, rows: int) -> None:
    length = np.mean([len(str(v)) for v in kept.index])
    if guess.distinct == rows - guess.gaps and rows > 20:
        guess.left_out = "every row has its own, so it is a key" if length < 40 else "it is free text"
    elif guess.distinct > MANY * rows and not names_somebody(guess, kept.index):
        guess.left_out = "it is free text" if length > 30 else f"{guess.distinct:,} names in {rows:,} rows"
    elif guess.distinct <= CLOSED and kept.min() >= max(5, rows / 2000):
        guess.categories = tuple(sorted(map(str, kept.index)))
        guess.notes.append("closed: a request with any other value is refused")
    else:
        guess.notes.append(f"open: {guess.distinct:,} values, and others may come")


def _bounds(guess: Guess, kept: pd.Series, texts: dict[str, str]) -> None:
    """Bounds with room beyond what the file holds, and values that stand apart from all others."""
    values = pd.Series([float(texts[str(v)]) for v in kept.index], index=kept.index).clip(-LARGEST, LARGEST)
    counts = kept.groupby(values.to_numpy()).sum().sort_index()
    for code in codes(counts):
        texts_of = [str(v) for v in values.index[values == code]]
        guess.missing, guess.gaps = (*guess.missing, texts_of[0]), guess.gaps + int(counts[code])
        guess.questions.append(
            f"{texts_of[0]} stands apart from all others in {plural(int(counts[code]), 'row')}; taken as missing, not "
            "as a value"
        )
        counts = counts.drop(code)
        guess.counts = {v: n for v, n in guess.counts.items() if v not in texts_of}
        guess.distinct -= len(texts_of)
    guess.low, guess.high = float(counts.index[0]), float(counts.index[-1])
    guess.minimum, guess.maximum = bounds(guess.words, guess.low, guess.high)
    if guess.type == "integer":
        guess.minimum, guess.maximum = float(np.floor(guess.minimum)), float(np.ceil(guess.maximum))
    guess.notes.append(f"holds {figure(guess.low)} to {figure(guess.high)}")


def names_somebody(guess: Guess, values: Iterable[str]) -> bool:
    """Whether values are identifiers by the column's name or their form, and no amounts."""
    text = pd.Series([v for v in map(str, values) if v and v not in guess.missing], dtype="str")
    named = owns(guess.original) or identifies(guess.original)
    numbers = pd.to_numeric(text, errors="coerce").dropna()
    if len(numbers) > IDENTIFIED * len(text):
        amounts = (numbers < 0).any() or (numbers % 1 != 0).any() or (numbers % 10 == 0).mean() > ROUND
        return named and not amounts
    codes = text.str.contains(r"\d", regex=True).mean() > IDENTIFIED
    return named or bool(guess.words & OWNERS and codes)


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
