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

from tasks.spec.errors import LogUnavailable
from tasks.spec.evidence import WindowReport

BATCH = 200
"""Requests that one transaction takes at most."""

meta = sa.MetaData()
PREDICTIONS = sa.Table(
    "predictions",
    meta,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), unique=True, nullable=False),
    sa.Column("model", sa.String(40), nullable=False, index=True),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("decision", sa.Boolean, nullable=False),
)
OUTCOMES = sa.Table(
    "outcomes",
    meta,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, index=True),
    sa.Column("label", sa.Boolean, nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
)
SEEN = sa.Table(
    "windows",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("last_seq", sa.Integer, nullable=False),
)
REPORTS = sa.Table(
    "reports",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("report", sa.Text, nullable=False),
)


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


class PredictionLog:
    """One process's access to the log; many processes may have one each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
        if url.startswith("sqlite"):
            sa.event.listen(self.engine, "connect", _durable)
        try:
            meta.create_all(self.engine)
        except sa.exc.SQLAlchemyError as error:
            raise LogUnavailable(_sentence(url, error)) from None
        self._waiting: queue.SimpleQueue[tuple[list[Prediction], Future[None]] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._start = threading.Lock()

    def close(self) -> None:
        if self._writer is not None:
            self._waiting.put(None)
            self._writer.join(timeout=10)
        self.engine.dispose()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Prediction]) -> None:
        """Return once the rows are on disk; requests that wait together share one commit.

        Raises:
            LogUnavailable: they are not, and none of them is in the log.
        """
        with self._start:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
                self._writer.start()
        done: Future[None] = Future()
        self._waiting.put((list(rows), done))
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

    def _commit(self, jobs: list[tuple[list[Prediction], Future[None]]]) -> None:
        records = [asdict(p) | {"inputs": json.dumps(p.inputs)} for rows, _ in jobs for p in rows]
        try:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(PREDICTIONS), records)
        except Exception as error:  # whatever stops the write must reach every waiting request, or it would hang
            if len(jobs) > 1 and isinstance(error, sa.exc.IntegrityError):
                for job in jobs:  # one request's repeated id must not refuse the others
                    self._commit([job])
                return
            for _, done in jobs:
                done.set_exception(LogUnavailable(_sentence(self.url, error)))
            return
        for _, done in jobs:
            done.set_result(None)

    def outcomes(self, model: str, labels: Sequence[tuple[str, bool]]) -> dict[str, int]:
        """Add outcomes by prediction id; the newest of several for one id counts.

        Returns:
            Counts: accepted, of these repeated, and unknown (not stored).
        """
        ids = [key for key, _ in labels]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            with self.engine.begin() as connection:
                known = _in(connection, sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.model == model), PREDICTIONS.c.id, ids)
                before = _in(connection, sa.select(OUTCOMES.c.id), OUTCOMES.c.id, ids)
                rows = [{"id": key, "label": label, "time": now} for key, label in labels if key in known]
                if rows:
                    connection.execute(sa.insert(OUTCOMES), rows)
        except sa.exc.SQLAlchemyError as error:
            raise LogUnavailable(_sentence(self.url, error)) from None
        return {"accepted": len(rows), "repeated": len([r for r in rows if r["id"] in before]), "unknown": len(labels) - len(rows)}

    # -- windows ------------------------------------------------------------------------------------------------

    def next_windows(self, model: str, size: int, minimum: int, limit: int) -> list[Window]:
        """Closed windows that nobody has looked at, oldest first.

        A window holds ``size`` predictions of one version; a change of version closes it early, and a remainder of
        fewer than ``minimum`` rows is passed over. The open end waits.
        """
        with self.engine.connect() as connection:
            seen = connection.execute(
                sa.select(sa.func.max(SEEN.c.last_seq), sa.func.max(SEEN.c.number)).where(SEEN.c.model == model)
            ).one()
            rows = connection.execute(
                sa.select(PREDICTIONS.c.seq, PREDICTIONS.c.version)
                .where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq > (seen[0] or 0))
                .order_by(PREDICTIONS.c.seq)
                .limit(size * (limit + 1))
            ).all()
        windows: list[Window] = []
        number, start = (seen[1] or 0) + 1, 0
        for end in range(1, len(rows) + 1):
            full = end - start == size
            changed = end < len(rows) and rows[end].version != rows[start].version
            if not (full or changed):
                continue
            if end - start >= minimum and len(windows) < limit:
                windows.append(Window(number, rows[start].version, rows[start].seq, rows[end - 1].seq))
                number += 1
            start = end
        return windows

    def mark_seen(self, model: str, window: Window) -> None:
        """A window is looked at once; marking it again changes nothing."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(SEEN).where(SEEN.c.model == model, SEEN.c.number == window.number))
            connection.execute(sa.insert(SEEN).values(model=model, number=window.number, last_seq=window.last_seq))

    def save_report(self, report: WindowReport) -> None:
        """Keep the report of a window; a later one (when labels came) takes its place."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(REPORTS).where(REPORTS.c.model == report.model, REPORTS.c.number == report.window))
            connection.execute(sa.insert(REPORTS).values(model=report.model, number=report.window, report=report.model_dump_json()))

    def reports(self, model: str) -> list[WindowReport]:
        """Every window's newest report, by window number."""
        query = sa.select(REPORTS.c.report).where(REPORTS.c.model == model).order_by(REPORTS.c.number)
        with self.engine.connect() as connection:
            return [WindowReport.model_validate_json(text) for (text,) in connection.execute(query)]

    # -- reading ------------------------------------------------------------------------------------------------

    def frame(self, model: str, first_seq: int, last_seq: int) -> pd.DataFrame:
        """Predictions between two positions, oldest first.

        Returns:
            Raw input columns and ``_seq``, ``_id``, ``_time``, ``_version``, ``_score``, ``_decision``, ``_label``
            (1.0, 0.0, or missing).
        """
        p = PREDICTIONS.c
        newest = sa.select(sa.func.max(OUTCOMES.c.seq).label("seq")).group_by(OUTCOMES.c.id).subquery()
        outcome = sa.select(OUTCOMES.c.id, OUTCOMES.c.label).join(newest, newest.c.seq == OUTCOMES.c.seq).subquery()
        query = (
            sa.select(p.seq, p.id, p.time, p.version, p.inputs, p.score, p.decision, outcome.c.label)
            .join(outcome, outcome.c.id == p.id, isouter=True)
            .where(p.model == model, p.seq >= first_seq, p.seq <= last_seq)
            .order_by(p.seq)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        inputs = pd.DataFrame([json.loads(r.inputs) for r in rows])
        for name in inputs.columns[[t.kind == "O" for t in inputs.dtypes]]:
            inputs[name] = inputs[name].astype("float64" if inputs[name].isna().all() else "str")
        meta_columns = {f"_{name}": [getattr(r, name) for r in rows] for name in ("seq", "id", "time", "version", "score", "decision")}
        label = np.array([np.nan if r.label is None else float(r.label) for r in rows])
        return pd.concat([inputs, pd.DataFrame(meta_columns | {"_label": label})], axis=1)

    def labelled(self, model: str, after_seq: int) -> pd.DataFrame:
        """Predictions after a position whose outcome is known; as :meth:`frame`."""
        rows = self.frame(model, after_seq + 1, 2**62)
        return rows[rows["_label"].notna()].reset_index(drop=True)

    def count_labelled(self, model: str, after_seq: int) -> int:
        """How many rows :meth:`labelled` would give."""
        query = (
            sa.select(sa.func.count(sa.distinct(PREDICTIONS.c.id)))
            .join(OUTCOMES, OUTCOMES.c.id == PREDICTIONS.c.id)
            .where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq > after_seq)
        )
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())


def _durable(connection: Any, _: Any) -> None:
    for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000"):
        connection.execute(f"PRAGMA {setting}")


def _in(connection: sa.Connection, query: Any, column: Any, values: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(values), 500):
        found |= set(connection.execute(query.where(column.in_(values[start : start + 500]))).scalars())
    return found


def _sentence(url: str, error: Exception) -> str:
    cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
    where = sa.engine.make_url(url).render_as_string(hide_password=True)
    return f"the prediction log at {where} cannot be written ({cause}), so nothing is answered. Free the disk or mend the database; the service goes on by itself."
