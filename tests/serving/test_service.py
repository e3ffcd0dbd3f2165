"""A real uvicorn process over a real release store and a real SQLite log."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from tasks.records.predictions import PredictionLog
from tasks.science.estimators import build
from tasks.serving.release import load_release, save_model
from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.evidence import Manifest
from tasks.spec.model import ModelConfig, load_model

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Service:
    home: Path
    url: str
    process: subprocess.Popen[bytes]
    config: ModelConfig

    def predict(self, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/models/care/predict", json=body, timeout=30)

    def rows(self, n: int, seed: int = 0) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        kinds = {"category": lambda: str(rng.integers(0, 2)), "integer": lambda: int(rng.integers(1, 9)), "number": lambda: float(rng.random())}
        return [{c.name: kinds[c.type]() for c in self.config.inputs} for _ in range(n)]

    def log(self) -> pd.DataFrame:
        log = PredictionLog(f"sqlite:///{self.home}/predictions.db")
        try:
            return log.frame("care", 0, 2**62)
        finally:
            log.close()


def release(home: Path, config: ModelConfig, version: str, seed: int) -> Path:
    """Train a small real model and put it into the store."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({c.name: rng.choice(["0", "1"], 400) if c.type == "category" else rng.random(400) for c in config.inputs})
    frame = frame.astype({c.name: "str" for c in config.inputs if c.type == "category"})
    folder = home / "releases/care/versions" / version
    folder.mkdir(parents=True)
    save_model(build(config).fit(frame[list(config.features)], rng.random(400) < frame["income"]), folder / "model.skops")
    manifest = Manifest(
        model="care",
        title=config.title,
        model_digest=digest_file(folder / "model.skops"),
        features=config.features,
        inputs=tuple(c.model_dump(mode="json") for c in config.inputs),
        decision_threshold=0.5,
        positive="visit",
        negative="none",
        seed=seed,
        trained_rows=400,
        libraries={},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


def point(home: Path, version: str) -> None:
    draft = home / "releases/care/.draft"
    draft.write_text(json.dumps({"version": version, "digest": "", "assigned": ""}))
    draft.replace(home / "releases/care/champion.json")


def start(home: Path, config: ModelConfig, **popen: Any) -> Service:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tasks.cli.service", "--port", str(port)], cwd=ROOT, env=os.environ | {"ASSAY_HOME": str(home)}, **popen)
    service = Service(home, f"http://127.0.0.1:{port}", process, config)
    until(lambda: httpx.get(f"{service.url}/health").status_code == 200)
    return service


def until(check: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


@pytest.fixture
def service(tmp_path: Path, config: ModelConfig) -> Iterator[Service]:
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    running = start(tmp_path, config)
    yield running
    running.process.kill()
    running.process.wait(timeout=10)


def test_predictions_are_answered_logged_and_joined_with_outcomes(service: Service) -> None:
    answer = service.predict(rows=service.rows(3)).json()
    assert answer["version"] == "v1.0.0" and len(answer["predictions"]) == 3
    first = answer["predictions"][0]
    outcomes = {"outcomes": [{"id": first["id"], "label": True}, {"id": "nobody", "label": False}]}
    assert httpx.post(f"{service.url}/models/care/outcomes", json=outcomes).json() == {"accepted": 1, "repeated": 0, "changed": 0, "unknown": 1}
    outcomes["outcomes"] = [{"id": first["id"], "label": False}]
    assert httpx.post(f"{service.url}/models/care/outcomes", json=outcomes).json() == {"accepted": 0, "repeated": 0, "changed": 1, "unknown": 0}
    logged = service.log()
    assert logged["_id"].tolist() == [p["id"] for p in answer["predictions"]]
    assert logged["_label"].tolist()[0] == 0.0 and logged["_label"].isna().sum() == 2
    again = load_release(service.home / "releases/care/versions/v1.0.0").score(logged)
    assert again.tolist() == [p["score"] for p in answer["predictions"]]


def test_wrong_input_is_named_with_what_is_allowed(service: Service) -> None:
    row = service.rows(1)[0]
    row |= {"xage": 400.0, "coin": 3.0, "income": "much"}
    answer = service.predict(row=row)
    told = {p["field"]: p["message"] for p in answer.json()["detail"]}
    assert answer.status_code == 422
    assert "less than or equal to 120" in told["xage"]
    assert "did you mean 'coins'?" in told["coin"]
    assert "valid number" in told["income"]
    assert "serving: care" in httpx.post(f"{service.url}/models/nobody/predict", json={"row": row}).json()["detail"]
    assert service.log().empty


def test_the_documents_name_no_outside_host_and_hold_the_models_schema(service: Service) -> None:
    schema = httpx.get(f"{service.url}/openapi.json").json()
    assert "CareRow" in schema["components"]["schemas"]
    assert "http" not in httpx.get(service.url).text
    service.predict(rows=service.rows(2))
    assert 'assay_predictions_total{decision=' in httpx.get(f"{service.url}/metrics").text


def test_a_swap_under_load_fails_no_request(service: Service) -> None:
    seen: list[str] = []
    stop = threading.Event()

    def load() -> None:
        with httpx.Client() as client:
            while not stop.is_set():
                answer = client.post(f"{service.url}/models/care/predict", json={"rows": service.rows(2)})
                seen.append(answer.json()["version"] if answer.status_code == 200 else f"failed {answer.status_code}")

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    release(service.home, service.config, "v2.0.0", 2)
    point(service.home, "v2.0.0")
    until(lambda: "v2.0.0" in seen[-3:])
    point(service.home, "v1.0.0")
    until(lambda: seen[-1] == "v1.0.0")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {"v1.0.0", "v2.0.0"}


def test_a_model_file_with_a_changed_byte_is_refused_and_the_old_one_serves_on(service: Service) -> None:
    path = release(service.home, service.config, "v2.0.0", 2) / "model.skops"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match="was not opened"):
        load_release(path.parent)
    point(service.home, "v2.0.0")
    until(lambda: httpx.get(f"{service.url}/health").json()["status"] == "degraded")
    assert "its manifest says" in httpx.get(f"{service.url}/health").json()["problems"]["care"]
    assert service.predict(rows=service.rows(1)).json()["version"] == "v1.0.0"


def test_what_was_acknowledged_survives_a_kill(service: Service) -> None:
    ids = [p["id"] for seed in range(5) for p in service.predict(rows=service.rows(20, seed)).json()["predictions"]]
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert service.log()["_id"].tolist() == ids


def test_a_full_disk_answers_nobody_and_loses_nothing(tmp_path: Path, config: ModelConfig) -> None:
    """RLIMIT_FSIZE: from one size on the kernel refuses the log's writes, as a full disk does."""
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    service = start(tmp_path, config, preexec_fn=limited)
    try:
        acknowledged: list[str] = []
        for seed in range(60):
            answer = service.predict(rows=service.rows(100, seed))
            if answer.status_code != 200:
                break
            acknowledged += [p["id"] for p in answer.json()["predictions"]]
        assert answer.status_code == 503
        assert "cannot be written" in answer.json()["detail"] and "predictions" not in answer.json()
    finally:
        service.process.kill()
        service.process.wait()
    logged = service.log()["_id"].tolist()
    assert acknowledged and logged[: len(acknowledged)] == acknowledged


def test_the_service_starts_without_the_orchestrator() -> None:
    code = "import sys, tasks.cli.service; print([m for m in ('prefect', 'dvc', 'great_expectations', 'gto') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_equal_models_have_equal_files(tmp_path: Path, config: ModelConfig) -> None:
    one, two = release(tmp_path / "a", config, "v1.0.0", 1), release(tmp_path / "b", config, "v1.0.0", 1)
    assert digest_file(one / "model.skops") == digest_file(two / "model.skops")
    shutil.rmtree(one)
