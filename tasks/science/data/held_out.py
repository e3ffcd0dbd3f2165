"""Which training rows a network does not learn from, so that they tell when it has learned enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from tasks.science.data.splitting import period_order
from tasks.science.data.tables import ENTITY, ROW
from tasks.spec.errors import ConfigError
from tasks.spec.training import TrainingConfig

MOST = 0.5
"""Share of the rows that the latest period may be, to be held out."""
KEY = "estimator.network.validation"


@dataclass(frozen=True)
class HeldOut:
    mask: np.ndarray
    """(n,) bool."""
    by: Literal["entity", "period", "random"]
    why: str = ""
    """Why not by the declared period."""


def held_out(config: TrainingConfig, rows: pd.DataFrame, label: np.ndarray) -> HeldOut:
    """About the share that ``estimator.network.validation`` says, in the way that the data's declarations allow.

    Whole entities by ``GroupShuffleSplit`` where ``data.entity`` is declared, so that nobody is on both sides. Else the
    latest periods where ``data.period`` is; rows that were collected in production are later than all others. Else at
    random by the model's seed, by class where each has rows enough.

    Args:
        rows: (n, columns) the training rows, as the stage ``prepare`` writes them.
        label: (n,) their labels as :func:`tasks.science.data.tables.label_array` gives them.

    Raises:
        ConfigError: there are too few rows or entities, or a class would have no row left to learn from.
    """
    share, found = config.estimator.layout.validation, None
    if len(rows) < 2:
        raise ConfigError(f"{config.name} has one training row, and kind: mlp needs one to learn and one to validate.")
    if config.data.entity is not None:
        found = HeldOut(_by_entity(config, rows, share), "entity")
    elif config.data.period is not None:
        found = _by_period(config, rows, share)
    if found is None or found.why:
        found = HeldOut(_at_random(config, label, share), "random", found.why if found else "")
    _refuse_unlearnable(config, label, found)
    return found


def _by_entity(config: TrainingConfig, rows: pd.DataFrame, share: float) -> np.ndarray:
    """(n,) bool; a row of which it is unknown whose it is stands for itself."""
    whose = pd.Series(rows[ENTITY].to_numpy(object), dtype=object)
    if config.data.entity in rows:  # rows that were collected in production have the input alone
        named = pd.Series(rows[config.data.entity].to_numpy(object), dtype=object)
        whose = whose.where(whose.notna(), named.where(named.isna(), named.astype("str")))
    codes = pd.factorize(whose)[0]
    codes = np.where(codes < 0, codes.max() + 1 + np.arange(len(codes)), codes)
    groups = len(np.unique(codes))
    if groups < 2:
        raise ConfigError(
            f"the {len(rows)} training rows of {config.name} are of one {config.data.entity}, and kind: mlp holds out "
            "whole entities to know when to stop. Bring rows of more, or choose another estimator.kind."
        )
    count = min(max(round(share * groups), 1), groups - 1)
    chosen = next(GroupShuffleSplit(1, test_size=count, random_state=config.seed).split(codes, groups=codes))[1]
    return np.isin(np.arange(len(rows)), chosen)


def _by_period(config: TrainingConfig, rows: pd.DataFrame, share: float) -> HeldOut:
    """The fewest latest periods that hold the share; ``why`` where they would leave less than half of the rows."""
    name = str(config.data.period)
    order = period_order(config, rows[name]).to_numpy()
    collected = rows[ROW].to_numpy() < 0
    order = np.where(np.isnan(order), np.where(collected, np.inf, -np.inf), order)
    periods, counts = np.unique(order, return_counts=True)
    upto = counts[::-1].cumsum()
    most = int(np.searchsorted(upto, share * len(rows) - 1e-9)) if len(periods) > 1 else 0
    mask = order >= periods[::-1][min(most, len(periods) - 1)]
    if mask.mean() <= MOST:
        return HeldOut(mask, "period")
    why = (
        f"the training rows are of one {name} only"
        if len(periods) == 1
        else f"the latest periods of {name} would take {mask.mean():.0%} of the training rows"
    )
    return HeldOut(mask, "random", why)


def _at_random(config: TrainingConfig, label: np.ndarray, share: float) -> np.ndarray:
    count = min(max(round(share * len(label)), 1), len(label) - 1)
    strata = None
    if config.kind != "regression":
        _, sizes = np.unique(label, return_counts=True)
        strata = label if sizes.min() >= 2 and len(sizes) <= min(count, len(label) - count) else None
    chosen = train_test_split(np.arange(len(label)), test_size=count, random_state=config.seed, stratify=strata)[1]
    return np.isin(np.arange(len(label)), chosen)


def _refuse_unlearnable(config: TrainingConfig, label: np.ndarray, found: HeldOut) -> None:
    """Every class has to be among the rows that are learned from, or it would never be answered."""
    if config.kind == "regression":
        return
    lost = sorted(set(np.unique(label).tolist()) - set(np.unique(label[~found.mask]).tolist()))
    if lost:
        named = ", ".join(config.class_names[int(code)] for code in lost)
        how = {"entity": "whole entities", "period": "the latest periods", "random": "rows at random"}[found.by]
        raise ConfigError(
            f"{KEY} of {config.name} holds out {how}, and so every row of class {named}; nothing would be learned of "
            "it. Lower the share, or bring more rows of that class."
        )
