"""Whatever a client sends is answered, or refused with the field, the value and what is allowed; never with a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.door import MOST_BYTES, Door, lay, opened, with_columns
from tests.stages.worlds import NAME, document, table

NAMES = ("model_config", "model_fields", "class", "copy", "json", "schema", "self", "def", "index", "rows", "assign")
"""Names that are methods, attributes or keywords somewhere on the way."""
ROUTES = {
    "predict": ("rows", {}),
    "outcomes": ("outcomes", {"id": "p", "label": True}),
    "overrides": ("overrides", {"id": "p", "decision": True, "who": "anna", "why": "knows"}),
    "appeals": ("appeals", {"id": "p", "claim": "wrong", "who": "anna"}),
    "reviews": ("reviews", {"id": "p", "window": 1, "verdict": "agree", "who": "anna", "note": ""}),
}
"""Of every route with a body: the list it takes, and an item of it."""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A logistic regression, which refuses infinite inputs itself, over columns with unusual names."""
    columns = [{"name": name, "type": "category" if name < "f" else "number"} for name in NAMES]
    rows = table(400)
    for column in columns:
        rows[column["name"]] = rows["job"] if column["type"] == "category" else rows["hours"] / 7
    with opened(lay(tmp_path_factory.mktemp("door"), with_columns("binary", columns, NAMES), rows)) as running:
        yield running


def row(door: Door, **changes: Any) -> dict[str, Any]:
    values = {c.name: 20 if c.kind.numeric else "f" if c.name == "sex" else "clerk" for c in door.config.inputs}
    return values | changes


def body(route: str, item: str) -> str:
    return f'{{"{ROUTES[route][0]}": [{item}]}}'


def problem(door: Door, route: str, text: str | bytes, status: int = 422) -> dict[str, Any]:
    """The one problem that the service names, in JSON that a strict reader takes."""
    answer = door.post(route, text)
    assert answer.status_code == status, answer.text
    answer.content.decode("utf-8")
    (found,) = json.loads(answer.content, parse_constant=pytest.fail)["problems"]
    assert set(found) == {"row", "field", "value", "message"} and len(str(found["value"])) <= 80
    return dict(found)


BIG = "1" + "0" * 400
FLOAT = "send a finite number, or null where the value is missing"
CASES = [
    ("NaN", "NaN", f"NaN is no JSON number; {FLOAT}"),
    ("-Infinity", "-Infinity", f"-Infinity is no JSON number; {FLOAT}"),
    ("1e400", "1e400", f"1e400 is beyond what a 64-bit float holds (1.8e308); {FLOAT}"),
    (
        BIG,
        BIG[:80],
        f"{BIG[:80]} is an integer beyond 64 bits; send an identifier as text, and a large quantity with an exponent "
        "(1e20)",
    ),
    (
        "9223372036854775808",
        "9223372036854775808",
        "9223372036854775808 is an integer beyond 64 bits; send an identifier as text, and a large quantity with an "
        "exponent (1e20)",
    ),
    (
        '"a\\ud800b"',
        "a\\ud800b",
        "half a surrogate pair is no character; send the whole one, or escape neither half",
    ),
    ("1" * 5000, "1" * 80, None),
    ("[" * 40 + "]" * 40, "[" * 40 + "]" * 40, "it is nested deeper than 16 levels; send the bodies that /openapi.json "
     "describes"),
]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("sent", "shown", "says"), CASES, ids=[c[0][:22] for c in CASES])
def test_a_value_that_json_or_a_float_cannot_hold_is_named(
    door: Door, route: str, sent: str, shown: str, says: str | None
) -> None:
    field = "age" if route == "predict" else "id"
    item = json.dumps(ROUTES[route][1] or row(door)).replace("{", "").replace("}", "")
    parts = [part for part in item.split(", ") if not part.startswith(f'"{field}"')]
    found = problem(door, route, body(route, "{" + ", ".join([*parts, f'"{field}": {sent}']) + "}"))
    assert (found["row"], found["field"]) == (0, field)
    assert str(found["value"]) == shown or sent.startswith("[")
    assert says is None or found["message"] == says


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_that_is_no_text_or_is_given_twice_is_named(door: Door, route: str) -> None:
    item = json.dumps(ROUTES[route][1] or row(door))[:-1]
    found = problem(door, route, body(route, item + ', "\\udfff": 1}'))
    assert (found["row"], found["field"], found["value"]) == (0, "\\udfff", "\\udfff")
    key = "job" if route == "predict" else "id"
    found = problem(door, route, body(route, f'{item}, "{key}": "other"}}'))
    assert (found["row"], found["field"], found["value"]) == (0, key, "other")
    assert found["message"] == "the key is given twice; send it once"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("text", "status", "field", "says"),
    [
        (b"{", 400, "body", "the body is no JSON: Expecting property name enclosed in double quotes at line 1, "
         "column 2"),
        (b'{"rows": "\xff"}', 400, "body", "the body is not UTF-8: byte 10 begins no character"),
        (b'{"rows": "\xed\xa0\x80"}', 400, "body", "the body is not UTF-8: byte 10 begins no character"),
        (b"[" * 100_000, 422, "body", CASES[-1][2]),
        (b"", 422, "body", "required field is missing"),
        (b"null", 422, "body", "required field is missing"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_called_so(
    door: Door, route: str, text: bytes, status: int, field: str, says: str | None
) -> None:
    found = problem(door, route, text, status)
    assert (found["row"], found["field"], found["message"]) == (None, field, says)


def test_an_empty_name_is_refused_because_in_a_file_it_is_missing(door: Door) -> None:
    said = problem(door, "predict", body("predict", json.dumps(row(door, **{"class": ""}))))
    assert (said["field"], said["message"]) == ("class", "String should have at least 1 character")


def test_bytes_without_a_content_type_are_refused_with_words(door: Door) -> None:
    answer = door.client.post(f"/models/{NAME}/predict", content=b"\xff\xfe", headers={"content-type": "text/plain"})
    assert answer.status_code == 422 and answer.json()["problems"] == [
        {
            "row": None,
            "field": "body",
            "value": "\\xff\\xfe",
            "message": "the body is not declared as JSON; send it with Content-Type: application/json",
        }
    ]


def test_a_long_value_is_shown_by_its_beginning(door: Door) -> None:
    found = problem(door, "predict", json.dumps({"row": row(door, age="x" * 10_000)}))
    assert (found["field"], found["value"]) == ("age", "x" * 80)
    found = problem(door, "outcomes", json.dumps({"outcomes": [{"id": "p", "label": "x" * 10_000}]}))
    assert (found["field"], found["value"]) == ("label", "x" * 80)
    found = problem(door, "overrides", body("overrides", json.dumps(ROUTES["overrides"][1] | {"decision": {"a": 1}})))
    assert (found["field"], found["value"]) == ("decision", '{"a": 1}')
    assert found["message"] == "Input should be a valid boolean, a valid number or a valid string"


@pytest.mark.parametrize("name", ["%00", "a%0Ab", "%ED%A0%80", "%FF", "x" * 5000, "NaN", "{name}"])
def test_a_path_names_a_model_or_is_not_found(door: Door, name: str) -> None:
    for route in ROUTES:
        made = f'{{"{ROUTES[route][0]}": [{json.dumps(ROUTES[route][1] or row(door))}]}}'
        answer = door.client.post(f"/models/{name}/{route}", content=made, headers={"content-type": "application/json"})
        assert answer.status_code == 404 and len(answer.text) < 500
    assert door.client.get(f"/models/{name}").status_code == 404


def test_no_name_of_a_column_is_special(door: Door) -> None:
    answer = door.post("predict", json.dumps({"row": row(door)}))
    assert answer.status_code == 200, answer.text
    wrong = door.post("predict", json.dumps({"row": row(door, model_config="1", **{"class": 2, "self": "x"})})).json()
    assert [(p["field"], p["value"], p["message"]) for p in wrong["problems"]] == [
        ("model_config", "1", "Input should be a valid number"),
        ("class", 2, "Input should be a valid string"),
        ("self", "x", "Input should be a valid number"),
    ]
    document = door.client.get("/openapi.json").json()
    assert set(NAMES) < set(document["components"]["schemas"]["SmallRow"]["properties"])
    logged = door.log.frame(NAME, 0, 2**62)
    assert logged["class"].tolist()[0] == "clerk" and logged["model_config"].tolist()[0] == 20.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_row_that_the_model_cannot_score_is_named(tmp_path: Path) -> None:
    """A power of an allowed number is infinite: the schema cannot know it, and nothing is answered or logged."""
    power = {"kind": "custom", "factory": "sklearn.kernel_ridge:KernelRidge"}
    model = document("regression") | {
        "estimator": power | {"parameters": {"kernel": "polynomial", "degree": 9, "alpha": 1.0}}
    }
    model["data"]["columns"].append({"name": "size", "type": "number"})
    model["features"].append("size")
    rows = table(200)
    with opened(lay(tmp_path, model, rows.assign(size=rows["hours"]))) as running:
        sent = [row(running)] * 700
        sent[613] = row(running, size=3e38)
        answer = running.post("predict", json.dumps({"rows": sent}))
        assert (answer.status_code, answer.json()["problems"]) == (
            422,
            [
                {
                    "row": 613,
                    "field": "row",
                    "value": None,
                    "message": "the model cannot score this row (the score is not finite); send values within the "
                    "range it was trained on",
                }
            ],
        )
        assert running.log.frame(NAME, 0, 2**62).empty
        assert running.post("predict", json.dumps({"rows": sent[:600]})).status_code == 200


def test_what_is_known_only_afterwards_is_refused_as_an_input(tmp_path: Path) -> None:
    model = with_columns("binary", [{"name": "stay", "type": "integer", "available": "after"}])
    rows = table(400)
    with opened(lay(tmp_path, model, rows.assign(stay=rows["hours"]))) as running:
        assert problem(running, "predict", json.dumps({"row": row(running, stay=3)})) == {
            "row": 0,
            "field": "stay",
            "value": 3,
            "message": "the column is declared available: after, that is known only after the prediction is made, so "
            "no prediction may rest on it; leave it out",
        }
        assert running.post("predict", json.dumps({"row": row(running)})).status_code == 200


def test_a_body_with_a_million_wrong_keys_is_answered_in_few_words(door: Door) -> None:
    """1.3 MB of unknown fields were once 21 MB of answer."""
    wide = json.dumps({"row": {f"k{n}": n for n in range(100_000)}})
    deep = json.dumps({"rows": [{f"k{n}": n} for n in range(1000)]})
    outcomes = json.dumps({"outcomes": [{"id": "p", "label": [n]} for n in range(1000)]})
    numbers = '{"rows": [' + ", ".join(["NaN"] * 100_000) + "]}"
    for route, text in (("predict", wide), ("predict", deep), ("outcomes", outcomes), ("predict", numbers)):
        answer = door.post(route, text)
        assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
        said = answer.json()
        assert len(answer.content) < 20_000 and len(said["problems"]) == 20 and said["more"] is True
        assert said["detail"].startswith("more than 20 places are wrong; the first is ") and said["status"] == 422
        assert (said["type"], said["title"]) == ("about:blank", "Unprocessable Entity")


def test_every_refusal_is_problem_details(door: Door) -> None:
    """RFC 9457: also what the web framework says by itself."""
    asked = {
        404: door.client.get("/nothing/here"),
        405: door.client.get(f"/models/{NAME}/predict"),
        400: door.post("predict", "{"),
        413: door.post("predict", b" " * (MOST_BYTES + 1)),
    }
    for status, answer in asked.items():
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        said = answer.json()
        assert set(said) == {"type", "title", "status", "detail", "problems", "more"} and said["status"] == status
        assert isinstance(said["detail"], str) and said["detail"]


def test_the_document_says_how_a_request_is_refused(door: Door) -> None:
    document = door.client.get("/openapi.json").json()
    for route in ROUTES:
        answers = document["paths"][f"/models/{{name}}/{route}"]["post"]["responses"]
        for status in ("400", "422"):
            schema = answers[status]["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Refusal"}
    assert {"Refusal", "Problem"} <= set(document["components"]["schemas"])
    row_schema = document["components"]["schemas"]["SmallRow"]
    assert row_schema["additionalProperties"] is False and "age" not in row_schema["required"]
    assert row_schema["properties"]["sex"]["enum"] == ["f", "m"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
"""Any document, NaN, surrogates and long integers included, as Python's encoder writes it."""


@st.composite
def near_bodies(draw: st.DrawFn, route: str, item: dict[str, Any]) -> str:
    """A body that is right but for one value or key of it, or any JSON at all."""
    if draw(st.booleans()):
        return json.dumps(draw(JSON))
    key = draw(st.sampled_from(sorted(item)) | st.text(st.characters(codec=None), max_size=9))
    return json.dumps({ROUTES[route][0]: [item | {key: draw(JSON)}]})


@pytest.mark.parametrize("route", ROUTES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_json_is_answered_or_refused(door: Door, route: str, data: st.DataObject) -> None:
    text = data.draw(near_bodies(route, ROUTES[route][1] or row(door)))
    answer = door.post(route, text)
    assert answer.status_code in (200, 400, 422), (text, answer.text)
    json.loads(answer.content.decode("utf-8"), parse_constant=pytest.fail)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=60))
def test_any_bytes_are_answered_or_refused(door: Door, body: bytes) -> None:
    assert door.post("predict", body).status_code in (400, 422)
