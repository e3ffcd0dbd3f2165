"""Cells of one file, some rows at a time: CSV, JSON lines, Parquet and pickles.

Text is read by pyarrow with every column declared as text, so that no reader infers a type. What is inferred depends on
other rows: one blank makes codes floats. It also loses leading zeros and names that look like gaps ("NA", "None").
pyarrow is a dependency already, reads in blocks, and reports rows with too many or too few cells; polars would be
one more reader, and pandas fills short rows silently. What a cell means is decided by the kind of its column.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from tasks.spec.cells import shown
from tasks.spec.data_source import Reading
from tasks.spec.errors import ConfigError
from tasks.tables.files import CheckedText, unpacked

Format = Literal["csv", "parquet", "jsonl"]
Choose = Callable[[Sequence[str]], Sequence[str]]
"""Told the names of a file's columns, it says which of them are read; it raises where some are missing."""
ROWS = 20_000
"""Rows of JSON lines or Parquet that are held at a time."""
BLOCK = 4 << 20
"""Bytes of CSV that are held at a time; one row may not be longer."""
SEPARATORS = ",;\t|"
ENDINGS: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}
INTEGERS = {
    pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(), pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
}  # fmt: skip
"""With gaps they stay whole numbers and truths; numpy would make floats and objects of them."""


def read_file(path: Path, name: str, form: Format, reading: Reading, choose: Choose) -> Iterator[pd.DataFrame]:
    """The cells of a file under their original names, some rows at a time.

    Args:
        name: of the file in error messages.

    Raises:
        ConfigError: the file is not of this form; the message says where.
    """
    if form == "parquet":
        yield from _parquet(path, name, choose)
        return
    with unpacked(path) as stream:
        yield from (read_csv if form == "csv" else _json_lines)(stream, name, reading, choose)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names of columns, each once: the second ``x`` is ``x.1``, an empty one ``Unnamed: 3`` by its place.

    Doubled names are counted as pandas does it, which many know.
    """
    found: list[str] = []
    counts: dict[str, int] = {}
    given = set(names)
    for at, name in enumerate(names):
        first = name or f"Unnamed: {at}"
        name, count = first, counts.get(first, 0)
        while name in counts or (count and name in given):
            count += 1
            name = f"{first}.{count}"
        counts[first] = count
        counts.setdefault(name, 0)
        found.append(name)
    return found


def read_csv(stream: BinaryIO, name: str, reading: Reading, choose: Choose) -> Iterator[pd.DataFrame]:
    """CSV as text alone; see :func:`read_file`."""
    text = CheckedText(stream, name, reading.encoding, reading.quote)
    buffered = io.BufferedReader(text, BLOCK)
    blank, first = _first_record(buffered.peek(BLOCK), name, reading)
    if first is None:
        choose([])
        return
    first = [cell.strip() for cell in first] if reading.trim else first
    names = unique_names(first) if reading.header else [str(at) for at in range(len(first))]
    wanted = list(choose(names))
    places = {n: f"c{at}" for at, n in enumerate(names)}
    skip, before = int(reading.header) * (1 if len(names) > 1 else 1 + blank), 0
    last: pd.DataFrame | None = None
    for batch in _batches(buffered, name, reading, len(names), [places[n] for n in wanted]):
        table = pa.Table.from_batches([batch.slice(skip)]).to_pandas()
        skip = max(0, skip - len(batch))
        if len(table):
            last, before = table, before + len(table)
            yield table.set_axis(wanted, axis=1)
    if text.quotes % 2 and last is not None and last.iloc[-1].astype(str).str.contains("\n", regex=False).any():
        raise ConfigError(
            f"{name}, row {before:,}: a quote {reading.quote} is opened and not closed before the end of the file. "
            "Close it, or say quote: '' under data.source where quotes mean nothing."
        )


def _first_record(head: bytes, name: str, reading: Reading) -> tuple[int, list[str] | None]:
    """The first line that holds anything, and how many blank ones come before it; a header holds more than blanks."""
    lines = io.StringIO(head.decode("utf-8", "ignore"), newline="")
    quoting: Any = {"quotechar": reading.quote} if reading.quote else {"quoting": csv.QUOTE_NONE}
    try:
        for before, record in enumerate(csv.reader(lines, delimiter=reading.separator, **quoting)):
            if record and (len(record) > 1 or not reading.header or record[0].strip()):
                return before, record
    except csv.Error as error:
        raise ConfigError(f"{name}, line 1: {error}. Mend the line, or data.source.separator.") from None
    return 0, None


def _batches(
    stream: io.BufferedReader[Any], name: str, reading: Reading, width: int, wanted: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    names = [f"c{at}" for at in range(width)]
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        yield from arrow_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK, column_names=names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=reading.separator,
                quote_char=reading.quote or False,
                newlines_in_values=bool(reading.quote),
                ignore_empty_lines=width > 1,
                invalid_row_handler=note,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                include_columns=wanted,
                strings_can_be_null=False,
                check_utf8=False,  # it was checked on the way here
            ),
        )
    except pa.ArrowInvalid as error:
        raise ConfigError(_malformed(name, reading, ragged, str(error))) from None


def _malformed(name: str, reading: Reading, ragged: list[Any], error: str) -> str:
    if ragged:
        row = ragged[0]
        at = "the header" if reading.header and row.number == 1 else f"row {row.number - reading.header:,}"
        open_quote = (
            " It goes over several lines: a quote seems to be opened and not closed." if "\n" in row.text else ""
        )
        return (
            f"{name}, {at}: there are {row.actual_columns} cells, and the first line has {row.expected_columns}: "
            f"{shown(row.text)}.{open_quote} Mend the row, or data.source.separator ({reading.separator!r}) or quote "
            f"({reading.quote!r})."
        )
    if "straddling" in error:
        return (
            f"{name}: a row is longer than {BLOCK >> 20} MB, so a quote {reading.quote} seems to be opened and not "
            "closed. Close it, or say quote: '' under data.source."
        )
    return f"{name} cannot be read as CSV: {error.splitlines()[0]}."


def separator_hint(names: Sequence[str], reading: Reading) -> str:
    """What to do where a header is one cell that holds another separator; empty where it is not so."""
    if len(names) != 1:
        return ""
    found = max(SEPARATORS, key=names[0].count)
    if found == reading.separator or found not in names[0]:
        return ""
    return (
        f" The whole first line is one cell: data.source.separator is {reading.separator!r}, and the line seems to be "
        f"separated by {found!r}."
    )


def _json_lines(stream: BinaryIO, name: str, reading: Reading, choose: Choose) -> Iterator[pd.DataFrame]:
    """One object a line; a key that a row lacks is missing there."""
    lines = io.TextIOWrapper(io.BufferedReader(CheckedText(stream, name, reading.encoding)), "utf-8", newline="\n")
    rows = (_row(line, name, at) for at, line in enumerate(lines, 1) if line.strip())
    while part := list(itertools.islice(rows, ROWS)):
        names = list(dict.fromkeys(key for row in part for key in row))
        yield pd.DataFrame(part, columns=names, dtype=object)[list(choose(names))]


def _row(line: str, name: str, at: int) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON value")

    try:
        row = json.loads(line, parse_constant=refuse, object_pairs_hook=_once)
        if not isinstance(row, dict):
            raise ValueError(f"{shown(row)} is no object")
        nested = [key for key, value in row.items() if isinstance(value, dict | list)]
        if nested:
            raise ValueError(f"column {nested[0]} holds {shown(row[nested[0]])}, which is no single value")
        if "\\u" in line:
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{name}, line {at:,} is no row in JSON lines: {str(error).splitlines()[0]}. Write one object of plain "
            "values a line."
        ) from None
    return row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(k for k in keys if keys.count(k) > 1))} is given twice")
    return found


def _parquet(path: Path, name: str, choose: Choose) -> Iterator[pd.DataFrame]:
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            names = unique_names(schema.names)
            places = {n: at for at, n in enumerate(names)}
            wanted = list(choose(names))
            for n in wanted:
                if pa.types.is_nested(schema.field(places[n]).type):
                    raise ConfigError(f"{name}: column {n} holds {schema.field(places[n]).type}, no single values.")
            for batch in file.iter_batches(ROWS):
                columns = [_plain(batch.column(places[n])) for n in wanted]
                table = pa.Table.from_arrays(columns, names=wanted)
                yield table.to_pandas(types_mapper=INTEGERS.get)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{name} cannot be read as Parquet: {str(error).splitlines()[0]}.") from None


def _plain(column: pa.Array) -> pa.Array:
    """Dictionaries as their values, half floats as floats, bytes as the UTF-8 text that older writers mean by them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.cast(pa.large_string())
    return column.cast(pa.float64()) if pa.types.is_float16(kind) else column
