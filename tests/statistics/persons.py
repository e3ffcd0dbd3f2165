"""Rows of persons whose labels, scores and errors resemble each other, for simulations of what that does to gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from tasks.spec.metrics import TargetKind


@dataclass(frozen=True)
class Shape:
    """How many rows persons have: each ``most``, or each from 1 to ``most``, and then the more the sicker they are."""

    most: int
    varied: bool

    def __str__(self) -> str:
        return f"1 to {self.most}, more for some" if self.varied else str(self.most)

    @property
    def average(self) -> int:
        """About as many rows as a person has."""
        return (1 + self.most) // 2 if self.varied else self.most

    def persons(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(n,) whose row it is, and (persons,) how ill each person is."""
        ill = rng.normal(size=count)
        rows = 1 + rng.binomial(self.most - 1, expit(ill)) if self.varied else np.full(count, self.most)
        return np.repeat(np.arange(count), rows), ill


SHAPES = (Shape(5, True), Shape(20, True), Shape(3, False))

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Label, challenger's scores and champion's."""


def _alike(rng: np.random.Generator, owners: np.ndarray, share: float, *size: int) -> np.ndarray:
    """Standard normal variates of which a person's share a part of the variance."""
    own = rng.normal(size=(int(owners.max()) + 1, *size))
    return np.asarray(np.sqrt(share) * own[owners] + np.sqrt(1 - share) * rng.normal(size=(len(owners), *size)))


def binary(rng: np.random.Generator, owners: np.ndarray, ill: np.ndarray) -> Drawn:
    """A condition that most persons either have or do not, seen through a score that errs alike in all their rows."""
    label = rng.random(len(owners)) < expit(2.0 * ill[owners] - 0.8)
    seen = _alike(rng, owners, 0.6)
    champion = 1.4 * label + 0.9 * seen - 1.0
    challenger = 1.2 * label + 0.7 * seen + 0.5 * _alike(rng, owners, 0.3) - 0.9
    return label, expit(challenger), expit(champion)


def multiclass(rng: np.random.Generator, owners: np.ndarray, ill: np.ndarray) -> Drawn:
    known = 1.2 * ill[owners] + rng.normal(size=len(owners))
    label = (known > -0.4).astype(int) + (known > 1.2)
    truth, seen = np.eye(3)[label], _alike(rng, owners, 0.6, 3)
    challenger = 1.2 * truth + 0.7 * seen + 0.5 * _alike(rng, owners, 0.3, 3)
    return label, softmax(challenger, axis=1), softmax(1.4 * truth + 0.9 * seen, axis=1)


def regression(rng: np.random.Generator, owners: np.ndarray, ill: np.ndarray) -> Drawn:
    """Costs: skewed, and with errors that are larger where they are high."""
    mean = np.exp(0.5 * ill[owners])
    label = mean * np.exp(0.4 * _alike(rng, owners, 0.5) - 0.08)
    champion = mean * np.exp(0.2 * _alike(rng, owners, 0.6))
    return label, 0.95 * champion + 0.1 + 0.2 * _alike(rng, owners, 0.4), champion


DRAWS: dict[TargetKind, Callable[[np.random.Generator, np.ndarray, np.ndarray], Drawn]] = {
    "binary": binary,
    "multiclass": multiclass,
    "regression": regression,
}


def drawn(kind: TargetKind, shape: Shape, persons: int, rng: np.random.Generator) -> tuple[np.ndarray, Drawn]:
    """(n,) whose row it is, and the rows."""
    owners, ill = shape.persons(rng, persons)
    return owners, DRAWS[kind](rng, owners, ill)
