"""Wrong configurations, each with the sentence a person gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.spec.base import load_yaml, validate
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.models import model_names
from tasks.spec.training import NOT_OF_TRAINING, TrainingConfig, load_training
from tests.conftest import ROOT


def wrong(path: str, value: Any) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((ROOT / "deployments/models/income/model.yaml").read_text())
    *parents, last = path.split(".")
    here: Any = raw
    for part in parents:
        here = here[int(part) if part.isdigit() else part]
    here[last] = value
    return raw


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("featurs", [], "featurs is not a known key; did you mean 'features'?"),
        ("materiality", "huge", "materiality is 'huge': input should be 'low', 'medium' or 'high'"),
        ("features", ["age", "agee"], "features names 'agee', which is no input column; allowed: age, class_of_worker"),
        ("features", ["income"], "features names 'income', which is no input column"),
        (
            "data.columns.0.available",
            "after",
            "features names 'age', which is available: after, that is known only after the prediction, so a "
            "request cannot hold it; allowed: class_of_worker, ",
        ),
        ("data.columns.0.available", "later", "available is 'later': input should be 'before' or 'after'"),
        (
            "data.split",
            {"by": "date", "train": 0.5, "holdout": 0.4, "replay": 0.1},
            "data.split.by is 'date': input should be 'hash' or 'time'",
        ),
        ("data.split.train", 0.9, "the shares must sum to 1"),
        (
            "data.target.decision_threshold",
            1.5,
            "data.target.decision_threshold is 1.5; a binary model needs one between 0 and 1",
        ),
        ("data.target.decision_threshold", None, "decision_threshold is None; a binary model needs one"),
        ("protected.sex.edges", [1, 2, 3], "give either groups (name: values) or edges"),
        ("protected.age_band.names", ["young", "old"], "one fewer than they"),
        (
            "protected.sex.groups",
            {"men": [1, 3], "women": [2, "3"]},
            "groups 'men' and 'women' both have the value '3'; a value belongs to one group",
        ),
        ("protected.sex.groups", {"men": [1], "women": []}, "group 'women' has no value; list those that belong to it"),
        ("unprotected", "machines only", "unprotected says why no group can be named, and protected names some"),
        ("gates.1.benchmark", "rich", "gate auc-floor names the benchmark 'rich'; allowed: holdout, newest, all"),
        ("gates.1.metrik", "roc_auc", "did you mean 'metric'?"),
        ("gates.7.attribute", "height", "names 'height'; allowed: sex, race, age_band"),
        (
            "gates",
            [{"name": "calibration", "kind": "calibration", "by": "height"}],
            "gate calibration names 'height'; allowed: sex, race, age_band",
        ),
        ("gates", [{"name": "calibration", "kind": "calibration", "slope": [1.1, 1.2]}], "it must lie around 1"),
        (
            "gates",
            [{"name": "compare", "kind": "comparison", "metric": "roc_auc", "margin": 0.01}],
            "no mandatory floor",
        ),
        ("estimator.kind", "magic", "estimator.kind"),
        ("data.source.sha256", None, "pin sha256 of the archive"),
    ],
)
def test_a_wrong_config_is_one_sentence_with_the_fix(path: str, value: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(wrong(path, value), ModelConfig, "model.yaml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("period", "says"),
    [
        (None, "split.by is 'time' and no period says when a row is from; name its column in data.period"),
        ("race", "split.by is 'time', and period race is a category without an order; declare its categories in order"),
    ],
)
def test_a_split_by_time_needs_a_period_that_has_an_order(period: str | None, says: str) -> None:
    raw = wrong("data.split.by", "time")
    raw["data"]["period"] = period
    with pytest.raises(ConfigError) as caught:
        validate(raw, ModelConfig, "model.yaml")
    assert says in str(caught.value)
    assert validate(wrong("data.split.by", "time"), ModelConfig, "model.yaml").data.split.by == "time"


def test_an_unknown_model_names_the_known() -> None:
    with pytest.raises(ConfigError, match="'incme' is not listed in deployments/models.yaml; allowed: income, care"):
        load_model(ROOT, "incme")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [", "is not valid YAML"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2 is not valid YAML: 'c' stands here again in one mapping"),
        ("- 1", "must hold a mapping"),
        (None, "does not exist. Create it"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "model.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=says):
        load_yaml(path, ModelConfig)


def test_the_stages_read_all_keys_but_those_that_judge_or_watch() -> None:
    """A key that is on neither side would be refused by every stage, or retrain nothing when it changes."""
    assert set(ModelConfig.model_fields) - set(TrainingConfig.model_fields) == set(NOT_OF_TRAINING)
    for name in model_names(ROOT):
        whole = load_model(ROOT, name).model_dump()
        assert load_training(ROOT, name).model_dump() == {key: whole[key] for key in TrainingConfig.model_fields}


def test_a_registered_config_with_the_threshold_beside_its_data_is_read_and_a_new_one_refused(tmp_path: Path) -> None:
    """DVC sees ``data.target`` whatever the target's kind; a parameter of its own failed where a kind has none."""
    folder = tmp_path / "deployments/models/care"
    folder.mkdir(parents=True)
    (tmp_path / "deployments/models.yaml").write_text("models: [care]\n")
    text = (ROOT / "deployments/models/care/model.yaml").read_text()
    old = text.replace(", decision_threshold: 0.5}", "}") + "decision_threshold: 0.4\n"
    (folder / "model.yaml").write_text(old)
    config = load_yaml(folder / "model.yaml", ModelConfig)
    assert (config.decision_threshold, config.threshold) == (0.4, 0.4)
    for load in (load_model, load_training):
        with pytest.raises(ConfigError) as refused:
            load(tmp_path, "care")
        assert str(refused.value) == (
            f"{folder}/model.yaml: decision_threshold stands beside data, where DVC does not see it. "
            "Move it into data.target."
        )
    (folder / "model.yaml").write_text(text.replace("decision_threshold: 0.5", "decision_treshold: 0.5"))
    with pytest.raises(ConfigError, match="decision_treshold is not a known key; did you mean 'decision_threshold'?"):
        load_model(tmp_path, "care")


def test_everything_that_is_wrong_is_said_at_once_and_in_its_place() -> None:
    raw = wrong("features", ["age", "agee", "wags"])
    raw["gates"][1] |= {"benchmark": "newst"}
    raw["gates"].append(raw["gates"][0])
    raw["monitoring"] |= {"metrics": {"mae": 0.1}}
    with pytest.raises(ConfigError) as refused:
        validate(raw, ModelConfig, "model.yaml")
    places = [problem.where for problem in refused.value.problems]
    assert places == [("features", 1), ("features", 2)]  # gates are judged once the part that makes the model is right
    raw["features"] = ["age"]
    with pytest.raises(ConfigError) as refused:
        validate(raw, ModelConfig, "model.yaml")
    assert [problem.where for problem in refused.value.problems] == [
        ("gates", 1, "benchmark"),
        ("gates", len(raw["gates"]) - 1, "name"),
        ("monitoring", "metrics", "mae"),
    ]
    assert all(problem.sentence in str(refused.value) for problem in refused.value.problems)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\n2024-01-01: y\n", "the file: it cannot be read as keys and values"),
        ("name: &a [*a]\n", "line 1 is not valid YAML: an alias stands inside its own anchor"),
        ("name: x\ndata: {target: null}\n", "data.target"),
    ],
)
def test_yaml_that_no_schema_expects_is_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(says)):
        load_yaml(path, ModelConfig)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("age: number", "age: number, minimum: .nan", "column age has minimum nan, which is no finite number"),
        ("age: number", "age: integer, minimum: 0.5", "column age has minimum 0.5, which is no whole number up to"),
        ("age: number", "age: category, categories: [a, b, a]", "lists the categories a more than once"),
        ("age: number", "age: date, format: '%d.%Y'", "has format '%d.%Y', which has a day and no month; add %m"),
        ("age: number", "age: date, format: '%Y %Q'", "which strptime cannot read"),
        ("age: number", "age: datetime, format: '%Y-%m-%d %I'", "which has an hour of 12 and neither %p nor %H"),
        ("outcome > 0", "outcome > 0 or age > 50", "and age is among the features, so the label would be known from"),
        ("outcome > 0", "age > 50", "Remove it from features"),
        ("weight: heft", "weight: outcome", "data.weight names outcome, which data.target.expression is computed from"),
        ("f: [f]", "f: [f, w]", "protected.sex.groups names 'w', which sex never is; allowed: f, m"),
        ("m: [m]", "m: [M]", "protected.sex.groups names 'M', which sex never is; allowed: f, m"),
        ("x: [true]", "x: ['yes']", "protected.member.groups names 'yes', which member never is; allowed: true, false"),
        ("x: [true]", "x: [1]", "protected.member.groups names '1', which member never is"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_for_what_is_trained_now(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    """A registered version may have said so, and its document is still read."""
    text = CONTRADICTION
    assert load(tmp_path, text).name == "small" and text.count(old) == 1
    text = text.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)
    assert validate(yaml.safe_load(columns_written(text)), ModelConfig, "model.yaml").name == "small"


@pytest.mark.parametrize("layout", ["%d.%m.%Y", "%y%m%d", "%Y-%m", "%G-W%V-%u", "%Y-%j", "%d %b %Y %I:%M %p", "%c %z"])
def test_a_format_that_tells_a_date_is_taken(tmp_path: Path, layout: str) -> None:
    assert load(tmp_path, CONTRADICTION.replace("age: number", f"age: datetime, format: '{layout}'")).name == "small"


def columns_written(text: str) -> str:
    return re.sub(r"\{(\w+): (\w+)(.*)\} # column", r"{name: \1, type: \2\3}", text)


def load(root: Path, text: str) -> ModelConfig:
    folder = root / "deployments/models/small"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "deployments/models.yaml").write_text("models: [small]\n")
    (folder / "model.yaml").write_text(columns_written(text))
    return load_model(root, "small")


CONTRADICTION = """
name: small
title: Small
purpose: a test
owner: t@example.org
materiality: low
seed: 1
data:
  source: {kind: file, path: data/small/source/rows.csv, format: csv}
  columns:
    - {age: number} # column
    - {sex: category, categories: [f, m]} # column
    - {member: boolean} # column
    - {outcome: number, input: false} # column
    - {heft: number, input: false} # column
  weight: heft
  target: {expression: outcome > 0, positive: "yes", negative: "no", decision_threshold: 0.5}
  split: {train: 0.5, holdout: 0.4, replay: 0.1}
protected:
  sex: {column: sex, groups: {f: [f], m: [m]}}
  member: {column: member, groups: {x: [true], y: [false]}}
features: [age]
estimator: {kind: logistic_regression}
gates: [{name: floor, kind: floor, metric: roc_auc, limit: 0.6}]
"""


def test_one_bad_name_in_a_list_is_one_problem() -> None:
    for path, name in (("data.columns.0.name", "Bad Name"), ("gates.0.name", "Bad Name")):
        with pytest.raises(ConfigError) as caught:
            validate(wrong(path, name), ModelConfig, "model.yaml")
        assert len(caught.value.problems) == 1 and "after validation" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"data.columns is \[\]: list at least 2"):
        validate(wrong("data.columns", []), ModelConfig, "model.yaml")
