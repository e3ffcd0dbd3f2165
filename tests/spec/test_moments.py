"""Dates, moments and truths: what a config declares, what cells say, and what a request holds."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.serving.schema import RowSchema
from tasks.spec.base import parse_yaml, validate
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.manifest import Manifest
from tasks.spec.moments import day, day_text, moment, moment_text
from tasks.tables.typed import typed


def column(text: str) -> Column:
    """A column as ``model.yaml`` declares it; YAML itself turns an unquoted date into a date."""
    return validate(parse_yaml(text, "model.yaml"), Column, "model.yaml")


def read(declared: str, cells: list[Any], dtype: Any = "str") -> list[float | str | None]:
    found = typed([column(declared)], pd.DataFrame({"when": pd.Series(cells, dtype=dtype)}))["when"]
    return [None if gone else value for value, gone in zip(found.tolist(), found.isna().tolist(), strict=True)]


DAYS, MOMENTS, TRUTHS = (f"{{name: when, type: {kind}}}" for kind in ("date", "datetime", "boolean"))
BERLIN = "{name: when, type: datetime, zone: Europe/Berlin}"
DAY = float((date(2024, 3, 1) - date(1970, 1, 1)).days)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("declared", "cells", "dtype", "expected"),
    [
        (DAYS, ["2024-03-01", " 2024-03-01", "", None], "str", [DAY, DAY, None, None]),
        (DAYS, ["0001-01-01", "9999-12-31"], "str", [-719162.0, 2932896.0]),
        ("{name: when, type: date, format: '%d.%m.%Y'}", ["01.03.2024"], "str", [DAY]),
        ("{name: when, type: date, format: '%Y%m%d'}", [20240301], "int64", [DAY]),
        ("{name: when, type: date, missing: ['9999-12-31']}", ["9999-12-31", "2024-03-01"], "str", [None, DAY]),
        (DAYS, [date(2024, 3, 1), None], object, [DAY, None]),
        (DAYS, [pd.Timestamp("2024-03-01"), pd.NaT], "datetime64[ns]", [DAY, None]),
        (MOMENTS, ["2024-03-01T12:00:00Z", "2024-03-01 12:00"], "str", [NOON, NOON]),
        (MOMENTS, ["2024-03-01T13:00:00.5+01:00", "2024-03-01"], "str", [NOON + 0.5, NOON - 43200]),
        (BERLIN, ["2024-03-01T13:00", "2024-03-01T12:00Z"], "str", [NOON] * 2),
        (BERLIN[:-1] + ", format: '%d.%m.%Y %H:%M'}", ["01.03.2024 13:00"], "str", [NOON]),
        (BERLIN, [pd.Timestamp("2024-03-01 13:00")], "datetime64[us]", [NOON]),
        (MOMENTS, [pd.Timestamp("2024-03-01 13:00", tz="Europe/Berlin")], None, [NOON]),
        (MOMENTS, ["2024-03-01T12:00:00.123456789Z"], "str", [NOON + 0.123456]),
        (TRUTHS, ["true", "YES", "1", "No", "0", ""], "str", ["true"] * 3 + ["false"] * 2 + [None]),
        (TRUTHS, [True, False, None], object, ["true", "false", None]),
        (TRUTHS, [True, False], bool, ["true", "false"]),
        (TRUTHS, [1, 0], "int64", ["true", "false"]),
        (TRUTHS, [1.0, np.nan, 0.0], "float64", ["true", None, "false"]),
    ],
)  # fmt: skip
def test_cells_are_read_by_their_declaration(declared: str, cells: list[Any], dtype: Any, expected: list[Any]) -> None:
    assert read(declared, cells, dtype) == expected


@pytest.mark.parametrize(
    ("declared", "cell", "says"),
    [
        (DAYS, "01.03.2024", "row 1, column when: '01.03.2024' is no date such as 2024-03-01. "
         "Mend the value, declare the column's format, such as '%d.%m.%Y', or list the value under missing."),
        (DAYS, "20240301", "'20240301' is no date"),
        (DAYS, "2024-W09-5", "'2024-W09-5' is no date"),
        (DAYS, "2023-02-29", "'2023-02-29' is no date"),
        (DAYS, "2024-03-01T12:00", "is no date"),
        (BERLIN, "2024-03-31T02:30", "'2024-03-31T02:30' is no moment such as "
         "2024-03-01T12:30:00+01:00 that exists in the column's zone"),
        (MOMENTS, "12:00", "'12:00' is no moment"),
        (MOMENTS, "2024-03-01T23:59:60Z", "is no moment"),
        (TRUTHS, "perhaps", "'perhaps' is no true or false, yes or no, 1 or 0"),
        (TRUTHS, "2", "'2' is no true or false"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_named(declared: str, cell: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(declared, [cell])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("{name: when, type: datetime, zone: Berlin}", "'Berlin' is no IANA time zone; allowed are names such as "
         "UTC or Europe/Berlin"),
        ("{name: when, type: date, zone: UTC}", "column when is of type date, which has no zone"),
        ("{name: when, type: number, format: '%d'}", "column when is of type number, which has no format"),
        ("{name: when, type: boolean, minimum: 0}", "column when is of type boolean, which has no minimum or maximum"),
        ("{name: when, type: date, minimum: 5}", "column when has minimum 5.0, which is no date such as 2024-03-01"),
        ("{name: when, type: number, minimum: '2024-01-01'}", "has minimum '2024-01-01', which is no finite number"),
        ("{name: when, type: date, minimum: 2025-01-01, maximum: 2024-01-01}", "column when has minimum 2025-01-01, "
         "which is above maximum 2024-01-01"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_fit_is_refused(declared: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        column(declared)
    assert says in str(error.value)


def schema_of(*declared: str) -> RowSchema:
    inputs = tuple(column(text).model_dump(mode="json") for text in declared)
    return RowSchema(
        Manifest(
            model="one", title="", model_digest="", features=(), inputs=inputs, decision_threshold=0.5, seed=0,
            trained_rows=1, libraries={},
        )
    )  # fmt: skip


def test_a_request_holds_iso_texts_within_the_bounds() -> None:
    schema = schema_of(
        "{name: day, type: date, minimum: 2020-01-01, maximum: '2024-12-31', format: '%d.%m.%Y'}",
        "{name: at, type: datetime, zone: Europe/Berlin, nullable: true}",
        "{name: sure, type: boolean}",
    )
    right = {"day": "2024-03-01", "at": "2024-03-01T13:00", "sure": True}
    assert schema.check([right, right | {"at": None}, right | {"at": "2024-03-01T17:30:00+05:30"}])[0] == [
        {"day": "2024-03-01", "at": "2024-03-01T12:00:00+00:00", "sure": True},
        {"day": "2024-03-01", "at": None, "sure": True},
        {"day": "2024-03-01", "at": "2024-03-01T12:00:00+00:00", "sure": True},
    ]
    wrong = {"day": "2019-12-31", "at": "2024-03-31T02:30", "sure": "yes"}
    assert [(p["field"], p["message"]) for p in schema.check([wrong])[1]] == [
        ("day", "Input should be a date such as 2024-03-01, from 2020-01-01 to 2024-12-31"),
        ("at", "Input should be a moment such as 2024-03-01T12:30:00+01:00 that exists in the column's zone"),
        ("sure", "Input should be a valid boolean"),
    ]
    assert schema.check([right | {"day": "01.03.2024"}])[1][0]["value"] == "01.03.2024"
    properties = schema.json_schema()["properties"]
    assert properties["day"]["format"] == "date" and properties["at"]["anyOf"][0]["format"] == "date-time"
    assert properties["sure"]["type"] == "boolean"


def test_an_hour_that_is_repeated_means_its_first_pass() -> None:
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=0).timestamp()
    assert moment("2024-10-27T02:30", "Europe/Berlin") == first
    assert moment("2024-10-27T02:30+01:00", "Europe/Berlin") == first + 3600


@settings(max_examples=300, deadline=None, derandomize=True)
@given(when=st.datetimes(datetime(1900, 1, 1), datetime(2112, 1, 1)))
def test_a_microsecond_is_kept(when: datetime) -> None:
    text = when.replace(tzinfo=UTC).isoformat()
    assert moment_text(moment(text)) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(when=st.dates())
def test_a_date_is_kept(when: date) -> None:
    assert day_text(day(when.isoformat())) == when.isoformat()
    assert yaml.safe_load(f"[{when.isoformat()}]")[0] in (when, when.isoformat())
