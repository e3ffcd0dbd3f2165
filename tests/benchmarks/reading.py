"""What reading a CSV by declared types costs, against pandas, which infers them: CPU time, the least of some runs.

``python -m tests.benchmarks.reading --rows 1000000``
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.spec.data import Column
from tasks.spec.data_source import FileSource
from tasks.tables.sources import read_source
from tasks.tables.typed import typed

KINDS = {"number": 8, "integer": 6, "category": 6}
PATH = "data/bench/source/table.csv"


def write(path: Path, rows: int) -> list[Column]:
    """A CSV of 20 columns, and their declarations."""
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta e"]
    make: dict[str, Callable[[], Any]] = {
        "number": lambda: rng.normal(size=rows).round(4),
        "integer": lambda: rng.integers(0, 100_000, rows),
        "category": lambda: rng.choice(words, rows),
    }
    columns = [Column(name=f"{kind}_{i}", type=kind) for kind, count in KINDS.items() for i in range(count)]
    path.parent.mkdir(parents=True)
    pd.DataFrame({c.name: make[c.type]() for c in columns}).to_csv(path, index=False)
    return columns


def cpu(jobs: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """CPU seconds by job, the least of several; the jobs take turns, so that none has the warmer machine."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(times):
        for name, job in jobs.items():
            begun = time.process_time()
            job()
            found[name].append(time.process_time() - begun)
    return {name: round(min(seconds), 2) for name, seconds in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        columns = write(root / PATH, asked.rows)
        source = FileSource(kind="file", path=PATH, format="csv")

        def read() -> None:
            chunks = read_source(root, source, columns)
            pd.concat([typed(columns, c.cells, source.reading, c.file, c.before) for c in chunks])

        found = cpu({"ours": read, "pandas": lambda: pd.read_csv(root / PATH)}, asked.times)
        size = (root / PATH).stat().st_size / 2**20
    ratio = round(found["ours"] / found["pandas"], 2)
    print(json.dumps({"rows": asked.rows, "MB": round(size)} | found | {"ratio": ratio}))


if __name__ == "__main__":
    main()
