"""The prediction log: every input, score, decision and outcome, on disk before anybody is answered."""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tasks.records.log.answers import Answers, Appeal, Override, Review
from tasks.records.log.database import Database
from tasks.records.log.documents import Documents
from tasks.records.log.export import Export
from tasks.records.log.feed import Feed
from tasks.records.log.forgetting import Forgetting, Forgotten
from tasks.records.log.migration import REVISION
from tasks.records.log.outbox import Outbox
from tasks.records.log.single import Logged, Single
from tasks.records.log.tables import PREDICTIONS
from tasks.records.log.windows import Window, Windows
from tasks.spec.arrivals import FeedFacts, LoggedRow
from tasks.spec.errors import LogUnavailable

__all__ = ["Appeal", "FeedFacts", "Forgotten", "Logged", "Override", "Prediction", "PredictionLog", "Review", "Window"]

Job = tuple[Sequence[LoggedRow], Future[None]]
BATCH = 200
"""Requests that one transaction takes at most."""


@dataclass(frozen=True)
class Prediction:
    id: str
    model: str
    version: str
    time: str
    inputs: dict[str, Any]
    score: float
    """Binary: probability of the positive class. Regression: the number. Multiclass: probability of the most probable
    class."""
    decision: bool | str | None
    """Multiclass: a class's name; None where nothing is decided (a regression without a threshold)."""
    scores: dict[str, float] | None = None
    """Multiclass: a probability for each class."""
    sender: str | None = None
    """Public id of the key that asked."""

    def row(self) -> LoggedRow:
        """The row of the table.

        Raises:
            TypeError: the inputs are no JSON.
            ValueError: the score is no finite number, which one database would refuse and the other keep.
        """
        if not math.isfinite(self.score):
            raise ValueError(
                f"the score of prediction {self.id} of {self.model} is {self.score}; it has to be a finite "
                "number, so it is not logged."
            )
        named = isinstance(self.decision, str)
        return LoggedRow(
            id=self.id,
            model=self.model,
            version=self.version,
            time=self.time,
            inputs=json.dumps(self.inputs),
            score=self.score,
            decision=None if named else bool(self.decision) if self.decision is not None else None,
            decision_name=str(self.decision) if named else None,
            scores=None if self.scores is None else json.dumps(self.scores),
            sender=self.sender,
        )


class PredictionLog(Answers, Windows, Documents, Feed, Export, Forgetting, Outbox, Single):
    """One process's access to the log; many processes may have one each.

    Raises:
        ConfigError: the URL names neither SQLite nor PostgreSQL.
        LogUnavailable: the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._closed = False
        self._lock = threading.Lock()

    def close(self) -> None:
        """Write what waits, then close; what comes later is refused. Closing again changes nothing."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
        if self._writer is not None:
            self._writer.join(timeout=30)
        self.database.close()

    def probe(self) -> None:
        """Write and read a little, durably, to know whether a prediction could be kept.

        Raises:
            LogUnavailable: it could not.
        """
        self._refuse_closed()
        with self.database.writing() as connection:
            # the row as it is: a newer release may have moved the log on meanwhile
            connection.execute(sa.update(REVISION).values(version_num=REVISION.c.version_num))
        self.database.read_anew(f"SELECT * FROM {PREDICTIONS.name} ORDER BY seq DESC LIMIT 1")

    def append(self, rows: Sequence[Prediction]) -> None:
        """Return once the rows are on disk; requests that wait together share one commit.

        Raises:
            LogUnavailable: they are not, and none of them is in the log.
        """
        self.append_rows([p.row() for p in rows])

    def append_rows(self, records: Sequence[LoggedRow]) -> None:
        """:meth:`append` of rows that were checked and laid out already."""
        if not records:
            return
        done: Future[None] = Future()
        with self._lock:  # nothing may be queued behind the end mark, where nobody would answer it
            self._refuse_closed()
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
                self._writer.start()
            self._waiting.put((records, done))
        done.result()

    def _write(self) -> None:
        while True:
            item = self._waiting.get()
            batch = [item]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._commit(jobs)
            if None in batch:
                return

    def _commit(self, jobs: list[Job]) -> None:
        try:
            with self.database.writing() as connection:
                self.database.insert(connection, PREDICTIONS, [record for records, _ in jobs for record in records])
        except Exception as error:  # whatever stops the write must reach every waiting request, or it would hang
            if len(jobs) > 1 and isinstance(error, sa.exc.IntegrityError):
                for job in jobs:  # one request's repeated id must not refuse the others
                    self._commit([job])
                return
            told = error if isinstance(error, LogUnavailable) else LogUnavailable(self.database.sentence(error))
            for _, done in jobs:
                done.set_exception(told)
            return
        for _, done in jobs:
            done.set_result(None)
