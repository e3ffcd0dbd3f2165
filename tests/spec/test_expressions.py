"""What an expression of a config may hold: attacks and mistakes, each by way of a ``model.yaml``."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.expressions import ALLOWED
from tasks.spec.model import load_model
from tasks.spec.rules import ExpertRules
from tasks.spec.training import load_training
from tests.conftest import ROOT

PLACES = ("data.rows", "data.base", "data.target.expression", "benchmarks.over_65.rows", "gates.21.slices.0.rows")


def said(root: Path, place: str, text: str, load: Any = load_model) -> str:
    """The message of the income model whose config holds ``text`` at ``place``."""
    folder = root / "deployments/models/income"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "deployments/models.yaml", root / "deployments/models.yaml")
    raw = yaml.safe_load((ROOT / "deployments/models/income/model.yaml").read_text())
    *parents, last = place.split(".")
    here: Any = raw
    for part in parents:
        here = here[int(part) if part.isdigit() else part]
    assert last in here
    here[last] = text
    (folder / "model.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError) as caught:
        load(root, "income")
    return str(caught.value)


def test_the_shell_command_of_old_is_refused_where_it_stands_and_never_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    text = f"age > @pd.io.common.os.system('touch {proof}')"
    for place in PLACES:
        found = said(tmp_path, place, text)
        assert "position 7: '@' is not allowed; " + ALLOWED in found
    assert not proof.exists()
    assert "'@' is not allowed" in said(tmp_path, "data.rows", text, load_training)  # the stages' own door


def test_rules_are_read_at_the_same_door(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rule = {"rule": "score_range", "rows": "age.__class__ == 1", "high": 0.5, "because": "of nothing"}
    rules.write_text(yaml.safe_dump({"rules": [rule]}))
    with pytest.raises(ConfigError, match=r"rules\.0\..*rows.*position 1: the attribute \.__class__ is not allowed; "):
        load_yaml(rules, ExpertRules)


ATTACKS = {
    "age.__class__.__mro__": (1, "the attribute .__mro__ is not allowed"),
    "__import__('os').system('true')": (1, "the method .system() is not allowed"),
    "__builtins__ == 1": (1, "'__builtins__' is no column here"),
    "open('/etc/passwd').read() == sex": (1, "the method .read() is not allowed"),
    "eval('1') > age": (1, "the function eval() is not allowed"),
    "age.apply(lambda x: x)": (1, "the method .apply() is not allowed"),
    "(lambda: age)() > 1": (1, "this call is not allowed"),
    "age > 1 and (lambda: 1)": (14, "lambda is not allowed"),
    "[x for x in age]": (1, "a comprehension is not allowed"),
    "{x for x in age}": (1, "a comprehension is not allowed"),
    "any(x for x in age)": (1, "the function any() is not allowed"),
    "{1: age}": (1, "dict is not allowed"),
    "sex == f'{age}'": (8, "a formatted text is not allowed"),
    "sex == b'a'": (8, "a value of type bytes is not allowed"),
    "age > 9**9**9": (10, "an exponent is a written number from -10 to 10"),
    "age > 2 ** 99": (12, "an exponent is a written number from -10 to 10"),
    "age > 1e999": (7, "the number is too large; allowed are finite numbers"),
    "age == 9007199254740993": (8, "the number is beyond 9007199254740992"),
    "age > " + "9" * 4400: (1, "this is no expression (Exceeds the limit (4300 digits)"),
    "age > " + "-" * 3000 + "1": (1, "nested more than 60 levels deep"),
    "age > " + "(" * 1500 + "1" + ")" * 1500: (207, "too many nested parentheses"),
    "not " * 100 + "(age > 1)": (241, "nested more than 60 levels deep"),
    "age[0] > 1": (1, "subscript is not allowed"),
    "age if age > 1 else 2": (1, "'if ... else' is not allowed"),
    "(age := 3) > 1": (2, "an assignment is not allowed"),
    "age is None": (1, "'is' is not allowed"),
    "age == None": (8, "None is not allowed; ask .isna() or .notna()"),
    "age > 1j": (7, "a value of type complex is not allowed"),
    "age > 1; import os": (8, "';' is not allowed"),
    "age > 1 # or all": (9, "'#' is not allowed"),
    "(yield age)": (2, "yield is not allowed"),
    "await_ > 1": (1, "'await_' is no column here"),
    "age ^ 2 > 1": (1, "this operator is not allowed"),
    "age << 2 > 1": (1, "this operator is not allowed"),
    "age.isna(inplace=True)": (1, "isna takes values without names and stars"),
    "max(*age) > 1": (1, "max takes values without names and stars"),
    "print(age)": (1, "the function print() is not allowed"),
    "index > 1": (1, "'index' is no column here"),
    "sex.str.contains('(a+)+$')": (1, "the method .contains() is not allowed"),
}


@pytest.mark.parametrize("text", ATTACKS, ids=lambda t: ascii(t[:40]))
def test_an_attack_is_refused_when_the_config_is_read(tmp_path: Path, text: str) -> None:
    position, why = ATTACKS[text]
    begun = time.process_time()
    found = said(tmp_path, "data.rows", text)
    assert f", position {position}: " in found and why in found
    assert found.count("Traceback") == 0 and len(found) < 2500
    assert time.process_time() - begun < 3


def test_a_book_is_no_expression(tmp_path: Path) -> None:
    assert "has 6007 characters; allowed are 5000" in said(tmp_path, "data.rows", "age > 1" + " " * 6000)


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        (
            "data.rows",
            "agee > 18",
            "'agee > 18', position 1: 'agee' is no column here; did you mean 'age'?",
        ),
        (
            "gates.21.slices.0.rows",
            "sex == 1",
            "the slice 'women' of gate slices is 'sex == 1', position 1: column sex is text and 1 is a number; '==' "
            'compares values of one type; write "1", in quotes',
        ),
        ("data.rows", "age > '18'", "column age is a number and '18' is text; '>' compares values of one type; "),
        ("data.rows", "age == sex", "column age is a number and column sex is text; '==' compares"),
        ("data.base", "year in [94, '95']", "position 14: column year is a number and '95' is text; 'in' compares"),
        ("data.base", "year in (94)", "position 10: 'in' takes a list"),
        ("data.rows", "age", "data.rows is 'age', which is a number and no condition; write a comparison such as"),
        ("data.rows", "age + 1", "which is a number and no condition"),
        ("data.rows", "1 == 1", "data.rows is '1 == 1', which is one value and no column; allowed columns: age, "),
        ("data.rows", "age > 1 and sex", "position 13: and/or takes conditions, and column sex is text"),
        ("data.rows", "sex + 1 > 2", "position 1: + calculates with numbers, and column sex is text"),
        ("data.rows", "age >", "this is no expression (invalid syntax); allowed: column names, "),
        ("data.rows", "age > 18)", "position 9: this is no expression (unmatched ')'); "),
        ("data.rows", "", "this is no expression"),
        ("data.rows", "`age > 18", "position 1: this backtick is not closed; write `column`"),
        ("data.rows", "sex == 'ä' and agé > 1", "position 16: 'agé' is no column here; did you mean 'age'?"),
        ("data.rows", "age > 1 | sex & year", "position 11: and/or takes conditions, and column sex is text"),
        ("data.target.expression", "age", "data.target.expression is 'age', which is a number and no condition"),
        ("benchmarks.over_65.rows", "income == 'x'", "'income' is no column here; allowed columns: age, "),  # no input
        ("benchmarks.over_65.rows", "age.isin(65)", 'isin takes a list, such as .isin(["a", "b"])'),
        ("benchmarks.over_65.rows", "min(age) > 1", "min takes 2 values and is given 1"),
    ],
)
def test_a_mistake_is_named_with_its_position_and_the_fix(tmp_path: Path, place: str, text: str, says: str) -> None:
    assert says in said(tmp_path, place, text)


def test_labels_have_the_type_that_their_kind_of_target_needs(tmp_path: Path) -> None:
    (tmp_path / "deployments").mkdir()
    shutil.copy(ROOT / "deployments/models.yaml", tmp_path / "deployments")
    for name, text, says in [
        ("wages", "gender", "'gender', which is text; allowed for a regression model: a number"),
        ("wages", "realrinc > 5", "'realrinc > 5', which is true or false; allowed for a regression model: a number"),
        ("health", "age > 3", "'age > 3', which is true or false; allowed for a multiclass model: text or a number"),
    ]:
        folder = tmp_path / "deployments/models" / name
        folder.mkdir(parents=True, exist_ok=True)
        raw = yaml.safe_load((ROOT / "deployments/models" / name / "model.yaml").read_text())
        raw["data"]["target"]["expression"] = text
        (folder / "model.yaml").write_text(yaml.safe_dump(raw))
        with pytest.raises(ConfigError) as caught:
            load_training(tmp_path, name)
        assert f"data.target.expression is {says}" in str(caught.value)
