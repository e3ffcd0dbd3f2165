"""What a file holds is what is trained on, asked for, logged and watched: every kind of column, in every format.

Files are written by Python's csv and json and by pyarrow, and expected values are computed from what was drawn. So no
reader of this repository is asked what is right.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tasks.cli.rows_of_files import read_rows
from tasks.spec.columns import to_table
from tasks.spec.model import ModelConfig, load_model
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tests.serving.door import Door, lay, opened, with_columns
from tests.stages.worlds import NAME, table

BERLIN = ZoneInfo("Europe/Berlin")
LARGEST, WHOLE = 3.4e38, 2**53 - 1
COLUMNS: list[dict[str, Any]] = [
    {"name": "size", "type": "number", "minimum": -LARGEST, "maximum": LARGEST, "nullable": True},
    {"name": "key", "type": "integer", "nullable": True},
    {"name": "code", "type": "category", "nullable": True},
    {"name": "sure", "type": "boolean", "nullable": True},
    {"name": "day", "type": "date", "minimum": "0001-01-01", "maximum": "9999-12-31", "nullable": True},
    {"name": "at", "type": "datetime", "zone": "Europe/Berlin", "nullable": True},
]
DRAWN = tuple(c["name"] for c in COLUMNS)
Row = dict[str, Any]

CODES = st.sampled_from(["NA", "None", "null", "nan", "01234", "1.0", "1e5", "True", "-", "?", "2024-03-01", "1234561"])
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "size": st.floats(-LARGEST, LARGEST, allow_nan=False),
    "key": st.integers(-WHOLE, WHOLE),
    "code": CODES | TEXT,
    "sure": st.booleans(),
    "day": st.dates(),
    "at": st.datetimes(datetime(1905, 1, 1), datetime(2112, 1, 1), timezones=st.just(UTC)),
}
FIELDS = {name: st.none() | values for name, values in VALUES.items()}
ROWS = st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=8)
PROFILE = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SEEN: list[Row] = [
    dict(zip(DRAWN, values, strict=True))
    for values in (
        (0.1, 2**53 - 1, "1234561", True, date(2024, 2, 29), datetime(2024, 3, 31, 1, 0, tzinfo=UTC)),
        (-0.0, -1, "1234562", None, date(1, 1, 1), datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
        (5e-324, 0, None, False, date(9999, 12, 31), datetime(2024, 10, 27, 1, 30, 0, 1, tzinfo=UTC)),
        (None, None, " 01234 ", None, None, None),
        (None, None, " ", None, None, None),
        (None, None, 'a\r\nb, "c"\u2028\ufeff', None, None, None),
    )
]
"""Codes beside a gap, booleans beside a gap, ends of the calendar, both passes of a repeated hour, a name of one
blank, and signs that end lines or cells."""


def expected(name: str, value: Any) -> Any:
    """A drawn value in table form."""
    if value is None:
        return None
    if name == "sure":
        return "true" if value else "false"
    if name == "day":
        return float(value.toordinal() - date(1970, 1, 1).toordinal())
    if name == "at":
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1)
    return value if name == "code" else float(value)


def as_cell(value: Any) -> str:
    """A value as a person's program writes it: local time where it is clear, Yes and No for booleans."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "Yes" if value else "NO"
    if isinstance(value, datetime):
        local = value.astimezone(BERLIN).replace(tzinfo=None, fold=0)
        return (local if local.replace(tzinfo=BERLIN).astimezone(UTC) == value else value).isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([as_cell(row[name]) for name in rows[0]] for row in rows)


def write_jsonl(path: Path, rows: list[Row]) -> None:
    lines = [{k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()} for row in rows]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def write_parquet(path: Path, rows: list[Row]) -> None:
    kinds = {"size": pa.float64(), "key": pa.int64(), "sure": pa.bool_(), "day": pa.date32(), "code": pa.string()}
    kinds["at"] = pa.timestamp("us", tz="UTC")
    columns = {name: pa.array([r[name] for r in rows], type=kinds.get(name)) for name in rows[0]}
    parquet.write_table(pa.table(columns), path)


WRITERS = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A model of such columns behind its service."""
    model = with_columns("binary", COLUMNS, DRAWN)
    model["estimator"] = {"kind": "hist_gradient_boosting", "parameters": {"max_iter": 5}}
    rows = table(300)
    drawn = pd.DataFrame([{n: as_cell(SEEN[i % len(SEEN)][n]) for n in DRAWN} for i in range(len(rows))])
    with opened(lay(tmp_path_factory.mktemp("door"), model, pd.concat([rows, drawn], axis=1))) as running:
        yield running


@pytest.fixture(scope="module", params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelPaths, Path, str]:
    """A checkout whose source is a file of one format, which each example writes anew."""
    model = with_columns("binary", COLUMNS, DRAWN)
    path = f"data/{NAME}/source/table.{request.param}"
    model["data"]["source"] = {"kind": "file", "path": path, "format": request.param}
    root = tmp_path_factory.mktemp(request.param)
    return lay(root, model), root / path, str(request.param)


def assert_same(found: pd.DataFrame, rows: list[Row]) -> None:
    for name in DRAWN:
        values = found[name].astype(object).where(found[name].notna(), None).tolist()
        wanted = [expected(name, row[name]) for row in rows]
        assert values == wanted, name
        signs = [[math.copysign(1, v) for v in side if isinstance(v, float)] for side in (values, wanted)]
        assert signs[0] == signs[1], name


@PROFILE
@given(drawn=ROWS)
@example(drawn=SEEN)
def test_a_value_stays_itself_from_the_file_to_the_window(
    door: Door, source: tuple[ModelPaths, Path, str], drawn: list[Row]
) -> None:
    paths, file, form = source
    config: ModelConfig = load_model(paths.root, NAME)
    rest = {"age": 30.5, "hours": 12, "job": "clerk", "sex": "f", "pay": 1.5, "level": "low"}
    rows = [rest | row for row in drawn]
    WRITERS[form](file, rows)

    ingest(paths, config)
    assert_same(pd.read_parquet(paths.ingested), drawn)

    asked = [{n: r[n] for n in r if n not in ("pay", "level")} for batch in read_rows(file, config) for r in batch]
    answer = door.post("predict", json.dumps({"rows": asked}, allow_nan=False))
    assert answer.status_code == 200, answer.text
    ids = [p["id"] for p in answer.json()["predictions"]]

    logged = door.log.newest(NAME, len(rows))
    assert logged["_id"].tolist() == ids
    assert_same(to_table(config.inputs, logged), drawn)
