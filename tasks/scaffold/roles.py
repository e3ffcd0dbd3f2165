"""What columns are for: whose row it is, when it is from, how much it weighs, and what law protects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tasks.scaffold.columns import Guess, names_somebody, parsed_moments, truth
from tasks.scaffold.quantities import figure
from tasks.scaffold.words import (
    AFTERWARDS,
    BIRTHS,
    MAYBE_WEIGHTS,
    OWNERS,
    PROTECTED,
    RACE_VALUES,
    SEX_VALUES,
    TIMES,
    WEIGHTS,
    plain,
)
from tasks.spec.wording import plural

GROUP_ROWS = 200
"""Rows of the file that a group needs, so that a holdout of a third can judge it."""
SHOWN = 8
"""Values that a question names."""
YEARS = (1900, 2100)
UNDATED = 0.1
"""Share of the rows that may lack the date by which the others are put in order."""


@dataclass
class Roles:
    """Names of columns by what they are for."""

    entity: str | None = None
    period: str | None = None
    weight: str | None = None
    protected: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By attribute: the column and its groups or edges, as ``protected`` of ``model.yaml`` takes them."""
    unjudged: dict[str, str] = field(default_factory=dict)
    """Attributes that cannot be judged by group, with the reason."""
    ungrouped: dict[str, str] = field(default_factory=dict)
    """By attribute: which values are in no group, as a question."""
    notes: dict[str, str] = field(default_factory=dict)
    """By role or attribute: why it is thought so."""


def guess_roles(columns: list[Guess], cells: pd.DataFrame, used: set[str]) -> Roles:
    """Guess the roles of columns, and note in each column what its role means for it.

    Args:
        columns: as guessed one by one; those that are no inputs or features are marked.
        cells: (rows, columns) text by original names.
        used: names that the target is made from.
    """
    roles = Roles()
    free = [c for c in columns if c.name not in used and not c.left_out]
    _entity(roles, [c for c in columns if c.name not in used], cells)
    _period(roles, free, cells)
    _weight(roles, free, cells)
    for column in free:
        if column.name not in (roles.entity, roles.period, roles.weight):
            _protected(roles, column, cells[column.original])
            _afterwards(column)
    _leave_out_ids(roles, free, cells)
    return roles


def _entity(roles: Roles, columns: list[Guess], cells: pd.DataFrame) -> None:
    rows = len(cells)
    found = [
        c
        for c in columns
        if c.type in ("category", "integer")
        and 1.02 * c.distinct < rows
        and c.distinct >= max(20, rows / 200)
        and names_somebody(c, cells[c.original].unique())
    ]
    if not found:
        return
    owner = max(found, key=lambda c: (bool(c.words & OWNERS), c.distinct))
    owner.type, owner.input, owner.left_out, owner.categories = "category", False, "", ()
    owner.minimum = owner.maximum = None
    owner.notes = [f"whose row it is: {owner.distinct:,} in {rows:,} rows"]
    owner.unfeatured = "it says whose row it is"
    roles.entity = owner.name
    roles.notes["entity"] = f"{owner.original!r} repeats: {owner.distinct:,} in {rows:,} rows"


def _period(roles: Roles, columns: list[Guess], cells: pd.DataFrame) -> None:
    dated = [c for c in columns if c.type in ("date", "datetime") and not c.words & BIRTHS]
    years = [
        c for c in columns if c.type == "integer" and c.words & TIMES and YEARS[0] <= float(c.low or 0) <= YEARS[1]
    ]

    def in_order(column: Guess) -> float:
        if column in years:
            numbers = column.numbers(cells[column.original]).ffill()
        else:
            numbers = parsed_moments(column, cells[column.original]).ffill().astype("int64")
        return float((np.diff(numbers.dropna()) >= 0).mean())

    found = [c for c in dated + years if c.type != "integer" or 2 <= c.distinct <= 200]
    found = [c for c in found if c.gaps <= UNDATED * len(cells)]
    if not found:
        return
    when = max(found, key=lambda c: in_order(c) + 0.2 * bool(c.words & TIMES) - c.gaps / len(cells))
    roles.period, when.input = when.name, False
    when.unfeatured = "it says when a row is from, and the future has other dates"
    order = "in order" if in_order(when) == 1 else "not in order"
    roles.notes["period"] = f"{figure(when.low)} to {figure(when.high)}, the file's rows stand {order} of it"
    when.minimum = when.maximum = None  # the future lies beyond


def _weight(roles: Roles, columns: list[Guess], cells: pd.DataFrame) -> None:
    for column in columns:
        if not column.quantity or column.gaps or not isinstance(column.low, float) or column.low < 0:
            continue
        near_one = False
        if column.words & MAYBE_WEIGHTS:
            near_one = 0.8 <= column.numbers(cells[column.original]).mean() <= 1.25
        if column.words & WEIGHTS or near_one:
            roles.weight, column.input = column.name, False
            column.unfeatured = "it says how many people a row stands for"
            roles.notes["weight"] = f"{column.original!r} looks like a survey's weights"
            return


def _protected(roles: Roles, column: Guess, cells: pd.Series) -> None:
    attribute = next((a for a, named in PROTECTED.items() if column.words & named), None)
    values = {plain(v) for v in column.counts}
    if attribute == "age" and not column.quantity and not column.counts:
        attribute = None
    if attribute is None and values and len(values) >= 2:
        if values <= SEX_VALUES and values & {"m", "f", "w", "h", "male", "female", "frau", "maennlich", "weiblich"}:
            attribute = "sex"
        elif len(values & RACE_VALUES) >= 2 and len(values & {"white", "black", "asian", "hispanic"}) >= 2:
            attribute = "race"
    if attribute is None or attribute in roles.protected:
        return
    spec = _bands(column, cells) if column.quantity else _groups(column)
    if attribute != "age" and not column.unfeatured:
        column.unfeatured = f"{attribute} should not decide; add it to features on purpose only"
    if spec is None:
        roles.unjudged[attribute] = f"no two groups of {column.name} have {GROUP_ROWS} rows each"
        return
    roles.ungrouped[attribute] = _small(column)
    lacking = column.gaps / max(len(cells), 1)
    roles.protected[attribute] = spec
    roles.notes[attribute] = f"by name or values of {column.original!r}" + (
        f"; {lacking:.0%} of the rows lack it" if lacking > 0.05 else ""
    )


def _groups(column: Guess) -> dict[str, Any] | None:
    """Each frequent value a group of its own; the rare ones are in none, and nobody is pooled with others."""
    large = [_value(column, v) for v, n in column.counts.items() if n >= GROUP_ROWS]
    return {"column": column.name, "groups": {v: [v] for v in large}} if len(large) > 1 else None


def _small(column: Guess) -> str:
    """Which values are in no group, and what a person may do about it; empty where each is in one."""
    small = {v: n for v, n in column.counts.items() if n < GROUP_ROWS}
    if column.quantity or not small:
        return ""
    first = [f"{v!r} ({plural(n, 'row')})" for v, n in list(small.items())[:SHOWN]]
    more = [f"{len(small) - SHOWN} more"] if len(small) > SHOWN else []
    return (
        f"{', '.join([*first, *more])} {'is' if len(small) == 1 else 'are'} in no group, since fewer than {GROUP_ROWS} "
        "rows tell too little; are they to be judged with others, and with whom?"
    )


def _value(column: Guess, cell: str) -> str:
    return truth(cell) if column.type == "boolean" else cell


def _bands(column: Guess, cells: pd.Series) -> dict[str, Any] | None:
    numbers = column.numbers(cells).dropna()
    if numbers.nunique() == 2:
        low, high = sorted(numbers.unique())
        return {"column": column.name, "edges": [float(low), float((low + high) / 2), float(high) + 1]}
    step = 5 if numbers.max() - numbers.min() > 20 else 1
    inner = sorted({float(round(q / step) * step) for q in numbers.quantile([1 / 3, 2 / 3])})
    first = min(float(column.minimum or 0.0), float(np.floor(numbers.min())))
    last = float(max(float(column.maximum or 0.0), numbers.max()) + 1)
    edges = [first, *[e for e in inner if first < e < last], last]
    sizes = np.histogram(numbers, edges)[0]
    return {"column": column.name, "edges": edges} if len(edges) > 2 and sizes.min() >= GROUP_ROWS / 2 else None


def _afterwards(column: Guess) -> None:
    if column.words & AFTERWARDS and not column.unfeatured and column.available == "before":
        column.questions.append(
            "by its name it may be known only afterwards; then write available: after, and take it out of features"
        )


def _leave_out_ids(roles: Roles, columns: list[Guess], cells: pd.DataFrame) -> None:
    for column in columns:
        if (
            column.name != roles.entity
            and column.type == "category"
            and column.distinct > 200
            and names_somebody(column, cells[column.original].unique())
        ):
            column.left_out = f"{column.distinct:,} codes that name somebody or something"
