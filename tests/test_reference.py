"""The page and the schemas of ``model.yaml`` are those of this code, and say something about every key."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from tasks.spec.columns import KINDS
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_names
from tests import reference
from tests.conftest import ROOT

ANEW = "the keys of model.yaml changed: print them anew with python -m tests.reference"


def test_what_is_printed_is_what_the_schema_says() -> None:
    assert reference.PAGE.read_text() == reference.page(), ANEW
    for path, root in reference.SCHEMAS.items():
        assert json.loads(path.read_text()) == reference.json_schema(root), ANEW


def test_every_key_has_a_meaning_and_an_example() -> None:
    rows = [line for line in reference.PAGE.read_text().splitlines() if re.match(r"\| \**`", line)]
    cells = [re.split(r" ?(?<!\\)\| ?", line)[1:-1] for line in rows]
    assert len(rows) > 150 and {len(row) for row in cells} == {5}
    assert [row[0] for row in cells if not row[1] or not row[3] or not row[4]] == []


@pytest.mark.parametrize("name", model_names(ROOT))
def test_an_editor_accepts_the_shipped_models(name: str) -> None:
    """Each file names the schema that editors take, and fits it."""
    for kind in ("model", "rules"):
        path = ROOT / f"deployments/models/{name}/{kind}.yaml"
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert named is not None
        schema = json.loads((path.parent / named[1]).read_text())
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.validate(yaml.safe_load(path.read_text()), schema, jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    "change",
    [
        {"materiality": "huge"},
        {"featurs": ["age"]},
        {"seed": "one"},
        {"gates": [{"name": "floor", "kind": "flor"}]},
        {"monitoring": {"every_seconds": 5}},
    ],
)
def test_an_editor_marks_what_the_code_refuses(change: dict[str, Any]) -> None:
    document = yaml.safe_load((ROOT / "deployments/models/care/model.yaml").read_text()) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, reference.json_schema(ModelConfig), jsonschema.Draft7Validator)


def test_an_editor_offers_every_type_of_column() -> None:
    column = reference.json_schema(ModelConfig)["$defs"]["Column"]["properties"]
    assert column["type"]["enum"] == list(KINDS)
