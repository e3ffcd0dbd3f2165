"""How fast the prediction service answers, with every row on disk first: ``python -m tests.benchmarks.service``.

A real service process with a small real model and a SQLite log, asked by clients in a process of their own each, so
that the clients' interpreter is not what is measured. Prints a table of rows per second and latencies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 6.0
BATCH_ROWS = 1000


def client(url: str, rows: int, seconds: float) -> None:
    """Ask again and again; print the start, the end and the seconds of each request as JSON."""
    body = {"rows": json.loads(sys.stdin.read())[:rows]}
    taken: list[float] = []
    with httpx.Client(timeout=60) as session:
        session.post(url, json=body).raise_for_status()
        begun = time.time()
        while time.time() - begun < seconds:
            sent = time.perf_counter()
            session.post(url, json=body).raise_for_status()
            taken.append(time.perf_counter() - sent)
        print(json.dumps({"begun": begun, "ended": time.time(), "taken": taken}))


def measure(url: str, rows: str, size: int, clients: int) -> tuple[float, np.ndarray]:
    """Rows per second, and the latency of every request in milliseconds."""
    command = [sys.executable, __file__, "client", url, str(size), str(SECONDS)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(clients)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(rows)
        process.stdin.close()
    answers = [json.loads(process.stdout.read()) for process in started if process.stdout is not None]
    for process in started:
        process.wait()
    rate = sum(len(a["taken"]) * size / (a["ended"] - a["begun"]) for a in answers)
    return rate, np.concatenate([a["taken"] for a in answers]) * 1000


def main() -> None:
    if sys.argv[1:2] == ["client"]:
        client(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        return
    sys.path.insert(0, str(ROOT))
    from tasks.spec.model import load_model
    from tests.serving.running import point, release, start

    with tempfile.TemporaryDirectory(prefix="assay-benchmark-") as folder:
        config = load_model(ROOT, "care")
        release(Path(folder), config, "v1.0.0", 1)
        point(Path(folder), "v1.0.0")
        service = start(Path(folder), config)
        try:
            rows, url = json.dumps(service.rows(BATCH_ROWS)), f"{service.url}/models/care/predict"
            print(f"{os.cpu_count()} cores, model care ({config.estimator.kind}), SQLite log, {SECONDS:.0f} s each")
            print(f"{'rows a request':>14} {'clients':>8} {'requests':>9} {'rows/s':>9} {'p50 ms':>8} {'p99 ms':>8}")
            for size, clients in ((BATCH_ROWS, 1), (BATCH_ROWS, 2), (1, 1), (1, 8)):
                rate, taken = measure(url, rows, size, clients)
                print(
                    f"{size:>14,} {clients:>8} {len(taken):>9,} {rate:>9,.0f} {np.percentile(taken, 50):>8.1f} "
                    f"{np.percentile(taken, 99):>8.1f}",
                    flush=True,
                )
        finally:
            service.process.terminate()
            service.process.wait()


if __name__ == "__main__":
    main()
