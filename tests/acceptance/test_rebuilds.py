"""Versions of every kind of estimator made again from their record alone, in fresh environments, by a real system."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasks.records.registry import ledger
from tasks.records.repository import machine
from tasks.spec.ledger import RebuiltDetails
from tests.stages.worlds import NAME, table
from tests.system import Running
from tests.told import CONFIG, SOURCE, Past, home_of, model_yaml

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(2700)]
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"layers": [8], "learning_rate": 0.01},
    "hist_gradient_boosting": {"max_iter": 20, "max_leaf_nodes": 5},
    "random_forest": {"n_estimators": 20, "max_depth": 5, "min_samples_leaf": 10},
    "logistic_regression": {},
}
"""In the order of what they reach here, so that each is fit after the one before."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with home_of(tmp_path_factory.mktemp("kinds")) as past:
        past.write(SOURCE, lambda _: table(1500).to_csv(index=False))
        for kind, parameters in KINDS.items():
            estimator = {"kind": kind, "network" if kind == "mlp" else "parameters": parameters}
            past.write(CONFIG, model_yaml(partial(dict.update, estimator=estimator)))
            past.push(kind)
            past.train(kind)
        yield past


@pytest.fixture(autouse=True)
def at_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "made" in request.fixturenames:
        past: Past = request.getfixturevalue("made")
        monkeypatch.setenv("HOME", str(past.folder))
        monkeypatch.setenv("ASSAY_HOME", str(past.settings.home))
        monkeypatch.setenv("ASSAY_ORIGIN", past.settings.origin)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_every_kind_is_identical_in_an_environment_of_its_own_lock_file(made: Past) -> None:
    done = made.assay("rebuild", NAME, "--all", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert [(one["version"], one["outcome"]) for one in found] == [
        (f"v{n}.0.0", "identical") for n in range(1, len(KINDS) + 1)
    ]
    entries = {e.sequence: e for e in ledger.entries(made.settings)}
    for one in found:
        entry = entries[one["entry"]]
        assert isinstance(entry.read, RebuiltDetails) and entry.signature is not None
        subjects = {s["name"]: s["digest"]["sha256"] for s in one["statement"]["subject"]}
        commit = one["commit"]
        digest = next(c.model_digest for c in made.candidates.values() if c.commit == commit)
        assert f"sha256:{subjects[f'data/{NAME}/model/model.skops']}" == digest
    assert not list(made.settings.home.glob("rebuild-*")), "environments are left behind"


def test_another_kernel_differs_by_processor_and_by_how_much(made: Past) -> None:
    now = str(machine.apart(Path(sys.executable), Path(sys.prefix))["kernel"])
    if platform.machine() != "x86_64" or "openblas" not in now or "Nehalem" in now:
        pytest.skip(f"no second kernel of OpenBLAS to compare with {now or 'an unknown one'}")
    version = f"v{len(KINDS)}.0.0"  # the logistic regression
    done = made.assay("rebuild", NAME, version, "--reuse", "--json", OPENBLAS_CORETYPE="Nehalem")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["outcome"]) == (0, "differs_by_processor"), found["sentence"]
    assert f"{now} then and openblas Nehalem now" in found["sentence"]
    assert 0 < found["largest"] < 1e-9


def test_a_running_system_makes_versions_again_by_schedule_and_on_request(running: Running) -> None:
    def asked(**request: Any) -> dict[str, Any]:
        body = {"model": "care", "reason": "person", "actor": "anna@example.org", **request}
        state: dict[str, Any] = running.api.wait(running.api.start("rebuild/rebuilding", body), seconds=900)
        return state

    assert asked()["name"] == "Nothing to rebuild"
    deployment = running.api.call("GET", "/deployments/name/rebuild/rebuilding")
    schedules = {s["slug"]: (s["schedule"]["interval"], s["active"]) for s in deployment["schedules"]}
    assert schedules["care"] == (7 * 86_400, True)
    asks = {"model": "care", "reason": "person", "actor": "anna@example.org", "revision": "main"}
    trained = running.api.wait(running.api.start("train/training", asks), seconds=600)
    assert trained["name"] == "Promoted", trained["message"]
    state = asked()
    assert (state["name"], state["type"]) == ("Rebuilt", "COMPLETED"), state["message"]
    assert "v1.0.0 identical" in state["message"]
    entry = running.ledger()[-1]
    assert isinstance(entry.read, RebuiltDetails) and entry.read.outcome == "identical" and entry.version == "v1.0.0"
    assert running.assay("ledger", "--verify").returncode == 0
