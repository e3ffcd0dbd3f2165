"""Which rows of a holdout an earlier one had already: rows by a key of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from tasks.science.data.tables import BENCHMARK, LABEL, ROW, SCORE, SOURCE, WEIGHT

NOT_OF_A_ROW = (BENCHMARK, LABEL, ROW, SCORE, SOURCE, WEIGHT)
"""Columns that change while a row stays the same: where it stands, what it is used for, and what is asked about it.

Without the label, a target of another expression, or a label that was mended, makes no row fresh.
"""


def row_keys(rows: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """The columns that tell rows apart, in order, and (n,) sorted uint64 keys of n rows by them.

    Numbers are compared as floats and all else as text, so that the types of two reads of one file do not matter.
    """
    columns = tuple(sorted(c for c in rows.columns if c not in NOT_OF_A_ROW))
    plain = pd.DataFrame(
        {
            c: rows[c].astype("float64") + 0.0
            if is_numeric_dtype(rows[c])
            else rows[c].astype("str").mask(rows[c].isna(), "")
            for c in columns
        }
    )
    hashed = pd.util.hash_pandas_object(plain, index=False).to_numpy(np.uint64)
    return columns, np.sort(hashed)


def keys_digest(columns: Sequence[str], keys: np.ndarray) -> str:
    """Digest of what :func:`row_keys` gives, as ``sha256:<hex>``: who holds keys can show whose they are."""
    told = ",".join(columns).encode() + np.asarray(keys, "<u8").tobytes()
    return "sha256:" + hashlib.sha256(told).hexdigest()


def shared_rows(now: np.ndarray, then: np.ndarray) -> int:
    """How many of (n,) keys are among (m,) others; one that both have twice is shared twice."""
    values, counts = np.unique(now, return_counts=True)
    others, there = np.unique(then, return_counts=True)
    _, here, place = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    return int(np.minimum(counts[here], there[place]).sum())
