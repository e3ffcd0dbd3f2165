"""A look at one window: what it costs after 10 and after 1,000 windows, and what 10,000,000 rows take.

``python -m tests.benchmarks.monitoring [--rows N]``: a real log in SQLite, a trained care model, its fitted reference,
and the code that a monitoring run calls, from reading the rows to keeping the report. Memory is the high-water mark of
a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from tasks.records.log.predictions import PredictionLog, Window
from tasks.records.log.tables import PREDICTIONS
from tasks.science.data.tables import as_requests
from tasks.science.windows.decisions import DecisionContext, decide
from tasks.science.windows.look import examine_window
from tasks.spec.evidence import WindowReport
from tasks.versions import VersionFiles
from tasks.window_inputs import read_window, reference_of
from tests.worlds import NOW, ROOT, VERSION, World, on_disk, world

HISTORIES = (10, 1000)
WINDOW, REPEATS = 500, 5
BLOCK = 50_000


def fill(log: PredictionLog, care: World, rows: int, seed: int) -> None:
    """Log rows past ``append``, whose cost is one commit a request; the same 50,000 people come again and again."""
    rng = np.random.default_rng(seed)
    people = care.answered(care.people(min(rows, BLOCK), rng), rng)
    inputs = [json.dumps(row) for row in as_requests(care.config, people)]
    scores, moment = people["_score"].tolist(), NOW.isoformat()
    same = {"model": "care", "version": VERSION, "time": moment, "decision_name": None, "scores": None}
    for start in range(0, rows, BLOCK):
        made = [
            same
            | {
                "id": f"{seed}-{start + i}",
                "inputs": inputs[i % len(inputs)],
                "score": scores[i % len(inputs)],
                "decision": scores[i % len(inputs)] >= care.config.threshold,
            }
            for i in range(min(BLOCK, rows - start))
        ]
        with log.database.writing() as connection:
            connection.execute(sa.insert(PREDICTIONS), made)


def look(log: PredictionLog, version: VersionFiles, database: str, window: Window) -> float:
    """Seconds of one look, its report kept."""
    reference = reference_of(version, database)
    begun = time.perf_counter()
    config = version.config
    window_input = read_window(log, version, reference, window)
    seen = examine_window(config, reference, window_input)
    decision = decide(DecisionContext(config, seen.findings, window_input.history, (), 0, window.number))
    log.save_report(
        WindowReport(
            model="care",
            version=VERSION,
            window=window.number,
            first=window_input.facts.first_time or "",
            last=window_input.facts.last_time or "",
            first_seq=window.first_seq,
            last_seq=window.last_seq,
            rows=window_input.profile.rows,
            labelled=0,
            created=NOW.isoformat(),
            findings=seen.findings,
            forecasts=seen.forecasts,
            groups=seen.groups,
            review=seen.review,
            decision=decision,
        )  # fmt: skip
    )
    return time.perf_counter() - begun


def history(home: Path) -> None:
    """Fill the history with looks at one window after the other, the first ones real, the rest copies of them."""
    care = world()
    version, database = on_disk(care, home), f"sqlite:///{home}/log.db"
    log = PredictionLog(database)
    taken: dict[int, float] = {}
    last = 0
    for length in HISTORIES:
        fill(log, care, (length + REPEATS - last) * WINDOW, seed=length)
        windows = log.next_windows("care", WINDOW, 20, length + REPEATS)
        for window in windows[: length - last]:
            look(log, version, database, window) if window.number <= HISTORIES[0] else _copy(log, window)
        taken[length] = float(
            np.median([look(log, version, database, w) for w in windows[length - last : length - last + REPEATS]])
        )
        last = length + REPEATS
    log.close()
    print(
        f"one window of {WINDOW} rows after {HISTORIES[0]:,} windows          {taken[HISTORIES[0]]:8.3f} s (median "
        f"of {REPEATS})"
    )
    print(f"one window of {WINDOW} rows after {HISTORIES[1]:,} windows       {taken[HISTORIES[1]]:8.3f} s")
    print(f"after / before                                  {taken[HISTORIES[1]] / taken[HISTORIES[0]]:8.2f}")


def _copy(log: PredictionLog, window: Window) -> None:
    """A report and documents as of another window: 1,000 real looks would take an hour."""
    source = 1 + window.number % HISTORIES[0]
    report = next(r for r in log.reports("care") if r.window == source) if source not in _KEPT else _KEPT[source]
    _KEPT[source] = report
    log.save_report(
        report.model_copy(update={"window": window.number, "first_seq": window.first_seq, "last_seq": window.last_seq})
    )
    kept = log.profile("care", source)
    assert kept is not None
    log.keep_profile("care", window.number, kept)
    log.keep_feed_facts("care", window.number, log.feed_facts("care", before=source + 1, last=1)[0])
    (p_values,) = log.p_values("care", VERSION, before=source + 1, last=1)
    log.keep_p_values("care", VERSION, window.number, p_values)
    log.keep_pictures("care", window.number, log.pictures("care", source))


_KEPT: dict[int, WindowReport] = {}


def large(home: Path, rows: int) -> None:
    """One window of so many rows, looked at in a process of its own."""
    care = world()
    on_disk(care, home)
    log = PredictionLog(f"sqlite:///{home}/log.db")
    begun = time.perf_counter()
    fill(log, care, rows, seed=3)
    log.close()
    print(
        f"{rows:,} rows logged in {time.perf_counter() - begun:,.0f} s, "
        f"{(home / 'log.db').stat().st_size / 2**30:.2f} GiB",
        flush=True,
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.monitoring", "--look", str(home), "--rows", str(rows)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    print(done.stdout.strip())


def look_at(home: Path, rows: int) -> None:
    log, database = PredictionLog(f"sqlite:///{home}/log.db"), f"sqlite:///{home}/log.db"
    version = VersionFiles(VERSION, home / VERSION)
    reference_of(version, database)
    (window,) = log.next_windows("care", rows, 20, 1)
    taken = look(log, version, database, window)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    print(f"looked at in {taken:,.0f} s with {peak / 2**30:.2f} GiB at most (2 GiB are allowed)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--look", type=Path)
    asked = parser.parse_args()
    if asked.look:
        look_at(asked.look, asked.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        history(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        large(Path(folder), asked.rows)


if __name__ == "__main__":
    main()
