"""What goes into the log's columns and comes out of them: labels of every kind, and inputs as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import json as arrow_json

Label = bool | str | float
"""Of a binary model a truth, of a multiclass model a class's name, of a regression a number."""
MOST_BYTES = 2**31 - 2**20
"""The largest block that Arrow's reader takes."""


def to_columns(value: Label) -> dict[str, Any]:
    """The columns that keep a value.

    Raises:
        ValueError: it is no value that an outcome or a decision can have.
    """
    if isinstance(value, bool | np.bool_):
        return {"label": bool(value), "label_name": None, "label_number": None}
    if isinstance(value, str) and value:
        return {"label": None, "label_name": value, "label_number": None}
    if isinstance(value, int | float) and math.isfinite(value):
        return {"label": None, "label_name": None, "label_number": float(value)}
    raise ValueError(
        f"{value!r} is no outcome or decision; allowed are true and false, the name of a class, and finite numbers."
    )


def from_columns(truth: bool | None, name: str | None, number: float | None) -> Label:
    """The value that :func:`to_columns` took apart."""
    return bool(truth) if truth is not None else name if name is not None else float(number)  # type: ignore[arg-type]


def same(one: Label, other: Label) -> bool:
    """Whether two values are of one kind and equal: true is not 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def label_column(values: Sequence[Label | None], named: bool) -> pd.Series:
    """(n,) labels: text where any is a name, else numbers, with 1.0 and 0.0 for truths.

    Args:
        values: None where no label is known.
        named: whether a column without any known label is text.
    """
    kinds = set(map(type, values))
    if str in kinds or (named and kinds == {type(None)}):
        return pd.Series([v if v is None or isinstance(v, str) else str(v) for v in values], dtype="str")
    return pd.Series(np.array([np.nan if v is None else float(v) for v in values], dtype=float))


def decision_column(truths: Sequence[bool | None], names: Sequence[str | None]) -> pd.Series:
    """(n,) decisions: booleans where all are truths, text where all are names or missing, else objects.

    None stands for "nothing was decided".
    """
    distinct = set(truths)
    if None not in distinct:
        return pd.Series(truths, dtype=bool)
    if distinct == {None} and set(names) != {None}:
        return pd.Series(names, dtype="str")
    return pd.Series([t if n is None else n for t, n in zip(truths, names, strict=True)], dtype=object)


def decode(texts: list[str]) -> pd.DataFrame:
    """JSON objects as a table: the union of their keys in order of appearance.

    Numbers are numbers, and text is text even where it looks like a date; a column of both is text, one that is always
    missing is a number. Arrow reads three times as fast as a loop over json.loads does; what it does not read (mixed
    columns, NaN) the loop does.
    """
    if not texts:
        return pd.DataFrame()
    try:
        table = _arrow(texts)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeEncodeError):
        return plain(pd.DataFrame([json.loads(t) for t in texts]))
    return plain(table.to_pandas()) if table.num_columns else pd.DataFrame(index=range(len(texts)))


def _arrow(texts: list[str]) -> pa.Table:
    raw = "\n".join(texts).encode()
    if len(raw) > MOST_BYTES:
        raise pa.ArrowInvalid("too much for one block")
    read = arrow_json.ReadOptions(use_threads=False, block_size=len(raw) + 2)
    table = arrow_json.read_json(pa.BufferReader(raw), read_options=read)
    if any(pa.types.is_nested(f.type) for f in table.schema) or table.num_rows != len(texts):
        raise pa.ArrowInvalid("not one flat object a row")
    dates = [f.name for f in table.schema if pa.types.is_temporal(f.type)]
    if dates:  # it takes text for dates; told that it is text, it leaves it
        as_text = arrow_json.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in dates]))
        table = arrow_json.read_json(pa.BufferReader(raw), read_options=read, parse_options=as_text).select(
            table.column_names
        )
    return table


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of objects become text, or numbers where nothing is known."""
    for name in table.columns[[t.kind == "O" and t != "str" for t in table.dtypes]]:
        table[name] = table[name].astype("float64" if table[name].isna().all() else "str")
    return table


def joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables one below the other, with the union of their columns, inputs before the log's own.

    A column that is text in one table is text in the result.
    """
    tables = list(parts)
    names = list(dict.fromkeys(name for t in tables for name in t.columns))
    names = [n for n in names if not n.startswith("_")] + [n for n in names if n.startswith("_")]
    if len(tables) == 1:
        return tables[0][names]
    text = {n for n in names if any(n in t.columns and t[n].dtype == "str" for t in tables)}
    tables = [t.astype({n: "str" for n in text & set(t.columns)}) for t in tables]
    whole = pd.concat(tables, ignore_index=True)[names]
    inputs = [n for n in names if not n.startswith("_")]
    return pd.concat([plain(whole[inputs].copy()), whole[[n for n in names if n.startswith("_")]]], axis=1)
