"""Readiness says what is true now: each thing that breaks under a running service turns it red with a sentence."""

from __future__ import annotations

import resource
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.serving.health import PROBE_SECONDS
from tasks.spec.model import ModelConfig, load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until


@pytest.fixture
def config() -> ModelConfig:
    return load_model(ROOT, "care")


@pytest.fixture
def service(tmp_path: Path, config: ModelConfig) -> Any:
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    running = start(tmp_path, config)
    yield running
    running.process.kill()
    running.process.wait()


def ready(service: Service) -> tuple[int, dict[str, str]]:
    answer = asking.get(f"{service.url}/health/ready")
    return answer.status_code, answer.json()["problems"]


def becomes(service: Service, part: str, says: str) -> None:
    """Without a request that would have found it."""
    until(lambda: says in ready(service)[1].get(part, ""), seconds=30)
    assert ready(service)[0] == 503
    assert asking.get(f"{service.url}/health/live").json() == {"status": "ok"}


def test_all_is_well_until_a_model_is_stopped(service: Service) -> None:
    assert ready(service) == (200, {})
    point(service.home, "v1.0.0", stopped="log_loss is beyond its limit")
    becomes(service, "care", "stopped: log_loss is beyond its limit")
    point(service.home, "v1.0.0")
    until(lambda: ready(service) == (200, {}))


def test_a_log_that_was_deleted(service: Service) -> None:
    for path in service.home.glob("predictions.db*"):
        path.unlink()
    becomes(service, "prediction log", "was deleted while the service had it open")


def test_a_log_that_is_no_database_any_more(service: Service) -> None:
    service.predict(rows=service.rows(200))
    for path in (service.home / "predictions.db", service.home / "predictions.db-wal"):
        with path.open("r+b") as file:
            file.write(b"\x00" * min(path.stat().st_size, 1 << 20))
    becomes(service, "prediction log", "cannot be written")


def test_a_disk_that_is_full(tmp_path: Path, config: ModelConfig) -> None:
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    service = start(tmp_path, config, preexec_fn=limited)
    try:
        until(lambda: service.predict(rows=service.rows(100)).status_code == 503)
        becomes(service, "prediction log", "cannot be written")
    finally:
        service.process.kill()
        service.process.wait()


def test_readiness_leaves_the_revision_of_a_log_as_a_later_release_wrote_it(service: Service) -> None:
    """An old service may outlive the upgrade of its log for a while; what it tries must not call the log old again."""
    with closing(sqlite3.connect(service.home / "predictions.db")) as log:
        with log:
            log.execute("UPDATE log_revision SET version_num = '9001'")
        time.sleep(PROBE_SECONDS + 2)
        assert log.execute("SELECT version_num FROM log_revision").fetchall() == [("9001",)]
    assert ready(service) == (200, {})


def test_files_that_vanished(service: Service) -> None:
    (service.home / "releases/care/versions/v1.0.0/model.skops").unlink()
    becomes(service, "care", "model.skops of v1.0.0 vanished")
    assert service.predict(rows=service.rows(1)).status_code == 200


def test_a_release_that_cannot_be_loaded(service: Service) -> None:
    (service.home / "releases/care/champion.json").write_text("{}")
    becomes(service, "care", "is not a champion pointer")
    assert service.predict(rows=service.rows(1)).json()["version"] == "v1.0.0"
