"""Hostile model files through a running service: refused in a sentence, while it lives and others answer.

Before they were looked at, the first of these ended the whole service by SIGSEGV.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
from tests.serving.running import Service, start, until

CASES = [(model, name) for model, found in HOSTILE.items() for name in found]
GENERAL = "by_pipeline"
"""The forest once more, answered by scikit-learn: its trees are looked at all the same."""


@dataclass
class Running:
    service: Service
    models: dict[str, Model]
    versions: int = 1

    def put(self, name: str, content: bytes, version: str, proof: AnsweringProof) -> None:
        folder = self.service.home / "releases" / name / "versions" / version
        folder.mkdir(parents=True)
        (folder / "model.skops").write_bytes(content)
        manifest: Manifest = self.models[name].manifest.model_copy(
            update={"model": name, "answering": proof, "model_digest": digest_file(folder / "model.skops")}
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json())
        releases.point(Settings(home=self.service.home), name, version)

    def problem(self, name: str) -> str:
        return str(asking.get(f"{self.service.url}/health").json()["problems"].get(name, ""))

    def answers(self, name: str) -> Any:
        model = self.models[name]
        rows = as_requests(model.config, model.rows.head(3).assign(pay=0.0, level=""))
        found = asking.post(f"{self.service.url}/models/{name}/predict", json={"rows": rows}, timeout=30)
        assert found.status_code == 200, found.text
        return found.json()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service over one sound model of each kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = {name: made(tmp_path_factory.mktemp(name), name, "binary", "all") for name in HOSTILE}
        models[GENERAL] = models["random_forest"]
        home = tmp_path_factory.mktemp("home")
        service = Service(home, "", None, load_model(ROOT, "care"))  # type: ignore[arg-type]
        found = Running(service, models)
        for name, model in models.items():
            proof = prove(model.content, model.manifest, model.pipeline)
            assert proof.compiled, proof.why
            chosen = AnsweringProof(compiled=False, why="chosen so") if name == GENERAL else proof
            found.put(name, model.content, "v1.0.0", chosen)
    found.service = start(home, load_model(ROOT, "care"))
    until(lambda: set(asking.get(f"{found.service.url}/models").json()) == set(models))
    try:
        yield found
    finally:
        found.service.process.terminate()
        assert found.service.process.wait(timeout=60) is not None


def refused(running: Running, name: str, change: Change, said: str) -> None:
    """Publish a changed file, and see that it is named, that the old version answers on, and that others do."""
    running.versions += 1
    version, proof = f"v2.0.{running.versions}", AnsweringProof(compiled=name != GENERAL, why="chosen so", known="")
    running.put(name, edited(running.models[name].content, change), version, proof)
    until(lambda: version in running.problem(name), seconds=30)
    assert said in running.problem(name)
    assert "Traceback" not in running.problem(name) and "It was not loaded" in running.problem(name)
    assert running.service.process.poll() is None
    other = next(each for each in running.models if each != name)
    assert running.answers(name)["version"] == running.answers(other)["version"] == "v1.0.0"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_hostile_file_is_refused_and_everything_else_goes_on(running: Running, name: str, case: str) -> None:
    refused(running, name, *HOSTILE[name][case])


@pytest.mark.parametrize("case", ["a child far away", "a circle", "a feature far away", "no threshold", "a wider tree"])
def test_a_hostile_tree_does_not_reach_scikit_learn_either(running: Running, case: str) -> None:
    assert asking.get(f"{running.service.url}/health").json()["general"] == {
        GENERAL: "scikit-learn's pipeline answers: chosen so"
    }
    refused(running, GENERAL, *FOREST[case])


@pytest.mark.parametrize("name", HOSTILE)
def test_an_edited_file_with_nothing_changed_is_read(running: Running, name: str) -> None:
    """So that what is refused above is refused for its change."""
    model = running.models[name]
    written = running.service.home / "releases" / name / "versions/v1.0.0/manifest.json"
    manifest = Manifest.model_validate_json(written.read_text())
    assert opened(edited(model.content, lambda file: None), manifest).answering is not None
