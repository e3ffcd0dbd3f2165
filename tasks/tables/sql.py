"""The rows of a query as a Parquet file, so that they are versioned like any other source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import parquet
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from tasks.spec.cells import category_text, shown
from tasks.spec.data_source import SECRET, SqlSource
from tasks.spec.errors import ConfigError, UnreachableError
from tasks.tables.files import source_files
from tasks.tables.formats import unique_names

ROWS = 20_000
"""Rows that are fetched at a time."""


def take_snapshot(root: Path, source: SqlSource, environment: Mapping[str, str] = os.environ) -> int:
    """Ask the query, in a transaction that is never committed, and write its rows to ``source.snapshot``.

    Numbers, text, truths and dates stay what the database says. Decimals, whole numbers beyond 64 bits and columns of
    mixed types become text, which keeps all their digits.

    Returns:
        The number of rows.

    Raises:
        ConfigError: a variable of the URL is not set, the query is wrong, or gives no row or what no cell can hold.
        UnreachableError: the database does not answer.
    """
    (path,) = (root / file for file in source_files(root, source))
    parts: list[pa.Table] = []
    with _connection(root, source, environment) as connection:
        options = connection.execution_options(stream_results=True, no_parameters=True)
        result = options.exec_driver_sql(source.query)
        if not result.returns_rows:
            raise ConfigError(f"data.source.query gives no table: {shown(source.query)}. Write a SELECT.")
        names = unique_names(list(result.keys()))
        for rows in result.partitions(ROWS):
            columns = [_column(values, name) for name, values in zip(names, zip(*rows, strict=True), strict=True)]
            parts.append(pa.Table.from_arrays(columns, names=names))
    if not parts:
        raise ConfigError("data.source.query gives no row. Mend the query, or wait for rows.")
    types = {name: _common([part.schema.field(name).type for part in parts]) for name in names}
    schema = pa.schema(list(types.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part_file = path.with_name(path.name + ".part")
    try:
        parquet.write_table(pa.concat_tables([part.cast(schema) for part in parts]), part_file, compression="zstd")
        part_file.replace(path)
    finally:
        part_file.unlink(missing_ok=True)
    return sum(len(part) for part in parts)


@contextmanager
def _connection(root: Path, source: SqlSource, environment: Mapping[str, str]) -> Iterator[sa.Connection]:
    try:
        url = _url(root, source, environment)
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"data.source.url is {source.url!r}, which SQLAlchemy cannot use: {_line(error)}. Write one such as "
            "postgresql://reader:${DB_PASSWORD}@host/name or sqlite:///data/x/rows.db, and install its driver."
        ) from None
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        said = _line(error.orig or error)
        if error.connection_invalidated or error.statement is None:
            raise UnreachableError(
                f"the database of data.source.url ({source.url}) does not answer: {said}. Check host, name and the "
                "variables of the URL."
            ) from None
        raise ConfigError(f"data.source.query cannot be asked of {source.url}: {said}. Mend the query.") from None
    except SQLAlchemyError as error:
        raise ConfigError(f"data.source.query cannot be asked of {source.url}: {_line(error)}. Mend it.") from None
    finally:
        engine.dispose()


def _url(root: Path, source: SqlSource, environment: Mapping[str, str]) -> sa.URL:
    unset = [name for name in SECRET.findall(source.url) if name not in environment]
    if unset:
        raise ConfigError(
            f"data.source.url names {', '.join(unset)}, and no such variable is set. Set it and ask again."
        )
    places = {name: f"SECRET-{at}-" for at, name in enumerate(SECRET.findall(source.url))}
    url = sa.make_url(SECRET.sub(lambda match: places[match[1]], source.url))

    def filled(text: str | None) -> str | None:
        for name, place in places.items():
            text = text.replace(place, environment[name]) if text else text
        return text

    url = url.set(
        username=filled(url.username),
        password=filled(url.password),
        host=filled(url.host),
        database=filled(url.database),
        query={key: filled(value) or "" if isinstance(value, str) else value for key, value in url.query.items()},
    )
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        file = root / url.database
        if not file.is_file():
            raise ConfigError(f"data.source.url is {source.url!r}, and there is no file {file}. Mend the path.")
        return url.set(database=f"file:{file.resolve()}", query={"mode": "ro", "uri": "true"})
    return url


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _column(values: Sequence[Any], name: str) -> pa.Array:
    kinds = {_type(value, name) for value in values if value is not None}
    kind = _common(list(kinds))
    if pa.types.is_string(kind):
        values = [None if v is None else _text(v) for v in values]
    return pa.array(values, kind)


def _type(value: Any, name: str) -> pa.DataType:
    if isinstance(value, bytes | memoryview | list | dict | tuple):
        raise ConfigError(
            f"data.source.query gives {type(value).__name__} in column {name}, which no cell can hold. Leave the "
            "column out, or turn it into text or numbers in the query."
        )
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if -(2**63) <= value < 2**63 else pa.string()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, datetime):
        return pa.timestamp("us", None if value.tzinfo is None else "UTC")
    return pa.date32() if isinstance(value, date) else pa.string()


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else category_text(value)


def _common(kinds: Sequence[pa.DataType]) -> pa.DataType:
    """The one type of all values that are there, or text."""
    there = {kind for kind in kinds if not pa.types.is_null(kind)}
    return there.pop() if len(there) == 1 else pa.string() if there else pa.null()
