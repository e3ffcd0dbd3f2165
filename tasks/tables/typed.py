"""From the cells of a source to columns of the declared types: the declaration decides, never the look of the cells."""

from __future__ import annotations

import pandas as pd

from tasks.spec.cells import shown
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.training import TrainingConfig


def typed(config: TrainingConfig, raw: pd.DataFrame) -> pd.DataFrame:
    """Give every declared column its declared type; other columns are dropped.

    Raises:
        ConfigError: a declared column is not there, or holds values that are not of its type.
    """
    absent = [c.name for c in config.data.columns if c.name not in raw.columns]
    if absent:
        raise ConfigError(
            f"the source of {config.name} has no column {', '.join(absent)}; it has: "
            f"{', '.join(map(str, raw.columns))}."
        )
    return pd.DataFrame({c.name: _typed(c, raw[c.name]) for c in config.data.columns})


def _typed(column: Column, cells: pd.Series) -> pd.Series:
    found, wrong = column.kind.from_source(cells, column)
    bad = cells[wrong]
    if len(bad):
        raise ConfigError(
            f"column {column.name} is declared {column.type} and holds {shown(bad.iloc[0])} in {len(bad)} of "
            f"{len(cells)} rows. {column.kind.advice}."
        )
    return found
