"""Rows that must go: one person's on request, and what is older than it may be kept."""

from __future__ import annotations

import glob
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from tasks.records.log.outbox import Decision, keep
from tasks.records.log.reading import ASKED_AT_ONCE, END, Reading
from tasks.records.log.tables import ABOUT_PREDICTIONS, PREDICTIONS
from tasks.spec.errors import ConfigError

SWEEP_SECONDS = 10.0
"""How long a sweep waits for readers of the -wal file."""
YOUNG_ROWS = 10_000
"""Expiry starts at the oldest position and ends after so many consecutive rows that may stay."""


@dataclass(frozen=True)
class Forgotten:
    """What was deleted, row by row of each table."""

    predictions: int = 0
    outcomes: int = 0
    overrides: int = 0
    appeals: int = 0
    reviews: int = 0
    unknown: int = 0
    """Ids that no prediction of the model has."""
    swept: bool = True
    """Whether the bytes are gone as well. False: the log was busy, and they may still be in its files until
    :meth:`Forgetting.sweep` succeeds."""

    def numbers(self) -> dict[str, int]:
        return {name: n for name, n in asdict(self).items() if name != "swept"}


Decided = Callable[[Forgotten], Decision]
"""What is to be told of a deletion, by its counts."""


class Forgetting(Reading):
    """Windows keep their numbers, reports and profiles, which hold no rows; missing rows are counted (:meth:`missing`).

    On SQLite deleted bytes are overwritten (``secure_delete``), the file is rewritten after a person's rows were
    deleted, and the -wal file is truncated. PostgreSQL frees the space (VACUUM) and overwrites it as it is used again;
    its WAL archive and backups are its administrator's to clear.
    Copies of the log from before an upgrade are not touched: :meth:`copies_holding` finds them. Nor are Parquet files
    that were exported or collected before: :func:`tasks.cli.rows.still_in` finds those.
    """

    def forget(self, model: str, ids: Sequence[str], decided: Decided | None = None) -> Forgotten:
        """Delete predictions by id, with their outcomes, overrides, appeals and reviews.

        Args:
            decided: what is to be told; it is kept with the deletion, both or neither. Where it raises, nothing is
                deleted.
        """
        asked = sorted(set(ids))
        p = PREDICTIONS.c
        with self.database.writing() as connection:
            seqs: list[int] = []
            for part in _parts(asked):
                seqs += connection.execute(sa.select(p.seq).where(p.model == model, p.id.in_(part))).scalars().all()
            found = _counted(_delete(connection, model, seqs), unknown=len(asked) - len(seqs))
            if decided is not None and found.predictions:
                keep(connection, decided(found))
        return self._swept(found, thorough=True)

    def find(self, model: str, column: str, value: str) -> list[str]:
        """Ids of the predictions whose input has a value; every row of the model is looked at.

        Args:
            value: compared as a number where the column holds numbers, else as text, exactly.

        Raises:
            ConfigError: no row has that column, or its values are numbers and this is none.
        """
        keys, known = [], False
        for table in self.chunks(model, 0, END, columns=[column, "_id"]):
            known = known or bool(table[column].notna().any())
            keys += table.loc[equal(table[column], column, value), "_id"].tolist()
        if not known:
            raise ConfigError(
                f"no logged prediction of {model} has an input {column!r}; the newest has: "
                f"{', '.join(self._columns(model)) or 'none, since there is none'}."
            )
        return keys

    def expire(self, model: str, before: datetime | str, decided: Decided | None = None) -> Forgotten:
        """Delete the predictions made before a time, and all about them.

        5,000 positions go into a transaction, so that the service can write in between. On SQLite the content is
        overwritten; of an id, a copy may be left inside a page of the index until the next :meth:`sweep`.

        Args:
            decided: what is to be told of all that was deleted so far; each transaction keeps it in place of the one
                before.
        """
        limit = _limit(before)
        p = PREDICTIONS.c
        total: Counter[str] = Counter()
        after, young, kept = 0, 0, None
        while young < YOUNG_ROWS:
            with self.database.engine.connect() as connection:
                query = (
                    sa.select(p.seq, p.time).where(p.model == model, p.seq > after).order_by(p.seq).limit(ASKED_AT_ONCE)
                )
                rows = connection.execute(query).all()
            if not rows:
                break
            after = rows[-1].seq
            old = [r.seq for r in rows if r.time and r.time < limit]
            young = 0 if old else young + len(rows)
            if old:
                with self.database.writing() as connection:
                    total += _delete(connection, model, old)
                    if decided is not None:
                        kept = keep(connection, decided(_counted(total)), instead_of=kept)
        found = _counted(total)
        return self._swept(found, thorough=False) if total else found

    def older(self, model: str, before: datetime | str) -> list[str]:
        """Ids of the predictions made before a time, which :meth:`expire` would delete."""
        p = PREDICTIONS.c
        with self.database.engine.connect() as connection:
            query = sa.select(p.id).where(p.model == model, p.time != "", p.time < _limit(before))
            return list(connection.execute(query).scalars())

    def copies_holding(self, model: str, ids: Sequence[str] | None = None) -> list[Path]:
        """Copies of the SQLite file from before an upgrade that still hold predictions of a model.

        Args:
            ids: only these predictions count; without it, any.
        """
        if self.database.file is None:
            return []
        file = Path(self.database.file)
        copies = sorted(file.parent.glob(f"{glob.escape(file.name)}.before-*"))
        return [c for c in copies if c.suffix != ".part" and _holds(c, model, ids)]

    def _columns(self, model: str) -> list[str]:
        newest = self.newest(model, 1)
        return [c for c in newest.columns if not c.startswith("_")]

    def _swept(self, found: Forgotten, thorough: bool) -> Forgotten:
        return replace(found, swept=self.sweep(thorough))

    def sweep(self, thorough: bool = True) -> bool:
        """Remove deleted rows from the bytes on disk.

        Args:
            thorough: SQLite leaves copies of what it moved within its pages, which no ``secure_delete`` overwrites. So
                the file is rewritten (VACUUM). That takes as much free disk as the log has, and writers wait.

        Returns:
            False where a long reader or a full disk prevented it.
        """
        engine = self.database.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                for table in (PREDICTIONS, *ABOUT_PREDICTIONS):
                    connection.execute(sa.text(f"VACUUM {table.name}"))
                return True
            try:
                if thorough:
                    connection.exec_driver_sql("VACUUM")
                end = time.monotonic() + SWEEP_SECONDS
                while connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]:
                    if time.monotonic() > end:
                        return False
                    time.sleep(0.1)
            except sa.exc.OperationalError:
                return False
        return True


def _limit(before: datetime | str) -> str:
    """A time as the log writes it."""
    moment = pd.Timestamp(before)
    utc = moment.tz_localize(UTC) if moment.tzinfo is None else moment.tz_convert(UTC)
    return str(utc.isoformat(timespec="milliseconds"))


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + ASKED_AT_ONCE] for start in range(0, len(items), ASKED_AT_ONCE)]


def _delete(connection: sa.Connection, model: str, seqs: Sequence[int]) -> Counter[str]:
    """Delete predictions by position with all rows about them; gives the rows by table."""
    counts: Counter[str] = Counter()
    for part in _parts(seqs):
        for table in ABOUT_PREDICTIONS:
            counts[table.name] += connection.execute(
                sa.delete(table).where(table.c.model == model, table.c.prediction.in_(part))
            ).rowcount
        counts[PREDICTIONS.name] += connection.execute(
            sa.delete(PREDICTIONS).where(PREDICTIONS.c.model == model, PREDICTIONS.c.seq.in_(part))
        ).rowcount
    return counts


def _counted(rows: Counter[str], unknown: int = 0) -> Forgotten:
    """The number of deleted rows by table, as one object."""
    return Forgotten(
        predictions=rows["predictions"],
        outcomes=rows["outcomes"],
        overrides=rows["overrides"],
        appeals=rows["appeals"],
        reviews=rows["reviews"],
        unknown=unknown,
    )


def _holds(copy: Path, model: str, ids: Sequence[str] | None) -> bool:
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        found = connection.execute("SELECT id FROM predictions WHERE model = ?", (model,))
        if ids is None:
            return found.fetchone() is not None
        asked = set(ids)
        return any(key in asked for (key,) in found)


def equal(values: pd.Series, column: str, value: str) -> pd.Series:
    """Which of a column's values is meant by a text; errors as of :meth:`Forgetting.find`."""
    if values.dtype == "str":
        return values == value
    if values.isna().all():
        return values.notna()
    if pd.api.types.is_bool_dtype(values):
        return values == (value.lower() == "true") if value.lower() in {"true", "false"} else values != values
    try:
        return values == float(value)
    except ValueError:
        raise ConfigError(
            f"column {column} holds numbers, and {value!r} is none; nothing was deleted. Give a number, e.g. "
            f"{column}={values.dropna().iloc[0]:g}."
        ) from None
