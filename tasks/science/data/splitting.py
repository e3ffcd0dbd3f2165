"""The labelled rows of a model, split into the sides that train it, examine it and are replayed.

By hash, the side of a row follows from a hash of its entity (or row number) and the seed. So it does not change when
rows are added. By time, the earlier rows train, the later ones examine, and the latest are replayed. A model that will
meet the future is then examined on what was the future of its training rows.

Whichever way, rows of one entity are on one side only: who trained or examined a model never comes back in replay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.data.tables import BENCHMARK, ENTITY, LABEL, ROW, WEIGHT, with_labels
from tasks.spec.errors import ConfigError
from tasks.spec.training import TrainingConfig
from tasks.tables.bounds import check_bounds
from tasks.tables.expressions import evaluate

SIDES = ("train", "holdout", "replay")


@dataclass(frozen=True)
class Parts:
    """The sides of a split, and how many rows are on none of them."""

    frames: dict[str, pd.DataFrame]
    """By :data:`SIDES`: the input columns, ``_label``, ``_row``, the period, and ``_entity`` where the data have
    entities; ``_benchmark`` in train and holdout."""
    dropped: dict[str, int]
    """Rows on no side by the reason, only where there are any."""


def split_base(config: TrainingConfig, table: pd.DataFrame) -> Parts:
    """Label the population and split its base rows; what lies outside the base is kept for replay.

    Args:
        table: (n, columns) typed rows of the source.
    """
    data = config.data
    table = table.assign(**{ROW: np.arange(len(table))})
    dropped = {}
    if data.rows:  # first: outside the population a label may not exist
        inside = evaluate(table, data.rows, "data.rows", data.columns)
        dropped["outside data.rows"] = int((~inside).sum())
        table = table[inside].copy()
    check_bounds(data.columns, table)
    table, dropped["without a label"] = with_labels(config, table)
    base = evaluate(table, data.base, "data.base", data.columns) if data.base else pd.Series(True, index=table.index)
    sides = _by_time(config, table, base) if data.split.by == "time" else _by_hash(config, table, base)
    dropped["of an entity that is on another side"] = int((~np.logical_or.reduce(list(sides.values()))).sum())
    keep = [c.name for c in config.inputs] + [LABEL, ROW] + ([data.period] if data.period else [])
    if data.entity:
        table[ENTITY] = table[data.entity].astype("str")
        keep.append(ENTITY)
    if data.split.by == "time":  # replayed in the order in which they came
        table = table.assign(_when=_when(config, table)).sort_values("_when", kind="stable")
    frames = {
        side: table.loc[mask.reindex(table.index), list(dict.fromkeys(keep))].reset_index(drop=True)
        for side, mask in sides.items()
    }
    if data.weight is not None:
        frames["train"][WEIGHT] = _weights(data.weight, table.loc[sides["train"].reindex(table.index), data.weight])
    frames["train"][BENCHMARK], frames["holdout"][BENCHMARK] = "train", "holdout"
    return Parts(frames, {reason: rows for reason, rows in dropped.items() if rows})


def _weights(column: str, values: pd.Series) -> np.ndarray:
    """(n,) weights of training rows, scaled to a mean of 1; that is also what a row collected in production weighs.

    Raises:
        ConfigError: one is missing, infinite or negative, or all are 0.
    """
    weights = values.to_numpy(float)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        first = weights[wrong][0]
        raise ConfigError(
            f"data.weight {column} is {'missing' if np.isnan(first) else f'{first:g}'} in {int(wrong.sum()):,} of "
            f"{len(weights):,} training rows; allowed are finite numbers from 0. Mend them, or leave such rows out in "
            "data.rows."
        )
    if not weights.sum() > 0:
        raise ConfigError(f"data.weight {column} is 0 in all {len(weights):,} training rows; name another column.")
    return np.asarray(weights / weights.mean())


def _by_hash(config: TrainingConfig, table: pd.DataFrame, base: pd.Series) -> dict[str, pd.Series]:
    """Which rows, (n,) bool on the table's index, are on each side."""
    cut, entity = config.data.split, config.data.entity
    place = _place(table[ROW], config.seed)
    if entity:  # where it is unknown whose row it is, the row stands for itself
        place = np.where(table[entity].isna(), place, _place(table[entity], config.seed))
    sides = {
        "train": base & (place < cut.train),
        "holdout": base & (place >= cut.train) & (place < cut.train + cut.holdout),
        "replay": ~base | (place >= cut.train + cut.holdout),
    }
    if entity:  # who trains or examines must not come back in replay under another period
        sides["replay"] &= place >= cut.train + cut.holdout
    return sides


def _by_time(config: TrainingConfig, table: pd.DataFrame, base: pd.Series) -> dict[str, pd.Series]:
    """As :func:`_by_hash`, in the order of the period.

    Rows of one period stay together: they go where the middle one of them belongs. An entity whose rows reach into
    several sides keeps those of one of them, which a hash chooses in proportion to the sides' shares. So a panel, in
    which every entity is there all the time, fills all sides.
    """
    cut = config.data.split
    when = _when(config, table)
    edges = np.array([cut.train, cut.train + cut.holdout])
    side = pd.Series(SIDES.index("replay"), index=table.index)
    # the middle rank of a period's base rows, as a share: where its middle row stands in their order
    middle = (when[base].rank(method="average") - 0.5) / max(int(base.sum()), 1)
    side[base] = np.searchsorted(edges, middle.to_numpy() + 1e-12, side="right")
    if config.data.entity:
        side = side.where(side == _kept_side(config, table[config.data.entity], side))
    return {name: side == code for code, name in enumerate(SIDES)}


def _kept_side(config: TrainingConfig, entity: pd.Series, side: pd.Series) -> pd.Series:
    """(n,) the one side of each row's entity, among those that it has rows on."""
    cut = config.data.split
    shares = np.array([cut.train, cut.holdout, cut.replay])
    there = pd.crosstab(entity, side).reindex(columns=range(len(SIDES)), fill_value=0)
    weight = (there.to_numpy() > 0) * np.maximum(shares, 1e-12)  # a side without a share keeps who is nowhere else
    upto = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)
    place = _place(there.index.to_series(), config.seed)
    kept = entity.map(pd.Series((place[:, None] >= upto[:, :-1]).sum(axis=1), index=there.index))
    return kept.where(entity.notna(), side)  # whose row it is is unknown: it stays where its time puts it


def _when(config: TrainingConfig, table: pd.DataFrame) -> pd.Series:
    """(n,) the period of each row as a number that rises with time.

    Raises:
        ConfigError: a row has no period, or one that is not among the declared categories.
    """
    name = str(config.data.period)
    found = period_order(config, table[name])
    if found.isna().any():
        first = table.loc[found.isna(), name].iloc[0]
        value = "no value" if pd.isna(first) else f"{first!r}, which is no declared category,"
        raise ConfigError(
            f"data.period {name} has {value} in {int(found.isna().sum())} of {len(found)} rows, so a split by time "
            "cannot place them. Leave such rows out in data.rows, or fill the column."
        )
    return found


def period_order(config: TrainingConfig, period: pd.Series) -> pd.Series:
    """(n,) floats that rise with the period: the number itself, or the place among the declared categories.

    Missing and undeclared values are NaN.
    """
    column = config.column(str(config.data.period))
    if column.kind.numeric:
        return period.astype("float64")
    order = {name: float(place) for place, name in enumerate(column.categories or ())}
    return period.map(order).astype("float64")


def split_collected(config: TrainingConfig, rows: pd.DataFrame, benchmark: str) -> dict[str, pd.DataFrame]:
    """Split rows collected in production into train and holdout by hash, in the proportion of the base split.

    Each such batch is a stretch of time of its own, and it is later than all base rows.
    """
    cut = config.data.split
    place = _place(rows["_id"], config.seed)
    train = place < cut.train / (cut.train + cut.holdout)
    rows = rows.drop(columns="_id")
    if config.kind == "binary":
        rows[LABEL] = rows[LABEL].astype(bool)
    rows[ROW], rows[BENCHMARK] = -1, benchmark
    return {"train": rows[train].assign(**{BENCHMARK: "train"}), "holdout": rows[~train]}


def _place(keys: pd.Series, seed: int) -> np.ndarray:
    salted = np.array([f"{seed}:{key}" for key in keys], dtype=object)
    return pd.util.hash_array(salted) / 2.0**64
