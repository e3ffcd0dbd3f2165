"""The rows of a source as cells under the declared names, file by file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from tasks.spec.data import Column
from tasks.spec.data_source import FileSource, Reading, SqlSource
from tasks.spec.errors import ConfigError
from tasks.tables.files import existing, source_files
from tasks.tables.formats import Choose, Format, read_csv, read_file, separator_hint


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file."""

    file: str
    before: int
    """Rows of the file that came before these."""
    cells: pd.DataFrame
    """(n, declared columns) in source form, by declared names."""


def read_source(root: Path, source: FileSource | SqlSource, columns: Sequence[Column]) -> Iterator[Chunk]:
    """The rows of the files of a source, in the order of :func:`tasks.tables.files.source_files`.

    Raises:
        ConfigError: a file is not there or not of its form, lacks a declared column, or has others than the first.
    """
    form: Format = source.format if isinstance(source, FileSource) else "parquet"
    first: tuple[str, set[str]] | None = None
    for path in source_files(root, source):
        names: list[str] = []
        file = existing(root, path)
        choose = chooser(columns, path.as_posix(), source.reading, form, names)
        parts = read_file(file, path.as_posix(), form, source.reading, choose)
        yield from named(parts, path.as_posix(), columns, header=form != "csv" or source.reading.header)
        first = first or (path.as_posix(), set(names))
        if form != "jsonl" and set(names) != first[1]:
            raise ConfigError(_other_columns(path.as_posix(), set(names), *first))


def read_member(stream: BinaryIO, file: str, reading: Reading, columns: Sequence[Column]) -> Iterator[Chunk]:
    """The rows of a CSV that is at hand as bytes."""
    parts = read_csv(stream, file, reading, chooser(columns, file, reading, "csv", []))
    yield from named(parts, file, columns, reading.header)


def named(parts: Iterable[pd.DataFrame], file: str, columns: Sequence[Column], header: bool = True) -> Iterator[Chunk]:
    """Parts of a file under the declared names; a column that a part lacks is missing in all its rows.

    Args:
        header: False: the parts have the declared columns in their order, whatever their names.

    Raises:
        ConfigError: no part holds a declared column.
    """
    before, seen = 0, set[str]()
    originals = {c.original: c.name for c in columns}
    for part in parts:
        part = part if header else part.set_axis(list(originals), axis=1)
        seen |= set(part.columns)
        cells = part.reindex(columns=list(originals)).rename(columns=originals)
        yield Chunk(file, before, cells)
        before += len(part)
    if before and (absent := [c for c in columns if c.original not in seen]):
        raise ConfigError(absent_columns(file, absent, sorted(seen), Reading()))


def chooser(columns: Sequence[Column], file: str, reading: Reading, form: Format, seen: list[str]) -> Choose:
    """Reads just the declared columns; without a header they have the declared order.

    Args:
        seen: takes up the names that the file has.
    """
    originals = [c.original for c in columns]

    def choose(names: Sequence[str]) -> Sequence[str]:
        seen.extend(names)
        if form == "csv" and not reading.header:
            if names and len(names) != len(columns):
                raise ConfigError(
                    f"{file}, row 1: there are {len(names)} cells, and {len(columns)} columns are declared, which a "
                    f"file without header has all and in this order.{separator_hint(names, reading)}"
                )
            return names
        absent = [c for c in columns if c.original not in names]
        if absent and form != "jsonl":
            raise ConfigError(absent_columns(file, absent, names, reading))
        return [name for name in originals if name in names]

    return choose


def absent_columns(file: str, absent: Sequence[Column], names: Sequence[str], reading: Reading) -> str:
    """Which declared columns a file lacks, what it has, and what to do."""
    if not names:
        return f"{file} is empty: it has no header and no rows."
    lacking = ", ".join(c.name if c.source is None else f"{c.original!r} (for {c.name})" for c in absent)
    near = difflib.get_close_matches(absent[0].original, names, n=1)
    hint = separator_hint(names, reading) or (f" Did you mean {near[0]!r}?" if near else "")
    return (
        f"{file} has no column {lacking}; it has: {', '.join(map(repr, names))}.{hint} Say the name that a column "
        "has there under data.columns, as its source."
    )


def _other_columns(file: str, names: set[str], first: str, known: set[str]) -> str:
    more, fewer = sorted(names - known), sorted(known - names)
    differences = [f"{file} alone has {', '.join(more)}"] if more else []
    differences += [f"{first} alone has {', '.join(fewer)}"] if fewer else []
    return (
        f"the files of data.source have different columns: {'; '.join(differences)}. Files of one table have the same; "
        "mend them, or list only those that do under data.source.paths."
    )
