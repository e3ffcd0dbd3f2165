"""The quick reader takes nothing that the schema refuses, and reads what it takes as the schema does."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from fastapi import HTTPException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.serving.schema import RowSchema
from tasks.serving.strict_json import parsed
from tasks.spec.base import REGISTERED
from tasks.spec.data import Column
from tasks.spec.manifest import Manifest

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "type": "integer", "minimum": 0, "maximum": 120.5},
    {"name": "pay", "type": "number", "minimum": -1e6, "nullable": True, "missing": ["-999", "NA"]},
    {"name": "rest", "type": "number"},
    {"name": "sex", "type": "category", "categories": ["f", "m"]},
    {"name": "job", "type": "category", "nullable": True, "missing": ["?", "none"]},
    {"name": "glad", "type": "boolean", "nullable": True},
    {"name": "day", "type": "date", "minimum": "2020-01-01", "nullable": True},
    {"name": "when", "type": "datetime", "zone": "UTC", "nullable": True},
    {"name": "class", "type": "number", "nullable": True},
    {"name": "tall", "type": "integer", "nullable": True},
]


def schema(columns: list[dict[str, Any]] = COLUMNS) -> RowSchema:
    made = [Column.model_validate_json(json.dumps(c), context=REGISTERED) for c in columns]
    return RowSchema(
        Manifest(
            model="small",
            title="t",
            model_digest="sha256:0",
            features=tuple(c["name"] for c in columns),
            inputs=tuple(c.model_dump(mode="json") for c in made),
            decision_threshold=0.5,
            seed=0,
            trained_rows=1,
            libraries={},
        )
    )


SCHEMA = schema()
GOOD: dict[str, Any] = {
    "age": 30, "pay": 1.5, "rest": 2, "sex": "f", "job": "nurse", "glad": True, "day": "2024-03-01",
    "when": "2024-03-01T10:00:00Z", "class": None, "tall": 180,
}  # fmt: skip


def slowly(body: bytes) -> list[dict[str, Any]] | None:
    """The rows by the one way in which a body is refused with words; None where it is refused."""
    try:
        found = parsed(body)
    except HTTPException:
        return None
    if not isinstance(found, dict) or set(found) - {"row", "rows"}:
        return None
    one, many = found.get("row"), found.get("rows")
    rows = many if isinstance(many, list) and one is None else [one] if many is None else []
    if not 0 < len(rows) <= 1000 or not all(isinstance(r, dict) for r in rows):
        return None
    good, bad = SCHEMA.check(rows)
    return None if bad else good


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.copysign(1, ours) == math.copysign(1, theirs) and ours == theirs
    return type(ours) is type(theirs) and ours == theirs


def agree(body: bytes) -> list[dict[str, Any]] | None:
    quick, slow = SCHEMA.quick.read(body), slowly(body)
    if quick is not None:
        assert slow is not None, body
        assert len(quick) == len(slow)
        for one, other in zip(quick, slow, strict=True):
            assert list(one) == list(other), body
            assert all(same(one[name], other[name]) for name in one), (body, one, other)
    return quick


def written(rows: Any, key: str = "rows", **how: Any) -> bytes:
    return json.dumps({key: rows}, ensure_ascii=False, **how).encode("utf-8", "surrogatepass")


def test_plain_rows_are_taken() -> None:
    left_out = {name: value for name, value in GOOD.items() if name not in ("pay", "class")}
    for body in (written(GOOD, "row"), written([GOOD] * 3), written([left_out, GOOD], separators=(",", ":"))):
        assert agree(body) is not None, body
    assert agree(written([left_out]))[0]["pay"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        {"age": 30.0}, {"age": "30"}, {"age": True}, {"age": -1}, {"age": 121}, {"age": None}, {"age": 2**53 + 1},
        {"pay": -999}, {"pay": -999.0}, {"pay": "NA"}, {"pay": -1e6 - 1}, {"rest": 2**53 + 1},
        {"rest": float("nan")}, {"rest": float("inf")}, {"rest": True}, {"rest": None}, {"sex": "x"}, {"sex": ""},
        {"job": "?"}, {"job": "none"}, {"job": ""}, {"job": 3}, {"glad": 1}, {"glad": "true"}, {"day": "2019-12-31"},
        {"day": "2024-02-30"}, {"day": "01.03.2024"}, {"tall": 1.5}, {"more": 1}, {"c0": 1},
        {"job": "\ud800"},
    ],
)  # fmt: skip
def test_what_the_schema_refuses_is_not_taken(change: dict[str, Any]) -> None:
    assert SCHEMA.quick.read(written([GOOD, GOOD | change])) is None
    assert slowly(written([GOOD, GOOD | change])) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"rows": [%s], "rows": [%s]}', '{"row": %s, "rows": [%s]}', '{"row": %s, "row": %s}', '[%s, %s]',
        '{"rows": [%s, %s], "x": 1}', '{"rows": [%s, [%s]]}', '{"rows": {"a": %s, "b": %s}}', '{"rows": [%s, %s]}x',
        '{"rows": [%s, %s,]}',
    ],
)  # fmt: skip
def test_other_shapes_are_not_taken(text: str) -> None:
    row = json.dumps(GOOD, ensure_ascii=False)
    assert agree((text % (row, row)).encode()) is None


def test_a_key_that_stands_twice_is_not_taken_wherever_another_is_left_out() -> None:
    row = json.dumps({n: v for n, v in GOOD.items() if n != "pay"}, ensure_ascii=False)
    for twice in (
        '"pay": 1.0, "pay": null',
        '"pay": null, "pay": 1.0',
        '"job": "a", "job": null',
        '"p\\u0061y": 1, "pay": 2',
    ):
        doubled = "{" + twice + ", " + row[1:]
        for body in (f'{{"row": {doubled}}}', f'{{"rows": [{doubled}, {row}]}}', f'{{"rows": [{row}, {doubled}]}}'):
            assert SCHEMA.quick.read(body.encode()) is None, body


def test_a_request_of_more_rows_than_are_allowed_is_not_taken() -> None:
    assert agree(written([GOOD] * 1000)) is not None and agree(written([GOOD] * 1001)) is None


VALUES = (
    st.none() | st.booleans() | st.integers() | st.integers(-10, 130) | st.floats() | st.floats(-1e9, 1e9)
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["f", "m", "?", "none", "", "2024-03-01", "2024-03-01T10:00:00+02:00", ":", '":', "null", "-0"])
    | st.dates().map(str) | st.datetimes().map(str)
    | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)  # fmt: skip
TEXTS = st.sampled_from(
    ["-0", "-0.0", "1E5", "1e400", "1e-400", "9007199254740993", "0.1000000000000000055", "01", "+1", "1."]
)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_taken_is_read_as_the_schema_reads_it(data: st.DataObject) -> None:
    rows = []
    for _ in range(data.draw(st.integers(1, 3))):
        row: dict[str, Any] = dict(GOOD)
        for name in data.draw(st.lists(st.sampled_from([*GOOD, "more"]), max_size=3)):
            row[name] = data.draw(VALUES)
        for name in data.draw(st.lists(st.sampled_from(sorted(GOOD)), max_size=2)):
            row.pop(name, None)
        rows.append(dict(data.draw(st.permutations(list(row.items())))))
    body = json.dumps(
        {"rows": rows}, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    )
    place = data.draw(st.sampled_from(["30", "1.5", "180", "none at all"]))
    body = body.replace(place, data.draw(TEXTS), 1) if data.draw(st.booleans()) else body
    agree(body.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_good_body_with_a_few_other_bytes_is_never_read_otherwise(data: st.DataObject) -> None:
    body = bytearray(written([GOOD, GOOD], separators=(",", ":")))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    agree(bytes(body))
