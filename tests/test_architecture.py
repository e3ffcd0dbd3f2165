"""The house in shape: what a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest
import yaml

from tasks.cli.alignment import with_models
from tasks.spec.base import load_yaml
from tasks.spec.model import load_model
from tasks.spec.models import model_names
from tasks.spec.rules import ExpertRules
from tasks.spec.sources import concerns, sources

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
]
SOURCE = [f for f in FILES if f.suffix == ".py" and f.exists()]
DEPLOYMENTS = yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]


def test_modules_and_functions_stay_readable() -> None:
    lines = {f.relative_to(ROOT).as_posix(): len(f.read_text().splitlines()) for f in SOURCE}
    whole = {"tasks/proof/verify.py": 715}  # one file by purpose: an auditor copies it and reads it alone
    long = [f"{name}: {n}" for name, n in lines.items() if n > whole.get(name, 400)]
    for f in SOURCE:
        for node in ast.walk(ast.parse(f.read_text())):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno > 100:
                long.append(f"{f.relative_to(ROOT)}: {node.name}")
    assert long == []


def test_one_module_imports_great_expectations() -> None:
    using = [
        f.relative_to(ROOT).as_posix()
        for f in SOURCE
        if re.search(r"^\s*(import|from) great_expectations", f.read_text(), re.MULTILINE)
    ]
    assert using == ["tasks/data.py"]
    assert (ROOT / "tasks/__init__.py").read_text() == ""


def test_nothing_that_a_person_wrote_is_evaluated_as_code() -> None:
    """``eval``, ``exec``, ``compile``, ``DataFrame.eval`` and ``query``: expressions have an evaluator of their own."""
    found = set()
    for f in [f for f in SOURCE if f.relative_to(ROOT).parts[0] in ("tasks", "flows")]:
        for node in ast.walk(ast.parse(f.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="eval" | "query")) | ast.Name(id="eval" | "exec" | "compile"):
                    found.add(f"{f.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert found == set()


def test_no_tracked_file_names_a_registry_or_a_home() -> None:
    hosts = re.compile(r"https?://(?!127\.0\.0\.1|localhost)[\w.-]*(pypi|pythonhosted|jfrog|nexus|artifactory)[\w./-]*")
    found = [
        f.name
        for f in FILES
        if f.suffix in {".py", ".lock", ".toml", ".yaml", ".yml", ".md", ""}
        and f.is_file()
        and f.name != "test_architecture.py"
        and hosts.search(f.read_text(errors="ignore"))
    ]
    assert found == []


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda d: d["name"])
def test_every_deployment_has_an_entrypoint_a_description_and_one_parameter_model(deployment: dict[str, str]) -> None:
    module, name = deployment["entrypoint"].rsplit(".", 1)
    flow = getattr(importlib.import_module(module), name)
    assert list(flow.parameters.properties) == ["request"]
    form = with_models(flow.parameters.model_dump(), model_names(ROOT))["definitions"]
    offered = [d["properties"]["model"]["enum"] for d in form.values() if "model" in d.get("properties", {})]
    assert offered == [list(model_names(ROOT))]
    assert deployment["description"] and deployment["tags"]


def test_deployments_name_no_model() -> None:
    declared = (ROOT / "deployments/prefect.yaml").read_text()
    assert [name for name in model_names(ROOT) if re.search(rf"\b{name}\b", declared)] == []


def test_every_model_parses() -> None:
    for name in model_names(ROOT):
        assert load_model(ROOT, name).name == name
        folder = ROOT / "deployments/models" / name
        assert load_yaml(folder / "rules.yaml", ExpertRules).rules
        assert (ROOT / "data" / name / "collected").is_dir()


def _files(modules: Iterable[str]) -> set[str]:
    """Their files below the root, but for empty package faces."""
    found = [ROOT / f"{m.replace('.', '/')}.py" for m in modules]
    found = [f if f.exists() else f.with_suffix("") / "__init__.py" for f in found]
    return {f.relative_to(ROOT).as_posix() for f in found if f.read_text().strip()}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("tasks", "flows", cache_dir=None)


def test_a_stage_depends_on_just_the_modules_that_it_imports(imports: grimp.ImportGraph) -> None:
    """Also by way of others, and also inside functions: DVC itself does not follow imports."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        module = f"tasks.stages.{name}"
        used = _files({module, *imports.find_upstream_modules(module)})
        assert {d for d in stage["deps"] if d.startswith("tasks/")} == used, name


def test_what_judges_a_model_is_listed(imports: grimp.ImportGraph) -> None:
    """All science and serving code behind an examination, and the schemas it names; a schema of monitoring is none."""
    listed = sources((ROOT / "dvc.yaml").read_text(), "care")
    assert [path for path in listed if path.startswith("tasks") and not (ROOT / path).exists()] == []
    roots = {"tasks.validation", "tasks.evaluation", "tasks.data", "tasks.serving.readiness"}
    used = roots.union(*(imports.find_upstream_modules(root) for root in roots))
    judging = {m for m in used if not m.startswith(("tasks.records", "tasks.spec"))}
    named = set().union(*(imports.find_modules_directly_imported_by(m) for m in judging))
    schemas = _files(m for m in named if m.startswith("tasks.spec."))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    made = {path for stage in stages for path in stage["deps"] if path.startswith("tasks/spec")}
    assert {path for path in listed if path.startswith("tasks/spec")} == schemas | made
    judges = _files(judging) | schemas
    assert {path for path in judges if not concerns([path], (ROOT / "dvc.yaml").read_text(), "care")} == set()
