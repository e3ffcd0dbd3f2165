"""A branch is held to what the main branch asks: gates, rules, expectations, and the question itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.asked import expectations_of, gates_of, rules_of, same_question
from tasks.records.repository import workspace
from tasks.spec.models import LISTED, model_folder
from tasks.spec.settings import Settings
from tasks.versions import Candidate, materiality
from tests.conftest import ROOT, git


@pytest.fixture
def tree(settings: Settings, developer: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout of a main branch that has the shipped models, with care of high materiality."""
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    shutil.copytree(ROOT / "deployments", developer / "deployments")
    change(developer, "model.yaml", {"materiality: low": "materiality: high"})
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "models")
    git(developer, "push", "--quiet", "origin", "main")
    with workspace.worktree(settings, "main") as found:
        yield found


def change(tree: Path, name: str, swaps: dict[str, str]) -> None:
    path = model_folder(tree, "care") / name
    text = path.read_text()
    for old, new in swaps.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


def pushed(tree: Path) -> Candidate:
    return Candidate("care", "a" * 40, "branch", tree, "sha256:0")


def test_who_asks_what_main_asks_is_asked_that_and_no_more(tree: Path) -> None:
    config = pushed(tree).config
    assert gates_of(config) == (config.gates, frozenset())
    assert not rules_of(tree, "care")[1] and not expectations_of(tree, "care")[1] and same_question(config) is None


def test_gates_that_a_branch_loosens_or_drops_are_mains_and_those_it_adds_count(tree: Path) -> None:
    leakage, first = "  - {name: leakage, kind: leakage}\n", "gates:\n"
    more = "  - {name: mine, kind: floor, metric: roc_auc, limit: 0.7}\n"
    change(
        tree,
        "model.yaml",
        {"materiality: high": "materiality: low", "limit: 0.62}": "limit: 0.01}", leakage: "", first: first + more},
    )
    gates, changed = gates_of(pushed(tree).config)
    found = {g.name: g for g in gates}
    assert pushed(tree).config.materiality == "low" and materiality(pushed(tree)) == "high"
    assert found["auc-floor"].model_dump()["limit"] == 0.62 and "leakage" in found and "mine" in found
    assert changed == {"auc-floor", "leakage"}


def test_rules_and_expectations_that_a_branch_loosens_hold_as_main_has_them(tree: Path) -> None:
    change(tree, "rules.yaml", {"column: female, share: 0.0,": "column: female, share: 0.9,"})
    change(tree, "expectations.yaml", {"column: mdvis, min_value: 0": "column: mdvis, min_value: -9"})
    rules, held = rules_of(tree, "care")
    assert rules is not None and held
    limits = [r.share for r in rules.rules if r.rule == "forbidden_driver" and r.column == "female"]
    assert limits == [0.9, 0.0]
    suites, held = expectations_of(tree, "care")
    assert held and [e["min_value"] for e in suites.ingested if e.get("column") == "mdvis"] == [-9, 0]


def test_a_branch_without_its_rules_is_held_to_those_of_main(tree: Path) -> None:
    (model_folder(tree, "care") / "rules.yaml").unlink()
    rules, held = rules_of(tree, "care")
    assert rules is not None and held and len(rules.rules) == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("expression: mdvis > 0", "expression: mdvis > 4", "data.target is"),
        ("base: year <= 3", "base: year <= 1", 'data.base is "year <= 1" and not "year <= 3"'),
        ("entity: zper", "entity: null", 'data.entity is missing and not "zper"'),
        ("holdout: 0.35, replay: 0.1", "holdout: 0.25, replay: 0.2", "data.split is"),
        ("names: [not black, black]}", "names: [all, none]}", "protected.race is"),
        ("selection_change: 0.3", "selection_change: 90", "monitoring is {"),
        ("{rows: xage < 18, sha256", "{rows: xage < 17, sha256", "benchmarks.children is"),
    ],
)
def test_a_branch_that_asks_another_question_fails_with_what_it_changed(
    tree: Path, old: str, new: str, said: str
) -> None:
    change(tree, "model.yaml", {old: new})
    told = same_question(pushed(tree).config)
    assert told is not None and told.mandatory and told.state == "fail" and said in told.reason, told
    assert told.remedy == "to ask it, push the changed model.yaml to main first"


def test_where_a_branch_decides_is_its_own_choice_and_so_is_a_model_that_main_does_not_have(tree: Path) -> None:
    change(tree, "model.yaml", {"decision_threshold: 0.5": "decision_threshold: 0.6"})
    assert same_question(pushed(tree).config) is None
    change(tree, "model.yaml", {"name: care": "name: caring", "expression: mdvis > 0": "expression: mdvis > 4"})
    model_folder(tree, "care").rename(model_folder(tree, "caring"))
    (tree / LISTED).write_text("models: [caring]\n")
    caring = Candidate("caring", "a" * 40, "branch", tree, "sha256:0")
    assert same_question(caring.config) is None and gates_of(caring.config) == (caring.config.gates, frozenset())
