"""How fast the prediction log is, and how much memory a large window takes.

``python -m tests.benchmarks.prediction_log --rows 1000000``
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from tasks.records.log.predictions import PredictionLog
from tasks.records.log.tables import OUTCOMES, PREDICTIONS

BLOCK = 50_000
START = np.datetime64("2026-01-01T00:00:00.000")


def fill(log: PredictionLog, rows: int) -> None:
    """Log rows of 5 numbers and 5 texts, every fourth labelled.

    One block is made here, and the database copies it under other ids.
    """
    rng, n = np.random.default_rng(0), min(BLOCK, rows)
    words = np.array([f"category-{n}" for n in range(30)])
    numbers, texts, scores = (
        rng.normal(size=(n, 5)).round(6).tolist(),
        words[rng.integers(30, size=(n, 5))].tolist(),
        rng.random(n).tolist(),
    )
    times = np.datetime_as_string(START + np.arange(n).astype("timedelta64[ms]") * 100).tolist()
    made = [
        {
            "id": f"{k:032d}",
            "model": "care",
            "version": "v1.0.0",
            "time": f"{times[k]}+00:00",
            "score": scores[k],
            "decision": scores[k] > 0.5,
        }
        | {
            "inputs": json.dumps(
                {**{f"n{i}": v for i, v in enumerate(numbers[k])}, **{f"t{i}": v for i, v in enumerate(texts[k])}}
            )
        }
        for k in range(n)
    ]
    labels = [
        {"id": made[k]["id"], "model": "care", "prediction": k + 1, "label": bool(k % 8), "time": made[k]["time"]}
        for k in range(0, n, 4)
    ]
    with log.database.writing() as connection:
        connection.execute(sa.insert(PREDICTIONS), made)
        connection.execute(sa.insert(OUTCOMES), labels)
    for start in range(n, rows, n):
        most = {"n": min(n, rows - start), "start": start, "mark": f":{start}"}
        with log.database.writing() as connection:
            for table, columns, order in (
                ("predictions", "model, version, time, inputs, score, decision", "seq"),
                ("outcomes", "model, time, label, prediction", "prediction"),
            ):
                values = columns.replace("prediction", "prediction + :start") if table == "outcomes" else columns
                connection.execute(
                    sa.text(
                        f"INSERT INTO {table} (id, {columns}) SELECT id || :mark, {values} FROM {table} "
                        f"WHERE {order} <= :n ORDER BY {order}"
                    ),
                    most,
                )


def memory() -> float:
    """The most that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(what: str, rows: int, call: Callable[[], Any]) -> Any:
    begun, work = time.perf_counter(), time.process_time()
    found = call()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - work
    print(
        f"{what:<44} {seconds:8.2f} s  {cpu:8.2f} CPU s  {rows / seconds:12,.0f} rows/s  "
        f"peak so far {memory():6.0f} MiB",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", help="A log to use instead of a new SQLite file.")
    arguments = parser.parse_args()
    rows = arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        log = PredictionLog(arguments.url or f"sqlite:///{folder}/predictions.db")
        timed("fill", rows, lambda: fill(log, rows))
        (window,) = timed("next_windows, one of all rows", rows, lambda: log.next_windows("care", rows, 50, 1))
        place = ("care", window.first_seq, window.last_seq)
        timed("labelled_share", rows, lambda: log.labelled_share(*place))
        timed("count_labelled", rows, lambda: log.count_labelled("care", 0))
        timed("missing", rows, lambda: log.missing(*place))
        timed("sample of 20,000", rows, lambda: log.sample(*place, most=20_000, seed=0))
        timed(
            "chunks, score and label alone",
            rows,
            lambda: sum(len(c) for c in log.chunks(*place, columns=["_score", "_label"])),
        )
        timed("chunks, all columns", rows, lambda: sum(len(c) for c in log.chunks(*place)))
        timed("feed", rows, lambda: log.feed(*place))
        done = timed("export", rows, lambda: log.export(*place, Path(folder) / "window.parquet"))
        print(f"the Parquet file has {done.path.stat().st_size / 2**20:,.0f} MiB")
        first = log.frame("care", 1, 1)["_id"].iloc[0]
        timed("forget one", rows, lambda: log.forget("care", [str(first)]))
        log.close()


if __name__ == "__main__":
    main()
