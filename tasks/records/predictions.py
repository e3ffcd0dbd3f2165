"""The prediction log: every input, score, decision and outcome, on disk before anybody is answered."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tasks.spec.errors import AssayError, ConfigError, LogUnavailable
from tasks.spec.evidence import WindowReport

BATCH = 200
"""Requests that one transaction takes at most."""
PATIENCE = 30.0
"""Seconds that a request waits for its commit."""
ORDER = 7_203_911
"""Key of PostgreSQL's advisory lock: whoever holds it gives out positions and commits them."""

meta = sa.MetaData()
Position = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER
PREDICTIONS = sa.Table(
    "predictions",
    meta,
    sa.Column("seq", Position, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), unique=True, nullable=False),
    sa.Column("model", sa.String(40), nullable=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("decision", sa.Boolean, nullable=False),
    sa.Index("predictions_of_model", "model", "seq"),
    sqlite_autoincrement=True,
)
OUTCOMES = sa.Table(
    "outcomes",
    meta,
    sa.Column("seq", Position, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, index=True),
    sa.Column("label", sa.Boolean, nullable=False),
    sa.Column("time", sa.String(40), nullable=False),
    sqlite_autoincrement=True,
)
WINDOWS = sa.Table(
    "windows",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("first_seq", Position, nullable=False),
    sa.Column("last_seq", Position, nullable=False),
    sa.Column("seen", sa.Boolean, nullable=False),
)
REPORTS = sa.Table(
    "reports",
    meta,
    sa.Column("model", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("report", sa.Text, nullable=False),
)


class RepeatedId(AssayError):
    """An id that a client gave is in the log already."""


@dataclass(frozen=True)
class Prediction:
    id: str
    model: str
    version: str
    time: str
    """UTC, ISO 8601."""
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


Job = tuple[list[dict[str, Any]], "Future[None]"]


class PredictionLog:
    """One process's access to the log; many processes may have one each.

    Positions (``seq``) are given out in the order of commits, so what lies before a position that was read never
    changes: SQLite has one writer, and on PostgreSQL writers take an advisory lock.
    """

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.engine = _engine(self.url)
        self._writing_engine = self.engine.execution_options(write=True)
        self._file = self.url.database if self.url.get_backend_name() == "sqlite" else None
        self._identity: tuple[int, int] | None = None
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._gate = threading.Lock()
        self._closed = False
        try:
            self._create()
        except sa.exc.SQLAlchemyError as error:
            raise self._unavailable(error) from None

    def close(self) -> None:
        """Write what waits, then let go; later writes are refused."""
        with self._gate:
            self._closed = True
            self._waiting.put(None)
        if self._writer is not None:
            self._writer.join(timeout=PATIENCE)
        self.engine.dispose()

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, rows: Sequence[Prediction]) -> None:
        """Return once the rows are on disk; requests that wait together share one commit.

        Raises:
            LogUnavailable: the rows are not known to be on disk, so nobody may be answered.
            RepeatedId: an id is there already; none of the rows was written.
        """
        if not rows:
            return
        done: Future[None] = Future()
        records = [p.__dict__ | {"inputs": json.dumps(p.inputs, allow_nan=False)} for p in rows]
        with self._gate:
            if self._closed:
                raise self._unavailable("it was closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
                self._writer.start()
            self._waiting.put((records, done))
        try:
            done.result(timeout=PATIENCE)
        except TimeoutError:
            done.cancel()  # what is not being written yet never will be
            raise self._unavailable(f"no answer within {PATIENCE:.0f} s") from None

    def _write(self) -> None:
        going = True
        while going:
            batch = [self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            going = None not in batch
            jobs = [job for job in batch if job is not None and job[1].set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)

    def _commit(self, jobs: list[Job]) -> None:
        try:
            with self._transaction() as connection:
                connection.execute(sa.insert(PREDICTIONS), [record for records, _ in jobs for record in records])
        except sa.exc.IntegrityError:
            if len(jobs) > 1:
                for job in jobs:  # one request's repeated id must not refuse the others
                    self._commit([job])
                return
            jobs[0][1].set_exception(self._repeated([r["id"] for r in jobs[0][0]]))
        except Exception as error:  # whatever stops the write must reach every waiting request, or it would hang
            refusal = error if isinstance(error, LogUnavailable) else self._unavailable(error)
            for _, done in jobs:
                done.set_exception(refusal)
        else:
            for _, done in jobs:
                done.set_result(None)

    def _repeated(self, ids: list[str]) -> AssayError:
        try:
            with self._reading() as connection:
                there = sorted(_in(connection, sa.select(PREDICTIONS.c.id), PREDICTIONS.c.id, ids)) or sorted(ids)
        except LogUnavailable as error:
            return error
        shown = ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")
        return RepeatedId(f"The log already holds predictions with the ids {shown}; give each row an id of its own, or none.")

    def outcomes(self, model: str, labels: Sequence[tuple[str, bool]]) -> dict[str, int]:
        """Add outcomes by prediction id; the newest of several for one id counts.

        Returns:
            Counts: accepted, of these repeated (the id had an outcome already), and unknown (not stored).

        Raises:
            LogUnavailable: none of them was stored.
        """
        ids = [key for key, _ in labels]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._transaction() as connection:
            known = _in(connection, sa.select(PREDICTIONS.c.id).where(PREDICTIONS.c.model == model), PREDICTIONS.c.id, ids)
            before = _in(connection, sa.select(OUTCOMES.c.id), OUTCOMES.c.id, ids)
            rows = [{"id": key, "label": label, "time": now} for key, label in labels if key in known]
            if rows:
                connection.execute(sa.insert(OUTCOMES), rows)
        fresh = len({r["id"] for r in rows} - before)
        return {"accepted": len(rows), "repeated": len(rows) - fresh, "unknown": len(labels) - len(rows)}

    # -- windows ------------------------------------------------------------------------------------------------

    def next_windows(self, model: str, size: int, minimum: int, limit: int) -> list[Window]:
        """Closed windows that nobody has looked at, oldest first, at most ``limit``.

        A window holds ``size`` predictions of one version; a change of version closes it early, and a remainder of
        fewer than ``minimum`` rows is passed over. The open end waits. A window is cut and numbered once, and
        handed out until :meth:`mark_seen`, whatever the sizes asked for later.
        """
        w, p = WINDOWS.c, PREDICTIONS.c
        unseen = sa.select(w.number, w.version, w.first_seq, w.last_seq).where(w.model == model, sa.not_(w.seen)).order_by(w.number)
        ends = sa.select(sa.func.max(w.number), sa.func.max(w.last_seq)).where(w.model == model)
        rows = sa.select(p.seq, p.version).where(p.model == model).order_by(p.seq).execution_options(yield_per=5000)
        while True:
            cut: list[dict[str, Any]] = []
            with self._reading() as connection:
                waiting = [Window(*row) for row in connection.execute(unseen.limit(limit))]
                number, last = connection.execute(ends).one()
                if len(waiting) < limit:
                    for version, first, end in closed(connection.execute(rows.where(p.seq > (last or 0))), size, minimum):
                        following = (number or 0) + len(cut) + 1
                        cut.append({"model": model, "number": following, "version": version, "first_seq": first, "last_seq": end})
                        if len(waiting) + len(cut) == limit:
                            break
            if not cut:
                return waiting
            with self._transaction() as connection:
                if connection.execute(ends).one() == (number, last):  # else another process was quicker: look again
                    connection.execute(sa.insert(WINDOWS), [c | {"seen": False} for c in cut])

    def mark_seen(self, model: str, window: Window) -> None:
        """A window is looked at once; marking it again changes nothing.

        Raises:
            ConfigError: :meth:`next_windows` never gave such a window.
        """
        mine = (WINDOWS.c.model == model) & (WINDOWS.c.number == window.number)
        with self._transaction() as connection:
            if connection.execute(sa.update(WINDOWS).where(mine).values(seen=True)).rowcount == 0:
                raise ConfigError(f"{model} has no window {window.number}; mark windows that next_windows gave.")

    def save_report(self, report: WindowReport) -> None:
        """Keep the report of a window; a later one (when labels came) takes its place."""
        with self._transaction() as connection:
            connection.execute(sa.delete(REPORTS).where(REPORTS.c.model == report.model, REPORTS.c.number == report.window))
            connection.execute(sa.insert(REPORTS).values(model=report.model, number=report.window, report=report.model_dump_json()))

    def reports(self, model: str) -> list[WindowReport]:
        """Every window's newest report, by window number."""
        query = sa.select(REPORTS.c.report).where(REPORTS.c.model == model).order_by(REPORTS.c.number)
        with self._reading() as connection:
            return [WindowReport.model_validate_json(text) for (text,) in connection.execute(query)]

    # -- reading ------------------------------------------------------------------------------------------------

    def frame(self, model: str, first_seq: int, last_seq: int) -> pd.DataFrame:
        """Predictions from one position to another, both included, oldest first.

        Returns:
            Raw input columns and ``_seq``, ``_id``, ``_time``, ``_version``, ``_score``, ``_decision``, ``_label``
            (1.0, 0.0, or missing).
        """
        p = PREDICTIONS.c
        return self._frame((p.model == model) & (p.seq >= first_seq) & (p.seq <= last_seq), labelled=False)

    def labelled(self, model: str, after_seq: int) -> pd.DataFrame:
        """Predictions after a position whose outcome is known; as :meth:`frame`."""
        return self._frame((PREDICTIONS.c.model == model) & (PREDICTIONS.c.seq > after_seq), labelled=True)

    def count_labelled(self, model: str, after_seq: int) -> int:
        """How many rows :meth:`labelled` would give."""
        query = (
            sa.select(sa.func.count(sa.distinct(PREDICTIONS.c.id)))
            .join(OUTCOMES, OUTCOMES.c.id == PREDICTIONS.c.id)
            .where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq > after_seq)
        )
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    def _frame(self, which: Any, *, labelled: bool) -> pd.DataFrame:
        p, o = PREDICTIONS.c, OUTCOMES.c
        newest = sa.select(sa.func.max(o.seq).label("seq")).join(PREDICTIONS, p.id == o.id).where(which).group_by(o.id).subquery()
        outcome = sa.select(o.id, o.label).join(newest, newest.c.seq == o.seq).subquery()
        query = (
            sa.select(p.seq, p.id, p.time, p.version, p.inputs, p.score, p.decision, outcome.c.label)
            .join(outcome, outcome.c.id == p.id, isouter=not labelled)
            .where(which)
            .order_by(p.seq)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
        inputs = pd.DataFrame([json.loads(r.inputs) for r in rows])
        for name in inputs.columns[[t == object for t in inputs.dtypes]]:
            inputs[name] = inputs[name].astype("float64" if inputs[name].isna().all() else "str")
        facts = {f"_{name}": [getattr(r, name) for r in rows] for name in ("seq", "id", "time", "version", "score", "decision")}
        label = np.array([np.nan if r.label is None else float(r.label) for r in rows], dtype="float64")
        return pd.concat([inputs, pd.DataFrame(facts | {"_label": label})], axis=1)

    # -- the database -------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """One durable writing transaction. An IntegrityError passes; any other failure becomes LogUnavailable."""
        try:
            self._look_at_file()
            with self._writing_engine.begin() as connection:
                self._order(connection)
                yield connection
            self._look_at_file(written=True)
        except sa.exc.IntegrityError:
            raise
        except (sa.exc.SQLAlchemyError, OSError) as error:
            self.engine.dispose()  # a connection that saw the disk fail is not used again
            raise self._unavailable(error) from None

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            self._look_at_file()
            with self.engine.connect() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, OSError) as error:
            self.engine.dispose()
            raise self._unavailable(error) from None

    def _look_at_file(self, *, written: bool = False) -> None:
        """SQLite goes on writing to a file that was deleted or replaced, where nobody will ever find the rows."""
        if self._file is None:
            return
        found = os.stat(self._file)
        if (found.st_dev, found.st_ino) != self._identity:
            if written:
                raise FileNotFoundError(f"{self._file} was replaced while it was written")
            self.engine.dispose()
            self._create()

    def _create(self) -> None:
        with self._writing_engine.begin() as connection:
            self._order(connection)
            meta.create_all(connection)
        if self._file is not None:
            found = os.stat(self._file)
            self._identity = (found.st_dev, found.st_ino)

    def _order(self, connection: sa.Connection) -> None:
        if self._file is None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ORDER)))

    def _unavailable(self, cause: Exception | str) -> LogUnavailable:
        text = str(getattr(cause, "orig", None) or cause).strip() or type(cause).__name__
        where = self.url.render_as_string(hide_password=True)
        return LogUnavailable(
            f"The prediction log at {where} is not available ({text.splitlines()[0]}), so nothing is answered until it is: "
            "free the disk or mend the database, and the service goes on by itself."
        )


def closed(rows: Iterable[Any], size: int, minimum: int) -> Iterator[tuple[str, int, int]]:
    """Cut (seq, version) rows into windows; gives (version, first seq, last seq) of each that is closed."""
    count, version, first, last = 0, "", 0, 0
    for seq, its_version in rows:
        if count and its_version != version:
            if count >= minimum:
                yield version, first, last
            count = 0
        if not count:
            version, first = its_version, seq
        count, last = count + 1, seq
        if count == size:
            yield version, first, last
            count = 0


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ConfigError(f"the prediction log is {url}, which is no file; write sqlite:///<path> or postgresql://<host>/<database>.")
        engine = sa.create_engine(url)
        sa.event.listen(engine, "connect", _durable)
        sa.event.listen(engine, "begin", _begin)
        return engine
    if url.get_backend_name() != "postgresql":
        raise ConfigError(f"the prediction log is {url!r}; allowed: sqlite:///<path> and postgresql://<host>/<database>.")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5, "options": "-c synchronous_commit=on"})


def _durable(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN would come too late; see _begin
    for setting in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads before it writes fails at once where another process wrote in between: take the lock first.
    writes = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _in(connection: sa.Connection, query: Any, column: Any, values: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(values), 500):
        found |= set(connection.execute(query.where(column.in_(values[start : start + 500]))).scalars())
    return found
