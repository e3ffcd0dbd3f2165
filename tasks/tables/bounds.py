"""What a model.yaml declares of its columns holds for the rows that it is made from, not only for requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from tasks.spec.cells import category_text, shown
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError, Problem

SHOWN = 5
"""Problems that are reported at once."""


def check_bounds(columns: Iterable[Column], table: pd.DataFrame) -> None:
    """Refuse rows that the service would refuse, and declared bounds of other columns that do not hold.

    Args:
        table: (n, columns) the population in table form; its index counts the rows of the source from 0.

    Raises:
        ConfigError: a value lies outside its column's bounds or categories, or is missing where none may be.
    """
    problems = [
        Problem(("data", "columns", column.name), said)
        for column in columns
        for said in _problems(column, table[column.name])
    ]
    if problems:
        more = f" And {len(problems) - SHOWN} other problems." if len(problems) > SHOWN else ""
        raise ConfigError(" ".join(p.sentence for p in problems[:SHOWN]) + more, tuple(problems))


def _problems(column: Column, values: pd.Series) -> Iterator[str]:
    leave_out = "or leave such rows out in data.rows"
    for bound, limit, beyond in (
        ("minimum", column.minimum, values < column.low if column.low is not None else None),
        ("maximum", column.maximum, values > column.high if column.high is not None else None),
    ):
        if beyond is not None and beyond.any():
            first = column.kind.to_json(values[beyond].iloc[0])
            said = category_text(limit)
            yield (
                f"column {column.name} holds {shown(first)} in {_where(beyond)}, and its {bound} is {said}. Mend "
                f"the rows, change the {bound}, list the value under the column's missing where it stands for a gap, "
                f"{leave_out}."
            )
    if column.categories is not None:
        other = values.notna() & ~values.isin(column.categories)
        if other.any():
            first = values[other].iloc[0]
            hint = " Say trim: true under data.source." if first.strip() in column.categories else ""
            yield (
                f"column {column.name} holds {shown(first)} in {_where(other)}; allowed: "
                f"{', '.join(column.categories)}.{hint} Mend the rows, add the category, {leave_out}."
            )
    if column.served and not column.nullable and values.isna().any():
        yield (
            f"column {column.name} is missing in {_where(values.isna())}, and requests may not lack it. Say nullable: "
            f"true, mend the rows, {leave_out}."
        )


def _where(wrong: pd.Series) -> str:
    """The first of the rows, and how many there are."""
    first, more = int(wrong.index[wrong].tolist()[0]) + 1, int(wrong.sum()) - 1
    return f"row {first:,}" + (f" and {more:,} other rows" if more > 1 else " and 1 other row" if more else "")
