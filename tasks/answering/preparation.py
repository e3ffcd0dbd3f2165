"""What scikit-learn's ColumnTransformer makes of rows, as array code over vectors of numbers and codes.

Each part is one transformer of :mod:`tasks.science.models.estimators` and repeats its arithmetic, element by element:
an element of the prepared row is the same whatever rows come with it. The estimator's product with a sparse row is a
sum in the order of the columns, as scipy computes it. That with a dense row is one BLAS call for the row, whether it
comes alone or with others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

TERMS = 2**19
"""Terms of sums that are held at once; what is more is computed in blocks of rows."""


class Part(Protocol):
    """One transformer."""

    @property
    def width(self) -> int:
        """Number of prepared columns."""

    @property
    def read(self) -> np.ndarray:
        """The columns of the vectors that it reads."""

    @property
    def owners(self) -> np.ndarray:
        """(width,) the column of the vectors behind each prepared column."""

    def block(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) of the vectors (n, features)."""

    def terms(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The terms of the product with weights (width, k) that may differ from zero: (n, terms, k)."""


class _Dense(ABC):
    @abstractmethod
    def block(self, vectors: np.ndarray) -> np.ndarray: ...

    def terms(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        block = self.block(vectors)
        refuse_infinite(block)
        return np.asarray(block[:, :, None] * weights)


@dataclass(frozen=True)
class Quantities(_Dense):
    """Numbers: passed through, or their gaps filled, perhaps marked, and all of it scaled."""

    columns: np.ndarray
    fills: np.ndarray | None = None
    """What fills the gaps of each column."""
    kept: np.ndarray | None = None
    """Which columns are left; one that was empty in training is not."""
    marked: np.ndarray | None = None
    """Columns whose gaps are marked by a further column of 0 and 1."""
    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    @property
    def read(self) -> np.ndarray:
        return self.columns

    @property
    def width(self) -> int:
        filled = len(self.columns) if self.kept is None else len(self.kept)
        return filled + (0 if self.marked is None else len(self.marked))

    @property
    def owners(self) -> np.ndarray:
        filled = self.columns if self.kept is None else self.columns[self.kept]
        return filled if self.marked is None else np.concatenate([filled, self.columns[self.marked]])

    def block(self, vectors: np.ndarray) -> np.ndarray:
        found = vectors.take(self.columns, axis=1)
        if self.fills is not None:
            gaps = np.isnan(found)
            found = np.where(gaps, self.fills, found)
            if self.kept is not None:
                found = found.take(self.kept, axis=1)
            if self.marked is not None:
                found = np.concatenate([found, gaps.take(self.marked, axis=1)], axis=1)
        if self.mean is not None and self.scale is not None:
            found -= self.mean
            found /= self.scale
        return found


@dataclass(frozen=True)
class Ranks(_Dense):
    """Names as the numbers of their codes, -1 for an unseen one."""

    columns: np.ndarray

    @property
    def read(self) -> np.ndarray:
        return self.columns

    @property
    def owners(self) -> np.ndarray:
        return self.columns

    @property
    def width(self) -> int:
        return len(self.columns)

    def block(self, vectors: np.ndarray) -> np.ndarray:
        return vectors.take(self.columns, axis=1)


@dataclass(frozen=True)
class Codes:
    """For each column a list of rows, the last one for unseen names, all in one array."""

    columns: np.ndarray
    starts: np.ndarray
    """Where each column's rows begin."""
    unseen: np.ndarray
    """Where each column's last row is."""

    def places(self, vectors: np.ndarray) -> np.ndarray:
        """(n, columns) rows of the array."""
        codes = vectors.take(self.columns, axis=1).astype(np.int64)
        return np.where(codes < 0, self.unseen, codes + self.starts)


@dataclass(frozen=True)
class Means(_Dense):
    """Names as the mean label of their rows, one mean for each class where there are several."""

    codes: Codes
    means: np.ndarray
    """(rows, k)."""

    @property
    def read(self) -> np.ndarray:
        return self.codes.columns

    @property
    def owners(self) -> np.ndarray:
        return np.repeat(self.codes.columns, self.means.shape[1])

    @property
    def width(self) -> int:
        return len(self.codes.columns) * int(self.means.shape[1])

    def block(self, vectors: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.means.take(self.codes.places(vectors), axis=0)
        return found.reshape(len(vectors), self.width)


@dataclass(frozen=True)
class Indicators:
    """Names as columns of 0 and 1, rare ones sharing a column."""

    codes: Codes
    column: np.ndarray
    """(rows,) the prepared column of each name, -1 where an unseen one has none."""
    width: int

    @property
    def read(self) -> np.ndarray:
        return self.codes.columns

    @property
    def owners(self) -> np.ndarray:
        found = np.zeros(self.width, dtype=np.int64)
        for owner, start, end in zip(self.codes.columns, self.codes.starts, self.codes.unseen + 1, strict=True):
            own = self.column[start:end]
            found[own[own >= 0]] = owner
        return found

    def block(self, vectors: np.ndarray) -> np.ndarray:
        column = self.column.take(self.codes.places(vectors))
        found = np.zeros((len(vectors), self.width))
        row, at = np.nonzero(column >= 0)
        found[row, column[row, at]] = 1.0
        return found

    def terms(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        column = self.column.take(self.codes.places(vectors))
        found: np.ndarray = weights.take(np.maximum(column, 0), axis=0)
        if (column < 0).any():
            found[column < 0] = 0.0
        return found


@dataclass(frozen=True)
class Preparation:
    """All parts, in the order of their prepared columns."""

    parts: Sequence[Part]
    sparse: bool

    @property
    def width(self) -> int:
        return sum(part.width for part in self.parts)

    @property
    def owners(self) -> np.ndarray:
        """(width,) the column of the vectors behind each prepared column."""
        return np.concatenate([part.owners for part in self.parts])

    def matrix(self, vectors: np.ndarray) -> np.ndarray:
        """The prepared rows, dense: (n, width) in C order."""
        if len(self.parts) == 1:
            return np.ascontiguousarray(self.parts[0].block(vectors))
        return np.concatenate([part.block(vectors) for part in self.parts], axis=1)

    def product(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The prepared rows times weights (width, k), each row as scikit-learn multiplies it alone: (n, k).

        Raises:
            ValueError: a prepared value is infinite.
        """
        if not self.sparse:
            rows = self.matrix(vectors)
            refuse_infinite(rows)
            return row_products(rows, weights)
        size = max(1, TERMS // (max(1, self.width) * weights.shape[1]))
        if len(vectors) <= size:
            return self._sum(vectors, weights)
        parts = [self._sum(vectors[at : at + size], weights) for at in range(0, len(vectors), size)]
        return np.concatenate(parts)

    def _sum(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """scipy begins with 0.0 and adds in the order of the columns; ``accumulate`` keeps that order."""
        terms, before = [np.zeros((len(vectors), 1, weights.shape[1]))], 0
        for part in self.parts:
            terms.append(part.terms(vectors, weights[before : before + part.width]))
            before += part.width
        return np.asarray(np.add.accumulate(np.concatenate(terms, axis=1), axis=1)[:, -1])


def row_products(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each row (n, m) times weights (m, k) or (m,), as a product of its own: (n, k) or (n,).

    numpy's ``matmul`` loops over the leading axis and calls BLAS once for each row, with the shapes, strides and so
    the kernel that a row alone gets. One product of all rows is another kernel with other roundings.
    """
    return np.asarray(np.matmul(rows[:, None, :], weights)[:, 0])


def refuse_infinite(prepared: np.ndarray) -> None:
    """Refuse what scikit-learn refuses.

    Raises:
        ValueError: a prepared value is infinite or missing.
    """
    if not np.isfinite(prepared).all():
        raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
