"""The log read as tables: streamed, whole, or as a random sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tasks.records.log.database import Part
from tasks.records.log.tables import APPEALS, OUTCOMES, OVERRIDES, PREDICTIONS, REVIEWS, WINDOWS
from tasks.records.log.values import Label, decision_column, decode, from_columns, joined, label_column

CHUNK = 50_000
"""Rows that are held at a time while a window is streamed."""
ASKED_AT_ONCE = 5_000
"""Positions that one query names; SQLite takes 32,766 parameters and PostgreSQL 65,535."""
END = 2**62
EXTRAS = ("_override", "_appeal", "_review", "_sender", "_label_sender")
OWN = ("_seq", "_id", "_time", "_version", "_score", "_decision", "_label")


@dataclass(frozen=True)
class Told:
    """One outcome, and who asked about the row and who reported it; None where it came without a key."""

    prediction: int
    sender: str | None
    asker: str | None
    time: str
    label: Label


class Reading(Part):
    def chunks(
        self,
        model: str,
        first_seq: int,
        last_seq: int,
        rows: int = CHUNK,
        columns: Sequence[str] | None = None,
        extras: bool = False,
    ) -> Iterator[pd.DataFrame]:
        """The predictions between two positions, oldest first, as tables of at most ``rows`` rows.

        Each is read by position from the end of the one before, so no cursor stays open and writers are not held up.

        Args:
            columns: inputs and the log's own columns to give, in this order; an input that no row has is missing
                everywhere. Where no input is asked for, none is read. Without it, all.
            extras: also what people answered (``_override``, ``_appeal``, ``_review``; missing where nobody did), and
                with which keys the row and its label came (``_sender``, ``_label_sender``; missing without a key).

        Yields:
            As :meth:`frame`. A column that is always missing in one chunk is a number there, whatever it is in others.
        """
        after = first_seq - 1
        while after < last_seq:
            query = sa.and_(PREDICTIONS.c.seq > after, PREDICTIONS.c.seq <= last_seq)
            with self.database.engine.connect() as connection:
                table, last = _read(connection, model, query, rows, columns, extras)
            if table is None:
                return
            yield table
            after = last if len(table) == rows else last_seq

    def frame(
        self, model: str, first_seq: int, last_seq: int, columns: Sequence[str] | None = None, extras: bool = False
    ) -> pd.DataFrame:
        """Predictions between two positions, oldest first.

        Returns:
            (n, columns): inputs, ``_seq``, ``_id``, ``_time``, ``_version``, ``_score``, ``_decision`` and ``_label``.
            A multiclass model has ``_score:<class>`` as well. A label may be missing; else it is 1.0 or 0.0 (binary), a
            class's name (multiclass) or a number (regression).

            Where versions with different inputs answered, the inputs are the union of theirs, in order of appearance.
            Values are missing where a version had no such column. A column that was a number in one version and text in
            another is text. ``attrs["rows_missing"]`` is the number of rows of windows between the positions that were
            deleted since the windows were cut.
        """
        table = self._whole(self.chunks(model, first_seq, last_seq, columns=columns, extras=extras), columns, extras)
        table.attrs["rows_missing"] = self.missing(model, first_seq, last_seq)
        return table

    def newest(self, model: str, count: int) -> pd.DataFrame:
        """The newest predictions, oldest first; as :meth:`frame`."""
        newest = (
            sa.select(PREDICTIONS.c.seq)
            .where(PREDICTIONS.c.model == model)
            .order_by(PREDICTIONS.c.seq.desc())
            .limit(count)
            .subquery()
        )
        with self.database.engine.connect() as connection:
            begin = connection.execute(sa.select(sa.func.min(newest.c.seq))).scalar()
        return self.frame(model, begin or 0, END)

    def at(self, model: str, seqs: Sequence[int]) -> pd.DataFrame:
        """The predictions at positions that are in order; as :meth:`frame`."""
        return self._whole(self._at(model, seqs), None, False)

    def told(self, model: str, after_seq: int) -> list[Told]:
        """Every outcome of the predictions after a position, by prediction and then as they came."""
        o, p = OUTCOMES.c, PREDICTIONS.c
        query = (
            sa.select(o.prediction, o.sender, p.sender, o.time, o.label, o.label_name, o.label_number)
            .join(PREDICTIONS, p.seq == o.prediction)
            .where(o.model == model, o.prediction > after_seq)
            .order_by(o.prediction, o.seq)
        )
        with self.database.engine.connect() as connection:
            return [
                Told(prediction, sender, asker, time, from_columns(*value))
                for part in streamed(connection, query)
                for prediction, sender, asker, time, *value in part
            ]

    def sample(
        self,
        model: str,
        first_seq: int,
        last_seq: int,
        most: int,
        seed: int,
        columns: Sequence[str] | None = None,
        extras: bool = False,
    ) -> pd.DataFrame:
        """At most ``most`` of the predictions between two positions, in order; as :meth:`frame`.

        Simple random sampling without replacement; the same rows and seed give the same sample. The rows that are not
        in it are not read: where positions are not gapless, their numbers come from the index.
        """
        p = PREDICTIONS.c
        inside = sa.and_(p.model == model, p.seq >= first_seq, p.seq <= last_seq)
        with self.database.engine.connect() as connection:
            count, low, high = connection.execute(
                sa.select(sa.func.count(), sa.func.min(p.seq), sa.func.max(p.seq)).where(inside)
            ).one()
            if not count:
                seqs = np.array([], dtype=np.int64)
            elif high - low + 1 == count:
                seqs = np.arange(low, high + 1)
            else:
                parts = streamed(connection, sa.select(p.seq).where(inside).order_by(p.seq))
                seqs = np.concatenate(
                    [np.fromiter((seq for (seq,) in part), dtype=np.int64, count=len(part)) for part in parts]
                )
        if len(seqs) > most:
            seqs = seqs[np.sort(np.random.default_rng(seed).choice(len(seqs), most, replace=False))]
        table = self._whole(self._at(model, seqs.tolist(), columns, extras), columns, extras)
        table.attrs["rows_missing"] = self.missing(model, first_seq, last_seq)
        return table

    def newest_seq(self, model: str) -> int:
        """The position of the newest prediction; 0 where there is none."""
        p = PREDICTIONS.c
        with self.database.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(p.seq)).where(p.model == model)).scalar() or 0

    def count(self, model: str, first_seq: int, last_seq: int) -> int:
        p = PREDICTIONS.c
        with self.database.engine.connect() as connection:
            return int(
                connection.execute(
                    sa.select(sa.func.count()).where(p.model == model, p.seq >= first_seq, p.seq <= last_seq)
                ).scalar_one()
            )

    def count_labelled(self, model: str, after_seq: int, last_seq: int = END) -> int:
        """How many predictions after a position have an outcome; only the index of outcomes is read."""
        o = OUTCOMES.c
        query = sa.select(sa.func.count(sa.distinct(o.prediction))).where(
            o.model == model, o.prediction > after_seq, o.prediction <= last_seq
        )
        with self.database.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def count_taught(self, model: str, after_seq: int, believed: Mapping[str | None, str | None]) -> int:
        """How many predictions after a position have an outcome of a sender who is believed and did not ask for it.

        Args:
            believed: by sender, the moment (ISO 8601, UTC) from which it is not any more; None where it always is.
        """
        o, p = OUTCOMES.c, PREDICTIONS.c
        who = [
            sa.and_(
                o.sender == sender if sender is not None else o.sender.is_(None),
                o.time < until if until is not None else sa.true(),
            )
            for sender, until in believed.items()
        ]
        query = (
            sa.select(sa.func.count(sa.distinct(o.prediction)))
            .join(PREDICTIONS, p.seq == o.prediction)
            .where(o.model == model, o.prediction > after_seq, sa.or_(sa.false(), *who))
            .where(sa.or_(p.sender.is_(None), o.sender.is_(None), p.sender != o.sender))
        )
        with self.database.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def labelled_share(self, model: str, first_seq: int, last_seq: int) -> float:
        """Share of the predictions between two positions whose outcome is known; 0 where there are none."""
        rows = self.count(model, first_seq, last_seq)
        return self.count_labelled(model, first_seq - 1, last_seq) / rows if rows else 0.0

    def missing(self, model: str, first_seq: int, last_seq: int) -> int:
        """Rows of the windows between two positions that were deleted since the windows were cut."""
        w, p = WINDOWS.c, PREDICTIONS.c
        inside = sa.and_(w.model == model, w.first_seq >= first_seq, w.first_seq <= last_seq, w.last_seq <= last_seq)
        with self.database.engine.connect() as connection:
            rows, low, high = connection.execute(
                sa.select(sa.func.sum(w.rows), sa.func.min(w.first_seq), sa.func.max(w.last_seq)).where(inside)
            ).one()
            if not rows:
                return 0
            there = connection.execute(
                sa.select(sa.func.count()).where(p.model == model, p.seq >= low, p.seq <= high)
            ).scalar_one()
        return max(0, int(rows) - int(there))

    def _whole(self, parts: Iterator[pd.DataFrame], columns: Sequence[str] | None, extras: bool) -> pd.DataFrame:
        tables = list(parts)
        if not tables:
            empty = {"_label": "float64", "_score": "float64", "_seq": "int64", "_decision": "bool"}
            names = columns if columns is not None else [*OWN, *(EXTRAS if extras else ())]
            return pd.DataFrame(
                {name: pd.Series(dtype=empty.get(name, "str" if name.startswith("_") else "float64")) for name in names}
            )
        whole = joined(tables)
        return whole if columns is None else whole[list(columns)]

    def _at(
        self, model: str, seqs: Sequence[int], columns: Sequence[str] | None = None, extras: bool = False
    ) -> Iterator[pd.DataFrame]:
        """The predictions at these positions, which are in order."""
        for start in range(0, len(seqs), ASKED_AT_ONCE):
            batch = seqs[start : start + ASKED_AT_ONCE]
            with self.database.engine.connect() as connection:
                table, _ = _read(connection, model, PREDICTIONS.c.seq.in_(batch), len(batch), columns, extras, batch)
            if table is not None:
                yield table


def streamed(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a query, CHUNK at a time, through a cursor on the server's side where there is one."""
    with connection.execution_options(yield_per=CHUNK).execute(query) as result:
        yield from result.partitions()


def _read(
    connection: sa.Connection,
    model: str,
    which: Any,
    limit: int,
    columns: Sequence[str] | None,
    extras: bool,
    only: Sequence[int] | None = None,
) -> tuple[pd.DataFrame | None, int]:
    """At most ``limit`` of the model's predictions as a table, and the last one's position; None where there are none.

    Args:
        only: the positions that were asked for, where they are not all between the first and the last.
    """
    p = PREDICTIONS.c
    wanted = None if columns is None else set(columns)
    with_inputs = wanted is None or any(not c.startswith("_") for c in wanted)
    with_scores = wanted is None or any(c.startswith("_score:") for c in wanted)
    asked = [
        p.seq,
        p.id,
        p.time,
        p.version,
        p.score,
        p.decision,
        p.decision_name,
        p.scores if with_scores else sa.null().label("scores"),
    ]
    query = (
        sa.select(*asked, *([p.inputs] if with_inputs else []))
        .where(p.model == model, which)
        .order_by(p.seq)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None, 0
    seq, key, time, version, score, truth, name, scores, *inputs = zip(*rows, strict=True)
    parts = [decode(list(inputs[0]))] if inputs else []
    named = set(name) != {None}
    own: dict[str, Any] = {
        "_seq": seq,
        "_id": key,
        "_time": time,
        "_version": version,
        "_score": score,
        "_decision": decision_column(truth, name),
    }
    if wanted is None or "_label" in wanted:
        found = _labels(connection, OUTCOMES, model, seq, only)
        own["_label"] = label_column([found.get(s) for s in seq], named)
    if extras or (wanted and wanted & set(EXTRAS)):
        own |= _extras(connection, model, seq, only)
    parts.append(pd.DataFrame(own).astype({"_score": "float64", "_id": "str", "_time": "str", "_version": "str"}))
    if set(scores) != {None}:
        parts.append(decode([s or "{}" for s in scores]).add_prefix("_score:").astype("float64"))
    table = pd.concat(parts, axis=1)
    return table if columns is None else table.reindex(columns=list(columns)), seq[-1]


def _about(table: sa.Table, model: str, seq: Sequence[int], only: Sequence[int] | None) -> Any:
    place = table.c.prediction.in_(only) if only is not None else table.c.prediction.between(seq[0], seq[-1])
    return sa.and_(table.c.model == model, place)


def _labels(
    connection: sa.Connection, table: sa.Table, model: str, seq: Sequence[int], only: Sequence[int] | None
) -> dict[int, Label]:
    """By position, the value that arrived last."""
    c = table.c
    query = (
        sa.select(c.prediction, c.label, c.label_name, c.label_number)
        .where(_about(table, model, seq, only))
        .order_by(c.prediction, c.seq)
    )
    return {
        position: from_columns(truth, name, number) for position, truth, name, number in connection.execute(query).all()
    }


def _extras(
    connection: sa.Connection, model: str, seq: Sequence[int], only: Sequence[int] | None
) -> dict[str, pd.Series]:
    """What people answered, by the rule of each table for which answer counts."""
    override = _labels(connection, OVERRIDES, model, seq, only)
    values = [override.get(s) for s in seq]
    truths = [v if isinstance(v, bool) else None for v in values]
    appeal = {
        position: state for position, state in connection.execute(appeal_states(_about(APPEALS, model, seq, only)))
    }
    r = REVIEWS.c
    newest = sa.select(r.prediction, r.verdict).where(_about(REVIEWS, model, seq, only)).order_by(r.prediction, r.seq)
    review = {position: verdict for position, verdict in connection.execute(newest)}
    p, o = PREDICTIONS.c, OUTCOMES.c
    asked = sa.select(p.seq, p.sender).where(
        p.model == model, p.seq.in_(only) if only is not None else p.seq.between(seq[0], seq[-1])
    )
    told = sa.select(o.prediction, o.sender).where(_about(OUTCOMES, model, seq, only)).order_by(o.prediction, o.seq)
    senders = {
        n: {at: key for at, key in connection.execute(q)} for n, q in (("_sender", asked), ("_label_sender", told))
    }
    text = {"_appeal": appeal, "_review": review, **senders}
    named = any(isinstance(v, str) for v in values)
    override_column = (
        label_column(values, named)
        if any(t is None and v is not None for t, v in zip(truths, values, strict=True))
        else pd.Series(truths, dtype=object)
    )
    return {
        "_override": override_column,
        **{name: pd.Series([found.get(s) for s in seq], dtype="str") for name, found in text.items()},
    }


def appeal_states(which: Any) -> sa.Select[Any]:
    """Position and state, by position.

    The row that counts comes last: the newest answer, else that the appeal is open.
    """
    a = APPEALS.c
    return (
        sa.select(a.prediction, a.state)
        .where(which)
        .order_by(a.prediction, sa.case((a.state == "open", 0), else_=1), a.seq)
    )
