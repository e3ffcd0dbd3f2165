"""A release cannot hurt its neighbours: whatever is put into the store, others answer, and a stop is obeyed at once.

Before they were looked at, the first of these files ended the whole service by SIGSEGV, and others hung it.
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.answering.proving import opened, prove
from tasks.records.registry import releases
from tasks.science.data.tables import as_requests
from tasks.spec.base import digest_file
from tasks.spec.manifest import AnsweringProof, Manifest
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.answering.editing import edited
from tests.answering.hostile import FOREST, HOSTILE, Change
from tests.answering.kinds import Model, made
from tests.conftest import ROOT
from tests.serving.hostile_folders import FOLDERS, OTHER, put, remove
from tests.serving.running import Service, release, start, until

GENERAL = "by_pipeline"
"""The forest once more, answered by scikit-learn: its trees are looked at all the same."""
REACHING = ("a child far away", "a circle", "a feature far away", "no threshold", "a wider tree")
FILES = [
    *((model, name) for model, found in HOSTILE.items() for name in found),
    *((GENERAL, name) for name in REACHING),
    *((OTHER, name) for name in FOLDERS),
]
"""Every hostile release: the model that it is put in the place of, and what is wrong with it."""


@dataclass
class Running:
    """A service over one sound model of each kind."""

    service: Service
    models: dict[str, Model]
    rows: dict[str, list[dict[str, Any]]]
    client: httpx.Client
    versions: int = 1
    order: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes, version: str, proof: AnsweringProof) -> None:
        folder = self.service.home / "releases" / name / "versions" / version
        folder.mkdir(parents=True)
        (folder / "model.skops").write_bytes(content)
        manifest: Manifest = self.models[name].manifest.model_copy(
            update={"model": name, "answering": proof, "model_digest": digest_file(folder / "model.skops")}
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json())
        self.point(name, version)

    def point(self, name: str, version: str = "v1.0.0", stopped: str = "") -> None:
        releases.point(Settings(home=self.service.home), name, version, stopped)

    def problem(self, name: str) -> str:
        return str(self.client.get("/health").json()["problems"].get(name, ""))

    def ask(self, name: str) -> httpx.Response:
        return self.client.post(f"/models/{name}/predict", json={"rows": self.rows[name]})

    def neighbours(self, name: str) -> tuple[str, str]:
        """Two other models, by turns, so that one that was stopped has time to come back."""
        for one in (n for n in self.order if n != name):
            self.order.remove(one)
            self.order.append(one)
            return one, next(n for n in self.order if n not in (name, one))
        raise AssertionError(name)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {name: made(tmp_path_factory.mktemp(name), name, "binary", "all") for name in HOSTILE}
        models[GENERAL] = models["random_forest"]
        home = tmp_path_factory.mktemp("home")
        service = Service(home, "", None, load_model(ROOT, "care"))  # type: ignore[arg-type]
        rows = {n: as_requests(m.config, m.rows.head(3).assign(pay=0.0, level="")) for n, m in models.items()}
        found = Running(service, models, rows, None, order=list(models))  # type: ignore[arg-type]
        for name, model in models.items():
            proof = prove(model.content, model.manifest, model.pipeline)
            assert proof.compiled, proof.why
            chosen = AnsweringProof(compiled=False, why="chosen so") if name == GENERAL else proof
            found.put(name, model.content, "v1.0.0", chosen)
    found.service = start(home, load_model(ROOT, "care"))
    with asking.client(found.service.url) as found.client:
        until(lambda: set(found.client.get("/models").json()) == set(models))
        assert found.client.get("/health").json()["general"] == {GENERAL: "scikit-learn's pipeline answers: chosen so"}
        yield found
    found.service.process.terminate()
    assert found.service.process.wait(timeout=60) is not None


def publish(running: Running, name: str, case: str) -> tuple[str, str]:
    """Put a hostile release into the store; gives what the service has to say of it, in two parts."""
    if name == OTHER:
        change, says = FOLDERS[case]
        put(running.service.home, change)
        return says, ""
    change_file: Change
    change_file, says = (FOREST if name == GENERAL else HOSTILE[name])[case]
    running.versions += 1
    version, proof = f"v2.0.{running.versions}", AnsweringProof(compiled=name != GENERAL, why="chosen so", known="")
    running.put(name, edited(running.models[name].content, change_file), version, proof)
    return says, version


def seconds(check: Callable[[], bool]) -> float:
    begun = time.monotonic()
    until(check, seconds=10)
    return time.monotonic() - begun


@pytest.mark.parametrize(("name", "case"), FILES)
def test_a_hostile_release_is_refused_and_another_models_stop_is_obeyed(running: Running, name: str, case: str) -> None:
    if name != OTHER:  # it may have been stopped a moment ago, and then nothing of it answers until it can be loaded
        until(lambda: running.ask(name).status_code == 200)
    stopped, other = running.neighbours(name)
    says, version = publish(running, name, case)
    try:
        running.point(stopped, stopped="a person says so")
        assert seconds(lambda: running.ask(stopped).status_code == 503) < 2
        running.point(stopped)
        until(lambda: running.problem(name) != "" and version in running.problem(name), seconds=30)
        until(lambda: says in running.problem(name), seconds=20)
        said = running.problem(name)
        assert "Traceback" not in said and (not version or "It was not loaded" in said)
        assert running.service.process.poll() is None
        until(lambda: running.ask(other).status_code == 200, seconds=5)
        if version:
            assert running.ask(name).json()["version"] == "v1.0.0"
    finally:
        running.point(stopped)
        if name == OTHER:
            remove(running.service.home / "releases" / OTHER)


def test_there_are_sixty_and_all_models_answer_after_them(running: Running) -> None:
    assert len(FILES) >= 60
    for name in running.models:
        until(lambda name=name: running.ask(name).json().get("version") == "v1.0.0")  # type: ignore[misc]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_edited_file_with_nothing_changed_is_read(running: Running, name: str) -> None:
    """So that what is refused above is refused for its change."""
    model = running.models[name]
    written = running.service.home / "releases" / name / "versions/v1.0.0/manifest.json"
    manifest = Manifest.model_validate_json(written.read_text())
    assert opened(edited(model.content, lambda file: None), manifest).answering is not None


def test_a_release_that_ends_whoever_loads_it_is_tried_elsewhere_first(tmp_path: Path) -> None:
    """What takes too much memory or time ends in the trial's limits."""
    config = load_model(ROOT, "care")
    folder = release(tmp_path, config, "v1.0.0", 1)
    fine = subprocess.run([sys.executable, "-m", "tasks.serving.trial", str(folder)], cwd=ROOT, capture_output=True)
    assert fine.returncode == 0, fine.stderr
    (folder / "model.skops").write_bytes(b"no archive")
    broken = subprocess.run(
        [sys.executable, "-m", "tasks.serving.trial", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert broken.returncode == 3 and "its manifest says" in broken.stderr and "Traceback" not in broken.stderr
