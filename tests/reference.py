"""The keys of ``model.yaml``, printed from the schema: for people as ``docs/model.md``, for editors as JSON schemas.

python -m tests.reference    writes all of them anew
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from tasks.spec.columns import KINDS
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_names
from tasks.spec.rules import ExpertRules
from tests.conftest import ROOT

PAGE = ROOT / "docs/model.md"
SCHEMAS: dict[Path, type[BaseModel]] = {
    ROOT / "deployments/model.schema.json": ModelConfig,
    ROOT / "deployments/rules.schema.json": ExpertRules,
}
HEAD = """\
# The keys of `model.yaml`

`deployments/models/<name>/model.yaml` says all of a model. `assay new` writes one for a file, and `assay check NAME`
says what is wrong with it. An editor with a YAML language server completes and checks it by
[the JSON schema](../deployments/model.schema.json). This page is printed from the same schema by
`python -m tests.reference`. **Bold** keys are required. What each gate asks is in [gates.md](gates.md).
"""
WORDS = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false", "null": "nothing"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "over", "maximum": "at most", "exclusiveMaximum": "under"}
EXAMPLES: dict[str, Any] = {
    "ModelConfig.unprotected": "the rows are machines, and no person is behind one",
    "Column.zone": "Europe/Berlin",
    "Column.source": "Alter (Jahre)",
    "Column.missing": ["?", "None"],
    "Column.available": "after",
    "Column.unit": "%",
    "Column.format": "%d.%m.%Y",
    "FileSource.path": "data/credit/source/loans.csv",
    "FileSource.paths": ["data/credit/source/loans-*.csv.gz"],
    "FileSource.format": "csv",
    "FileSource.separator": ";",
    "FileSource.decimal": ",",
    "FileSource.thousands": "'",
    "FileSource.encoding": "latin-1",
    "FileSource.quote": "'",
    "FileSource.missing": ["?"],
    "SqlSource.url": "postgresql+psycopg://reader@db.example.org/loans",
    "SqlSource.query": "select * from loans where year >= 2020",
    "SqlSource.snapshot": "data/credit/source/loans.parquet",
    "SqlSource.missing": ["?"],
    "BinaryTarget.missing": "drop",
    "MulticlassTarget.missing": "drop",
    "RegressionTarget.missing": "drop",
    "RegressionTarget.decision_threshold": 40000,
    "Data.period": "year",
    "Data.entity": "customer",
    "Data.weight": "survey_weight",
    "Data.holdout_sha256": "sha256:" + "0" * 64,
    "Estimator.factory": "deployments.models.credit.code.forest:build",
    "Estimator.network": {"layers": [64, 32], "alpha": 0.001},
    "Estimator.class_weight": "balanced",
    "Estimator.encoding": {"postcode": "target"},
    "LeakageGate.excused": {"last_score": "an earlier answer, known on the day"},
    "LeakageGate.excused_jumps": [{"first": "2020-03-01", "because": "payments were suspended by law"}],
    "ExcusedJump.first": "2020-03-01",
    "ExcusedJump.last": "2020-06-30",
    "ExcusedJump.because": "payments were suspended by law",
    "Monitoring.metric_limits": {"log_loss": 0.6},
    "Monitoring.retention_days": 365,
    "Monitoring.embedding": "deployments.models.credit.code.view:embed",
    "FeedPolicy.silent_seconds": 3600,
    "FeedPolicy.labels_seconds": 86400,
    "ForecastPolicy.season": 7,
    "ModelConfig.envelope": {
        "sources": ["tax office"],
        "rows": 5000,
        "performance": [{"name": "still-good", "kind": "floor", "metric": "roc_auc", "limit": 0.8}],
    },
    "Envelope.sources": ["tax office"],
    "Envelope.rows": 5000,
    "Envelope.until": "2027-03-31",
    "Envelope.estimator": {"max_iter": [100, 400]},
    "Envelope.threshold": [0.45, 0.55],
    "Envelope.performance": [{"name": "still-good", "kind": "floor", "metric": "roc_auc", "limit": 0.8}],
    "Search.fairness": "opportunity-by-sex",
    "Search.sampler": "random",
    "Choice.kinds": ["logistic_regression"],
    "Subset.kinds": ["logistic_regression"],
}
"""By ``Class.key``, where a value of a shipped model, the default, or one made from the type would say little."""


@cache
def docstrings(module: str) -> dict[str, dict[str, str]]:
    """The docstring of every field of every class of a module, by class and field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        if isinstance(node, ast.ClassDef):
            fields = found.setdefault(node.name, {})
            for field, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    said = after.value if isinstance(after, ast.Expr) else None
                    if isinstance(said, ast.Constant) and isinstance(said.value, str):
                        fields[field.target.id] = inspect.cleandoc(said.value)
    return found


def meaning(model: type[BaseModel], field: str) -> str:
    """A field's docstring in one paragraph, of the class that declares it; what names code is left as text."""
    for owner in model.__mro__:
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            said = docstrings(owner.__module__).get(owner.__name__, {}).get(field)
            if said:
                return plain(said)
    return plain(model.model_fields[field].description or "")


def plain(said: str) -> str:
    """A docstring as Markdown text on one line."""
    said = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", " ".join(said.split()))
    return said.replace("``", "`")


@cache
def classes(root: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every model that a model holds, by name, itself first."""
    found: dict[str, type[BaseModel]] = {}

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if annotation.__name__ not in found:
                found[annotation.__name__] = annotation
                for field in annotation.model_fields.values():
                    visit(field.annotation)
        else:
            for part in get_args(annotation):
                visit(part)

    visit(root)
    return found


def json_schema(root: type[BaseModel]) -> dict[str, Any]:
    """The schema for editors, with the docstrings as descriptions."""
    schema = root.model_json_schema()
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    for name, model in classes(root).items():
        described = schema if model is root else schema["$defs"].get(name)
        if described is None:
            continue
        for field, info in model.model_fields.items():
            key = info.alias or field
            if said := meaning(model, field):
                described["properties"][key]["description"] = said
        if name == "Column":
            described["properties"]["type"]["enum"] = list(KINDS)
    return schema


def page() -> str:
    """``docs/model.md``."""
    schema, examples = json_schema(ModelConfig), shipped_examples()
    parts, done, open_parts = [HEAD], set[str](), [("", ModelConfig.__name__)]
    known = classes(ModelConfig)
    while open_parts:
        where, name = open_parts.pop(0)
        if name in done:
            continue
        done.add(name)
        described = schema if name == ModelConfig.__name__ else schema["$defs"][name]
        title = f"`{where}`" if where else "The whole file"
        for chooses in ("kind", "draw"):
            named = described["properties"].get(chooses, {}).get("const")
            title += f", {chooses} `{named}`" if named else ""
        parts.append(section(title, known[name], described, examples))
        for key, field in described["properties"].items():
            inside = f"{where}.{key}" if where else key
            open_parts += [(inside + way, below) for way, below in references(field)]
    return "\n".join(parts)


def section(title: str, model: type[BaseModel], described: dict[str, Any], examples: dict[str, Any]) -> str:
    """One model's keys."""
    lines = [f"## {title}", ""]
    if model.__doc__ and model is not ModelConfig:
        lines += [plain(model.__doc__), ""]
    lines += ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    required = described.get("required", [])
    for key, field in described["properties"].items():
        shown = f"**`{key}`**" if key in required else f"`{key}`"
        default = "" if key in required else f"`{compact(field.get('default'))}`"
        example = examples.get(f"{model.__name__}.{key}")
        if example is None:
            example = field.get("default") or invented(model, key, field)
        told = "" if example is None else f"`{key}: {compact(example)}`"
        if told.endswith("...`") and references(field):
            told = "below"
        said = field.get("description", "") or (f"Chooses this {key}." if "const" in field else "")
        cells = [shown, kind_of(field), default, said, told]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def compact(value: Any) -> str:
    """A value as YAML on one line, cut where it is long."""
    if value is None:
        return "none"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...").strip().replace("`", "'")
    return text if len(text) <= 90 else text[:87] + "..."


def kind_of(field: dict[str, Any]) -> str:
    """A type in words."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        return "mapping, below"
    options = field.get("anyOf") or field.get("oneOf")
    if options:
        told = list(dict.fromkeys(kind_of(option) for option in options if option.get("type") != "null"))
        return " or ".join(told)
    if field.get("type") == "array":
        places = field.get("prefixItems")
        if places:
            return f"list of {len(places)}: {', '.join(kind_of(place) for place in places)}"
        least = f", at least {field['minItems']}" if "minItems" in field else ""
        return f"list of {kind_of(field.get('items', {}))}{least}"
    if field.get("type") == "object":
        inside = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), {})
        return f"mapping of name to {kind_of(inside) if isinstance(inside, dict) else 'anything'}"
    word = WORDS.get(str(field.get("type")), "anything")
    bounds = [f"{said} {field[key]:g}" for key, said in BOUNDS.items() if key in field]
    return " ".join([word, *bounds])


def references(field: Any, way: str = "") -> list[tuple[str, str]]:
    """The models that a field leads to, each with what its path gains: ``[]`` for items, ``.*`` for names."""
    if isinstance(field, list):
        return [found for part in field for found in references(part, way)]
    if not isinstance(field, dict) or not field:
        return []
    if "$ref" in field:
        return [(way, field["$ref"].rsplit("/", 1)[1])]
    found = references(field.get("anyOf", []), way) + references(field.get("oneOf", []), way)
    found += references(field.get("items", {}), way + "[]") + references(field.get("prefixItems", []), way + "[]")
    found += references(field.get("additionalProperties", {}), way + ".*")
    return found + references(list(field.get("patternProperties", {}).values()), way + ".*")


def shipped_examples() -> dict[str, Any]:
    """A value of each key, by ``Class.key``: one of :data:`EXAMPLES`, else the first of the shipped models."""
    found: dict[str, Any] = {}

    def visit(annotation: Any, value: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            if isinstance(value, dict):
                for name, field in annotation.model_fields.items():
                    key = field.alias or name
                    if key in value:
                        found.setdefault(f"{annotation.__name__}.{key}", value[key])
                        visit(field.annotation, value[key])
            return
        for part in get_args(annotation):
            if isinstance(value, list):
                for item in value:
                    visit_branch(part, item)
            elif isinstance(value, dict):
                visit_branch(part, value)
                for item in value.values():
                    visit_branch(part, item)

    def visit_branch(annotation: Any, value: Any) -> None:
        """Of the models of a union, the one that the value's ``kind`` names."""
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            kind = annotation.model_fields.get("kind")
            named = get_args(kind.annotation) if kind is not None else ()
            if isinstance(value, dict) and (not named or value.get("kind", kind.default if kind else None) in named):
                visit(annotation, value)
        else:
            visit(annotation, value)

    for name in model_names(ROOT):
        document = yaml.safe_load((ROOT / f"deployments/models/{name}/model.yaml").read_text())
        visit(ModelConfig, document)
    return found | EXAMPLES


def invented(model: type[BaseModel], key: str, field: dict[str, Any]) -> Any:
    """A value that the type allows, which is not the default where there is a choice; None where none is found."""
    name = next(n for n, info in model.model_fields.items() if (info.alias or n) == key)
    options = [field, *field.get("anyOf", []), *field.get("oneOf", [])]
    tried: list[Any] = []
    for option in options:
        if "const" in option:
            tried.append(option["const"])
        tried += reversed(option.get("enum", []))
        low, high = (option.get(k) for k in ("minimum", "maximum"))
        above, below = (option.get(k) for k in ("exclusiveMinimum", "exclusiveMaximum"))
        ends = [value for value in (low, high) if value is not None]
        between = [(above or 0) + (below - (above or 0)) / 2] if below is not None else []
        tried += {
            "boolean": [True],
            "integer": [*ends, 10],
            "number": [*between, *ends, 0.5, 10],
            "string": [key],
            "array": [[key], ["a", "b"]],
            "object": [{"name": key}],
        }.get(str(option.get("type")), [])
    info = model.model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(info.annotation)
    for value in [v for v in tried if v != info.default] + tried:
        try:
            adapter.validate_json(json.dumps(value))
        except ValidationError:
            continue
        return value
    return None


def main() -> None:
    """Write the page and the schemas."""
    for path, root in SCHEMAS.items():
        path.write_text(json.dumps(json_schema(root), indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
