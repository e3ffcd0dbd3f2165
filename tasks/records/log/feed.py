"""How the rows came: volume, delay, repeats, clocks and schema of one window, for whoever watches the feed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tasks.records.log.reading import CHUNK, Reading, streamed
from tasks.records.log.tables import OUTCOMES, PREDICTIONS
from tasks.spec.arrivals import FeedFacts

TOLERATED_SECONDS = 30.0
"""A request's time is taken before it waits for the log, up to 20 s; so neighbours may be stored in another order."""


class Feed(Reading):
    def feed(self, model: str, first_seq: int, last_seq: int) -> FeedFacts:
        """The facts of the predictions between two positions.

        One pass holds 50,000 rows and, as measured, 75 bytes for each other row.
        Duplicates are found by 64-bit hashes of the inputs as logged: among 10,000,000 different rows, the chance that
        any two share one is 3e-6.
        """
        seen = _Pass()
        after = first_seq - 1
        p = PREDICTIONS.c
        while after < last_seq:
            query = (
                sa.select(p.seq, p.time, p.version, p.inputs)
                .where(p.model == model, p.seq > after, p.seq <= last_seq)
                .order_by(p.seq)
                .limit(CHUNK)
            )
            with self.database.engine.connect() as connection:
                rows = connection.execute(query).all()
            if not rows:
                break
            seen.take(*zip(*rows, strict=True))
            after = rows[-1][0] if len(rows) == CHUNK else last_seq
        delays = self._delays(model, first_seq, last_seq, *seen.places())
        return _facts(seen, delays, self.newest_times(model), self.missing(model, first_seq, last_seq))

    def _delays(self, model: str, first_seq: int, last_seq: int, seqs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(labelled,) seconds from a prediction to its first outcome; NaN where one of the times is none."""
        o = OUTCOMES.c
        query = (
            sa.select(o.prediction, o.time)
            .where(o.model == model, o.prediction >= first_seq, o.prediction <= last_seq)
            .order_by(o.prediction, o.seq)
        )
        found = []
        with self.database.engine.connect() as connection:
            for part in streamed(connection, query):
                position, time = zip(*part, strict=True)
                found.append((np.array(position, dtype=np.int64), _nanoseconds(time)))
        if not found:
            return np.array([], dtype=float)
        labelled, first = np.unique(np.concatenate([f[0] for f in found]), return_index=True)
        arrived = np.concatenate([f[1] for f in found])[first]
        at = np.searchsorted(seqs, labelled)
        there = (
            (at < len(seqs)) & (seqs[np.minimum(at, len(seqs) - 1)] == labelled)
            if len(seqs)
            else np.zeros(len(labelled), dtype=bool)
        )
        return _seconds(arrived[there], times[at[there]])

    def newest_times(self, model: str) -> tuple[str | None, str | None]:
        """By arrival, which the ends of two indexes tell; clocks may be wrong, the order of positions is not."""
        p, o = PREDICTIONS.c, OUTCOMES.c
        with self.database.engine.connect() as connection:
            prediction = connection.execute(
                sa.select(p.time).where(p.model == model).order_by(p.seq.desc()).limit(1)
            ).scalar()
            outcome = connection.execute(
                sa.select(o.time).where(o.model == model).order_by(o.seq.desc()).limit(1)
            ).scalar()
        return prediction or None, outcome or None


MISSING = np.iinfo(np.int64).min
"""How a time that is none is kept."""


class _Pass:
    """What one pass keeps of every row: position, time, and a hash of the inputs; the rest is counted as it goes by."""

    def __init__(self) -> None:
        self._seqs: list[np.ndarray] = []
        self._times: list[np.ndarray] = []
        self._hashes: list[np.ndarray] = []
        self._before: np.ndarray = np.array([], dtype=np.int64)
        self.rows = self.timed = self.jumps = 0
        self.first: int | None = None
        self.last: int | None = None
        self.largest_jump = 0.0
        self.versions: dict[str, int] = {}
        self.columns: dict[str, list[str]] = {}

    def take(self, seq: Sequence[int], time: Sequence[str], version: Sequence[str], inputs: Sequence[str]) -> None:
        times = _nanoseconds(time)
        self._seqs.append(np.array(seq, dtype=np.int64))
        self._times.append(times)
        self._hashes.append(pd.util.hash_array(np.array(inputs, dtype=object), categorize=False))
        self._clock(times[times != MISSING])
        self.rows += len(seq)
        names, counts = np.unique(np.array(version, dtype=object).astype(str), return_counts=True)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            self.versions[name] = self.versions.get(name, 0) + count
            last = len(version) - 1 - version[::-1].index(name)
            for at in (version.index(name), last):
                known = self.columns.setdefault(name, [])
                known += [column for column in json.loads(inputs[at]) if column not in known]

    def _clock(self, known: np.ndarray) -> None:
        if not len(known):
            return
        steps = np.diff(np.concatenate([self._before, known])) / 1e9
        self.jumps += int((steps < -TOLERATED_SECONDS).sum())
        self.largest_jump = max(self.largest_jump, float(-steps.min())) if len(steps) else self.largest_jump
        low, high = int(known.min()), int(known.max())
        self.first, self.last = (
            min(low, low if self.first is None else self.first),
            max(high, high if self.last is None else self.last),
        )
        self.timed, self._before = self.timed + len(known), known[-1:]

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) positions, which ascend, and (n,) times."""
        return _whole(self._seqs), _whole(self._times)

    def repeated(self) -> int:
        """Rows whose hash an earlier row has."""
        hashes = _whole(self._hashes)
        hashes.sort()
        return int((hashes[1:] == hashes[:-1]).sum())


def _whole(parts: list[np.ndarray]) -> np.ndarray:
    """The parts as one array; they are let go, so that no more than two copies are held."""
    whole = np.concatenate(parts) if parts else np.array([], dtype=np.int64)
    parts.clear()
    return whole


def _facts(seen: _Pass, delays: np.ndarray, newest: tuple[str | None, str | None], missing: int) -> FeedFacts:
    hours = (seen.last - seen.first) / 3.6e12 if seen.first is not None and seen.last is not None else 0.0
    timed = delays[~np.isnan(delays)]
    return FeedFacts(
        rows=seen.rows,
        rows_missing=missing,
        first_time=None if seen.first is None else _iso(seen.first),
        last_time=None if seen.last is None else _iso(seen.last),
        rows_per_hour=float(seen.rows / hours) if hours > 0 else None,
        duplicate_share=seen.repeated() / seen.rows if seen.rows else 0.0,
        label_delay_median=float(np.quantile(timed, 0.5)) if len(timed) else None,
        label_delay_p90=float(np.quantile(timed, 0.9)) if len(timed) else None,
        newest_prediction=newest[0],
        newest_outcome=newest[1],
        clock_back_steps=seen.jumps,
        clock_largest_back_seconds=seen.largest_jump,
        versions=tuple(seen.versions),
        columns=tuple(dict.fromkeys(name for found in seen.columns.values() for name in found)),
    )


def _nanoseconds(times: Sequence[str]) -> np.ndarray:
    """(n,) since 1970, UTC; what is no time is MISSING. Requests share their time, so distinct texts are read once."""
    codes, texts = pd.factorize(np.array(times, dtype=object))
    read = pd.to_datetime(pd.Series(texts, dtype="str"), utc=True, errors="coerce", format="ISO8601")
    found = read.dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)
    return np.asarray(found[codes])


def _seconds(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    known = (later != MISSING) & (earlier != MISSING)
    return np.where(known, (later - np.where(known, earlier, later)) / 1e9, np.nan)


def _iso(nanoseconds: int) -> str:
    return pd.Timestamp(nanoseconds, tz="UTC").isoformat(timespec="milliseconds")
