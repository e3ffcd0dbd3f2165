"""Expressions of the configuration, evaluated on tables: numpy over typed steps, no Python of a user's is run.

What an expression may hold, and what missing values mean in it, is in :mod:`tasks.spec.expressions`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from tasks.spec import expression_types
from tasks.spec.errors import ConfigError
from tasks.spec.expression_types import Node, Operand
from tasks.spec.kind import DeclaredColumn

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CALCULATE: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": np.floor_divide,
    "%": np.mod,
    "**": np.power,
    "negative": operator.neg,
    **{name: getattr(np, name) for name in ("abs", "log", "log10", "log1p", "exp", "expm1", "sqrt", "floor", "ceil")},
}
FURTHEST = {"min": np.minimum, "max": np.maximum}


@dataclass(frozen=True)
class _Values:
    """(n,) values, or one for all rows, and where they are missing; what stands in a missing place means nothing."""

    data: Any
    missing: Any = False


def evaluate(
    table: pd.DataFrame, expression: str, where: str, columns: Iterable[DeclaredColumn] | None = None
) -> pd.Series:
    """Whether each row fulfils a configured condition; a row for which it is missing does not.

    Args:
        columns: the declared columns; without them, the types of the table decide.

    Returns:
        (n,) bool on the index of the table.

    Raises:
        ConfigError: the expression does not parse, names an unknown column, mixes types, or is no condition.
    """
    found = _found(table, expression, where, columns, expression_types.condition)
    return pd.Series(np.broadcast_to(found.data & ~np.asarray(found.missing), len(table)).copy(), index=table.index)


def values(
    table: pd.DataFrame, expression: str, where: str, columns: Iterable[DeclaredColumn] | None = None
) -> pd.Series:
    """What a configured expression gives for each row; see :func:`evaluate` for arguments and errors.

    Returns:
        (n,) on the index of the table. Numbers: float64. Text: str. A condition: bool, or where a row is missing
        float64, 1.0 and 0.0. NaN is missing.
    """
    found = _found(table, expression, where, columns, expression_types.resolve)
    missing = np.broadcast_to(found.missing, len(table))
    data = np.broadcast_to(found.data, len(table))
    if data.dtype == bool:
        return pd.Series(np.where(missing, np.nan, data) if missing.any() else data.copy(), index=table.index)
    if data.dtype == object:
        return pd.Series(data, index=table.index).astype("str").mask(missing)
    return pd.Series(np.where(missing, np.nan, data), index=table.index)


def _found(
    table: pd.DataFrame,
    expression: str,
    where: str,
    columns: Iterable[DeclaredColumn] | None,
    read: Callable[[str, dict[str, Operand]], Node],
) -> _Values:
    known = _of_table(table)
    if columns is not None:
        known |= {name: operand for name, operand in expression_types.operands(columns).items() if name in table}
    try:
        node = read(expression, known)
    except ValueError as error:
        raise ConfigError(f"{where} is {error}.") from None
    with np.errstate(all="ignore"):  # log(-1) is missing, and 1 / 0 is infinite
        return _value(node, table)


def _of_table(table: pd.DataFrame) -> dict[str, Operand]:
    """Operands by the types of a table; names that begin with an underscore are our own."""

    def operand(values: pd.Series) -> Operand:
        return Operand("truth" if is_bool_dtype(values) else "quantity" if is_numeric_dtype(values) else "name")

    return {str(name): operand(column) for name, column in table.items() if not str(name).startswith("_")}


def _value(node: Node, table: pd.DataFrame) -> _Values:
    if node.op == "column":
        return _column(table[node.value], node.type)
    if node.op in ("value", "list"):
        return _Values(node.value)
    parts = [_value(part, table) for part in node.args]
    if node.op in ("and", "or", "not", "isna"):
        return _logic(node.op, parts)
    missing = np.logical_or.reduce(np.broadcast_arrays(*(p.missing for p in parts)))
    data = [p.data for p in parts]
    if node.op in COMPARE:
        return _Values(np.asarray(COMPARE[node.op](*data), dtype=bool), missing)
    if node.op == "in":
        return _Values(np.asarray(pd.Series(np.atleast_1d(data[0])).isin(list(data[1]))), missing)
    if node.op in FURTHEST:
        result = data[0]
        for other in data[1:]:
            result = FURTHEST[node.op](result, other)
    else:
        result = CALCULATE[node.op](*(np.asarray(d, dtype=float) for d in data))
    return _Values(result, missing | np.isnan(result))


def _column(column: pd.Series, kind: str) -> _Values:
    missing = column.isna().to_numpy(bool)
    if kind == "name":
        return _Values(column.astype(object).where(~missing, "").to_numpy(object), missing)
    if kind == "truth":
        if is_bool_dtype(column):
            return _Values(column.astype("boolean").fillna(False).to_numpy(bool), missing)
        return _Values((column.astype(object) == "true").to_numpy(bool), missing)
    numbers = column if is_numeric_dtype(column) else pd.to_numeric(column, errors="coerce")
    found = numbers.to_numpy(dtype=float, na_value=np.nan)
    return _Values(found, np.isnan(found))


def _logic(op: str, parts: list[_Values]) -> _Values:
    """Kleene's three values: what is known already decides, else the missing one makes it missing."""
    if op == "isna":
        return _Values(np.asarray(parts[0].missing))
    if op == "not":
        return _Values(~np.asarray(parts[0].data, dtype=bool), parts[0].missing)
    decisive = op == "or"  # true decides "or", false decides "and"
    known = [(np.asarray(p.data, dtype=bool) == decisive) & ~np.asarray(p.missing) for p in parts]
    decided = np.logical_or.reduce(np.broadcast_arrays(*known))
    missing = np.logical_or.reduce(np.broadcast_arrays(*(p.missing for p in parts))) & ~decided
    return _Values(decided if decisive else ~decided, missing)
