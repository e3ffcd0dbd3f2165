"""What a simulation shows: one table with the sentence above it; and a count of how often something happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Study:
    """One table of docs/evidence, and the function that measures its rows (a cell a key)."""

    title: str
    says: str
    rows: Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True)
class Count:
    """How often something happened in so many runs, and how often it should: at most, at least, or as often as possible."""

    case: str
    rows: int
    happened: int
    runs: int
    nominal: float | None = None

    @property
    def rate(self) -> float:
        return self.happened / self.runs

    @property
    def error(self) -> float:
        """Standard error of a rate that is as it should be; of the one that was seen where nothing says how it should be."""
        share = self.rate if self.nominal is None else self.nominal
        return float(np.sqrt(share * (1 - share) / self.runs))
