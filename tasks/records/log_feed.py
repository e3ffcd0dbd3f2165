"""How the rows came: volume, delay, repeats, clocks and schema of one window, for whoever watches the feed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import sqlalchemy as sa

from tasks.records.log_reading import CHUNK, Reading, streamed
from tasks.records.log_tables import OUTCOMES, PREDICTIONS
from tasks.science.feed import FeedFacts

TOLERATED_SECONDS = 30.0
"""A request's time is taken before it waits for the log, so neighbours may stand in another order; a write waits up to 20 s."""


class Feed(Reading):
    def feed(self, model: str, first_seq: int, last_seq: int) -> FeedFacts:
        """The facts of the predictions between two positions, in one pass that holds 50,000 rows and 24 bytes for each other.

        Duplicates are found by 64-bit hashes of the inputs as logged: among 10,000,000 different rows, the chance that
        any two share one is 3e-6.
        """
        seen = _Pass()
        after = first_seq - 1
        p = PREDICTIONS.c
        while after < last_seq:
            query = sa.select(p.seq, p.time, p.version, p.inputs).where(p.model == model, p.seq > after, p.seq <= last_seq).order_by(p.seq).limit(CHUNK)
            with self.database.engine.connect() as connection:
                rows = connection.execute(query).all()
            if not rows:
                break
            seen.take(*zip(*rows, strict=True))
            after = rows[-1][0] if len(rows) == CHUNK else last_seq
        times, seqs = seen.times(), seen.seqs()
        delays = self._delays(model, first_seq, last_seq, seqs, times)
        newest = self.newest_times(model)
        return _facts(seen, times, delays, newest, self.missing(model, first_seq, last_seq))

    def _delays(self, model: str, first_seq: int, last_seq: int, seqs: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(labelled,) seconds from a prediction to its first outcome; NaN where one of the times is none."""
        o = OUTCOMES.c
        query = sa.select(o.prediction, o.time).where(o.model == model, o.prediction >= first_seq, o.prediction <= last_seq).order_by(o.prediction, o.seq)
        found = []
        with self.database.engine.connect() as connection:
            for part in streamed(connection, query):
                position, time = zip(*part, strict=True)
                found.append((np.array(position, dtype=np.int64), _nanoseconds(time)))
        if not found:
            return np.array([], dtype=float)
        position, first = np.unique(np.concatenate([f[0] for f in found]), return_index=True)
        arrived = np.concatenate([f[1] for f in found])[first]
        at = np.searchsorted(seqs, position)
        there = (at < len(seqs)) & (seqs[np.minimum(at, len(seqs) - 1)] == position) if len(seqs) else np.zeros(len(position), dtype=bool)
        return _seconds(arrived[there], times[at[there]])

    def newest_times(self, model: str) -> tuple[str | None, str | None]:
        """By arrival, which the ends of two indexes tell; clocks may be wrong, the order of positions is not."""
        p, o = PREDICTIONS.c, OUTCOMES.c
        with self.database.engine.connect() as connection:
            prediction = connection.execute(sa.select(p.time).where(p.model == model).order_by(p.seq.desc()).limit(1)).scalar()
            outcome = connection.execute(sa.select(o.time).where(o.model == model).order_by(o.seq.desc()).limit(1)).scalar()
        return prediction or None, outcome or None


MISSING = np.iinfo(np.int64).min
"""How a time that is none is kept."""


class _Pass:
    """What one pass keeps of every row: position, time, and a hash of the inputs."""

    def __init__(self) -> None:
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.versions: dict[str, int] = {}
        self.columns: dict[str, list[str]] = {}

    def take(self, seq: Sequence[int], time: Sequence[str], version: Sequence[str], inputs: Sequence[str]) -> None:
        hashes = pd.util.hash_array(np.array(inputs, dtype=object), categorize=False)
        self._kept.append((np.array(seq, dtype=np.int64), _nanoseconds(time), hashes))
        names, counts = np.unique(np.array(version, dtype=object).astype(str), return_counts=True)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True):
            self.versions[name] = self.versions.get(name, 0) + count
            last = len(version) - 1 - version[::-1].index(name)
            for at in (version.index(name), last):
                known = self.columns.setdefault(name, [])
                known += [column for column in json.loads(inputs[at]) if column not in known]

    def seqs(self) -> np.ndarray:
        return np.concatenate([k[0] for k in self._kept]) if self._kept else np.array([], dtype=np.int64)

    def times(self) -> np.ndarray:
        return np.concatenate([k[1] for k in self._kept]) if self._kept else np.array([], dtype=np.int64)

    def repeated(self) -> int:
        hashes = np.concatenate([k[2] for k in self._kept]) if self._kept else np.array([], dtype=np.uint64)
        return len(hashes) - len(np.unique(hashes))


def _facts(seen: _Pass, times: np.ndarray, delays: np.ndarray, newest: tuple[str | None, str | None], missing: int) -> FeedFacts:
    rows, known = len(times), times[times != MISSING]
    steps = np.diff(known) / 1e9
    hours = (known.max() - known.min()) / 3.6e12 if len(known) else 0.0
    timed = delays[~np.isnan(delays)]
    return FeedFacts(
        rows=rows,
        rows_missing=missing,
        first_time=_iso(known.min()) if len(known) else None,
        last_time=_iso(known.max()) if len(known) else None,
        rows_per_hour=float(rows / hours) if hours > 0 else None,
        duplicate_share=seen.repeated() / rows if rows else 0.0,
        label_delay_median=float(np.quantile(timed, 0.5)) if len(timed) else None,
        label_delay_p90=float(np.quantile(timed, 0.9)) if len(timed) else None,
        newest_prediction=newest[0],
        newest_outcome=newest[1],
        clock_back_steps=int((steps < -TOLERATED_SECONDS).sum()),
        clock_largest_back_seconds=float(max(0.0, -steps.min())) if len(steps) else 0.0,
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


def _iso(nanoseconds: np.int64) -> str:
    return pd.Timestamp(int(nanoseconds), tz="UTC").isoformat(timespec="milliseconds")
