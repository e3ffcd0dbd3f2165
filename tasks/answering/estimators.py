"""Fitted estimators of scikit-learn as array code, equal to them bit for bit for one row asked alone.

How scikit-learn 1.9 computes one row, and what is done about it here:

- **Linear models** multiply the row with the coefficients by one BLAS call; a batch is another call with other
  roundings. :func:`tasks.answering.preparation.row_products` makes the call of a single row for each.
- **expit** of scipy is computed for each element by itself, and so are numpy's ``exp`` and ``tanh``.
- **softmax** sums a row with numpy's pairwise sum over contiguous memory; a batch of boosting has its raw scores in
  Fortran order, where numpy adds column by column. Here rows are contiguous always.
- **Forests** read features as float32, add the trees' values to 0.0 one tree after the other where ``n_jobs`` is 1,
  and divide by their number.
- **Boosting** adds its trees to the baseline one after the other; its threads share rows out, never trees.

``numpy.add.accumulate`` is the sum in order; ``numpy.sum`` is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from scipy.special import expit

from tasks.answering.preparation import Preparation, row_products
from tasks.answering.trees import Trees

Link = Literal["identity", "exp", "expit", "softmax"]


class Estimator(Protocol):
    """What gives scores of vectors."""

    @property
    def preparation(self) -> Preparation: ...

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k): of two classes the probability of the second, k = 1; of more, of each; of a number, it.

        Raises:
            ValueError: scikit-learn refuses one of the rows, too.
        """

    def raw(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k) before the link: log-odds, or logits of several classes; of a forest the scores themselves."""


@dataclass(frozen=True)
class Linear:
    preparation: Preparation
    weights: np.ndarray
    """(width, k), a view with the strides that scikit-learn multiplies with; (width,) of a regression."""
    intercept: np.ndarray
    link: Link

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        return linked(self.raw(vectors), self.link)

    def raw(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k) before the link."""
        if self.weights.ndim == 2:
            found = self.preparation.product(vectors, self.weights)
        elif self.preparation.sparse:
            found = self.preparation.product(vectors, self.weights[:, None])
        else:
            found = self.preparation.product(vectors, self.weights)[:, None]
        return np.asarray(found + self.intercept)


@dataclass(frozen=True)
class Network:
    """A multi-layer perceptron."""

    preparation: Preparation
    weights: tuple[np.ndarray, ...]
    intercepts: tuple[np.ndarray, ...]
    activation: str
    link: Link

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        return linked(self.raw(vectors), self.link)

    def raw(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k) before the link."""
        found = self.preparation.product(vectors, self.weights[0]) + self.intercepts[0]
        for weights, intercept in zip(self.weights[1:], self.intercepts[1:], strict=True):
            found = row_products(ACTIVATIONS[self.activation](found), weights) + intercept
        return np.asarray(found)


@dataclass(frozen=True)
class Forest:
    preparation: Preparation
    trees: Trees

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        return self.of_prepared(self.prepared(vectors))

    raw = scores
    """A forest has no link."""

    def prepared(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width) float32 numbers held as float64.

        Raises:
            ValueError: one is too large.
        """
        prepared = self.preparation.matrix(vectors)
        with np.errstate(over="ignore"):
            rows = prepared.astype(np.float32)
        if np.isinf(rows).any():
            raise ValueError("Input X contains infinity or a value too large for dtype('float32').")
        return rows.astype(np.float64)

    def of_prepared(self, rows: np.ndarray) -> np.ndarray:
        """Of prepared rows (n, width) that are float32 numbers held as float64."""
        values = self.trees.values.take(self.trees.leaves(rows), axis=0)
        found = in_order(np.zeros(values.shape[2]), values) / self.trees.count
        return found[:, 1:] if found.shape[1] == 2 else found


@dataclass(frozen=True)
class Boosting:
    """Histogram gradient boosting."""

    preparation: Preparation
    trees: Trees
    baseline: np.ndarray
    """(k,) trees of one iteration, and so raw scores."""
    link: Link

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        return linked(self.raw(vectors), self.link)

    def raw(self, vectors: np.ndarray) -> np.ndarray:
        """(n, k) before the link."""
        return self.of_prepared(self.prepared(vectors))

    def prepared(self, vectors: np.ndarray) -> np.ndarray:
        """(n, width)."""
        return self.preparation.matrix(vectors)

    def of_prepared(self, rows: np.ndarray) -> np.ndarray:
        """Raw scores (n, k) of prepared rows (n, width)."""
        values = self.trees.values[:, 0].take(self.trees.leaves(rows))
        return in_order(self.baseline, values.reshape(len(rows), -1, len(self.baseline)))


def in_order(first: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """``0.0 + first + terms[:, 0] + terms[:, 1] + ...`` from left to right: (n, k) of (k,) and (n, steps, k)."""
    begin = np.broadcast_to(0.0 + first, (len(terms), 1, terms.shape[2]))
    return np.asarray(np.add.accumulate(np.concatenate([begin, terms], axis=1), axis=1)[:, -1])


def linked(raw: np.ndarray, link: Link) -> np.ndarray:
    """Scores (n, k) from raw scores (n, k)."""
    rows = np.ascontiguousarray(raw)
    if link == "identity":
        return rows
    if link == "exp":
        return np.asarray(np.exp(rows))
    if link == "expit":
        return np.asarray(expit(rows))
    found = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}
