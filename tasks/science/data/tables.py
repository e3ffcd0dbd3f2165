"""From the source's table to the labelled, split rows that training and examination use."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from tasks.spec.errors import ConfigError
from tasks.spec.targets import BinaryTarget, MulticlassTarget, RegressionTarget
from tasks.spec.training import TrainingConfig
from tasks.tables.expressions import values
from tasks.tables.typed import as_json

LABEL, BENCHMARK, ROW, SCORE, ENTITY, WEIGHT = "_label", "_benchmark", "_row", "_score", "_entity", "_weight"
SOURCE = "_source"
"""Who labelled a row that was collected in production; missing in all others."""


def labels(config: TrainingConfig, table: pd.DataFrame) -> pd.Series:
    """The label of every row: a condition's truth, a class's name, or a number, by the kind of the target.

    Returns:
        (n,), NaN where the expression is missing. Binary: bool, or float where a label is missing.

    Raises:
        ConfigError: the expression does not fit, or gives a class or number that the config does not allow.
    """
    target = config.data.target
    found = values(table, target.expression, "data.target.expression", config.data.columns)
    if isinstance(target, BinaryTarget):
        return found
    return _numbers(target, found) if isinstance(target, RegressionTarget) else _classes(target, found)


def _numbers(target: RegressionTarget, found: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(found, errors="coerce").astype("float64")
    low, high = (
        (-np.inf if target.minimum is None else target.minimum),
        (np.inf if target.maximum is None else target.maximum),
    )
    bad = found.notna() & ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high))
    if bad.any():
        raise ConfigError(
            f"data.target.expression {target.expression!r} gives {str(found[bad].iloc[0])!r} in {int(bad.sum())} "
            f"of {len(found)} rows; allowed are numbers from {low:g} to {high:g}. Leave such rows out in data.rows."
        )
    return numbers


def _classes(target: MulticlassTarget, found: pd.Series) -> pd.Series:
    names = found.astype("str").mask(found.isna())
    if is_numeric_dtype(found):  # 1.0 is the class "1" where there is one
        whole = names.str.removesuffix(".0")
        names = names.mask(whole.isin(target.classes), whole)
    bad = found.notna() & ~names.isin(target.classes)
    if bad.any():
        raise ConfigError(
            f"data.target.expression {target.expression!r} gives {names[bad].iloc[0]!r} in "
            f"{int(bad.sum())} of {len(found)} rows; "
            f"allowed: {', '.join(target.classes)}. Add the class, or leave such rows out in data.rows."
        )
    return names


def with_labels(config: TrainingConfig, table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The rows whose label is known, with ``_label``, and how many were dropped because theirs is missing.

    Raises:
        ConfigError: as :func:`labels`; or a label is missing, and ``data.target.missing`` does not say to drop such
            rows.
    """
    target, found = config.data.target, labels(config, table)
    unknown = found.isna()
    lacking = int(unknown.sum())
    if not lacking:
        return table.assign(**{LABEL: found}), 0
    if target.missing == "refuse":
        raise ConfigError(
            f"data.target.expression {target.expression!r} gives no label in {lacking:,} of {len(found):,} rows "
            f"({lacking / len(found):.1%}), because a value that it needs is missing. Write missing: drop under "
            "data.target to leave them out, which the verdict will say, or fill the values in the source."
        )
    known = found[~unknown]
    return table[~unknown].assign(**{LABEL: known.astype(bool) if config.kind == "binary" else known}), lacking


def label_array(config: TrainingConfig, label: pd.Series) -> np.ndarray:
    """Labels of rows as numbers.

    Returns:
        (n,) array. Binary: bool where all are known, else float with NaN. Multiclass: int codes into
        ``config.classes``, -1 where unknown. Regression: float, NaN where unknown.
    """
    if config.kind == "multiclass":
        return np.asarray(pd.Categorical(label, categories=list(config.classes)).codes, dtype=np.int64)
    if config.kind == "binary" and not label.isna().any():
        return label.to_numpy(float) > 0.5
    return np.asarray(label.to_numpy(float))


def score_columns(config: TrainingConfig, prefix: str = SCORE) -> list[str]:
    """Names of the columns that hold a model's scores: one, or one a class."""
    return [f"{prefix}:{name}" for name in config.classes] or [prefix]


def with_scores(config: TrainingConfig, rows: pd.DataFrame, scores: np.ndarray, prefix: str = SCORE) -> pd.DataFrame:
    """Add scores to rows.

    Args:
        scores: (n,), or (n, k) for a multiclass model.
        prefix: the column of the score; of a multiclass model, the highest score of each row, beside one column a
            class.
    """
    if config.kind != "multiclass":
        return rows.assign(**{prefix: scores})
    return rows.assign(
        **{prefix: scores.max(axis=1), **dict(zip(score_columns(config, prefix), scores.T, strict=True))}
    )


def score_array(config: TrainingConfig, rows: pd.DataFrame, prefix: str = SCORE) -> np.ndarray:
    """The scores that :func:`with_scores` put there: (n,), or (n, k) for a multiclass model."""
    found = rows[score_columns(config, prefix)].to_numpy(float)
    return found if config.kind == "multiclass" else found[:, 0]


def content_digest(rows: pd.DataFrame) -> str:
    """Digest of a table's content, whatever the order of its rows, as ``sha256:<hex>``."""
    columns = sorted(c for c in rows.columns)
    hashes = np.sort(pd.util.hash_pandas_object(rows[columns], index=False).to_numpy())
    return "sha256:" + hashlib.sha256(",".join(columns).encode() + hashes.tobytes()).hexdigest()


def as_requests(config: TrainingConfig, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a client would send them: the inputs alone, whole numbers as integers, what is missing as None."""
    return as_json(config.inputs, rows)
