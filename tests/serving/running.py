"""A prediction service as a process of its own, over a small real model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from tasks.answering.background import recorded
from tasks.answering.proving import prove
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import releases
from tasks.science.models.estimators import build
from tasks.serving.keys import ROLES, KeyFile
from tasks.serving.release import load_pipeline, save_model
from tasks.spec.base import digest_file
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig
from tasks.spec.settings import Settings
from tests import asking
from tests.conftest import ROOT


@dataclass
class Service:
    home: Path
    url: str
    process: subprocess.Popen[bytes]
    config: ModelConfig

    def key(self, *roles: str, models: tuple[str, ...] = (), **more: Any) -> str:
        """Another key of this service."""
        return KeyFile(self.home / "access").add("a test", roles, models, **more)[0]

    def predict(self, **body: Any) -> httpx.Response:
        return asking.post(f"{self.url}/models/care/predict", json=body, timeout=30)

    def rows(self, n: int, seed: int = 0) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        kinds = {
            "category": lambda: str(rng.integers(0, 2)),
            "integer": lambda: int(rng.integers(1, 9)),
            "number": lambda: float(rng.random()),
        }
        return [{c.name: kinds[c.type]() for c in self.config.inputs} for _ in range(n)]

    def log(self) -> pd.DataFrame:
        log = PredictionLog(f"sqlite:///{self.home}/predictions.db")
        try:
            return log.frame("care", 0, 2**62, extras=True)
        finally:
            log.close()


def release(home: Path, config: ModelConfig, version: str, seed: int) -> Path:
    """Train a small real model and put it into the store."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {c.name: rng.choice(["0", "1"], 400) if c.type == "category" else rng.random(400) for c in config.inputs}
    )
    frame = frame.astype({c.name: "str" for c in config.inputs if c.type == "category"})
    folder = home / "releases/care/versions" / version
    folder.mkdir(parents=True)
    save_model(
        build(config).fit(frame[list(config.features)], rng.random(400) < frame["income"]), folder / "model.skops"
    )
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
        background=recorded([config.column(name) for name in config.features], frame),
    )
    return describe(folder, manifest)


def describe(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest with the proof that training would make, beside the model file."""
    content = (folder / "model.skops").read_bytes()
    proof = prove(content, manifest, load_pipeline(content, manifest))
    (folder / "manifest.json").write_text(manifest.model_copy(update={"answering": proof}).model_dump_json())
    return folder


def point(home: Path, version: str, stopped: str = "") -> None:
    releases.point(Settings(home=home), "care", version, stopped)


def start(home: Path, config: ModelConfig, environment: dict[str, str] | None = None, **popen: Any) -> Service:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key, _ = KeyFile(home / "access").add("tests", ROLES)
    known = os.environ | {"ASSAY_HOME": str(home)} | (environment or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tasks.cli.service", "--port", str(port)], cwd=ROOT, env=known, **popen
    )
    service = Service(home, f"http://127.0.0.1:{port}", process, config)
    asking.KEYS[service.url] = key
    try:
        until(lambda: asking.get(f"{service.url}/health").status_code == 200, seconds=120)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return service


def until(check: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.1)
