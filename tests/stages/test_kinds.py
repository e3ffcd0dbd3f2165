"""Binary, multiclass and regression from the table to the answer: the real stages, the real gates, the real service."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient

from tasks.evaluation import CHAMPION, examination
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.registry import releases
from tasks.science.data.tables import label_array, score_array, with_scores
from tasks.science.examination.examination import Examination
from tasks.science.gates.run import GATES, run_gate
from tasks.serving.access import Access
from tasks.serving.app import create_app
from tasks.serving.keys import ROLES, KeyFile, Keys
from tasks.serving.release import load_release
from tasks.serving.trust import Trust
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.gate import MATERIALITIES, TARGET_KINDS, Materiality
from tasks.spec.gates import needed_kinds
from tasks.spec.metrics import METRIC_NAMES, TargetKind
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.validation import missing_gates
from tasks.versions import Candidate
from tests.asking import bearer
from tests.stages.worlds import CLASSES, NAME, TARGETS, document, lay_out

DATA = GateResult(gate="data", kind="data", mandatory=True, state="pass", reason="all expectations hold")


@pytest.fixture(scope="module", params=TARGET_KINDS)
def paths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelPaths:
    return lay_out(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def evidence(paths: ModelPaths, tmp_path_factory: pytest.TempPathFactory) -> Examination:
    """What the gates of a real validation see; the champion is one that knows nothing but the mean."""
    tmp_path = tmp_path_factory.mktemp("home")
    config = load_model(paths.root, paths.name)
    rows = pd.read_parquet(paths.evaluation / "holdout_scored.parquet")
    rows = with_scores(
        config, rows, np.broadcast_to(score_array(config, rows).mean(axis=0), score_array(config, rows).shape), CHAMPION
    )
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "clone")], check=True)  # its main branch asks nothing more
    path = tmp_path / "evidence.parquet"
    rows.to_parquet(path)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ASSAY_HOME", str(tmp_path))
        return examination(Candidate(NAME, "a" * 40, "branch", paths.root, "sha256:0"), path, DATA)


def test_every_kind_is_measured_by_its_own_metrics(paths: ModelPaths) -> None:
    kind = load_model(paths.root, paths.name).kind
    metrics = json.loads(paths.metrics.read_text())["holdout"]
    assert set(metrics) == {"rows", *METRIC_NAMES[kind]} and all(v is not None for v in metrics.values())
    assert metrics["r2"] > 0.6 if kind == "regression" else metrics["roc_auc"] > 0.85
    assert len(pd.read_csv(paths.plots / "roc.csv")) > 10 and len(pd.read_csv(paths.plots / "calibration.csv")) == 10


@pytest.fixture(scope="module")
def found(evidence: Examination) -> dict[str, GateResult]:
    assert evidence.config is not None
    return {g.name: run_gate(g, evidence) for g in evidence.config.gates}


def test_every_gate_answers_for_every_kind_and_a_sound_model_passes(found: dict[str, GateResult]) -> None:
    assert {r.kind for r in found.values()} == set(GATES)
    assert {name: r.reason for name, r in found.items() if r.state != "pass"} == {}
    assert all(found[name].plots for name in ("rules", "calibration", "stability", "faithfulness"))


@pytest.mark.parametrize("materiality", MATERIALITIES)
def test_a_model_of_any_kind_and_materiality_can_be_promoted(
    materiality: Materiality, evidence: Examination, found: dict[str, GateResult], tmp_path: Path
) -> None:
    """A model.yaml with just the gates that the materiality asks for is valid, lacks none, and every gate passes."""
    needed = needed_kinds(materiality)
    gates = [g for g in document(evidence.kind)["gates"] if g["kind"] in needed]
    config = config_of(tmp_path, evidence.kind, materiality=materiality, gates=gates)
    assert missing_gates(config.materiality, config.gates) == []
    assert {gate.kind for gate in config.gates} == set(needed)
    assert evidence.config is not None
    assert all(gate in evidence.config.gates for gate in config.gates)  # those that ran
    assert {gate.name: found[gate.name].state for gate in config.gates} == dict.fromkeys(
        [g["name"] for g in gates], "pass"
    )
    without = config_of(
        tmp_path / "less", evidence.kind, materiality=materiality, gates=[g for g in gates if g["kind"] != needed[-1]]
    )
    assert [m.gate for m in missing_gates(without.materiality, without.gates)] == [f"missing-{needed[-1]}"]


def test_a_label_in_the_features_is_found_whatever_its_kind(evidence: Examination) -> None:
    gate = next(g for g in evidence.config.gates if g.kind == "leakage")  # type: ignore[union-attr]
    assert evidence.train is not None and evidence.train_label is not None
    given: list[Any] = [
        f + np.random.default_rng(0).normal(scale=0.01, size=len(f))
        for f in (evidence.label.astype(float), evidence.train_label.astype(float))
    ]
    told = run_gate(
        gate,
        Examination(
            **{
                **_fields(evidence),
                "rows": evidence.rows.assign(age=given[0]),
                "train": evidence.train.assign(age=given[1]),
            }
        ),
    )
    assert told.state == "fail" and "AUC of age alone" in told.reason


def test_a_broken_place_is_found_whatever_its_kind(evidence: Examination) -> None:
    """The scores of nurses are turned round among the rows: the search names them."""
    gate = next(g for g in evidence.config.gates if g.kind == "slices")  # type: ignore[union-attr]
    score = evidence.score.copy()
    at = (evidence.rows["job"] == "nurse").to_numpy()
    score[at] = np.random.default_rng(0).permutation(score[at])
    told = run_gate(gate, Examination(**{**_fields(evidence), "score": score}))
    assert told.state == "fail" and "job nurse" in told.reason


def test_scores_that_are_none_of_the_kind_pass_nothing(evidence: Examination) -> None:
    wrong = np.where(np.isfinite(evidence.score), np.nan, 0.0)
    changed = Examination(**{**_fields(evidence), "score": wrong, "predict": lambda rows: wrong[: len(rows)]})
    passed = [g.kind for g in evidence.config.gates if run_gate(g, changed).state == "pass"]  # type: ignore[union-attr]
    assert set(passed) <= {"data", "readiness", "stability", "transparency"}  # which look at no score of this table


def _fields(evidence: Examination) -> dict[str, Any]:
    return {name: getattr(evidence, name) for name in Examination.__dataclass_fields__}


@pytest.fixture
def service(paths: ModelPaths, tmp_path: Path) -> Any:
    """The real app over a real release store and a real log."""
    settings = Settings(home=tmp_path)
    shutil.copytree(paths.model, tmp_path / "releases" / NAME / "versions/v1.0.0")
    releases.point(settings, NAME, "v1.0.0")
    key, _ = KeyFile(tmp_path / "access").add("tests", ROLES)
    app = create_app(
        tmp_path / "releases",
        Trust(tmp_path / "keys/examiners", tmp_path / "heights.json"),
        PredictionLog(f"sqlite:///{tmp_path}/predictions.db"),
        Prediction,
        10_000_000,
        Access(Keys(tmp_path / "access"), None),
    )
    with TestClient(app, "http://127.0.0.1", headers=bearer(key)) as client:
        yield client


ROWS = [{"age": 60.0, "hours": 45, "job": "smith", "sex": "f"}, {"age": None, "hours": 8, "job": "clerk", "sex": "m"}]
RIGHT: dict[TargetKind, list[Any]] = {"binary": [True, False], "multiclass": ["high", "low"], "regression": [4.25, 1]}
WRONG: dict[TargetKind, list[tuple[Any, str]]] = {
    "binary": [(1.0, "allowed: true (over 30) or false (up to 30)"), ("yes", "send a JSON boolean")],
    "multiclass": [
        ("hihg", "allowed: low, middle, high; did you mean 'high'?"),
        (True, "send the name of one of them"),
    ],
    "regression": [
        (99.5, "allowed: a finite number from -5 to 20 in tens"),
        (True, "send it as a JSON number"),
        ("3", "allowed: a finite number"),
    ],
}


def test_the_service_answers_in_the_kinds_own_words_and_joins_outcomes(
    paths: ModelPaths, service: TestClient, tmp_path: Path
) -> None:
    kind = load_model(paths.root, paths.name).kind
    answer = service.post(f"/models/{NAME}/predict", json={"rows": ROWS})
    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    frame = pd.DataFrame(ROWS).astype({"age": float, "hours": float})
    scores = load_release(paths.model).score(frame)
    if kind == "multiclass":
        assert [list(p["scores"].values()) for p in found] == scores.tolist() and list(found[0]["scores"]) == list(
            CLASSES
        )
        assert [p["score"] for p in found] == scores.max(axis=1).tolist()
    else:
        assert [p["score"] for p in found] == scores.tolist() and found[0]["scores"] is None
    assert [p["decision"] for p in found] == ([None, None] if kind == "regression" else RIGHT[kind])
    for value, says in WRONG[kind]:
        told = service.post(
            f"/models/{NAME}/outcomes",
            json={
                "outcomes": [{"id": found[0]["id"], "label": RIGHT[kind][0]}, {"id": found[1]["id"], "label": value}]
            },
        )
        assert (
            told.status_code == 422
            and says in told.json()["problems"][0]["message"]
            and (told.json()["problems"][0]["row"], told.json()["problems"][0]["value"]) == (1, value)
        )
    outcomes = [{"id": p["id"], "label": label} for p, label in zip(found, RIGHT[kind], strict=True)]
    assert service.post(f"/models/{NAME}/outcomes", json={"outcomes": outcomes}).json() == {
        "accepted": 2,
        "repeated": 0,
        "changed": 0,
        "unknown": 0,
    }  # nothing of what was refused was kept
    assert (
        f'decision="{ {"binary": "true", "multiclass": "high", "regression": "none"}[kind] }"'
        in service.get("/metrics").text
    )
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    logged = log.frame(NAME, 0, 2**62)
    log.close()
    assert score_array(load_model(paths.root, paths.name), logged).tolist() == scores.tolist()
    assert (
        label_array(load_model(paths.root, paths.name), logged["_label"]).tolist()
        == {"binary": [True, False], "multiclass": [2, 0], "regression": [4.25, 1.0]}[kind]
    )


def test_a_number_that_is_none_is_refused_in_words(paths: ModelPaths, service: TestClient) -> None:
    found = service.post(f"/models/{NAME}/predict", json={"row": ROWS[0]}).json()["predictions"][0]
    answer: httpx.Response = service.post(
        f"/models/{NAME}/outcomes",
        content=f'{{"outcomes": [{{"id": "{found["id"]}", "label": NaN}}]}}',
        headers={"content-type": "application/json"},
    )
    (told,) = answer.json()["problems"]
    assert (answer.status_code, told["field"], told["value"]) == (422, "label", "NaN")
    assert told["message"].startswith("NaN is no JSON number; send a finite number")


def config_of(root: Path, kind: TargetKind, **changes: Any) -> ModelConfig:
    folder = root / "deployments/models" / NAME
    folder.mkdir(parents=True)
    (root / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (folder / "model.yaml").write_text(yaml.safe_dump(document(kind) | changes))
    return load_model(root, NAME)


def test_a_class_without_training_rows_is_refused(tmp_path: Path) -> None:
    data = document("multiclass")["data"]
    with pytest.raises(
        ConfigError, match="training rows of small hold no row of class none at all; remove it from data.target.classes"
    ):
        lay_out(
            tmp_path,
            "multiclass",
            300,
            data=data | {"target": TARGETS["multiclass"] | {"classes": [*CLASSES, "none at all"]}},
        )


def test_a_number_that_never_varies_is_refused(tmp_path: Path) -> None:
    data = document("regression")["data"]
    with pytest.raises(ConfigError, match="hold one number only"):
        lay_out(tmp_path, "regression", 300, data=data | {"target": TARGETS["regression"] | {"expression": "pay * 0"}})
