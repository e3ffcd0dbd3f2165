"""Expectations on a window: which are asked, when one is broken, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.data import check_window, run_suite, suite_faults
from tasks.science.monitors.feed.data_quality import quality_findings
from tasks.spec.base import load_yaml
from tasks.spec.columns import to_table
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tests.statistics.live import check, people, world

SUITES = {
    "ingested": [
        {"type": "expect_table_row_count_to_equal", "value": 5},
        {"type": "expect_column_values_to_be_between", "column": "age", "min_value": 18, "max_value": 90},
        {"type": "expect_column_values_to_be_in_set", "column": "year", "value_set": [94]},
        {"type": "expect_column_values_to_be_unique", "column": "income"},
    ],
    "prepared": [
        {"type": "expect_column_values_to_be_between", "column": "age", "min_value": 18, "max_value": 90},
        {"type": "expect_column_mean_to_be_between", "column": "income", "min_value": 40},
        {"type": "expect_column_distinct_values_to_be_in_set", "column": "sex", "value_set": ["male", "female"]},
        {"type": "expect_column_values_to_not_be_null", "column": "debt"},
        {"type": "expect_column_values_to_be_between", "column": "debt", "max_value": 40, "mostly": 0.9},
    ],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "expectations.yaml"
    path.write_text(yaml.safe_dump(SUITES))
    return path


def told(file: Path, rows: pd.DataFrame) -> dict[str, Any]:
    """The findings on a window; ``year`` is declared and not served."""
    data = world()[0].data
    columns = (*data.columns, Column(name="year", type="integer", input=False))
    config = world()[0].model_copy(update={"data": data.model_copy(update={"columns": columns})})
    return {
        f"{f.subject} {f.sentence}": f for f in quality_findings(check_window(config, file, rows), len(rows), 0.001)
    }


def rows(n: int = 400) -> pd.DataFrame:
    return people(n, np.random.default_rng(0))


def test_what_holds_row_by_row_is_asked_once_and_the_rest_is_named(file: Path) -> None:
    found = told(file, rows())
    assert not any(f.alarm for f in found.values()) and len(found) == 5
    rest = next(text for text in found if text.startswith("expectations"))
    for part in (
        "table row count to equal (it speaks of a table",
        "year values to be in set (year is not served)",
        "income values to be unique (it compares rows with each other",
        "income mean to be between (it speaks",
    ):
        assert part in rest


def test_one_row_breaks_a_strict_expectation_and_many_a_loose_one(file: Path) -> None:
    table = rows()
    table.loc[3, "age"], table.loc[4, "sex"], table.loc[5, "debt"] = 200.0, "other", np.nan
    table.loc[10:99, "debt"] = 70.0
    found = [f for f in told(file, table).values() if f.alarm]
    assert [(f.subject, f.rows) for f in found] == [("age", 400), ("sex", 400), ("debt", 400), ("debt", 399)]
    assert found[0].value == pytest.approx(1 / 400)
    assert found[0].sentence == (
        "age values to be between max_value 90, min_value 18: broken; 1 of 400 rows (0.2%) are against it"
    )
    assert "and 10.0% may" in found[3].sentence


PAIRS = [
    {"type": "expect_column_pair_values_a_to_be_greater_than_b", "column_A": "income", "column_B": "debt",
     "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    {"type": "expect_column_pair_values_to_be_equal", "column_A": "age", "column_B": "income", "mostly": 0.9},
    {"type": "expect_select_column_values_to_be_unique_within_record", "column_list": ["age", "debt"],
     "ignore_row_if": "any_value_is_missing"},
    {"type": "expect_multicolumn_sum_to_equal", "column_list": ["age", "debt"], "sum_total": 80.0,
     "ignore_row_if": "any_value_is_missing"},
    {"type": "expect_column_value_lengths_to_be_between", "column": "sex", "min_value": 4, "max_value": 6},
    {"type": "expect_compound_columns_to_be_unique", "column_list": ["age", "income"]},
    {"type": "expect_column_pair_values_to_be_equal", "column_A": "age", "column_B": "year"},
    {"type": "expect_column_value_z_scores_to_be_less_than", "column": "age", "threshold": 3, "double_sided": True},
    {"type": "expect_column_values_to_not_be_null", "column": "age", "row_condition": "year == 94",
     "condition_parser": "pandas"},
]  # fmt: skip


def test_what_holds_between_the_columns_of_a_row_is_asked_and_the_rest_is_left_out_for_its_own_reason(
    file: Path,
) -> None:
    file.write_text(yaml.safe_dump({"prepared": PAIRS}))
    table = rows().assign(debt=10.0, income=50.0, age=70.0, sex="male")
    table.loc[[3, 4, 5], "debt"] = [60.0, np.nan, 50.0]  # one row is against it, one cannot be, one is equal
    table.loc[7, ["age", "debt"]] = [10.0, 10.0]
    table.loc[8, "sex"] = "m"
    found = list(told(file, table).values())
    assert [(f.subject, round((f.value or 0) * f.rows), f.rows, f.alarm) for f in found[:-1]] == [
        ("income, debt", 1, 399, True),
        ("age, income", 400, 400, True),
        ("age, debt", 1, 399, True),
        ("age, debt", 3, 399, True),
        ("sex", 1, 400, True),
    ]
    assert found[0].sentence == "income to be at least debt: broken; 1 of 399 rows (0.3%) are against it"
    assert found[3].sentence.startswith("age and debt multicolumn sum to equal sum_total 80.0: broken; 3 of 399 rows")
    assert found[-1].sentence == (
        "not asked of a window: age and income compound columns to be unique (it compares rows with each other, and a "
        "person may be served twice, in any order); age and year values to be equal (year is not served); age value z "
        "scores to be less than (it compares each value with those of the whole table); age values to not be null "
        "(year is not served)"
    )


def test_a_condition_on_rows_is_an_expression_and_runs_nothing(file: Path, tmp_path: Path) -> None:
    """Great Expectations gives a condition to pandas, whose parser finds the way from ``@pd`` to a shell."""
    trap = tmp_path / "trap"
    between = {
        "type": "expect_column_values_to_be_between",
        "column": "age",
        "max_value": 60,
        "condition_parser": "pandas",
    }
    conditions = ["sex == 'male' and debt > 5", f"age > @pd.io.common.os.system('touch {trap}')", "age > 900"]
    file.write_text(yaml.safe_dump({"prepared": [between | {"row_condition": c} for c in conditions]}))
    table = rows().assign(age=50.0, sex="male", debt=[10.0] * 390 + [1.0] * 10)
    table.loc[[3, 395], "age"] = 70.0
    with pytest.raises(ConfigError, match="row_condition is .*position"):
        run_suite("ingested", table, (between | {"row_condition": conditions[1]},))
    found = list(told(file, table).values())
    assert [(f.subject, f.value and round(f.value * f.rows), f.rows, f.alarm) for f in found[:2]] == [
        ("age", 1, 390, True),
        ("age", None, 400, False),
    ]
    assert found[0].sentence.startswith(
        "age values to be between max_value 60 where sex == 'male' and debt > 5: broken"
    )
    assert "no row of the window has a value" in found[1].sentence and "row_condition is" in found[2].sentence
    nobody = run_suite("ingested", table, (between | {"row_condition": conditions[2]},))
    assert (nobody[0]["success"], nobody[0]["sentence"]) == (
        False,
        "age values to be between max_value 60 where age > 900 (no row is so)",
    )
    assert not trap.exists()


def test_a_loose_expectation_missed_by_chance_is_no_alarm() -> None:
    few, many = (quality_findings([check(0.95, n, n // 10)], n, 0.001)[0] for n in (50, 500))
    assert not few.alarm and "by no more than chance may do" in few.sentence
    assert many.alarm and "broken" in many.sentence
    assert quality_findings([check(0.95, 500, 10)], 500, 0.001)[0].sentence.startswith(
        "age values to be between 18 and 90: holds"
    )


def test_a_column_that_did_not_come_and_an_empty_window_say_so(file: Path) -> None:
    found = told(file, rows().drop(columns=["age", "debt"]).assign(strange=1))
    assert any("no row of the window has a value" in text for text in found)
    assert [f.subject for f in found.values() if f.alarm] == ["debt"], (
        "a value that may not be missing is missing in every row"
    )
    (empty,) = told(file, rows(0)).values()
    assert empty.value is None and not empty.alarm and "the window has no rows" in empty.sentence
    assert len(told(file, rows(1))) == 5


def test_an_expectation_that_cannot_be_computed_does_not_take_the_others_with_it(file: Path) -> None:
    file.write_text(
        yaml.safe_dump(
            {"prepared": [{"type": "expect_column_values_to_be_odd", "column": "age"}, *SUITES["prepared"][:1]]}
        )
    )
    found = told(file, rows())
    assert any("is no expectation that a table alone answers" in text for text in found) and any(
        "age values to be between" in text and f.value == 0 for text, f in found.items()
    )


def test_no_expectation_is_told_and_a_missing_file_is_an_error(file: Path) -> None:
    assert "holds no expectation" in quality_findings([], 10, 0.001)[0].sentence
    with pytest.raises(ConfigError, match="does not exist"):
        check_window(world()[0], file.with_name("other.yaml"), rows())


DATES = """\
ingested:
  - {type: expect_column_values_to_be_between, column: day, min_value: 2024-01-10, max_value: "2024-12-31"}
  - {type: expect_column_min_to_be_between, column: day, min_value: "2024-02-01"}
  - {type: expect_column_values_to_be_in_set, column: day, value_set: [2024-01-09, 2024-03-01]}
  - {type: expect_column_max_to_be_between, column: at, max_value: "2024-03-01T12:00:00+01:00"}
"""


def test_bounds_of_dates_are_written_as_dates(tmp_path: Path) -> None:
    """The table counts days and seconds; nobody who writes expectations has to."""
    path = tmp_path / "expectations.yaml"
    path.write_text(DATES)
    columns = (Column(name="day", type="date"), Column(name="at", type="datetime"))
    given = {"day": ["2024-01-09", "2024-03-01"], "at": ["2024-03-01T10:00:00Z", "2024-03-01T11:00:01Z"]}
    suite = load_yaml(path, Expectations).ingested
    checks = run_suite("ingested", to_table(columns, pd.DataFrame(given)), suite, columns)
    assert [(c["success"], c["sentence"]) for c in checks] == [
        (False, "day values to be between min_value 2024-01-10, max_value 2024-12-31 (1 rows against it)"),
        (False, "day min to be between min_value 2024-02-01 (observed 2024-01-09)"),
        (True, "day values to be in set value_set ['2024-01-09', '2024-03-01']"),
        (False, "at max to be between max_value 2024-03-01T12:00:00+01:00 (observed 2024-03-01 11:00:01 UTC)"),
    ]
    wrong = {"type": "expect_column_values_to_be_between", "column": "day", "min_value": "01.03.2024"}
    with pytest.raises(ConfigError, match=r"between on 'day': '01\.03\.2024' is no date such as 2024-03-01"):
        run_suite("ingested", to_table(columns, pd.DataFrame(given)), (wrong,), columns)
    assert [said.split(": ")[1] for _, said in suite_faults("ingested", (wrong,), columns)] == [
        "'01.03.2024' is no date such as 2024-03-01. Write one."
    ]
