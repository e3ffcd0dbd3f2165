"""Several rows of one person, from a config and a table to the gates: they are no more evidence than the person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.evaluation import CHAMPION, examination
from tasks.science.data.tables import score_array, with_scores
from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.spec.evidence import GateResult
from tasks.spec.metrics import TargetKind
from tasks.spec.model import load_model
from tasks.versions import Candidate
from tests.stages.worlds import METRICS, NAME, document, rules, run_stages, table, write

PERSONS, TIMES = 700, 4
LIMITS: dict[TargetKind, list[float]] = {
    "binary": [round(float(x), 3) for x in np.arange(0.8, 1.0, 0.01)],
    "multiclass": [round(float(x), 3) for x in np.arange(0.3, 1.3, 0.03)],
    "regression": [round(float(x), 3) for x in np.arange(0.3, 0.6, 0.01)],
}
JUDGED = ("floor", "comparison", "rules", "calibration", "robustness", "slices", "fairness")


def evidence(root: Path, kind: TargetKind, frame: pd.DataFrame, entity: str | None) -> Examination:
    """Everything that the gates of a validation see, for a table whose rows have a person."""
    whole = document(kind)
    floors = [
        {"name": f"floor-{i}", "kind": "floor", "metric": METRICS[kind], "limit": limit}
        for i, limit in enumerate(LIMITS[kind])
    ]
    gates = [*floors, *(g for g in whole["gates"] if g["kind"] in JUDGED)]
    columns = [*whole["data"]["columns"], {"name": "person", "type": "category", "input": False}]
    data = whole["data"] | {"columns": columns} | ({"entity": entity} if entity else {})
    plain = {"kind": "logistic_regression", "parameters": {"C": 1000}}
    estimator = {"kind": "ridge", "parameters": {}} if kind == "regression" else plain
    paths = write(root, whole | {"data": data, "gates": gates, "estimator": estimator}, frame)
    (root / "deployments/models" / NAME / "rules.yaml").write_text(yaml.safe_dump(rules(kind)))
    run_stages(paths)
    config = load_model(root, NAME)
    rows = pd.read_parquet(paths.evaluation / "holdout_scored.parquet")
    mean = np.broadcast_to(score_array(config, rows).mean(axis=0), score_array(config, rows).shape)
    path = root / "evidence.parquet"
    with_scores(config, rows, mean, CHAMPION).to_parquet(path)
    return examination(Candidate(NAME, "a" * 40, "branch", root, "sha256:0"), path, None)


def judged(found: Examination) -> dict[str, GateResult]:
    assert found.config is not None
    return {g.name: run_gate(g, found) for g in found.config.gates}


def persons(count: int) -> pd.DataFrame:
    return table(count, seed=3).assign(person=[f"p{i}" for i in range(count)])


@pytest.fixture(
    scope="module", params=["binary", *(pytest.param(k, marks=pytest.mark.acceptance) for k in LIMITS if k != "binary")]
)
def once_and_often(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, GateResult], dict[str, GateResult], dict[str, GateResult]]:
    """The gates on every person once, on the same rows four times, and on these with nobody told whose they are.

    The estimators are those to which the same rows four times are the same fit.
    """
    once = persons(PERSONS)
    often = pd.concat([once] * TIMES, ignore_index=True).sort_values("person", kind="stable", ignore_index=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ASSAY_HOME", str(tmp_path_factory.mktemp("home")))
        asked: list[tuple[str, pd.DataFrame, str | None]] = [
            ("once", once, "person"), ("often", often, "person"), ("nobody", often, None)
        ]  # fmt: skip
        one, many, none = (
            judged(evidence(tmp_path_factory.mktemp(name), request.param, frame, entity))
            for name, frame, entity in asked
        )
    return one, many, none


def test_rows_given_four_times_change_no_verdict(
    once_and_often: tuple[dict[str, GateResult], dict[str, GateResult], dict[str, GateResult]],
) -> None:
    """Robustness alone sees more: it damages every row anew, and so learns more of the damage."""
    once, often, _ = once_and_often
    same = {name for name in often if name != "robustness"}
    differ = {name: (once[name].reason, often[name].reason) for name in same if often[name].state != once[name].state}
    assert differ == {}
    assert {"pass", "insufficient_evidence"} <= {r.state for r in once.values()}


def test_without_an_entity_the_same_rows_look_like_proof(
    once_and_often: tuple[dict[str, GateResult], dict[str, GateResult], dict[str, GateResult]],
) -> None:
    """What the entity is for: more gates pass where nobody says whose the rows are."""
    once, _, nobody = once_and_often
    turned = [name for name, r in nobody.items() if (once[name].state, r.state) == ("insufficient_evidence", "pass")]
    assert turned


def test_rows_and_entities_are_both_said(
    once_and_often: tuple[dict[str, GateResult], dict[str, GateResult], dict[str, GateResult]],
) -> None:
    once, often, nobody = once_and_often
    people = once["comparison"].measurements[0].rows
    assert 230 < people < 330  # the holdout is 40 % of the persons
    for found, count in ((once, people), (often, TIMES * people)):
        for name in ("floor", "comparison", "fairness", "calibration"):
            assert f"{count:,} rows of {people:,} entities (person)" in found[name].reason, found[name].reason
            assert (found[name].measurements[0].rows, found[name].measurements[0].entities) == (count, people)
        assert all(m.entities for m in found["rules"].measurements if "must drive" in m.label)
    assert "entities" not in nobody["floor"].reason and nobody["floor"].measurements[0].entities is None


def test_a_few_persons_with_many_rows_are_insufficient_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 persons of 40 rows: the holdout has 1,600 rows or so of fewer than 30 persons."""
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    frame = table(1600, seed=4).assign(person=[f"p{i % 40}" for i in range(1600)])
    found = judged(evidence(tmp_path / "few", "binary", frame, "person"))
    assert {r.state for name, r in found.items() if name.startswith("floor")} == {"insufficient_evidence"}
    reason: Any = found["floor"].reason
    assert "entities (person), and rows of one are not independent; at least 30 are needed" in reason
    for name in ("fairness", "calibration", "robustness", "comparison"):
        assert found[name].state == "insufficient_evidence" and "at least 30" in found[name].reason, found[name].reason
