"""Named subsets of rows: the groups of each protected attribute."""

from __future__ import annotations

import pandas as pd

from tasks.spec.cells import category_text
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig, Protected


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
        return list(
            spec.names or [f"{low:g} to {high:g}" for low, high in zip(spec.edges[:-1], spec.edges[1:], strict=True)]
        )
    assert spec.groups is not None
    return list(spec.groups)


def group_names(spec: Protected, values: pd.Series) -> pd.Series:
    """The group of every value; missing where it falls into none."""
    if spec.edges is not None:
        return pd.cut(pd.to_numeric(values), list(spec.edges), right=False, labels=group_titles(spec)).astype(object)
    assert spec.groups is not None
    owner = {str(value): name for name, members in spec.groups.items() for value in members}
    # A number 1.0 and a configured 1 are the same group.
    owners = {v: owner.get(category_text(v)) for v in values.dropna().unique()}
    return values.map(pd.Series(owners, dtype=object)).astype(object)
