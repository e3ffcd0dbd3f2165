"""The prediction log: every input, score, decision and outcome, on disk before anybody is answered."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tasks.records.log_tables import OUTCOMES, PREDICTIONS, REPORTS, WINDOWS, Database
from tasks.spec.errors import LogUnavailable
from tasks.spec.evidence import WindowReport

BATCH = 200
"""Requests that one transaction takes at most."""
CUT_AT_ONCE = 10
"""Full windows that one transaction cuts at most; it bounds what is read at a time."""


@dataclass(frozen=True)
class Prediction:
    id: str
    model: str
    version: str
    time: str
    inputs: dict[str, Any]
    score: float
    decision: bool


@dataclass(frozen=True)
class Window:
    """Consecutive predictions of one version: an analysis window."""

    number: int
    version: str
    first_seq: int
    last_seq: int
    rows: int


class PredictionLog:
    """One process's access to the log; many processes may have one each.

    Raises:
        ConfigError: the URL names neither SQLite nor PostgreSQL.
        LogUnavailable: the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self._waiting: queue.SimpleQueue[tuple[list[dict[str, Any]], Future[None]] | None] = queue.SimpleQueue()
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

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Prediction]) -> None:
        """Return once the rows are on disk; requests that wait together share one commit.

        Raises:
            LogUnavailable: they are not, and none of them is in the log.
        """
        records = [asdict(p) | {"inputs": json.dumps(p.inputs)} for p in rows]
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

    def _refuse_closed(self) -> None:
        if self._closed:
            raise LogUnavailable(f"the prediction log at {self.database.where} is closed, so nothing is answered. Start the service again.")

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

    def _commit(self, jobs: list[tuple[list[dict[str, Any]], Future[None]]]) -> None:
        try:
            with self.database.writing() as connection:
                connection.execute(sa.insert(PREDICTIONS), [record for records, _ in jobs for record in records])
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

    def outcomes(self, model: str, labels: Sequence[tuple[str, bool]]) -> dict[str, int]:
        """Add outcomes by prediction id. All that differ are kept; the one that arrived last counts.

        Returns:
            Counts that add up to ``len(labels)``: accepted (the first of its prediction), repeated (says what is known
            already; not stored again), changed (contradicts the one before and counts from now on), unknown (no
            prediction of this model has that id; not stored).

        Raises:
            LogUnavailable: none of them is stored.
        """
        self._refuse_closed()
        ids = sorted({key for key, _ in labels})
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        counts = {"accepted": 0, "repeated": 0, "changed": 0, "unknown": 0}
        rows = []
        with self.database.writing() as connection:
            known = _known(connection, model, ids)
            for key, label in labels:
                kind = "unknown" if key not in known else "accepted" if known[key] is None else "repeated" if known[key] == label else "changed"
                counts[kind] += 1
                if kind in {"accepted", "changed"}:
                    rows.append({"id": key, "label": label, "time": now})
                    known[key] = label
            if rows:
                connection.execute(sa.insert(OUTCOMES), rows)
        return counts

    # -- windows ------------------------------------------------------------------------------------------------

    def next_windows(self, model: str, size: int, minimum: int, limit: int) -> list[Window]:
        """Up to ``limit`` closed windows without a report, oldest first.

        A window holds ``size`` predictions of one version; a change of version closes it early. The open end waits.
        Windows are cut and numbered once, by whoever comes first: every row before the open end is in just one. One
        of fewer than ``minimum`` rows has its number too, but is passed over.
        """
        while self._cut(model, size, minimum):
            pass
        w = WINDOWS.c
        query = (
            sa.select(w.number, w.version, w.first_seq, w.last_seq, w.rows)
            .join(REPORTS, sa.and_(REPORTS.c.model == w.model, REPORTS.c.number == w.number), isouter=True)
            .where(w.model == model, w.passed_over.is_(False), REPORTS.c.number.is_(None))
            .order_by(w.number)
            .limit(limit)
        )
        with self.database.engine.connect() as connection:
            return [Window(*row) for row in connection.execute(query)]

    def _cut(self, model: str, size: int, minimum: int) -> bool:
        """Cut what is complete behind the last window; gives whether it is worth looking again."""
        with self.database.engine.connect() as connection:
            last = connection.execute(
                sa.select(sa.func.max(WINDOWS.c.last_seq), sa.func.max(WINDOWS.c.number)).where(WINDOWS.c.model == model)
            ).one()
            rows = connection.execute(
                sa.select(PREDICTIONS.c.seq, PREDICTIONS.c.version)
                .where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq > (last[0] or 0))
                .order_by(PREDICTIONS.c.seq)
                .limit(size * CUT_AT_ONCE + 1)
            ).all()
        windows: list[dict[str, Any]] = []
        start = 0
        for end in range(1, len(rows) + 1):
            full = end - start == size
            changed = end < len(rows) and rows[end].version != rows[start].version
            if full or changed:
                place = {"model": model, "number": (last[1] or 0) + len(windows) + 1, "version": rows[start].version}
                place |= {"first_seq": rows[start].seq, "last_seq": rows[end - 1].seq, "rows": end - start}
                windows.append(place | {"passed_over": end - start < minimum})
                start = end
        if not windows:
            return False
        try:
            with self.database.writing() as connection:
                connection.execute(sa.insert(WINDOWS), windows)
        except sa.exc.IntegrityError:
            return True  # somebody else cut here first; what they wrote holds
        return True

    def save_report(self, report: WindowReport) -> None:
        """Keep the report of a window, which is looked at by that; a later one (when labels came) takes its place."""
        with self.database.writing() as connection:
            connection.execute(sa.delete(REPORTS).where(REPORTS.c.model == report.model, REPORTS.c.number == report.window))
            connection.execute(sa.insert(REPORTS).values(model=report.model, number=report.window, report=report.model_dump_json()))

    def reports(self, model: str) -> list[WindowReport]:
        """Every window's newest report, by window number."""
        query = sa.select(REPORTS.c.report).where(REPORTS.c.model == model).order_by(REPORTS.c.number)
        with self.database.engine.connect() as connection:
            return [WindowReport.model_validate_json(text) for (text,) in connection.execute(query)]

    # -- reading ------------------------------------------------------------------------------------------------

    def frame(self, model: str, first_seq: int, last_seq: int) -> pd.DataFrame:
        """Predictions between two positions, oldest first.

        Returns:
            Raw input columns and ``_seq``, ``_id``, ``_time``, ``_version``, ``_score``, ``_decision``, ``_label``
            (1.0, 0.0, or missing). Where versions with different inputs answered, the union of their columns in order
            of appearance, with missing values where a version had no such column; a column that was a number in one
            version and text in another is text.
        """
        return self._frame(model, first_seq, last_seq, labelled=False)

    def newest(self, model: str, count: int) -> pd.DataFrame:
        """The newest predictions, oldest first; as :meth:`frame`."""
        first = sa.select(PREDICTIONS.c.seq).where(PREDICTIONS.c.model == model).order_by(PREDICTIONS.c.seq.desc()).limit(count).subquery()
        with self.database.engine.connect() as connection:
            begin = connection.execute(sa.select(sa.func.min(first.c.seq))).scalar()
        return self.frame(model, begin or 0, 2**62)

    def labelled(self, model: str, after_seq: int) -> pd.DataFrame:
        """Predictions after a position whose outcome is known; as :meth:`frame`."""
        return self._frame(model, after_seq + 1, 2**62, labelled=True)

    def _frame(self, model: str, first_seq: int, last_seq: int, labelled: bool) -> pd.DataFrame:
        p = PREDICTIONS.c
        asked = sa.and_(p.model == model, p.seq >= first_seq, p.seq <= last_seq)
        newest = (
            sa.select(OUTCOMES.c.id, sa.func.max(OUTCOMES.c.seq).label("seq")).join(PREDICTIONS, p.id == OUTCOMES.c.id).where(asked).group_by(OUTCOMES.c.id).subquery()
        )
        query = (
            sa.select(p.seq, p.id, p.time, p.version, p.inputs, p.score, p.decision, OUTCOMES.c.label)
            .join(newest, newest.c.id == p.id, isouter=not labelled)
            .join(OUTCOMES, OUTCOMES.c.seq == newest.c.seq, isouter=not labelled)
            .where(asked)
            .order_by(p.seq)
        )
        with self.database.engine.connect() as connection:
            rows = connection.execute(query).all()
        meta_columns = {f"_{name}": [getattr(r, name) for r in rows] for name in ("seq", "id", "time", "version", "score", "decision")}
        label = np.array([np.nan if r.label is None else float(r.label) for r in rows])
        return pd.concat([_inputs([json.loads(r.inputs) for r in rows]), pd.DataFrame(meta_columns | {"_label": label})], axis=1)

    def count_labelled(self, model: str, after_seq: int) -> int:
        """How many rows :meth:`labelled` would give."""
        query = (
            sa.select(sa.func.count(sa.distinct(PREDICTIONS.c.id)))
            .join(OUTCOMES, OUTCOMES.c.id == PREDICTIONS.c.id)
            .where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq > after_seq)
        )
        with self.database.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


def _inputs(rows: list[dict[str, Any]]) -> pd.DataFrame:
    inputs = pd.DataFrame(rows)
    for name in inputs.columns[[t.kind == "O" for t in inputs.dtypes]]:
        inputs[name] = inputs[name].astype("float64" if inputs[name].isna().all() else "str")
    return inputs


def _known(connection: sa.Connection, model: str, ids: list[str]) -> dict[str, bool | None]:
    """Those of the ids that are predictions of the model, each with the outcome that counts now."""
    newest = sa.select(OUTCOMES.c.label).where(OUTCOMES.c.id == PREDICTIONS.c.id).order_by(OUTCOMES.c.seq.desc()).limit(1).scalar_subquery()
    query = sa.select(PREDICTIONS.c.id, newest).where(PREDICTIONS.c.model == model)
    found: dict[str, bool | None] = {}
    for start in range(0, len(ids), 500):
        found |= {key: label for key, label in connection.execute(query.where(PREDICTIONS.c.id.in_(ids[start : start + 500])))}
    return found
