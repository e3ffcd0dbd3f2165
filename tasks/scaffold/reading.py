"""A first look at a file: how it is written, and its cells as text, before any column is declared.

How it is written is guessed here; its cells are then read by :mod:`tasks.tables`, the reader that training and
prediction use.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types as kinds

from tasks.scaffold.marks import decimal_and_thousands, header_of
from tasks.spec.base import validate
from tasks.spec.data_source import Reading
from tasks.spec.errors import ConfigError
from tasks.tables.files import bare_suffix, unpacked
from tasks.tables.formats import ENDINGS, SEPARATORS, Format, read_file

LOOKED_AT = 400
"""Records by which separator, quotes and header are guessed."""
CHUNK = 1 << 20
PLAIN = Reading()


@dataclass(frozen=True)
class Look:
    """What a source holds."""

    source: dict[str, Any]
    """Options of ``data.source`` that are not their defaults, ``format`` included."""
    cells: pd.DataFrame
    """(rows, columns) text under the original names, empty where blank."""
    typed: dict[str, str]
    """Columns whose type the source itself declares: boolean, date, datetime, number or integer."""
    zones: dict[str, str]
    """Of columns of instants, the zone that the source itself declares."""
    questions: tuple[str, ...] = ()
    """What the file leaves open about how it is written."""

    @property
    def reading(self) -> Reading:
        return Reading.model_validate({k: v for k, v in self.source.items() if k in Reading.model_fields})


def look(path: Path, said: Mapping[str, Any] | None = None) -> Look:
    """Read a file, whatever it is.

    Args:
        said: options of :class:`tasks.spec.data_source.Reading` that a person gave; the others are guessed.

    Raises:
        ConfigError: it is missing, empty, of an unknown kind, or cannot be read, or an option is wrong.
    """
    said = dict(said or {})
    if not path.is_file():
        raise ConfigError(
            f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a file that ends in "
            f"{', '.join(ENDINGS)}, also .gz and .zip, or the URL of a database with --query."
        )
    form = ENDINGS.get(bare_suffix(path).lower())
    if form is None:
        raise ConfigError(
            f"{path.name} is of an unknown kind; give a file that ends in {', '.join(ENDINGS)}, also .gz and .zip, or "
            "the URL of a database with --query. Save a spreadsheet as CSV."
        )
    if path.stat().st_size == 0:
        raise ConfigError(f"{path} is empty. Give a file with a header and rows.")
    if form != "csv" and said:
        raise ConfigError(
            f"--{next(iter(said))} says how a text is written, and {path.name} is no CSV. Leave the option out."
        )
    for key, allowed in (("separator", "such as ';', or tab"), ("quote", "such as \"'\", or '' for nothing")):
        given = said.get(key)
        if given is not None and not (len(given) == 1 and given.isascii()) and (key, given) != ("quote", ""):
            raise ConfigError(f"--{key} is {said[key]!r}; allowed: one character {allowed}.")
    if said.get("thousands") == ".":
        said.setdefault("decimal", ",")
    validate(said, Reading, "the command line")
    options, questions = _written(path, said) if form == "csv" else ({}, [])
    return read(path, form, options, said, questions)


def read(
    path: Path, form: Format, options: dict[str, Any], said: Mapping[str, Any] | None = None, asked: Sequence[str] = ()
) -> Look:
    """The cells of a file that is written as ``options`` say, of :class:`tasks.spec.data_source.Reading`.

    Args:
        said: options that a person gave; of these, decimal mark and thousands are not guessed.
        asked: questions about the options.
    """
    parts = list(read_file(path, path.name, form, Reading.model_validate(options), lambda names: names))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()  # later parts may have other columns
    if not len(table):
        raise ConfigError(f"{path.name} holds no row below its header; a model learns from rows.")
    if table.shape[1] < 2:
        raise ConfigError(
            f"{path.name} has {len(table)} rows and {table.shape[1]} columns; a model needs rows and at least two "
            "columns."
        )
    if not options.get("header", True):
        table.columns = pd.Index([f"column_{at + 1}" for at in range(table.shape[1])])
    typed, zones, cells = {}, {}, {}
    for name in table.columns:
        kind, zone = _declared(table[name])
        if kind:
            typed[str(name)] = kind
        if zone:
            zones[str(name)] = zone
        cells[str(name)] = pd.Series([_text(v, mixed=not kind) for v in table[name].astype(object)], dtype=object)
    frame = pd.DataFrame(cells)
    trimmed = frame.apply(lambda column: column.str.strip())
    if form == "csv":
        marks, question = decimal_and_thousands(trimmed, said or {}, options.get("separator", ","))
        options, asked = options | marks, [*asked, *question]
        validate(options, Reading, "the command line")
    if form == "csv" and not trimmed.equals(frame):
        options = options | {"trim": True}
    return Look({"format": form, **options}, trimmed, typed, zones, tuple(asked))


def _declared(column: pd.Series) -> tuple[str, str]:
    """The type that the source itself gives a column, and its zone; empty for text, whose cells have to tell."""
    if kinds.is_bool_dtype(column):
        return "boolean", ""
    if kinds.is_datetime64_any_dtype(column):
        return "datetime", str(getattr(column.dt, "tz", None) or "")
    if kinds.is_integer_dtype(column):
        return "integer", ""
    if kinds.is_float_dtype(column):
        return "number", ""
    known = column.dropna()
    if len(known) and all(type(value).__name__ == "date" for value in known):
        return "date", ""
    return ("boolean", "") if len(known) and all(isinstance(value, bool) for value in known) else ("", "")


def _text(value: Any, mixed: bool) -> str:
    """A cell as the reader names it; beside values of other types, a truth is the name that training sees."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, bool):
        return str(value) if mixed else str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _written(path: Path, said: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Encoding, separator, quotes and header of a CSV file, where they are not the defaults, and what is asked."""
    encoding = said.get("encoding") or _encoding(path)
    with unpacked(path) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        try:
            head = "".join(line for line, _ in zip(text, range(LOOKED_AT), strict=False))
        except UnicodeError as error:
            raise ConfigError(
                f"{path.name} is not written in {encoding}: {error}. Leave --encoding out, and it is guessed."
            ) from None
    _refuse_a_line_before_the_header(head, path)
    separator, quote = _dialect(head, path, said)
    records = list(_records(head, separator, quote))
    header, question = (said["header"], []) if "header" in said else header_of(records)
    options: dict[str, Any] = {"separator": separator, "quote": quote, "header": header}
    options = {key: value for key, value in options.items() if value != getattr(PLAIN, key)}
    if header and records and any(cell != cell.strip() for cell in records[0]):  # the reader then strips names too
        options["trim"] = True
    if not encoding.startswith("utf-8"):  # a byte order mark is the reader's to skip
        options["encoding"] = encoding
    return options, question


def _refuse_a_line_before_the_header(head: str, path: Path) -> None:
    first, second = (line.strip() for line in [*head.removeprefix("\ufeff").splitlines(), "", ""][:2])
    what = "a note of a spreadsheet" if re.fullmatch(r'"?sep=.?"?', first, re.IGNORECASE) else "a comment"
    alike = any(0 < second.count(sign) == first.count(sign) for sign in SEPARATORS)  # as names and cells are
    if what == "a comment" and (alike or not first.startswith("#")):
        return
    raise ConfigError(f"{path.name} begins with the line {first[:80]!r}, {what} and no header; take the line out.")


def _encoding(path: Path) -> str:
    """UTF-8 where all of the file is; UTF-16 by its mark; else Western European, as spreadsheets save it."""
    with unpacked(path) as stream:
        begin = stream.read(4)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    first = "utf-8-sig" if begin.startswith(codecs.BOM_UTF8) else "utf-8"
    if _decodes(path, first):
        return first
    _refuse_two_encodings(path)
    return next(encoding for encoding in ("cp1252", "latin-1") if _decodes(path, encoding))


def _refuse_two_encodings(path: Path) -> None:
    """Text of another encoding is hardly ever UTF-8 by chance: lines that are show what the file is, and the rest."""
    whole, broken, first = 0, 0, 0
    with unpacked(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.isascii():
                continue
            try:
                line.decode("utf-8")
                whole += 1
            except UnicodeDecodeError:
                broken, first = broken + 1, first or number
    if whole > broken:
        raise ConfigError(
            f"{path.name} is UTF-8 in {whole:,} lines beyond ASCII and another encoding in {broken:,}, first in line "
            f"{first:,}: it was put together from two. Mend these lines, or say --encoding where all is of one."
        )


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with unpacked(path) as stream:
        try:
            for chunk in iter(lambda: stream.read(CHUNK), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _dialect(head: str, path: Path, said: Mapping[str, Any]) -> tuple[str, str]:
    """The separator that cuts most records into as many cells as the first has, more cells before fewer."""
    quote = said.get("quote", "'" if re.match(r"\s*'[^']*'\s*[,;|\t]", head) else '"')
    if "separator" in said:
        return said["separator"], quote
    ranked = []
    for separator in SEPARATORS:
        sizes = [len(record) for record in _records(head, separator, quote)]
        usual = max(set(sizes), key=sizes.count) if sizes else 0
        if usual > 1:
            ranked.append((sizes.count(usual) / len(sizes) * (sizes[0] == usual), usual, separator))
    if not ranked:
        raise ConfigError(
            f"{path.name} holds one column however it is cut; known separators: comma, semicolon, tab and |. Save it "
            "with one of them, or say --separator."
        )
    return max(ranked)[2], quote


def _records(head: str, separator: str, quote: str) -> Iterator[list[str]]:
    quoting: Any = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    try:
        yield from (r for r in csv.reader(io.StringIO(head), delimiter=separator, **quoting) if r)
    except csv.Error:
        return
