"""How fast a model is answered, beside ``mlflow models serve`` and a plain handler.

``python -m tests.benchmarks.service``

One run, one process each, one after the other: the pipeline of the shipped model income, trained here, and single rows
of its table. Ours has every row on disk before it answers; the others keep nothing. The peer runs in a virtual
environment of its own below .assay/bench/, made where it is not there yet.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests import asking

ROOT = Path(__file__).resolve().parents[2]
MODEL, MLFLOW = "income", ("mlflow==3.17.0", "scikit-learn==1.9.1", "pandas>=2.3", "numpy==2.4.6")
SECONDS, SYNCS, BATCH = 6.0, 200, 1000
"""Seconds of each measurement; syncs; rows of a batch."""
CONNECTIONS = (1, 16, 64)


def fdatasync_ms(folder: Path) -> float:
    """The disk's own time: the median of writing 4 KB at the end of a file and waiting until it is there."""
    taken = []
    with open(folder / "synced", "wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return float(np.median(taken) * 1000)


def trained(root: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The model's folder, and rows as clients send them."""
    from tasks.spec.model import load_model
    from tasks.stages.common import ModelPaths
    from tasks.stages.ingest import ingest
    from tasks.stages.prepare import prepare
    from tasks.stages.train import train

    shutil.copytree(ROOT / "deployments", root / "deployments")
    paths = ModelPaths(root, MODEL)
    for stage in (ingest, prepare, train):
        stage(paths, load_model(root, MODEL))
    return paths.model, json.loads((paths.model / "requests.json").read_text())["rows"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(command: list[str], port: int, ready: str, environment: dict[str, str]) -> Iterator[float]:
    """A server that answers; gives the seconds from its start to its first answer."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        while True:
            try:
                if asking.get(f"http://127.0.0.1:{port}{ready}").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.perf_counter() - begun > 120:
                sys.exit(f"{command[0]} did not come to be")
            time.sleep(0.02)
        yield time.perf_counter() - begun
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def ours(root: Path, folder: Path, port: int, name: str = MODEL) -> tuple[list[str], dict[str, str]]:
    from tasks.records.registry import releases
    from tasks.serving.keys import ROLES, KeyFile
    from tasks.spec.settings import Settings

    home = root / "home"
    kept = home / "releases" / name / "versions/v1.0.0"
    kept.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        shutil.copy(file, kept)
    releases.point(Settings(home=home), name, "v1.0.0", "")
    asking.KEYS[f"http://127.0.0.1:{port}"] = KeyFile(home / "access").add("the benchmark", ROLES)[0]
    return [sys.executable, "-m", "tasks.cli.service", "--port", str(port)], {"ASSAY_HOME": str(home)}


HANDLER = """
import sys
from typing import Any
import joblib, pandas, uvicorn
from fastapi import FastAPI

pipeline, dtypes = joblib.load(sys.argv[1])
app = FastAPI()


@app.post("/invocations")
def predict(body: dict[str, Any]) -> dict[str, Any]:
    frame = pandas.DataFrame(body["dataframe_records"]).reindex(columns=list(dtypes)).astype(dtypes)
    return {"predictions": pipeline.predict_proba(frame)[:, 1].tolist()}


@app.get("/ping")
def ping() -> str:
    return "ok"


uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
SAVE = """
import sys
import joblib, mlflow, pandas

pipeline, dtypes = joblib.load(sys.argv[1])


class Scores(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.pipeline, self.dtypes = joblib.load(context.artifacts["pipeline"])

    def predict(self, context, model_input, params=None):
        frame = model_input.reindex(columns=list(self.dtypes)).astype(self.dtypes)
        return self.pipeline.predict_proba(frame)[:, 1]


mlflow.pyfunc.save_model(sys.argv[2], python_model=Scores(), artifacts={"pipeline": sys.argv[1]})
"""


def peers(root: Path, folder: Path) -> dict[str, tuple[list[str], int]]:
    """Commands and ports of the plain handler, and of mlflow over the same pipeline."""
    import joblib

    from tasks.serving.release import load_release
    from tests.benchmarks.drift import environment

    release = load_release(folder)
    dtypes = {c.name: c.kind.dtype for c in release.manifest.columns if c.name in release.manifest.features}
    joblib.dump((release.pipeline, dtypes), root / "pipeline.joblib")
    (root / "handler.py").write_text(HANDLER)
    (root / "save.py").write_text(SAVE)
    python = environment("mlflow", MLFLOW)
    quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    model = root / "mlflow-model"
    if not model.exists():
        subprocess.run(
            [str(python), str(root / "save.py"), str(root / "pipeline.joblib"), str(model)], check=True, env=quiet,
            cwd=root, capture_output=True,
        )  # fmt: skip
    plain, other = free_port(), free_port()
    serve = ["models", "serve", "-m", str(model), "-p", str(other), "--env-manager", "local", "--workers", "1"]
    return {
        "plain handler over a DataFrame": (
            [sys.executable, str(root / "handler.py"), str(root / "pipeline.joblib"), str(plain)], plain,
        ),
        "mlflow models serve": ([str(python), "-m", "mlflow", *serve], other),
    }  # fmt: skip


def memory_mb(port: int) -> float:
    """Resident size of who listens on a port."""
    import psutil

    pid = next(c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port)
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.load import measured

    quiet = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryDirectory(prefix="assay-benchmark-", dir=ROOT / ".assay") as place:
        root = Path(place)
        folder, rows = trained(root)
        sync = fdatasync_ms(root)
        print(f"{os.cpu_count()} cores, model {MODEL}, single rows, {SECONDS:.0f} s each; one fdatasync {sync:.2f} ms")
        print(f"{'':<32} {'connections':>11} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
        rates: dict[str, dict[int, tuple[float, np.ndarray]]] = {}
        port = free_port()
        command, environment = ours(root, folder, port)
        with served(command, port, "/health", environment | quiet) as seconds:
            url = ("127.0.0.1", port, f"/models/{MODEL}/predict")
            single = [json.dumps({"row": row}) for row in rows]
            _table("ours, every row on disk", rates, url, single)
            many = [json.dumps({"rows": (rows * (BATCH // len(rows) + 1))[:BATCH]})]
            rate, taken = measured(url, many, 1, SECONDS)
            print(f"ours, {BATCH:,} rows a request: {rate * BATCH:,.0f} rows/s, p50 {np.median(taken):.1f} ms")
            print(f"ours: {seconds:.1f} s from start to first answer, {memory_mb(port):.0f} MB")
        for name, (command, other) in peers(root, folder).items():
            path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow starts its own uvicorn by name
            with served(command, other, "/ping", quiet | {"PATH": path}):
                bodies = [json.dumps({"dataframe_records": [row]}) for row in rows]
                _table(name, rates, ("127.0.0.1", other, "/invocations"), bodies)
        _ratios(rates, sync)


def _table(name: str, rates: dict[str, Any], url: tuple[str, int, str], bodies: list[str]) -> None:
    from tests.load import measured

    measured(url, bodies, 1, 1.0)  # warm
    rates[name] = {}
    for connections in CONNECTIONS:
        rate, taken = rates[name][connections] = measured(url, bodies, connections, SECONDS)
        print(
            f"{name:<32} {connections:>11} {rate:>11,.0f} {np.median(taken):>8.2f} {np.percentile(taken, 99):>8.2f}",
            flush=True,
        )


def _ratios(rates: dict[str, dict[int, tuple[float, np.ndarray]]], sync: float) -> None:
    (_, mine), *others = rates.items()
    for name, theirs in others:
        for connections in CONNECTIONS:
            print(
                f"ours / {name}, {connections} connections: {mine[connections][0] / theirs[connections][0]:.1f} times"
            )
    ours_ms, theirs_ms = np.median(mine[1][1]), np.median(others[0][1][1][1])
    print(f"one connection, p50 less one fdatasync: ours {ours_ms - sync:.2f} ms, plain handler {theirs_ms:.2f} ms")


if __name__ == "__main__":
    main()
