"""A model of any table behind its real service, in one process: the stages make it, the release store holds it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from starlette.testclient import TestClient

from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.registry import releases
from tasks.serving.access import Access
from tasks.serving.app import create_app
from tasks.serving.keys import ROLES, KeyFile, Keys
from tasks.serving.sessions import Sessions
from tasks.serving.trust import Trust
from tasks.spec.metrics import TargetKind
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests.asking import bearer
from tests.stages.worlds import NAME, document, table, write

MOST_BYTES = 8 * 2**20


@dataclass
class Door:
    """A service that answers, as a client and its log see it."""

    client: TestClient
    log: PredictionLog
    config: ModelConfig
    paths: ModelPaths

    def post(self, route: str, body: bytes | str) -> Any:
        headers = {"content-type": "application/json"}
        return self.client.post(f"/models/{NAME}/{route}", content=body, headers=headers)


def with_columns(kind: TargetKind, columns: list[dict[str, Any]], features: tuple[str, ...] = ()) -> dict[str, Any]:
    """The small world's ``model.yaml`` with further columns; those that are features are named."""
    made = document(kind)
    made["data"]["columns"] += columns
    made["features"] += features
    return made


def lay(root: Path, model: dict[str, Any], source: pd.DataFrame | None = None) -> ModelPaths:
    """A checkout that holds the model's config and its table, and nothing made from them yet."""
    return write(root, model, table(400) if source is None else source)


@contextmanager
def opened(paths: ModelPaths) -> Iterator[Door]:
    """Train what is laid out there, release it, and serve it."""
    config = load_model(paths.root, NAME)
    for stage in (ingest, prepare, train):
        stage(paths, config)
    home = paths.root / "home"
    folder = home / "releases" / NAME / "versions/v1.0.0"
    folder.mkdir(parents=True)
    for file in ("model.skops", "manifest.json"):
        shutil.copy(paths.model / file, folder)
    releases.point(Settings(home=home), NAME, "v1.0.0", "")
    log = PredictionLog(f"sqlite:///{home}/predictions.db")
    key, _ = KeyFile(home / "access").add("tests", ROLES)
    access = Access(Keys(home / "access"), Sessions(home / "access"))
    trust = Trust(home / "keys/examiners", home / "heights.json")
    app = create_app(home / "releases", trust, log, Prediction, MOST_BYTES, access)
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False, headers=bearer(key)) as client:
        yield Door(client, log, config, paths)
