"""Protected groups as the config declares them, against the values that the file holds: from the file to the gates."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.evaluation import laid_out
from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.records.repository import sandbox
from tasks.science.examination.examination import Examination
from tasks.science.gates.run import run_gate
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.gate import MATERIALITIES, Materiality
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.validation import missing_gates, verdict_of
from tasks.versions import Candidate
from tests.conftest import ROOT
from tests.stages.worlds import NAME, document, run_stages, table, write

FAIRNESS = {"kind": "fairness", "attribute": "race", "measure": "selection_rate", "statistic": "ratio", "limit": 0.5}
RACES = {"white": ["White"], "black": ["Black"], "native": ["Native"]}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> ModelPaths:
    """Pay falls for "Amer Indian" and rises for the mood that is called "missing"; some moods are not known."""
    rng = np.random.default_rng(4)
    frame = table(4000)
    frame["race"] = rng.choice(["White", "Black", "Amer Indian"], 4000, p=[0.5, 0.3, 0.2])
    frame["code"] = rng.choice([1234561, 1234562], 4000)
    frame["born"] = [f"19{year}-02-01" for year in rng.integers(60, 80, 4000)]
    frame["mood"] = rng.choice(["calm", "missing", ""], 4000)
    frame["pay"] += 15 * (frame["mood"] == "missing") - 15 * (frame["mood"] == "") - 25 * (frame["race"].str[0] == "A")
    raw = document("binary")
    raw["data"]["columns"] += [
        {"name": "race", "type": "category"},
        {"name": "code", "type": "integer"},
        {"name": "born", "type": "date"},
        {"name": "mood", "type": "category", "nullable": True},
    ]
    raw["features"] += ["race", "mood"]
    made = write(tmp_path_factory.mktemp("groups"), raw, frame)
    run_stages(made)
    return made


def looked(paths: ModelPaths, protected: dict[str, Any], **gate: Any) -> tuple[GateResult, Examination]:
    """A gate of the config on the evidence that the stages left; groups are no part of training."""
    file = paths.root / f"deployments/models/{NAME}/model.yaml"
    raw = yaml.safe_load(file.read_text())
    floors = [g for g in raw["gates"] if g["kind"] == "floor"]
    raw |= {"protected": protected, "gates": [*floors, {"name": "looked", **gate}]}
    file.write_text(yaml.safe_dump(raw))
    config = load_model(paths.root, NAME)
    found = laid_out(paths, config, pd.read_parquet(paths.evaluation / "holdout_scored.parquet"), None)
    return run_gate(config.gates[-1], found), found


def test_a_misspelled_group_is_insufficient_evidence_by_name_with_the_values_that_nobody_named(
    paths: ModelPaths,
) -> None:
    """The model selects hardly anybody of the group that the config misses."""
    result, evidence = looked(paths, {"race": {"column": "race", "groups": RACES}}, **FAIRNESS)
    here = evidence.rows["race"] == "Amer Indian"
    assert evidence.decision[here].mean() < 0.3 * evidence.decision[~here].mean()
    assert (result.state, result.reason) == (
        "insufficient_evidence",
        "no row is in native of race, which the config declares; values of race in no group: 'Amer Indian' "
        f"({int(here.sum()):,} rows)",
    )
    assert result.remedy.startswith("to pass, list the values of each group as the data have them")
    told, _ = looked(paths, {"race": {"column": "race", "groups": RACES}}, kind="calibration", by="race")
    assert (told.state, told.reason) == (result.state, result.reason)
    mended, _ = looked(paths, {"race": {"column": "race", "groups": RACES | {"native": ["Amer Indian"]}}}, **FAIRNESS)
    assert mended.state == "fail" and "native" in mended.reason


def test_a_value_that_is_near_is_named_where_every_value_has_a_group(paths: ModelPaths) -> None:
    groups = {"all": ["White", "Black", "Amer Indian"], "native": ["american indian"]}
    result, _ = looked(paths, {"race": {"column": "race", "groups": groups}}, **FAIRNESS)
    assert result.reason == (
        "no row is in native of race, which the config declares; near values of race: 'Amer Indian'"
    )
    bands, evidence = looked(paths, {"race": {"column": "age", "edges": [0, 40, 90, 120]}}, **FAIRNESS)
    ages = evidence.rows["age"]
    assert (bands.state, bands.reason) == (
        "insufficient_evidence",
        f"no row is in 90 to 120 of race, which the config declares; age goes from {ages.min():g} to {ages.max():g}",
    )
    born = {"race": {"column": "born", "edges": ["1950-01-01", "1990-01-01", "2030-01-01"]}}
    dates, _ = looked(paths, born, **FAIRNESS)
    assert dates.reason == (
        "no row is in 1990-01-01 to 2030-01-01 of race, which the config declares; born goes from 1960-02-01 to "
        "1979-02-01"
    )


def test_rows_in_no_group_are_named_with_their_values(paths: ModelPaths) -> None:
    groups = {"white": ["White"], "black": ["Black"]}
    result, evidence = looked(paths, {"race": {"column": "race", "groups": groups}}, **FAIRNESS)
    rows = int((evidence.rows["race"] == "Amer Indian").sum())
    assert result.state == "insufficient_evidence"
    assert f"have no race (in no group: race 'Amer Indian' ({rows:,} rows)), and at most 5% may" in result.reason
    told, _ = looked(paths, {"race": {"column": "race", "groups": groups}}, **FAIRNESS, missing_share=0.5)
    assert told.state == "pass" and f"are left out (in no group: race 'Amer Indian' ({rows:,} rows))" in told.reason


def test_codes_of_seven_digits_are_groups(paths: ModelPaths) -> None:
    groups = {"one": [1234561], "two": ["1234562"]}
    result, evidence = looked(paths, {"race": {"column": "code", "groups": groups}}, **FAIRNESS)
    rows = {m.label: m.rows for m in result.measurements}
    assert result.state == "pass"
    for name, code in (("one", 1234561), ("two", 1234562)):
        assert rows[f"selection_rate of {name}"] == int((evidence.rows["code"] == code).sum())


def test_the_word_missing_and_an_absent_value_are_two_things(paths: ModelPaths) -> None:
    """For the groups, and for the model that learnt from both."""
    groups = {"calm": ["calm"], "unknown": ["missing"]}
    result, evidence = looked(paths, {"race": {"column": "mood", "groups": groups}}, **FAIRNESS, missing_share=0.9)
    rows, mood = {m.label: m.rows for m in result.measurements}, evidence.rows["mood"]
    assert rows["selection_rate of unknown"] == int((mood == "missing").sum())
    assert f"{int(mood.isna().sum()):,} rows" in result.reason
    asked = evidence.rows.head(1).assign(race="White", age=44.0, hours=25, job="driver")
    scores = {m: float(evidence.predict(asked.assign(mood=pd.Series([m], dtype="str")))[0]) for m in ("missing", None)}
    assert scores["missing"] - scores[None] > 0.5


def test_a_verdict_holds_the_digests_and_counts_that_the_manifest_holds(paths: ModelPaths) -> None:
    made = verdict_of(Candidate(NAME, "a" * 40, "branch", paths.root, "sha256:0"), None, ())
    assert made.data is not None and made.data.rows == 4000 and made.unprotected == ""
    files = sorted([*ROOT.glob("tasks/**/*.py"), *ROOT.glob("flows/**/*.py"), ROOT / "requirements.lock"])
    told = {str(f.relative_to(ROOT)): "sha256:" + hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    document = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert made.examiner == "sha256:" + hashlib.sha256(document.encode()).hexdigest()
    assert made.isolation == sandbox.measured()
    told_there = made.isolation.sentence.partition("code ")[2]
    assert told_there in verdict_page(made, "a model", {"curves": {}})
    source = paths.root / f"data/{NAME}/source/table.csv"
    assert [(f.name, f.sha256) for f in made.data.files] == [
        (f"data/{NAME}/source/table.csv", hashlib.sha256(source.read_bytes()).hexdigest())
    ]


@pytest.mark.parametrize("materiality", MATERIALITIES)
def test_no_groups_need_a_reason_and_then_no_fairness_gate(materiality: Materiality, tmp_path: Path) -> None:
    raw = document("binary") | {"protected": {}, "materiality": materiality}
    raw["gates"] = [g for g in raw["gates"] if g["kind"] != "fairness"]
    file = write(tmp_path, raw, table(10)).root / f"deployments/models/{NAME}/model.yaml"
    with pytest.raises(ConfigError) as refused:
        load_model(tmp_path, NAME)
    assert str(refused.value) == (
        f"{file}: protected is {{}}, so no group is looked after. Name groups there, or say under unprotected why no "
        "group of people can be named, which the verdict will show."
    )
    file.write_text(yaml.safe_dump(raw | {"unprotected": "the rows are pumps"}))
    config = load_model(tmp_path, NAME)
    assert missing_gates(materiality, config.gates, grouped=False) == []
    asked = [m.kind for m in missing_gates(materiality, config.gates)]  # where the champion had groups
    assert asked == ([] if materiality == "low" else ["fairness"])
    verdict = Verdict(
        model=NAME, commit="a" * 40, champion=None, model_digest="", created="", passed=True, gates=(),
        unprotected=config.unprotected,
    )  # fmt: skip
    for shown in (verdict_page(verdict, "Small", {}), verdict_markdown(verdict, {})):
        assert "No protected group is looked after." in shown and "The rows are pumps." in shown
