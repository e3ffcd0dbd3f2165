"""By how much each column moves one row's output away from the background's mean: Shapley values.

One definition for every estimator: the interventional game (Lundberg et al. 2020; Janzing et al. 2020). A column that
is in the coalition has the value of the row, any other that of a background row, and the mean is taken over the
background (:mod:`tasks.answering.background`). All prepared columns of one input column are one player.

- **Linear models**: exact, ``coefficient * (value - background mean)``, summed over the prepared columns of a column.
- **Trees, forests, boosting**: exact (:mod:`tasks.answering.tree_shapley`).
- **Networks**: the sum is exact, and each part is a mean over random orders of the columns, antithetic in pairs
  (Mitchell et al. 2022). The orders are the same for every row, and a standard error is given.

The output is what the estimator computes before its link: log-odds, the logarithm of a count, or a number in the
model's unit. A forest has no link, so its output is a probability. Of several classes it is the logit of one class
less the mean logit, since a softmax does not see what all logits share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.answering.compiling import Answering
from tasks.answering.estimators import ACTIVATIONS, Boosting, Forest, Linear, Network
from tasks.answering.tree_shapley import TreeShapley

PAIRS = 2
"""Pairs of an order of the columns and its reverse, for each background row."""
PRECISION = 1e-9
"""To which the attributions have to add up, relative to the largest number among them."""
EXACT = {Linear: "linear", Boosting: "trees", Forest: "trees"}


@dataclass(frozen=True)
class Attributions:
    output: float
    """Of the row, before the link."""
    base: float
    """The background's mean of the output."""
    columns: np.ndarray
    """(features,) which sum to ``output`` - ``base``."""
    standard_error: float | None
    """The largest of a column's, from the orders that were drawn; None where there is none."""


class Attributor:
    """Attributions of one model's rows against its background; threads may share it."""

    def __init__(self, answering: Answering, background: np.ndarray) -> None:
        """
        Args:
            background: (b, features) encoded rows.

        Raises:
            ValueError: the model refuses one of them.
        """
        self.answering, self.estimator = answering, answering.estimator
        self.columns = background.shape[1]
        owners = self.estimator.preparation.owners
        self._one: Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray, float | None]]
        if isinstance(self.estimator, Boosting | Forest):
            prepared = self.estimator.prepared(background)
            self._trees = TreeShapley(self.estimator.trees, prepared, owners, self.columns)
            self._one = self._of_trees
        elif isinstance(self.estimator, Linear):
            self._owners, self._middle = owners, self.estimator.preparation.matrix(background).mean(axis=0)
            self._base = self.estimator.raw(background).mean(axis=0)
            self._one = self._of_linear
        elif isinstance(self.estimator, Network):
            self._members = [np.flatnonzero(owners == at) for at in range(self.columns)]
            self._orders = _orders(len(background), self.columns)
            self._parts, self._begin = self._first_layer(background)
            self._base = self.estimator.raw(background).mean(axis=0)
            self._one = self._of_network
        else:
            raise ValueError(f"no attributions are known of {type(self.estimator).__name__}")

    @property
    def exact(self) -> bool:
        """Whether each attribution is; their sum always is."""
        return type(self.estimator) in EXACT

    def __call__(self, vector: np.ndarray, place: int | None) -> Attributions:
        """Attributions of one encoded row.

        Args:
            vector: (features,).
            place: of several classes, which one of the model's is asked about.

        Raises:
            ValueError: values are so large that the sum is rounded away.
        """
        row = vector[None]
        weights = self._weights(place)
        base, found, error = self._one(row, weights)
        output = float(self.estimator.raw(row)[0] @ weights)
        moved, size = output - base, max(abs(output), abs(base), float(np.abs(found).max()), 1.0)
        if not abs(float(found.sum()) - moved) <= PRECISION * size:  # nor where one of them is not finite
            raise ValueError("the attributions do not add up in numbers of this size")
        return Attributions(output, base, found, error)

    def _weights(self, place: int | None) -> np.ndarray:
        """(k,) how the raw scores become the one output that is explained."""
        if place is None:
            return np.ones(1)
        codes = self.answering.codes
        own = (codes == place).astype(np.float64)
        return np.asarray(own if isinstance(self.estimator, Forest) else own - 1 / len(codes))

    def _of_trees(self, row: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, None]:
        estimator, trees = self.estimator, self._trees
        if isinstance(estimator, Forest):
            values = estimator.trees.values[:, -1] if len(weights) == 1 else estimator.trees.values @ weights
            values, base = values / estimator.trees.count, 0.0
        else:
            assert isinstance(estimator, Boosting)
            values = estimator.trees.values[:, 0] * weights[trees.number % len(weights)]
            base = float(estimator.baseline @ weights)
        return base + trees.base(values), trees(estimator.prepared(row)[0], values), None

    def _of_linear(self, row: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, None]:
        assert isinstance(self.estimator, Linear)
        coefficients = self.estimator.weights.reshape(len(self._middle), -1) @ weights
        moved = (self.estimator.preparation.matrix(row)[0] - self._middle) * coefficients
        return float(self._base @ weights), np.bincount(self._owners, moved, self.columns), None

    def _first_layer(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each column adds to the first layer: (n, features, hidden); and the whole layer (n, hidden)."""
        assert isinstance(self.estimator, Network)
        prepared, weights = self.estimator.preparation.matrix(rows), self.estimator.weights[0]
        parts = np.stack([prepared[:, own] @ weights[own] for own in self._members], axis=1)
        return parts, parts.sum(axis=1) + self.estimator.intercepts[0]

    def _of_network(self, row: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, float]:
        """For each background row and order: the columns take the row's values one after the other."""
        assert isinstance(self.estimator, Network)
        own = self._first_layer(row)[0][0]
        moved = np.take_along_axis((own - self._parts)[:, None], self._orders[..., None], axis=2)
        begin = np.broadcast_to(self._begin[:, None, None], (*moved.shape[:2], 1, moved.shape[3]))
        layer = np.cumsum(np.concatenate([begin, moved], axis=2), axis=2)
        for after, intercept in zip(self.estimator.weights[1:], self.estimator.intercepts[1:], strict=True):
            layer = ACTIVATIONS[self.estimator.activation](layer) @ after + intercept
        steps = np.diff(layer @ weights, axis=2)
        found = np.empty_like(steps)
        np.put_along_axis(found, self._orders, steps, axis=2)
        pairs = found.reshape(len(found), PAIRS, 2, -1).mean(axis=2)
        error = np.sqrt(pairs.var(axis=1, ddof=1).sum(axis=0) / PAIRS) / len(found)
        return float(self._base @ weights), pairs.mean(axis=(0, 1)), float(error.max())


def _orders(rows: int, columns: int) -> np.ndarray:
    """(rows, 2 * PAIRS, columns) orders of the columns, each followed by its reverse; always the same."""
    raw = np.random.PCG64([rows, columns]).random_raw(rows * PAIRS * columns)
    order = np.argsort(raw.reshape(rows, PAIRS, columns), axis=2, kind="stable")
    return np.stack([order, order[:, :, ::-1]], axis=2).reshape(rows, 2 * PAIRS, columns)
