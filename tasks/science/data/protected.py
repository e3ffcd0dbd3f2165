"""Named subsets of rows: the groups of each protected attribute."""

from __future__ import annotations

import difflib
from itertools import pairwise

import pandas as pd

from tasks.spec.cells import category_text
from tasks.spec.errors import ConfigError
from tasks.spec.kind import ColumnKind
from tasks.spec.model import ModelConfig, Protected
from tasks.spec.wording import plural

NAME_GROUPS = "to pass, list the values of each group as the data have them, or take the group out of the config"
"""What helps where a declared group has no row."""
LISTED = 5
"""Values of a column that are named where there are more."""


def protected_groups(config: ModelConfig, rows: pd.DataFrame) -> pd.DataFrame:
    """Name the group of every row for every protected attribute.

    Args:
        config: the model's configuration.
        rows: (n, columns) raw input rows.

    Returns:
        (n, attributes) strings on the index of ``rows``; missing where a row falls into no declared group.

    Raises:
        ConfigError: the rows lack the column of a protected attribute.
    """
    absent = [f"{name} (column {spec.column})" for name, spec in config.protected.items() if spec.column not in rows]
    if absent:
        raise ConfigError(
            f"the rows do not hold what protected names: {', '.join(absent)}; columns there: "
            f"{', '.join(map(str, rows.columns))}."
        )
    return pd.DataFrame(
        {name: group_names(spec, rows[spec.column]) for name, spec in config.protected.items()}, index=rows.index
    )


def group_titles(spec: Protected) -> list[str]:
    """The names of an attribute's groups, in the order of the config."""
    if spec.edges is not None:
        return list(spec.names or [f"{low:g} to {high:g}" for low, high in pairwise(spec.bands)])
    assert spec.groups is not None
    return list(spec.groups)


def group_names(spec: Protected, values: pd.Series) -> pd.Series:
    """The group of every value; missing where it falls into none."""
    if spec.edges is not None:
        return pd.cut(pd.to_numeric(values), list(spec.bands), right=False, labels=group_titles(spec)).astype(object)
    owner = {member: name for name, members in spec.members.items() for member in members}
    # A number 1.0 and a configured 1 are the same group.
    owners = {v: owner.get(category_text(v)) for v in values.dropna().unique()}
    return values.map(pd.Series(owners, dtype=object)).astype(object)


def absent_groups(config: ModelConfig | None, attribute: str, rows: pd.DataFrame) -> str:
    """Which declared groups of an attribute no row falls into, and which values may have been meant, in words.

    Args:
        config: None where nothing is declared.
        rows: (n, columns) raw input rows.

    Returns:
        A text without its full stop; empty where every declared group has a row, or the rows lack the column.
    """
    spec = None if config is None else config.protected.get(attribute)
    if spec is None or spec.column not in rows:
        return ""
    assert config is not None
    values, kind = rows[spec.column], config.column(spec.column).kind
    groups = group_names(spec, values)
    absent = [name for name in group_titles(spec) if not (groups == name).any()]
    if not absent:
        return ""
    if spec.edges is not None:
        known = pd.to_numeric(values).dropna()
        ends = f"from {kind.text(float(known.min()))} to {kind.text(float(known.max()))}" if len(known) else ""
        seen = f"{spec.column} goes {ends}" if ends else f"no row has a value of {spec.column}"
    else:
        asked = [member for name in absent for member in spec.members[name]]
        seen = _seen(spec, values, groups, asked, kind)
    return f"no row is in {' or '.join(absent)} of {attribute}, which the config declares; {seen}"


def _seen(spec: Protected, values: pd.Series, groups: pd.Series, asked: list[str], kind: ColumnKind) -> str:
    """What the column holds that the groups ``asked`` for may be called there."""
    outside = ungrouped(values, groups, kind)
    if outside:
        return f"values of {spec.column} in no group: {outside}"
    there = sorted({category_text(v) for v in values.dropna().unique()})
    folded = {text.casefold(): text for text in there}
    near = [folded[m] for a in asked for m in difflib.get_close_matches(a.casefold(), list(folded), n=2)]
    named = list(dict.fromkeys(near)) or there[:LISTED]
    return f"{'near' if near else 'its'} values of {spec.column}: {', '.join(map(repr, named))}"


def ungrouped(values: pd.Series, groups: pd.Series, kind: ColumnKind) -> str:
    """The values of rows in no group with their counts, most frequent first; empty where every value has a group."""
    outside = values[groups.isna() & values.notna()]
    counts = outside.map(kind.text if kind.calendar else category_text).value_counts()
    named = [f"{value!r} ({plural(int(n), 'row')})" for value, n in counts.head(LISTED).items()]
    more = f" and {plural(len(counts) - LISTED, 'other')}" if len(counts) > LISTED else ""
    return ", ".join(named) + more
