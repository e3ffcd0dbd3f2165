"""Two tables of one model: rows that came, went and changed, columns, and how far apart each column is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from tasks.science.monitors.drift.distances import LN2, divergence

BINS, NAMES = 20, 12
"""Cells of a number's distribution; categories that have a cell of their own."""
OUTER = (0.005, 0.995)
REST = "all others"


@dataclass(frozen=True)
class Rows:
    """What became of the rows of the older table."""

    key: str
    """The columns that name a row; empty where none do, and a row is its content."""
    old: int
    new: int
    same: int
    changed: int
    """With the same key and another content; without a key a changed row is one removed and one added."""
    added: int
    removed: int
    moved: int
    """Of the rows in both tables: on another side of the split, such as holdout instead of train."""


@dataclass(frozen=True)
class ColumnChange:
    name: str
    state: str
    """``same``, ``moved`` (another distribution), ``added``, ``removed`` or ``retyped``."""
    type_old: str
    type_new: str
    distance: float | None = None
    """Jensen-Shannon distance, without what sampling adds to it."""
    missing_old: float | None = None
    missing_new: float | None = None
    mean_old: float | None = None
    mean_new: float | None = None
    cells: tuple[str, ...] = ()
    """Names of cells with the shares of rows that each table has in them."""
    shares_old: tuple[float, ...] = ()
    shares_new: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    """Of a number of many values: the ends of its cells."""


def row_changes(old: pd.DataFrame, new: pd.DataFrame, keys: Sequence[str], side: str, beside: Sequence[str]) -> Rows:
    """Match the rows of two tables.

    Args:
        old, new: all rows of both, with the column ``side``.
        keys: columns that may name a row; they do where no two rows of either table share a value.
        side: the column that says on which side of the split a row is.
        beside: columns that are no content, such as a row's place in its file.
    """
    content = [c for c in old.columns if c in new.columns and c not in (side, *beside)]
    there = bool(keys) and all(key in table for key in keys for table in (old, new))
    named = there and not any(table.duplicated(list(keys)).any() for table in (old, new))
    tables = [_digests(table, content, list(keys) if named else content, side) for table in (old, new)]
    if not named:  # equal rows are numbered, so that each has at most one partner
        tables = [t.assign(key=t["key"].astype(str) + "#" + t.groupby("key").cumcount().astype(str)) for t in tables]
    both = tables[0].merge(tables[1], on="key", suffixes=("_old", "_new"))
    same = int((both["digest_old"] == both["digest_new"]).sum())
    moved = int((both["side_old"] != both["side_new"]).sum())
    said = ", ".join(keys) if named else ""
    return Rows(said, len(old), len(new), same, len(both) - same, len(new) - len(both), len(old) - len(both), moved)


def _digests(table: pd.DataFrame, content: list[str], keys: list[str], side: str) -> pd.DataFrame:
    """(n, 3) a digest of each row's key and content, and its side; sorted, so that equal rows pair by side."""
    hashes = {name: _hashed(table[columns]) for name, columns in (("key", keys), ("digest", content))}
    return pd.DataFrame({**hashes, "side": table[side].astype(str).to_numpy()}).sort_values(["key", "side"])


def _hashed(table: pd.DataFrame) -> np.ndarray:
    """(n,) a digest of each row; a whole number has that of the same number with a point."""
    alike = {name: _plain(column) for name, column in table.items()}
    return np.asarray(pd.util.hash_pandas_object(pd.DataFrame(alike, index=table.index), index=False))


def _plain(column: pd.Series) -> pd.Series:
    if is_numeric_dtype(column):
        return column.astype("float64")
    return column.astype(object).where(column.notna(), None)


def unseen(rows: pd.DataFrame, train: pd.DataFrame, entity: str, beside: Sequence[str]) -> np.ndarray:
    """(n,) whether neither a row nor its entity is among the training rows of another version.

    Args:
        entity: the column that says whose row it is; both tables may lack it.
        beside: columns that are no content.
    """
    content = [c for c in rows.columns if c in train.columns and c not in (entity, *beside)]
    known = np.isin(_hashed(rows[content]), _hashed(train[content]))
    if entity in rows and entity in train:
        known |= rows[entity].isin(train[entity]).to_numpy(bool)
    return ~known


def column_changes(old: pd.DataFrame, new: pd.DataFrame, columns: Sequence[str]) -> list[ColumnChange]:
    """Every one of the columns, in their order."""
    return [_column(name, old.get(name), new.get(name)) for name in columns]


def _column(name: str, old: pd.Series | None, new: pd.Series | None) -> ColumnChange:
    if old is None or new is None:
        state = "added" if old is None else "removed"
        types = ["" if part is None else str(part.dtype) for part in (old, new)]
        return ColumnChange(name, state, types[0], types[1])
    types = [str(part.dtype) for part in (old, new)]
    number = all(is_numeric_dtype(part) and not is_bool_dtype(part) for part in (old, new))
    cells, counts, edges = _of_numbers(old, new) if number else _of_names(old, new)
    distance = _distance(*counts)
    means = [_mean(part) if number else None for part in (old, new)]
    state = "retyped" if types[0] != types[1] else "moved" if distance > 0 else "same"
    shares = [tuple((part / max(part.sum(), 1)).tolist()) for part in counts]
    return ColumnChange(
        name, state, types[0], types[1], distance, float(old.isna().mean()), float(new.isna().mean()), means[0],
        means[1], tuple(cells), shares[0], shares[1], tuple(edges),
    )  # fmt: skip


def _mean(values: pd.Series) -> float | None:
    found = float(values.astype(float).mean()) if values.notna().any() else None
    return found if found is not None and np.isfinite(found) else None


def _of_numbers(old: pd.Series, new: pd.Series) -> tuple[list[str], list[np.ndarray], list[float]]:
    """Cells of equal width between the outer quantiles of both; what lies beyond is in the first and the last."""
    numbers = [part.astype(float).to_numpy() for part in (old, new)]
    known = np.concatenate([part[np.isfinite(part)] for part in numbers])
    if not len(known):
        return ["missing"], [np.array([len(part)]) for part in numbers], []
    values = np.unique(known)
    low, high = np.quantile(known, OUTER)
    edges = np.linspace(low, high, BINS + 1) if high > low else np.array([values[0] - 0.5, values[0] + 0.5])
    few = len(values) <= NAMES  # each has a cell of its own, by its name
    if few:
        middle = (values[1:] + values[:-1]) / 2
        edges = np.array([values[0] - 0.5, *middle, values[-1] + 0.5])
    inside = [np.clip(part[np.isfinite(part)], edges[0], edges[-1]) for part in numbers]
    counts = [
        np.append(np.histogram(part, edges)[0], (~np.isfinite(whole)).sum())
        for part, whole in zip(inside, numbers, strict=True)
    ]
    between = [f"{low:.6g} to {high:.6g}" for low, high in zip(edges, edges[1:], strict=False)]
    names = [f"{value:.6g}" for value in values] if few else between
    return [*names, "missing"], counts, [] if few else edges.tolist()


def _of_names(old: pd.Series, new: pd.Series) -> tuple[list[str], list[np.ndarray], list[float]]:
    texts = [part.astype(object).where(part.notna(), None).map(str, na_action="ignore") for part in (old, new)]
    common = pd.concat(texts).value_counts().index[:NAMES]
    counts = []
    for part in texts:
        known = part.value_counts()
        kept = known.reindex(common, fill_value=0).to_numpy()
        counts.append(np.array([*kept, known.sum() - kept.sum(), part.isna().sum()]))
    return [*map(str, common), REST, "missing"], counts, []


def _distance(old: np.ndarray, new: np.ndarray) -> float:
    """Jensen-Shannon distance (Lin 1991; Endres & Schindelin 2003) less what sampling gives where nothing differs.

    Of ``k`` cells that hold rows, the divergence of two samples is about (k - 1) (1/n + 1/m) / (8 ln 2) bits then.
    """
    if not old.sum() or not new.sum():
        return 0.0
    used = int(((old + new) > 0).sum())
    sampling = (used - 1) * (1 / old.sum() + 1 / new.sum()) / (8 * LN2)
    return float(np.sqrt(max(float(divergence(old, new)) - sampling, 0.0)))
