"""A candidate asked as the service does it, in a process of its own; and the gate over what was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from tasks.science.data.tables import as_requests
from tasks.science.gates.readiness import quantile_bound, readiness
from tasks.serving.release import load_release
from tasks.spec.gates import ReadinessGate
from tasks.spec.model import ModelConfig, load_model
from tests.science.gates.test_run import examination
from tests.serving.running import ROOT, release

GATE = ReadinessGate(name="ready", kind="readiness")
QUICK = GATE.model_copy(update={"latency_ms": 60.0, "memory_mb": 4000.0})


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


def ask(folder: Path) -> dict[str, Any]:
    out = folder / "out.json"
    subprocess.run(
        [sys.executable, "-m", "tasks.serving.readiness", "--model", str(folder), "--out", str(out)],
        cwd=ROOT,
        check=True,
    )
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture
def folder(tmp_path: Path, config: ModelConfig) -> Path:
    """A released model with the requests that its training process recorded."""
    folder = release(tmp_path, config, "v1.0.0", 1)
    rng = np.random.default_rng(3)
    kinds = {
        "category": lambda: rng.choice(["0", "1"], 400),
        "integer": lambda: rng.integers(1, 9, 400).astype(float),
        "number": lambda: rng.random(400),
    }
    frame = pd.DataFrame({c.name: kinds[c.type]() for c in config.inputs})
    requests = as_requests(config, frame)
    scores = load_release(folder).score(frame.astype({c.name: "str" for c in config.inputs if c.type == "category"}))
    (folder / "requests.json").write_text(json.dumps({"rows": requests, "scores": scores.tolist()}))
    return folder


def test_a_fit_candidate_gives_the_same_scores_in_time(folder: Path) -> None:
    found = ask(folder)
    assert (
        found.get("error") is None
        and found["refused"] == []
        and found["differing"] == 0
        and len(found["seconds"]) == 400
    )
    result = readiness(
        ReadinessGate(name="ready", kind="readiness", latency_ms=5000, memory_mb=4000), examination(readiness=found)
    )
    assert result.state == "pass" and "0 of 400 recorded requests get another score" in result.reason
    assert (
        readiness(ReadinessGate(name="ready", kind="readiness", latency_ms=0.01), examination(readiness=found)).state
        == "fail"
    )
    assert (
        readiness(
            ReadinessGate(name="ready", kind="readiness", latency_ms=5000, memory_mb=10), examination(readiness=found)
        ).state
        == "fail"
    )


@pytest.mark.acceptance  # it takes the processor away from all that runs beside it
def test_a_busy_machine_refuses_nobody(folder: Path) -> None:
    """Two processes to a core take the processor away; they end with the test, or by themselves after a minute."""
    hog = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", hog]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        begun = time.perf_counter()
        found = ask(folder)
        wall = time.perf_counter() - begun
    finally:
        for process in hogs:
            process.kill()
            process.wait()
    result = readiness(QUICK, examination(readiness=found))
    assert result.state == "pass", result.reason
    assert sum(found["seconds"]) < wall / 2  # the processor was somebody else's for most of the time


def test_one_score_that_differs_in_its_last_bit_is_seen(folder: Path) -> None:
    recorded = json.loads((folder / "requests.json").read_text())
    recorded["scores"][7] = float(np.nextafter(recorded["scores"][7], 1))
    (folder / "requests.json").write_text(json.dumps(recorded))
    found = ask(folder)
    assert found["differing"] == 1
    assert readiness(GATE, examination(readiness=found)).state == "fail"


def test_rows_that_the_schema_refuses_and_broken_files_fail_with_words(folder: Path) -> None:
    recorded = json.loads((folder / "requests.json").read_text())
    recorded["rows"][0]["xage"] = 400.0
    (folder / "requests.json").write_text(json.dumps(recorded))
    result = readiness(GATE, examination(readiness=ask(folder)))
    assert result.state == "fail" and "refuses rows that the model was trained on: xage: " in result.reason
    (folder / "model.skops").write_bytes(b"nonsense")
    result = readiness(GATE, examination(readiness=ask(folder)))
    assert result.state == "fail" and "cannot serve: CorruptionError" in result.reason
    assert readiness(GATE, examination()).state == "fail"


@pytest.mark.parametrize(
    "reach", ["socket.create_connection(('127.0.0.1', 9))", "socket.getaddrinfo('example.org', 80)"]
)
def test_the_process_has_no_network(reach: str) -> None:
    code = (
        f"import sys, socket; from tasks.serving.readiness import deny_network; sys.addaudithook(deny_network); {reach}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "PermissionError: the model reached for the network" in done.stderr


def test_the_memory_of_the_starting_process_is_not_counted() -> None:
    code = (
        "x = bytearray(900_000_000)\nimport subprocess, sys\nsubprocess.run([sys.executable, '-c', 'from "
        "tasks.serving.readiness import peak_memory; print(peak_memory())'], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 1 < float(done.stdout) < 400


def test_the_bound_of_a_quantile_covers_it() -> None:
    """Simulated: the true 99th percentile lies below the bound in at least 95 % of 600 samples, less sampling error."""
    rng = np.random.default_rng(5)
    held = sum(quantile_bound(np.sort(rng.normal(size=400)), 0.99, 0.95)[1] >= norm.ppf(0.99) for _ in range(600))
    assert held >= 0.95 * 600 - 3 * np.sqrt(600 * 0.95 * 0.05)
    assert np.isnan(quantile_bound(np.arange(100.0), 0.99, 0.95)[1])
