"""Which rows of one table are rows of another model's, whatever each of the two models makes of them.

Two models may read other columns, files and forms of the same rows. So cells are compared, in the columns that both
declare alike, and what tells rows apart is all that these say together. Of the earlier rows a sample is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

SAMPLE = 2000
"""Rows whose cells are kept; a share of so many is known to about one in a hundred."""
TWINS, TWINS_OF_ONE_FILE = 0.1, 0.5
"""Share of rows with a twin beyond which columns do not tell rows apart. In one file both tables have the same twins,
so more of them can be taken off."""
MIXER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Declared:
    """One column: the names that it goes by, here and in the source, and a digest of how its cells are read."""

    names: tuple[str, ...]
    read: str


@dataclass(frozen=True)
class Cells:
    """Rows as hashes of their cells."""

    columns: tuple[Declared, ...]
    hashes: np.ndarray
    """(n, columns) uint64."""

    @cached_property
    def digest(self) -> str:
        """As ``sha256:<hex>``: who holds cells can show whose they are."""
        told = hashlib.sha256(repr([(c.names, c.read) for c in self.columns]).encode())
        told.update(np.ascontiguousarray(self.hashes, "<u8").tobytes())
        return "sha256:" + told.hexdigest()


class Table:
    """Rows that are at hand, whose columns are hashed when they are first asked for.

    Args:
        columns: one for each column of ``rows``, in their order.
        rows: (n, columns) in table form.
    """

    def __init__(self, columns: Sequence[Declared], rows: pd.DataFrame) -> None:
        self._columns, self._rows = tuple(columns), rows
        self._hashed: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def sample(self, most: int = SAMPLE) -> Cells:
        """The cells of some rows, which follow from their places alone."""
        place = pd.util.hash_array(np.arange(len(self._rows), dtype=np.uint64))
        rows = self._rows.iloc[np.sort(np.argsort(place, kind="stable")[:most])]
        hashed = [_hashes(rows.iloc[:, index]) for index in range(len(self._columns))]
        return Cells(self._columns, np.stack(hashed, axis=1) if hashed else np.zeros((len(rows), 0), np.uint64))

    def shared(self, theirs: Cells, one_file: bool) -> float | None:
        """The share of other rows that are among these, beyond what chance gives; None where nobody can tell.

        A stranger is found with the chance that a row has a twin here. Leaving each row out estimates it: twins / n,
        with twice a proportion's variance, since twins come in pairs. Up to four standard errors above it the share
        is 0. Beyond, chance is taken off as Abbott (1925) takes off natural mortality:
        ``(found - chance) / (1 - chance)``. So where rows have twins, a few in a hundred may hide.

        Args:
            theirs: a sample of the other rows.
            one_file: whether both are known to have a file in common.
        """
        pairs = [
            (here, there)
            for here, mine in enumerate(self._columns)
            for there, other in enumerate(theirs.columns)
            if mine.read == other.read and set(mine.names) & set(other.names)
        ]
        if not len(self) or not len(theirs.hashes):
            return 0.0
        if not pairs:
            return None
        mine = _joined([self._of(here) for here, _ in pairs])
        other = _joined([theirs.hashes[:, there] for _, there in pairs])
        values, counts = np.unique(mine, return_counts=True)
        chance = float(counts[counts > 1].sum()) / len(mine)
        if chance > (TWINS_OF_ONE_FILE if one_file else TWINS):
            return None
        found, rows = float(np.isin(other, values).mean()), len(other)
        if found <= chance + 4 * math.sqrt(chance * (1 - chance) * (1 / rows + 2 / len(mine))):
            return 0.0
        return (found - chance) / (1 - chance)

    def _of(self, index: int) -> np.ndarray:
        if index not in self._hashed:
            self._hashed[index] = _hashes(self._rows.iloc[:, index])
        return self._hashed[index]


def _hashes(values: pd.Series) -> np.ndarray:
    """(n,) uint64; numbers are compared as floats and all else as text, as row keys are."""
    numeric = is_numeric_dtype(values)
    plain = values.astype("float64") + 0.0 if numeric else values.astype("str").mask(values.isna(), "")
    return pd.util.hash_pandas_object(plain, index=False).to_numpy(np.uint64)


def _joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) uint64: one hash of each row's cells."""
    found = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        found = (found ^ column) * MIXER
        found ^= found >> np.uint64(29)
    return found
