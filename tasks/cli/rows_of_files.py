"""A file to score, of any size, as the rows of requests: read as the model's source is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.spec.data import Column
from tasks.spec.data_source import FileSource, Reading
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig
from tasks.tables.files import bare_suffix
from tasks.tables.formats import ENDINGS, Format, read_file
from tasks.tables.typed import as_json, typed

BATCH = 500
"""Rows of one request; the service takes up to 1,000."""
Row = dict[str, Any]


class _Names(Exception):
    """Stops a reader once it has told the names of the columns."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)


def read_rows(file: Path, config: ModelConfig, skip: int = 0) -> Iterator[list[Row]]:
    """The rows of a file as JSON, at most BATCH at a time.

    Columns may have the names of the source or the declared ones. Separator, encoding and the like are the source's
    where the first line then holds declared columns, else those of plain CSV. Columns that no request can hold, such
    as the target, are left out; undeclared ones stay, and the service answers for them.

    Raises:
        ConfigError: the file is not there, is of an unknown kind, has no row, or holds a value that is not of its
            column's type.
    """
    form = ENDINGS.get(bare_suffix(file))
    if not file.is_file() or form is None:
        raise ConfigError(
            f"{file} {'is of an unknown kind' if file.exists() else 'does not exist'}; give a file that ends in "
            f"{', '.join(ENDINGS)}, CSV and JSON lines also with .gz or .zip."
        )
    rows = itertools.islice(_rows(file, form, config, skip), skip, None)
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _rows(file: Path, form: Format, config: ModelConfig, skip: int) -> Iterator[Row]:
    columns, before = config.data.columns, 0
    reading = _reading(file, form, config)
    for part in read_file(file, str(file), form, reading, list):
        if before + len(part) > skip:
            yield from _as_requests(_renamed(part, columns, reading, file), columns, reading, str(file), before)
        else:
            yield from ({} for _ in range(len(part)))  # passed over
        before += len(part)
    if not before:
        raise ConfigError(f"{file} holds no row, so there is nothing to score. Give a file with at least one row.")


def _as_requests(
    cells: pd.DataFrame, columns: Sequence[Column], reading: Reading, file: str, before: int
) -> Iterator[Row]:
    declared = {c.name for c in columns}
    asked = [c for c in columns if c.served and c.name in cells]
    known = as_json(asked, typed(asked, cells, reading, file, before)) if asked else [{} for _ in range(len(cells))]
    others = [name for name in cells.columns if name not in declared]
    if not others:
        yield from known
        return
    rest = cells[others].astype(object).where(cells[others].notna(), None).to_dict("records")
    for row, more in zip(known, rest, strict=True):
        plain = {str(name): v if isinstance(v, str | int | float | bool | None) else str(v) for name, v in more.items()}
        yield row | plain


def _reading(file: Path, form: Format, config: ModelConfig) -> Reading:
    """The source's way of reading or the plain one: under which the file has more declared columns."""
    source = config.data.source
    plain = Reading(missing=source.reading.missing)
    if form == "parquet" or (isinstance(source, FileSource) and form != source.format):
        return plain
    ways = [source.reading]
    if form == "csv":  # somebody else's spreadsheet may part its cells otherwise
        ways += [plain.model_copy(update={"separator": sign}) for sign in (",", ";", "\t", "|")]
    known = {name for c in config.data.columns for name in (c.name, c.original)}
    found = [(len(known & set(_names(file, form, way))), way) for way in ways]
    if not source.reading.header and not any(count for count, _ in found):
        return source.reading
    best = max(found, key=lambda pair: pair[0])[1]
    return best.model_copy(update={"header": True})


def _names(file: Path, form: Format, reading: Reading) -> list[str]:
    def stop(names: Sequence[str]) -> Sequence[str]:
        raise _Names(names)

    header = reading.model_copy(update={"header": True})
    try:
        for _ in read_file(file, str(file), form, header, stop):
            pass
    except _Names as seen:
        return seen.names
    except ConfigError:  # the reader says it where it is in earnest
        pass
    return []


def _renamed(part: pd.DataFrame, columns: Sequence[Column], reading: Reading, file: Path) -> pd.DataFrame:
    """The declared names instead of the source's; a file without header has the declared columns in their order."""
    names = list(part.columns)
    if not reading.header and names == [str(at) for at in range(len(names))]:
        served = [c.name for c in columns if c.served]
        order = [c.name for c in columns] if len(names) == len(columns) else served
        if len(names) != len(order):
            raise ConfigError(
                f"{file}, row 1: there are {len(names)} cells; a file without header has the {len(columns)} declared "
                f"columns, or the {len(served)} that a request holds, in their order."
            )
        return part.set_axis(order, axis=1)
    originals, declared = {c.original: c.name for c in columns}, {c.name: c.name for c in columns}
    like_the_source = sum(n in originals for n in names) >= sum(n in declared for n in names)
    mapped = declared | originals if like_the_source else originals | declared
    found = [mapped.get(n, n) for n in names]
    twice = sorted({n for n in found if found.count(n) > 1})
    if twice:
        both = ", ".join(repr(n) for n, to in zip(names, found, strict=True) if to == twice[0])
        raise ConfigError(f"{file} gives column {twice[0]} more than once: {both}. Take one of them out.")
    return part.set_axis(found, axis=1)
