"""Expressions on tables: the values of pandas where nothing is missing, and Kleene's logic where something is."""

from __future__ import annotations

import ast
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.science.data.tables import labels
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.expression_types import condition_fault
from tasks.spec.model import load_model
from tasks.tables.expressions import evaluate, values
from tests.conftest import ROOT

NUMBERS, NAMES = ("age", "pay"), ("sex", "job")
SHIPPED = ("income", "care", "wages", "health")

columns = st.sampled_from(NUMBERS)
numbers = st.recursive(  # no calculation of written numbers alone: Python would do it, not pandas
    columns,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner | st.sampled_from(["0", "2.5", "-3"]))
        | st.builds("{}({})".format, st.sampled_from(["abs", "sqrt", "log1p", "exp", "floor"]), inner)
        | st.builds("-({})".format, inner)
        | st.builds("({}) ** 2".format, inner)
    ),
    max_leaves=5,
)
names, signs = st.sampled_from(NAMES), st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
comparisons = (
    st.builds("{} {} {}".format, numbers, signs, numbers | st.sampled_from(["0", "1", "2.5", "-3", "40"]))
    | st.builds("{} < {} <= {}".format, numbers, numbers, numbers)
    | st.builds("{} {} '{}'".format, names, signs, st.sampled_from("ab"))
    | st.builds("{} {} ['a', 'c']".format, names, st.sampled_from(["in", "not in", "==", "!="]))
    | st.builds("age {} [1, 40]".format, st.sampled_from(["in", "not in"]))
    | st.just("sex == job")
)
conditions = st.recursive(
    comparisons,
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or", "&", "|"]), inner)
        | st.builds("not ({})".format, inner)
        | st.builds("~({})".format, inner)
        | st.builds("({})".format, inner)
    ),
    max_leaves=4,
)


def table(rows: int = 40, seed: int = 0, missing: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(0, 60, rows).astype(float),
            "pay": np.round(rng.normal(size=rows), 1),
            "sex": pd.Series(rng.choice(["a", "b"], rows), dtype="str"),
            "job": pd.Series(rng.choice(["a", "b", "c"], rows), dtype="str"),
        }
    )
    return frame.mask(rng.random(frame.shape) < missing) if missing else frame


@settings(max_examples=300, deadline=None, derandomize=True)
@given(conditions)
def test_a_condition_gives_what_pandas_gives_where_nothing_is_missing(text: str) -> None:
    rows = table()
    with np.errstate(all="ignore"):
        expected = rows.eval(text, engine="python")
    if "nan" in repr(_numbers(rows, text)):  # log of a negative number: missing here, False in pandas
        return
    assert list(evaluate(rows, text, "rows")) == list(np.broadcast_to(expected, len(rows)))


def _numbers(rows: pd.DataFrame, text: str) -> Any:
    return values(rows, text, "rows").to_numpy()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(numbers)
def test_arithmetic_gives_what_pandas_gives_to_the_last_bit(text: str) -> None:
    rows = table()
    with np.errstate(all="ignore"):
        expected = np.asarray(rows.eval(text, engine="python"), dtype=float)
    assert np.array_equal(values(rows, text, "label"), expected, equal_nan=True)


Pair = tuple[str, pd.Series]
"""A condition in our words, and what pandas' nullable types give for it on :data:`GAPS`."""
GAPS = table(60, 1, 0.3)
NULLABLE = {name: GAPS[name].astype("Float64" if name in NUMBERS else "string") for name in GAPS}
LEAVES: list[Pair] = [
    ("age > 30", NULLABLE["age"] > 30),
    ("pay < 0", NULLABLE["pay"] < 0),
    ("sex == 'a'", (NULLABLE["sex"] == "a").astype("boolean")),
    ("job in ['a', 'c']", NULLABLE["job"].isin(["a", "c"]).astype("boolean").mask(NULLABLE["job"].isna())),
    ("age + pay != 10", NULLABLE["age"] + NULLABLE["pay"] != 10),
    ("job.isna()", NULLABLE["job"].isna().astype("boolean")),
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.sampled_from(LEAVES),
        lambda inner: (
            st.builds(lambda a, b: (f"({a[0]}) and ({b[0]})", a[1] & b[1]), inner, inner)
            | st.builds(lambda a, b: (f"({a[0]}) or ({b[0]})", a[1] | b[1]), inner, inner)
            | st.builds(lambda a: (f"not ({a[0]})", ~a[1]), inner)
        ),
        max_leaves=5,
    )
)
def test_missing_values_follow_the_logic_of_pandas_own_nullable_types(pair: Pair) -> None:
    """pandas' Float64, string and boolean implement Kleene's logic on their own."""
    text, expected = pair
    found = values(GAPS, text, "rows")
    assert list(found.isna()) == list(expected.isna())
    assert list(found.dropna().astype(bool)) == list(expected.dropna().astype(bool))
    assert list(evaluate(GAPS, text, "rows")) == list(expected.fillna(False).astype(bool))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age > 18", [True, False, False]),
        ("not age > 18", [False, True, False]),  # pandas: the missing one as well
        ("age != 20", [False, True, False]),
        ("age.isna()", [False, False, True]),
        ("age.notna() and age < 18", [False, True, False]),
        ("age.isnull() | age == 20", [True, False, True]),
        ("age > 18 or sex == 'f'", [True, False, True]),
        ("age > 18 and sex == 'm'", [False, False, False]),
        ("sex != 'f'", [False, True, False]),
        ("sex not in ['m']", [True, False, True]),
        ("age.isin([10, 30])", [False, True, False]),
        ("age.between(10, 20)", [True, True, False]),
        ("10 < age <= 20", [True, False, False]),
        ("age in [10, -20]", [False, True, False]),
        ("max(age, 15) == 15", [False, True, False]),
        ("`age` == 10", [False, True, False]),
        ("\n  age > 5\n  and sex == 'm'\n", [False, True, False]),
        ("age > 5 & sex == 'm' | age > 15", [True, True, False]),
        ("log(age - 10) > 2", [True, False, False]),  # log(0) is minus infinity
        ("age / 0 > 1000", [True, True, False]),
        ("insured", [True, False, True]),
        ("insured == False", [False, True, False]),
        ("insured != true and age > 1", [False, True, False]),
    ],
)
def test_what_expressions_say(text: str, expected: list[bool]) -> None:
    rows = pd.DataFrame({"age": [20.0, 10.0, np.nan], "sex": ["f", "m", "f"], "insured": [True, False, True]})
    assert list(evaluate(rows, text, "rows")) == expected


CALENDAR = (
    Column(name="born", type="date"),
    Column(name="seen", type="datetime", zone="Europe/Berlin"),
    Column(name="insured", type="boolean"),
    Column(name="code", type="category"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("born >= '2000-01-02'", [False, True, False]),
        ("'2000-01-01' == born", [True, False, False]),
        ("born in ['2000-01-01', '1999-12-31']", [True, False, False]),
        ("born.between('1999-01-01', '2000-01-01')", [True, False, False]),
        ("born + 1 == '2000-01-02'", [True, False, False]),
        ("seen == '2024-07-01 12:00'", [True, False, False]),  # in the column's zone
        ("seen == '2024-07-01T10:00:00Z'", [True, False, False]),
        ("seen - seen == 0 and born - born < 1", [True, True, False]),
        ("insured", [True, False, False]),
        ("not insured", [False, True, False]),
        ("insured == 'Yes' or born.isna()", [True, False, True]),
        ("insured == 0", [False, True, False]),
        ("insured.isna()", [False, False, True]),
    ],
)
def test_dates_moments_and_truths(text: str, expected: list[bool]) -> None:
    cells = {
        "born": ["2000-01-01", "2001-05-06", None],
        "seen": ["2024-07-01 12:00", "2024-01-01 12:00", None],
        "insured": ["yes", "0", None],
        "code": ["a", "b", "c"],
    }
    rows = pd.DataFrame({c.name: c.kind.from_source(pd.Series(cells[c.name]), c)[0] for c in CALENDAR})
    assert list(evaluate(rows, text, "rows", CALENDAR)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("born > '01.02.2000'", "position 8: '01.02.2000' is no date such as 2024-03-01"),
        ("born > 2000", "column born is a date and 2000 is a number; '>' compares values of one type"),
        ("born < seen", "column born is a date and column seen is a point in time"),
        ("insured == 'perhaps'", "position 12: 'perhaps' is no true or false, yes or no, 1 or 0"),
        ("insured > true", "a truth has no order"),
        ("born + born > 1", "+ calculates with numbers, and column born is a date"),
        ("seen == '2024-03-31 02:30'", "is no moment such as"),  # the clocks skipped it
        ("born == code", "column born is a date and column code is text"),
    ],
)
def test_what_is_no_date_moment_or_truth_is_named(text: str, says: str) -> None:
    assert says in condition_fault("data.rows", text, CALENDAR)


def test_a_label_that_is_missing_stays_missing_and_is_no_negative_one() -> None:
    rows = pd.DataFrame({"age": [20.0, 10.0, np.nan], "sex": ["f", None, "m"]})
    assert np.array_equal(values(rows, "age > 18", "label"), [1.0, 0.0, np.nan], equal_nan=True)
    assert list(values(rows, "sex", "label").isna()) == [False, True, False]
    assert np.array_equal(values(rows, "log(age) * 2", "label"), 2 * np.log(rows["age"]), equal_nan=True)


def _expressions(document: Any) -> set[str]:
    """Every rows, base and expression of a document, with anything that stands under those keys."""
    found: set[str] = set()
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("rows", "base", "expression") and isinstance(value, str) and value != "all":
                found.add(value)
            found |= _expressions(value)
    elif isinstance(document, list | tuple):
        found |= set(itertools.chain.from_iterable(_expressions(item) for item in document))
    return found


FILES = [
    *(ROOT / "deployments/models" / name / file for name in SHIPPED for file in ("model.yaml", "rules.yaml")),
    ROOT / "tests/formats/model.yaml",
    ROOT / "tests/formats/rules.yaml",
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_shipped_and_registered_expressions_give_what_pandas_gave(path: Any) -> None:
    """On columns of their names, drawn so that every condition is true of some rows and false of others."""
    texts = _expressions(yaml.safe_load(path.read_text()))
    config = path.with_name("model.yaml")
    columns = yaml.safe_load(config.read_text())["data"]["columns"]
    rng = np.random.default_rng(0)
    said = sorted(itertools.chain.from_iterable(_strings(text) for text in texts)) or ["x"]
    rows = pd.DataFrame(
        {
            c["name"]: pd.Series(rng.choice([*said, "other"], 400), dtype="str")
            if c["type"] == "category"
            else rng.choice([0.0, 1, 5, 17.5, 18, 30, 60, 65, 70, 80, 94, 95, 1990, 2000], 400)
            for c in columns
        }
    )
    for text in texts:
        with np.errstate(all="ignore"):
            before = rows.eval(text, engine="python")
        now = values(rows, text, "rows")
        assert before.dtype == now.dtype and before.equals(now), text


def _strings(text: str) -> set[str]:
    constants = [n.value for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


def test_an_integer_column_names_the_classes_of_a_target() -> None:
    health = load_model(ROOT, "health")
    target = health.data.target.model_copy(update={"expression": "score", "classes": ("1", "2", "3")})
    config = health.model_copy(update={"data": health.data.model_copy(update={"target": target})})
    assert list(labels(config, pd.DataFrame({"score": [2.0, 3.0, 1.0]}))) == ["2", "3", "1"]
    with pytest.raises(ConfigError, match=r"gives '1\.5' in 1 of 2 rows; allowed: 1, 2, 3"):
        labels(config, pd.DataFrame({"score": [1.5, 3.0]}))
