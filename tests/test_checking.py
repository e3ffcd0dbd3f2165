"""`assay check` of a folder with many mistakes: each is named at its line, and none hides another."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.checking import Checked, check
from tasks.cli.check import as_json, as_text
from tasks.spec.models import model_names
from tests.conftest import ROOT
from tests.system import require_package_index

MODEL = """\
name: loans
title: Will the loan be repaid?
purpose: A test of what a person gets wrong at first.
owner: risk@example.org
materiality: medium  # missing gate
seed: 3

data:
  source: {kind: file, path: data/loans/source/loans.csv, format: csv}
  columns:
    - {name: age, type: integer, minimum: 18, maximum: 120, nullable: true}
    - {name: income, type: numbr}  # type
    - name: town
      type: category
      descripton: where people live  # key
    - {name: employed, type: category}  # gap
    - {name: score, type: number, nullable: true}  # empty
    - {name: months, type: integer}  # cell
    - {name: origin, type: category}
    - {name: repaid, type: category, input: false}
  rows: age >= 18
  target: {expression: repaid == "yes", positive: repaid, negative: not repaid, decision_threshold: 0.5}
  split: {train: 0.5, holdout: 0.4, replay: 0.1}

protected:
  origin: {column: origin, groups: {north: [north], south: [soth]}}

features:  # leak
  - age
  - town
  - score
  - postcode  # feature
  - months

estimator: {kind: logistic_regression}

benchmarks:
  old: {rows: age > 119}

gates:
  - {name: data, kind: data}
  - {name: auc, kind: floor, metric: roc_auc, limit: 0.5}
  - {name: auc-old, kind: floor, metric: roc_auc, limit: 0.5, benchmark: old}  # benchmark
  - {name: auc-new, kind: floor, metric: roc_auc, limit: 0.5, benchmark: newst}  # unknown benchmark
  - {name: against, kind: comparison, metric: roc_auc, margin: 0.02}
  - {name: fair, kind: fairness, attribute: origin, measure: selection_rate, statistic: difference, limit: 0.3}  # group
  - {name: fair-sex, kind: fairness, attribute: sex, measure: selection_rate, statistic: ratio, limit: 0.3}  # attribute
  - {name: calibrated, kind: calibration, error: 0.3, slope: [0.2, 5], intercept: 2}
  - {name: rules, kind: rules}
  - {name: ready, kind: readiness}
  - {name: transparency, kind: transparency}

monitoring:
  every_seconds: 5  # bound

card: {intended_use: A test., limits: " ", out_of_scope: The rest., ethics: It harms nobody., contact: r@e.org}  # text
"""
EXPECTATIONS = """\
ingested:
  - {type: expect_column_values_to_not_be_null, column: town}
  - {type: expect_column_values_to_be_between, column: wage, min_value: 0}  # expectation
  - {type: expect_column_values_to_be_betwen, column: age, min_value: 0}  # no expectation
prepared:
  - {type: expect_column_values_to_be_in_set, column: employed, value_set: ["yes", "no"]}  # broken
"""
RULES = """\
rules:
  - {rule: direction, column: age, sign: rises, because: "it was made so"}
  - {rule: direction, column: wage, sign: rises, because: "it names no column"}  # rule
  - {rule: vignette, case: {town: Atlantis}, above: {town: Bonn}, because: "no such town"}  # town
"""
SAID = {
    "type": r"data\.columns\.1\.type is 'numbr': input should be 'number'",
    "key": r"descripton is not a known key; did you mean 'description'\?",
    "gap": r"column employed holds '\?' in \d+ rows; .* declare missing: \['\?'\] and nullable: true",
    "empty": r"score is missing in all \d+ training rows",
    "cell": r"loans\.csv, row 7, column months: 'a year' is no whole number",
    "feature": r"features names 'postcode', which is no input column",
    "text": r"card\.limits is empty or a place kept, and medium materiality asks for it; write it",
    "missing gate": r"medium materiality asks for a mandatory gate of kind robustness",
    "benchmark": r"gate auc-old: benchmark 'old' has no rows",
    "unknown benchmark": r"gate auc-new names the benchmark 'newst'; allowed: holdout, newest, all, old",
    "group": r"gate fair: .*",
    "attribute": r"gate fair-sex names 'sex'; allowed: origin",
    "bound": r"monitoring\.every_seconds is 5: input should be greater than or equal to 30",
    "expectation": r"expect_column_values_to_be_between on 'wage' cannot be computed",
    "no expectation": r"'expect_column_values_to_be_betwen' is no expectation that a table alone answers",
    "broken": r"the prepared table breaks it: employed values to be in set .* rows against it",
    "rule": r"names 'wage', which is no input column",
    "leak": r"this looks like a leak: AUC of age alone, which is 94% of what the whole model has over 0.5 is 0.889",
    "town": r"town has no value 'Atlantis'; allowed: Aachen, Bonn, Celle",
}
FILES = {"model": MODEL, "expectations": EXPECTATIONS, "rules": RULES}


def lay_out(root: Path, **changed: str) -> None:
    folder = root / "deployments/models/loans"
    folder.mkdir(parents=True)
    (root / "deployments/models.yaml").write_text("models: [loans]\n")
    for name, text in (FILES | changed).items():
        (folder / f"{name}.yaml").write_text(text)
    source = root / "data/loans/source/loans.csv"
    source.parent.mkdir(parents=True)
    draw = random.Random(5)
    with source.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["age", "income", "town", "employed", "score", "months", "origin", "repaid"])
        for row in range(1, 1501):
            age, town = draw.randint(18, 90), draw.choice(["Aachen", "Bonn", "Celle"])
            repaid = "yes" if age + draw.gauss(0, 15) > 50 else "no"
            months = "a year" if row == 7 else draw.randint(6, 60)
            employed = draw.choice(["yes", "no", "no", "?"])
            table.writerow(
                [age, draw.randint(900, 4000), town, employed, "", months, draw.choice(["north", "south"]), repaid]
            )


def lines(text: str) -> dict[str, int]:
    """The line of every comment."""
    return {found[1]: n for n, line in enumerate(text.splitlines(), 1) if (found := re.search(r"  # (.+)$", line))}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    root = tmp_path_factory.mktemp("many")
    lay_out(root)
    return check(root, "loans")


def test_every_mistake_is_named_at_its_line_and_nothing_else_is(done: Checked) -> None:
    expected = {
        (f"deployments/models/loans/{name}.yaml", line, kind)
        for name, text in FILES.items()
        for kind, line in lines(text).items()
    }
    assert {kind for _, _, kind in expected} == set(SAID)
    found = set()
    for finding in done.findings:
        kinds = [k for k, said in SAID.items() if re.search(said, finding.message)]
        kinds = [k for k in kinds if (finding.file, finding.line, k) in expected]
        assert kinds, f"{finding.file}:{finding.line}: {finding.message}"
        found |= {(finding.file, finding.line, kind) for kind in kinds}
    assert found == expected


def test_what_is_only_odd_is_told_from_what_is_wrong(done: Checked) -> None:
    assert [f.key for f in done.findings if not f.wrong] == ["data.columns.3", "features"]
    told = as_json(done)
    assert told["wrong"] == len(done.findings) - 2
    assert [f["level"] for f in told["findings"]].count("look") == 2
    assert as_text(done).splitlines()[0].startswith("deployments/models/loans/model.yaml:5: medium materiality")


CLEAN = {
    "model": re.sub(r".*# (key|empty|benchmark|unknown benchmark|attribute)\n", "", MODEL)
    .replace("numbr}", "number}")
    .replace("income, type: number}", "income, type: number, minimum: 0}")
    .replace("{name: employed, type: category}", "{name: employed, type: category, missing: ['?'], nullable: true}")
    .replace("soth", "south")
    .replace("  - score\n  - postcode  # feature\n", "")
    .replace("months, type: integer", "months, type: category")
    .replace("every_seconds: 5 ", "every_seconds: 50 ")
    .replace("materiality: medium", "materiality: low"),
    "expectations": re.sub(r".*# (expectation|no expectation|broken)\n", "", EXPECTATIONS).replace("prepared:\n", ""),
    "rules": re.sub(r".*# (rule|town)\n", "", RULES),
}


WRONG_FILES = {
    "expectations": EXPECTATIONS.replace("column: town}", "column: town, row_condition: wage > 3}  # condition"),
    "rules": RULES.replace("{rule: direction, column: age, sign", '{rule: score_range, rows: "aeg > 3", low: 0.1')
    .replace('.1: rises, because: "it was made so"}', '.1, because: "odd"}  # rows')
    .replace("town: Atlantis", "age: 300"),
}
BLIND = {
    "expectations": {"condition": "'wage' is no column here", "expectation": "on 'wage' cannot be computed",
                     "no expectation": SAID["no expectation"]},
    "rules": {"rows": "'aeg' is no column here", "rule": SAID["rule"], "town": "age is 300; allowed: 18 to 120"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said", "named"),
    [
        ("title: Will the loan be repaid?\n", "", "title is required and missing", True),
        ("estimator: {kind: logistic_regression}\n", "", "estimator is required and missing", True),
        ("loans.csv,", "loan.csv,", "which does not exist", True),
        ("name: loans", "name: [", "line 2 is not valid YAML", False),
    ],
)
def test_a_broken_model_hides_nothing_of_the_other_files(
    tmp_path: Path, old: str, new: str, said: str, named: bool
) -> None:
    """One round instead of three: what needs no rows is said without rows, and what needs no model without one."""
    lay_out(tmp_path, **CLEAN | WRONG_FILES | {"model": CLEAN["model"].replace(old, new)})
    done = check(tmp_path, "loans")
    assert any(said in f.message and f.file.endswith("model.yaml") for f in done.wrong)
    sentences = BLIND["expectations"] | BLIND["rules"]
    found = {
        (f.file.split("/")[-1], f.line, kind)
        for f in done.wrong
        for kind, sentence in sentences.items()
        if re.search(sentence, f.message)
    }
    expected = {
        (f"{name}.yaml", lines(WRONG_FILES[name])[kind], kind)
        for name, kinds in BLIND.items()
        for kind in kinds
        if named or kind == "no expectation"
    }
    assert found == expected, done.findings


MODELS = {
    "owner": CLEAN["model"] + "owner: me\n",
    "encoding": CLEAN["model"].replace("format: csv", "format: csv, encoding: utf-17"),
    "path": CLEAN["model"].replace("loans.csv", "loan.csv"),
    "column": CLEAN["model"].replace("name: town", "name: city"),
    "label": CLEAN["model"].replace('== "yes"', '== "ja"'),
    "groups": re.sub(r".*(attribute: origin|column: origin).*\n", "", CLEAN["model"]).replace(
        "protected:\n", "protected: {}\n"
    ),
    "parameter": CLEAN["model"].replace("logistic_regression}", "logistic_regression, parameters: {D: 1}}"),
}


def test_a_group_that_is_wrong_leaves_the_gates_that_are_listed(tmp_path: Path) -> None:
    """Groups that overlap are one mistake, and no reason to ask for a gate that the file has."""
    lay_out(tmp_path, **CLEAN | {"model": CLEAN["model"].replace("south: [", "south: [north, ")})
    said = [f.message for f in check(tmp_path, "loans").wrong]
    assert said and not [text for text in said if "asks for a mandatory gate" in text], said


def test_persons_whose_rows_are_all_there_again_are_told(tmp_path: Path) -> None:
    text = CLEAN["model"].replace("  rows: age >= 18\n", "  rows: age >= 18\n  entity: months\n")
    lay_out(tmp_path, **CLEAN | {"model": text})
    assert not [f for f in check(tmp_path, "loans").findings if "more than once" in f.message]
    source = tmp_path / "data/loans/source/loans.csv"
    head, *rows = source.read_text().splitlines()
    source.write_text("\n".join([head, *rows, *rows, ""]))
    (told,) = [f for f in check(tmp_path, "loans").findings if "more than once" in f.message]
    assert told.message.startswith("3,000 of 3,000 rows stand in the source more than once, alike in every column")
    assert not told.wrong


def test_rows_that_are_dropped_are_counted_with_the_reason(tmp_path: Path) -> None:
    """A person's rows reach over the whole file, so a split by time keeps only those of one side."""
    text = CLEAN["model"].replace(
        "  split: {train", "  entity: town\n  period: age\n  rows: age >= 30\n  split: {by: time, train"
    )
    lay_out(tmp_path, **CLEAN | {"model": text.replace("  rows: age >= 18\n", "")})
    with (tmp_path / "data/loans/source/loans.csv").open(newline="") as stream:
        young = sum(int(row["age"]) < 30 for row in csv.DictReader(stream))
    done = check(tmp_path, "loans")
    told = [line for line in as_text(done).splitlines() if line.startswith("  dropped")]
    other = 1500 - young - sum(done.counted["rows"].values())
    assert young > 100 and other > 500
    assert told == [
        f"  dropped {young:,} of 1,500 rows outside data.rows",
        f"  dropped {other:,} of 1,500 rows of an entity that is on another side",
    ]
    assert sum(as_json(done)["dropped"].values()) + sum(as_json(done)["rows"].values()) == as_json(done)["read"]


def in_a_clone(tmp_path: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
    """The command in a working tree with files that nobody committed."""
    clone = tmp_path / "clone"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
        subprocess.run(["cp", "-r", f"{ROOT}/tasks", str(clone)], check=True)
        for folder in ("deployments/models", "data"):
            subprocess.run(["rm", "-r", str(clone / folder)], check=True)
        lay_out(clone, **files)
    run = [sys.executable, "-c", "from tasks.cli.app import main; main()", "check", *arguments]
    return subprocess.run(run, cwd=clone, capture_output=True, text=True, check=False, timeout=280)


def test_the_command_in_a_working_tree_without_a_system(tmp_path: Path) -> None:
    done = in_a_clone(tmp_path, "loans", **CLEAN)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    leak, first, rows, classes, groups = done.stdout.splitlines()
    assert first == "loans: nothing is wrong, 1 thing to look at."  # repaid is made of the age
    assert re.match(r"deployments/models/loans/model.yaml:26: look: this looks like a leak: AUC of age alone", leak)
    assert re.fullmatch(r"  rows: train \d+, holdout \d+, replay \d+", rows) and "not repaid" in classes
    assert re.fullmatch(r"  origin in the holdout: (north|south) \d+, (north|south) \d+", groups)
    missing = in_a_clone(tmp_path, "loan", "--json")
    assert missing.returncode == 1 and missing.stderr == ""
    assert json.loads(missing.stdout)["findings"][0]["message"] == (
        "model 'loan' is not listed in deployments/models.yaml; allowed: loans"
    )


@pytest.mark.parametrize(
    ("name", "text", "line", "says"),
    [
        ("model", "name: [", 1, "line 1 is not valid YAML"),
        ("model", "", None, "must hold a mapping of keys to values, not NoneType"),
        ("expectations", "ingested:\n  - type: [\n", 3, "line 3 is not valid YAML"),
        ("rules", "rules: {}\n", 1, "rules is {}: input should be a valid array"),
        ("rules", "- a\n", None, "must hold a mapping of keys to values, not list"),
        ("model", MODELS["owner"], MODELS["owner"].count("\n"), "owner stands here again, after line 4"),
        ("model", MODELS["encoding"], 9, "encoding"),
        ("model", MODELS["path"], 9, "data/loans/source/loan.csv', which does not exist"),
        ("model", MODELS["column"], 13, "no column city"),
        ("model", MODELS["label"], None, "hold one class only"),
        ("model", MODELS["groups"], 23, "protected is {}, so no group is looked after. Name groups"),
        ("model", MODELS["parameter"], None, "names D, unknown to logistic_regression"),
    ],
)  # fmt: skip
def test_a_single_fault_of_any_part_is_a_finding_with_its_line(
    tmp_path: Path, name: str, text: str, line: int | None, says: str
) -> None:
    lay_out(tmp_path, **(CLEAN | {name: text}))
    done = check(tmp_path, "loans")
    found = [f for f in done.findings if says in f.message]
    assert found, done.findings
    assert found[0].file == f"deployments/models/loans/{name}.yaml"
    assert line is None or found[0].line == line


def test_shipped_models_hold_nothing_wrong() -> None:
    """The smallest here; all of them nightly."""
    shipped("health")


@pytest.mark.acceptance
@pytest.mark.parametrize("name", model_names(ROOT))
def test_every_shipped_model_holds_nothing_wrong(name: str) -> None:
    shipped(name)


def shipped(name: str) -> None:
    require_package_index()
    begun = time.process_time()
    done = check(ROOT, name)
    assert done.wrong == [] and done.counted["rows"]["holdout"] > 0
    assert time.process_time() - begun < 60


UNQUOTED = {
    "{name: employed, type: category, missing: ['?'], nullable: true}":
        "{name: employed, type: category, missing: ['?'], nullable: true, categories: [no, yes]}",
    "{name: origin, type: category}": "{name: origin, type: category, categories: [north, south, 01067]}",
    "{name: income, type: number, minimum: 0}": "{name: income, type: number, minimum: 0, description: 1.50}",
    "  - months\n": "  - months\n  - town\n  - age\n  - town\n",
    "north: [north], south: [south]": "north: [north, north], south: [north]",
    "seed: 3": "sede: 3",
    "{kind: logistic_regression}": "{kind: logistic_regression, class_weight: {yes: 2}}",
    "decision_threshold": "decision_treshold",
}  # fmt: skip


def test_what_lacks_quotes_or_stands_twice_is_said_once_with_the_fix_and_nothing_follows_from_it(
    tmp_path: Path,
) -> None:
    text = CLEAN["model"]
    for old, new in UNQUOTED.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    lay_out(tmp_path, **CLEAN | {"model": text})
    without = "because it is written without quotes; quote it"
    found = [f"{f.line} {f.message}".partition(" allowed: benchmarks,")[0] for f in check(tmp_path, "loans").wrong]
    assert found == [
        "6 sede is not a known key; did you mean 'seed'?",
        f"12 data.columns.1.description is 1.5, {without}: '1.50'",
        f"15 data.columns.3.categories.0 is False, {without}: 'no'",
        f"15 data.columns.3.categories.1 is True, {without}: 'yes'",
        f"17 data.columns.5.categories.2 is 567, {without}: '01067'",
        "20 data.target.binary.decision_treshold is not a known key; did you mean 'decision_threshold'? allowed: "
        "decision_threshold, expression, kind, missing, negative, positive",
        "24 protected.origin: groups 'north' and 'south' both have the value 'north'; a value belongs to one group",
        "30 features names 'town' more than once; name it once",
        "31 features names 'age' more than once; name it once",
        "32 features names 'town' more than once; name it once",
        "34 class_weight names true; allowed: each of not repaid, repaid. YAML reads yes and no without quotes as true "
        "and false, so quote them: 'yes', 'no'",
    ]
