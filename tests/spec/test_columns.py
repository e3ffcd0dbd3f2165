"""A column's type is one object: a new one is a class and an entry, and every layer takes it from there."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.cli.rows_of_files import read_rows
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.science.data.tables import as_requests
from tasks.science.gates.perturbations import touched
from tasks.science.models.estimators import build
from tasks.science.monitors.drift.findings import drift_findings
from tasks.science.monitors.drift.reference import fit_reference
from tasks.science.monitors.profiles.profile import profile
from tasks.serving.release import Release, table
from tasks.serving.schema import RowSchema
from tasks.spec.base import validate
from tasks.spec.columns import KINDS, decoded, to_table
from tasks.spec.errors import ConfigError
from tasks.spec.kind import ColumnKind, DeclaredColumn
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig, load_model
from tasks.tables.typed import typed
from tests.conftest import ROOT

YES, NO = ("true", "yes", "1"), ("false", "no", "0")


class Truth(ColumnKind):
    """A boolean: yes or no in sources, true or false in JSON, one of two names in tables."""

    name, noun, numeric, placeholder = "truth", "yes or no", False, "false"

    def from_source(self, values: pd.Series, column: DeclaredColumn) -> tuple[pd.Series, pd.Series]:
        known = {word: "true" for word in YES} | {word: "false" for word in NO}
        found = values.astype(object).map(lambda v: known.get(str(v).lower()), na_action="ignore").astype("str")
        return found, found.isna() & values.notna()

    def from_json(self, values: pd.Series) -> pd.Series:
        known = {True: "true", False: "false", "True": "true", "False": "false"}
        return values.astype(object).map(lambda v: known.get(v, v))

    def to_json(self, value: Any) -> Any:
        return value == "true"

    def request_field(self, column: DeclaredColumn) -> tuple[Any, dict[str, Any]]:
        return bool, {}


@pytest.fixture
def with_truth() -> Iterator[None]:
    KINDS["truth"] = Truth()
    yield
    del KINDS["truth"]


def config_with_truth() -> ModelConfig:
    """The care model with one more feature, of the new type."""
    raw = json.loads(load_model(ROOT, "care").model_dump_json())
    raw["data"]["columns"].append({"name": "insured", "type": "truth", "nullable": True})
    raw["features"].append("insured")
    return validate(raw, ModelConfig, "care with a truth")


def source(config: ModelConfig, n: int, seed: int, insured: float) -> pd.DataFrame:
    """A table as a CSV gives it; every tenth ``insured`` is missing."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({c.name: rng.integers(0, 2, n) + int(c.minimum or 0) for c in config.data.columns})
    words = np.where(rng.random(n) < insured, "yes", "no").astype(object)
    return rows.assign(insured=np.where(np.arange(n) % 10 == 0, None, words))


def manifest(config: ModelConfig) -> Manifest:
    inputs = tuple(json.loads(c.model_dump_json()) for c in config.inputs)
    return Manifest(
        model="care", title="", model_digest="", features=config.features, inputs=inputs, decision_threshold=0.5,
        seed=0, trained_rows=400, libraries={},
    )  # fmt: skip


@pytest.mark.usefixtures("with_truth")
def test_a_new_type_passes_from_the_source_to_a_drift_alarm(tmp_path: Path) -> None:
    config = config_with_truth()
    rows = typed(config.data.columns, source(config, 600, 0, insured=0.5))
    assert rows["insured"].dtype == "str"
    assert rows["insured"].value_counts(dropna=False).to_dict().keys() == {"true", "false", np.nan}

    # training, and requests as a client sends them
    label = np.random.default_rng(1).random(600) < 0.5
    pipeline = build(config).fit(rows[list(config.features)], label)
    requests = as_requests(config, rows)
    assert [r["insured"] for r in requests[:10]] == [
        None if pd.isna(v) else v == "true" for v in rows["insured"].iloc[:10]
    ]

    # the service: its schema, what it refuses, and the same scores as in training
    release = Release(manifest(config), pipeline)
    schema = RowSchema(release.manifest)
    field = schema.json_schema()["properties"]["insured"]
    assert [option["type"] for option in field["anyOf"]] == ["boolean", "null"]
    accepted, refused = schema.check(requests)
    assert refused == [] and schema.check([requests[1] | {"insured": "yes"}])[1][0]["field"] == "insured"
    served = table(accepted, release.manifest)
    pd.testing.assert_frame_equal(served, rows[[c.name for c in config.inputs]])
    scores = release.score(served)
    assert scores.tolist() == pipeline.predict_proba(rows[list(config.features)])[:, 1].tolist()

    # a file to score
    file = tmp_path / "rows.csv"
    served.assign(insured=served["insured"].map({"true": "yes", "false": "no"})).to_csv(file, index=False)
    assert [r["insured"] for batch in read_rows(file, config) for r in batch] == [r["insured"] for r in requests]

    # the log, and its rows in table form again
    log = PredictionLog(f"sqlite:///{tmp_path}/log.db")
    log.append([
        Prediction(f"p{i}", "care", "v1.0.0", "2026-11-01T00:00:00", row, score, score >= 0.5)
        for i, (row, score) in enumerate(zip(accepted, scores.tolist(), strict=True))
    ])  # fmt: skip
    logged = decoded(config.inputs, log.frame("care", 0, 2**62))
    log.close()
    assert logged["insured"].fillna("").tolist() == rows["insured"].fillna("").tolist()
    pd.testing.assert_frame_equal(to_table(config.inputs, logged), served)

    # profile and drift
    reference = fit_reference(config, rows.assign(_score=scores), 1)
    counted = profile(reference.layout, logged)
    layout = next(c for c in reference.layout.categories if c.name == "insured")
    assert set(layout.names) == {"true", "false"}
    assert counted.counts["names:insured"].tolist()[-2:] == [0, 60]  # none is unlisted, a tenth is missing
    moved = typed(config.data.columns, source(config, 600, 2, insured=0.95)).assign(_score=scores)
    importance = {"insured": 1.0}
    quiet, loud = (
        {(f.kind, f.subject): f.alarm for f in drift_findings(config, reference, window, importance, 0.01)}
        for window in (counted, profile(reference.layout, moved))
    )
    assert quiet["data_drift", "insured"] is False and loud["data_drift", "insured"] is True

    # a closed set: no perturbation invents a third value
    assert "insured" not in [c.name for kind in ("unseen", "noise") for c in touched(kind, list(config.inputs))]


@pytest.mark.usefixtures("with_truth")
def test_a_new_type_refuses_what_is_not_of_it(tmp_path: Path) -> None:
    config = config_with_truth()
    raw = source(config, 20, 0, 0.5)
    raw.loc[3, "insured"] = "perhaps"
    with pytest.raises(ConfigError, match=r"row 4, column insured: 'perhaps' is no yes or no\."):
        typed(config.data.columns, raw)
    raw.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ConfigError, match=r"row 4, column insured: 'perhaps' is no yes or no"):
        list(read_rows(tmp_path / "rows.csv", config))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"type": "text"},
            r"type is 'text': input should be 'number', 'integer', 'category', 'boolean', 'date' or 'datetime'",
        ),
        ({"type": "category", "minimum": 0.0}, r"is of type category, which has no minimum or maximum"),
        ({"type": "integer", "categories": ["a"]}, r"is of type integer, which has no categories"),
        (
            {"type": "category", "categories": ["?", "a"], "missing": ["?"]},
            r"has '\?' among its categories, and such a cell means missing; take it out of categories",
        ),
        ({"type": "category", "categories": ["", "a"]}, r"has '' among its categories, and such a cell means missing"),
        ({"type": "date", "format": "%d.%m.%%Y"}, r"has format '%d\.%m\.%%Y', which has no year; write %Y or %y"),
    ],
)
def test_a_wrong_declaration_says_what_is_allowed(change: dict[str, Any], says: str) -> None:
    raw = json.loads(load_model(ROOT, "care").model_dump_json())
    raw["data"]["columns"][0] = {"name": raw["data"]["columns"][0]["name"], **change}
    with pytest.raises(ConfigError, match=says):
        validate(raw, ModelConfig, "model.yaml")


def test_a_marker_of_the_whole_source_is_no_category() -> None:
    raw = json.loads(load_model(ROOT, "care").model_dump_json())
    column = next(c for c in raw["data"]["columns"] if c["type"] == "category")
    column["categories"], raw["data"]["source"]["missing"] = ["a", "?"], ["?"]
    with pytest.raises(ConfigError, match=rf"column {column['name']} has .* among its categories, and such a cell"):
        validate(raw, ModelConfig, "model.yaml")


@pytest.mark.parametrize("name", ["rot13", "base64", "unicode_escape", "idna", "undefined", "latin-17"])
def test_a_codec_that_is_no_encoding_of_text_is_refused(name: str) -> None:
    source = {"kind": "file", "path": "data/care/source/a.csv", "format": "csv", "encoding": name}
    raw = json.loads(load_model(ROOT, "care").model_dump_json())
    raw["data"]["source"] = source
    with pytest.raises(ConfigError, match=f"'{name}' is no encoding of text that Python knows"):
        validate(raw, ModelConfig, "model.yaml")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_table_form_follows_the_scale(kind: ColumnKind) -> None:
    """Where only a table is at hand, code asks pandas whether a column is numeric; it must get the kind's answer."""
    made = pd.Series([kind.placeholder], dtype=kind.dtype)
    assert pd.api.types.is_numeric_dtype(made) is kind.numeric
    assert made.iloc[0] == kind.placeholder


def comparisons(tree: ast.AST, names: set[str]) -> list[int]:
    """Lines that decide by the name of a column type: comparisons, match cases, and mappings over types."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = [e for s in sides for e in (s.elts if isinstance(s, ast.Tuple | ast.List | ast.Set) else [s])]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        elif isinstance(node, ast.Dict):
            keys = [k for k in node.keys if isinstance(k, ast.Constant) and k.value in names]
            asked = list(keys) if len(keys) > 1 else []
        else:
            continue
        if any(isinstance(e, ast.Constant) and e.value in names for e in asked):
            found.append(node.lineno if hasattr(node, "lineno") else 0)
    return found


def test_no_other_module_compares_a_columns_type_with_a_literal() -> None:
    """But the scaffold, whose answer a type is."""
    files = [f for top in ("tasks", "flows") for f in (ROOT / top).rglob("*.py") if f.name != "columns.py"]
    files = [f for f in files if f.parent.name != "scaffold"]
    found = {
        f"{f.relative_to(ROOT)}:{line}" for f in files for line in comparisons(ast.parse(f.read_text()), set(KINDS))
    }
    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        "column.type == 'category'",
        "'number' != c['type']",
        "kind in ('number', 'integer')",
        "{'number': float, 'category': str}[c.type]",
        "match kind:\n    case 'integer': pass",
    ],
)
def test_a_comparison_with_a_type_is_found(code: str) -> None:
    assert len(comparisons(ast.parse(code), set(KINDS))) == 1
    assert comparisons(ast.parse("role == 'owner'; {'model': 1, 'number': 2}"), set(KINDS)) == []
