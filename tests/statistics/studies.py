"""What a simulation shows: one table with the sentence above it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Study:
    """One table of docs/evidence, and the function that measures its rows (a cell a key)."""

    title: str
    says: str
    rows: Callable[[], list[dict[str, Any]]]
