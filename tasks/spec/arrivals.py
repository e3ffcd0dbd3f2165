"""Rows as they arrive: one that is logged, and how those of a window came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class LoggedRow(NamedTuple):
    """One answered prediction, in the order of the log's columns."""

    id: str
    model: str
    version: str
    time: str
    """UTC, ISO 8601."""
    inputs: str
    """JSON, every column of the version's schema."""
    score: float
    """Finite."""
    decision: bool | None
    decision_name: str | None
    """Of several classes, the chosen one's name, in place of ``decision``."""
    scores: str | None
    """Of several classes, JSON: a probability for each."""
    sender: str | None = None
    """Public id of the key that asked; None where the service answers without keys."""


@dataclass(frozen=True)
class FeedFacts:
    """How the rows of one window came. Times are ISO 8601, UTC where they name no zone."""

    rows: int
    first_time: str | None
    last_time: str | None
    rows_per_hour: float | None
    duplicate_share: float
    """Share of the rows whose inputs repeat an earlier row's of the window."""
    label_delay_median: float | None
    """Seconds from prediction to first outcome, of the rows that have one."""
    label_delay_p90: float | None
    newest_prediction: str | None
    """Of the model, whatever the window."""
    newest_outcome: str | None
    clock_back_steps: int
    """Rows whose time lies before that of the row before."""
    clock_largest_back_seconds: float
    columns: tuple[str, ...]
    versions: tuple[str, ...]
    rows_missing: int
    """Rows that the window had when it was cut and that are not in the log any more."""
