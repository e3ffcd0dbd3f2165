"""What is on record about the rows that a model was made from: their files by digest, and what became of the rows.

``ingest`` writes the files down, ``prepare`` adds the counts, and ``train`` copies both into the manifest.
"""

from __future__ import annotations

from tasks.spec.base import Spec
from tasks.spec.wording import plural


class SourceFile(Spec):
    """One file that the table was read from, as it was on that day."""

    name: str
    """Its path below the repository's root; of a package, the project, its version and the path in its archive."""
    sha256: str
    size: int
    """In bytes."""


class Ingested(Spec):
    """``ingested.json`` beside the ingested table."""

    files: tuple[SourceFile, ...]
    """In the order in which they were read."""
    rows: int


class DataRecord(Ingested):
    """``record.json`` beside the prepared tables, and ``data`` of the manifest."""

    dropped: dict[str, int] = {}
    """Rows of the source on no side of the split, by the reason in a few words; only reasons that hold for any."""
    sides: dict[str, int]
    """Rows of the source by the side of the split that they are on: train, holdout, replay."""
    weight: str | None = None
    """The column by which rows weigh in training, where the config names one."""
    collected: int = 0
    """Rows that were collected in production and joined train and holdout."""

    @property
    def losses(self) -> list[str]:
        """A sentence for each reason for which rows were dropped."""
        return losses(self.rows, self.dropped)


def losses(rows: int, dropped: dict[str, int]) -> list[str]:
    """What :attr:`DataRecord.losses` says, of the numbers alone."""
    return [f"dropped {count:,} of {plural(rows, 'row')} {reason}" for reason, count in dropped.items()]
