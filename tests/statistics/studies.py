"""What a simulation shows: one table with the sentence above it; and a count of how often something happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.spec.model import ModelConfig


@dataclass(frozen=True)
class Study:
    """One table of docs/evidence, and the function that measures its rows (a cell a key)."""

    title: str
    says: str
    rows: Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True)
class Count:
    """How often something happened in so many runs, and how often it should: at most, at least, or as often as
    possible."""

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
        """Standard error of a rate that is as it should be; of the one that was seen where nothing says how it should
        be."""
        share = self.rate if self.nominal is None else self.nominal
        return float(np.sqrt(share * (1 - share) / self.runs))


def planted_model(
    inputs: tuple[str, ...], category: str, columns: list[dict[str, Any]], data: dict[str, Any], **rest: Any
) -> ModelConfig:
    """The config of a model of planted rows: what every one must say, and what this one adds.

    Args:
        inputs: columns that may be empty; all are numbers but ``category``.
        columns: that no prediction asks for.
        data: the target, and what else this one's data say.
    """
    asked = [{"name": name, "type": "category" if name == category else "number", "nullable": True} for name in inputs]
    rows = {
        "source": {"kind": "file", "path": "x.csv", "format": "csv"},
        "columns": [*columns, *asked],
        "split": {"train": 0.6, "holdout": 0.4, "replay": 0.0},
        **data,
    }
    who = {"name": "planted", "title": "t", "purpose": "p", "owner": "o", "materiality": "low", "seed": 1}
    return ModelConfig.model_validate({**who, "data": rows, **rest}, strict=False)
