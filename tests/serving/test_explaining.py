"""Explanations through the service's door: they add up, and every reason that is given holds when it is asked again."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.serving.keys import KeyFile
from tasks.serving.release import load_release
from tasks.spec.errors import ConfigError
from tasks.spec.metrics import TargetKind
from tests.asking import bearer
from tests.serving.door import Door, lay, opened, with_columns
from tests.serving.running import until
from tests.stages.worlds import NAME, document, table

MAY = {"age": "up", "hours": "free", "job": "free"}
CHANGES: dict[TargetKind, dict[str, str]] = {
    "binary": MAY,
    "multiclass": {"hours": "down", "job": "free"},
    "regression": {},
}
DESCRIBED = {"hours": {"unit": "hours", "description": "working time, as agreed"}}


def world(kind: TargetKind, **target: Any) -> dict[str, Any]:
    """The small world's config, and what may change."""
    model = document(kind)
    for column in model["data"]["columns"]:
        if may := CHANGES[kind].get(column["name"]):
            column["changes"] = may
        column |= DESCRIBED.get(column["name"], {})
    model["data"]["target"] = model["data"]["target"] | target
    return model


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(lay(tmp_path_factory.mktemp(request.param), world(request.param))) as found:
        yield found


def people(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows that no training saw, as a client sends them, some without an age and one of a job that is new."""
    frame = table(count, seed)[["age", "hours", "job", "sex"]]
    rows = json.loads(frame.to_json(orient="records"))
    rows[1]["job"] = "astronaut"
    return list(rows)


def asked(door: Door, rows: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    answer = door.post("predict", json.dumps({"rows": rows, **more}))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def changed(row: dict[str, Any], reason: dict[str, Any]) -> dict[str, Any]:
    return row | {change["column"]: change["to"] for change in reason["changes"]}


def test_every_reason_holds_when_the_changed_row_is_asked(door: Door) -> None:
    rows = people(100)
    answers = asked(door, rows, explain=True)
    pairs = [
        (row, answer, reason)
        for row, answer in zip(rows, answers, strict=True)
        for reason in answer["explanation"]["reasons"]
    ]
    kind = door.config.kind
    if kind == "regression":
        assert not pairs and {a["explanation"]["says"] for a in answers} == {
            "Nothing is decided by this number, so there are attributions and no reasons."
        }
        return
    assert len(pairs) > 50
    after = asked(door, [changed(row, reason) for row, _, reason in pairs])
    for (row, answer, reason), then in zip(pairs, after, strict=True):
        assert then["decision"] == reason["decision"] == answer["explanation"]["towards"] != answer["decision"]
        for change in reason["changes"]:
            name = change["column"]
            assert change["now"] == row[name] and change["to"] != row[name] and name in CHANGES[kind]
            if CHANGES[kind][name] == "up":
                assert row[name] is not None and change["to"] > row[name]
            if CHANGES[kind][name] == "down":
                assert change["to"] < row[name]
    fewer = [
        row | {change["column"]: change["to"]}
        for row, _, reason in pairs
        for change in reason["changes"]
        if len(reason["changes"]) > 1
    ]
    wanted = [a["explanation"]["towards"] for _, a, r in pairs for _ in r["changes"] if len(r["changes"]) > 1]
    if fewer:  # no change of a set does it alone
        assert not any(then["decision"] == t for then, t in zip(asked(door, fewer), wanted, strict=True))


def test_reasons_hold_by_the_pipeline_of_the_file_too(door: Door) -> None:
    if door.config.kind == "regression":
        pytest.skip("nothing is decided")
    release = load_release(door.paths.model)
    rows = people(60, seed=6)
    pairs = [
        (row, reason)
        for row, answer in zip(rows, asked(door, rows, explain=True), strict=True)
        for reason in answer["explanation"]["reasons"]
    ]
    features = list(release.manifest.features)
    frame = pd.DataFrame([changed(row, reason) for row, reason in pairs])[features]
    frame = frame.astype({"age": float, "hours": float, "job": "str"})
    scores = release.pipeline.predict_proba(frame)
    for found, (_, reason) in zip(scores, pairs, strict=True):
        if door.config.kind == "binary":
            assert bool(found[1] >= 0.5) == reason["decision"]
        else:
            assert release.manifest.classes[int(np.argmax(found))] == reason["decision"]


def test_attributions_add_up_to_the_answer(door: Door) -> None:
    release = load_release(door.paths.model)
    rows = people(20, seed=7)
    for answer in asked(door, rows, explain=True):
        found = answer["explanation"]
        assert list(found["attributions"]) == sorted(
            found["attributions"], key=lambda name: -abs(found["attributions"][name])
        )
        assert set(found["attributions"]) == set(release.manifest.features)
        assert sum(found["attributions"].values()) == pytest.approx(found["output"] - found["base"], abs=1e-9)
        if door.config.kind == "binary":
            assert found["output"] == pytest.approx(np.log(answer["score"] / (1 - answer["score"])), abs=1e-9)
            assert found["of"] == 'log-odds of "over 30"' and found["standard_error"] is None
        if door.config.kind == "regression":
            assert found["output"] == answer["score"] and found["of"] == "tens"
        if door.config.kind == "multiclass":
            logits = np.log(list(answer["scores"].values()))
            at = list(answer["scores"]).index(answer["decision"])
            assert found["output"] == pytest.approx(logits[at] - logits.mean(), abs=1e-9)
            assert found["towards"] == sorted(answer["scores"], key=lambda name: -answer["scores"][name])[1]


def test_explained_answers_are_the_same_answers_and_are_logged(door: Door) -> None:
    rows = people(5, seed=8)
    before = len(door.log.frame(NAME, 0, 2**62))
    plain, explained, not_asked = (asked(door, rows, **more) for more in ({}, {"explain": True}, {"explain": False}))
    for one, other, third in zip(plain, explained, not_asked, strict=True):
        assert one["score"] == other["score"] == third["score"] and one["decision"] == other["decision"]
        assert set(other) - set(one) == {"explanation"} and set(one) == set(third)
    kept = door.log.frame(NAME, 0, 2**62)
    assert len(kept) == before + 15 and set(p["id"] for p in explained) <= set(kept["_id"])


def test_what_cannot_be_explained_is_refused_and_nothing_is_logged(door: Door) -> None:
    before = len(door.log.frame(NAME, 0, 2**62))
    row = people(2)[0]
    for body, field, said in (
        ({"row": row, "explain": "yes"}, "explain", "Input should be a valid boolean"),
        ({"row": row, "explain": 1}, "explain", "Input should be a valid boolean"),
        ({"row": row, "explain": None}, "explain", "Input should be a valid boolean"),
        (
            {"rows": [row] * 101, "explain": True},
            "explain",
            "101 rows were sent, and at most 100 are explained at once; send them in parts",
        ),
        ({"row": row, "explained": True}, "explained", "Extra inputs are not permitted"),
        ({"row": row | {"hours": 81}, "explain": True}, "hours", "Input should be less than or equal to 80"),
    ):
        answer = door.post("predict", json.dumps(body))
        assert answer.status_code == 422, answer.text
        assert [(p["field"], p["message"]) for p in answer.json()["problems"]] == [(field, said)]
    assert len(door.log.frame(NAME, 0, 2**62)) == before


def test_an_explained_row_counts_as_ten_under_a_keys_limit(tmp_path: Path) -> None:
    with opened(lay(tmp_path, document("binary"))) as door:
        key, _ = KeyFile(door.paths.root / "home/access").add("slow", ("predict",), rows=30)
        sent = {"json": {"rows": people(3), "explain": True}, "headers": bearer(key)}
        until(lambda: door.client.post(f"/models/{NAME}/predict", **sent).status_code == 200)
        refused = door.client.post(f"/models/{NAME}/predict", **sent)
        assert refused.status_code == 429 and "(slow) sends more than 30 rows a second" in refused.json()["detail"]


def test_the_answers_shape_is_in_the_openapi_document(door: Door) -> None:
    schemas = door.client.get("/openapi.json").json()["components"]["schemas"]
    assert set(schemas["Explanation"]["required"]) >= {"attributions", "base", "reasons", "principal", "says"}
    assert schemas["PredictBody"]["properties"]["explain"]["default"] is False


def test_no_training_row_is_in_what_the_service_tells(door: Door) -> None:
    """The background's columns are shuffled each by itself, so that a row of them is nobody's."""
    rows = pd.read_parquet(door.paths.prepared / "train.parquet")[["age", "hours", "job"]].dropna()
    known = set(map(tuple, rows.to_numpy().tolist()))
    manifest = door.client.get(f"/models/{NAME}").json()["manifest"]
    told = zip(*(manifest["background"][name]["values"] for name in ("age", "hours", "job")), strict=True)
    assert len(known & set(told)) <= 1  # 64 sorted triples; one may be by chance


def test_reasons_are_worded_from_the_config(tmp_path: Path) -> None:
    with opened(lay(tmp_path, world("binary"))) as door:
        row = {"age": 40.0, "hours": 20, "job": "clerk", "sex": "f"}
        (answer,) = asked(door, [row], explain=True)
        found = answer["explanation"]
        assert answer["decision"] is False and found["towards"] is True
        said = {reason["changes"][0]["column"]: reason for reason in found["reasons"]}
        (change,) = said["hours"]["changes"]
        assert said["hours"]["says"] == (
            f'Working time is 20 hours; at {change["to"]} hours the decision would be "over 30".'
        )
        (change,) = said["job"]["changes"]
        assert said["job"]["says"] == f'Job is "clerk"; with "{change["to"]}" the decision would be "over 30".'
        without = asked(door, [row | {"hours": change_before(door, row, said["hours"])}])
        assert without[0]["decision"] is False  # the least recorded value is named
        assert found["principal"] == [c for c in said if c in found["principal"]][: len(found["principal"])]


def change_before(door: Door, row: dict[str, Any], reason: dict[str, Any]) -> int:
    """The recorded value before the one that a reason names."""
    steps = door.client.get(f"/models/{NAME}").json()["manifest"]["background"]["hours"]["steps"]
    (change,) = reason["changes"]
    return int(max([row["hours"], *(s for s in steps if s < change["to"])]))


def test_a_model_that_lets_nothing_change_says_so(tmp_path: Path) -> None:
    with opened(lay(tmp_path, document("binary"))) as door:
        for answer in asked(door, people(3), explain=True):
            found = answer["explanation"]
            assert found["reasons"] == found["principal"] == [] and found["attributions"]
            assert found["says"] == (
                "The model's config lets no column change (data.columns, changes), so no reason is given."
            )


def test_a_regression_with_a_threshold_gives_reasons(tmp_path: Path) -> None:
    model = world("regression", decision_threshold=3.0)
    for column in model["data"]["columns"]:
        if may := MAY.get(column["name"]):
            column["changes"] = may
    with opened(lay(tmp_path, model)) as door:
        answers = asked(door, people(30), explain=True)
        told = [r["says"] for a in answers for r in a["explanation"]["reasons"]]
        assert len(told) > 20 and all(s.endswith(("would be yes.", "would be no.")) for s in told)


def test_a_model_of_before_is_to_be_trained_again(tmp_path: Path) -> None:
    paths = lay(tmp_path, world("binary"))
    with opened(paths) as door:
        folder = paths.root / "home/releases" / NAME / "versions/v1.0.0"
        manifest = json.loads((folder / "manifest.json").read_text())
        for background, said in (
            (
                None,
                "the answers of small cannot be explained: it was trained before explanations were recorded. Train it "
                "again, or ask without explain",
            ),
            (
                {name: found | {"values": found["values"][:3]} for name, found in manifest["background"].items()},
                "the answers of small cannot be explained: its background does not fit it (ValueError: the manifest's "
                "background does not hold 64 values of age). Train and publish it again, or ask without explain",
            ),
        ):
            republished(paths.root, manifest | {"background": background})
            follow(door)
            answer = door.post("predict", json.dumps({"row": people(2)[0], "explain": True}))
            assert answer.status_code == 422 and answer.json()["problems"][0]["message"] == said
            assert asked(door, people(2))


def test_what_scikit_learn_answers_is_answered_without_explanations(tmp_path: Path) -> None:
    model = world("binary")
    model["estimator"] = {"kind": "random_forest", "parameters": {"n_estimators": 5, "n_jobs": 2}}
    with opened(lay(tmp_path, model)) as door:
        answer = door.post("predict", json.dumps({"row": people(2)[0], "explain": True}))
        assert answer.status_code == 422 and answer.json()["problems"][0]["message"] == (
            "the answers of small cannot be explained: scikit-learn's pipeline answers for it (RandomForestClassifier "
            "sums its trees in the order in which 2 threads end). Ask without explain"
        )
        assert asked(door, people(2))


def republished(root: Path, manifest: dict[str, Any]) -> None:
    from tasks.records.registry import releases
    from tasks.spec.settings import Settings

    versions = root / "home/releases" / NAME / "versions"
    name = f"v{len(list(versions.iterdir())) + 1}.0.0"
    (versions / name).mkdir()
    (versions / name / "model.skops").write_bytes((versions / "v1.0.0/model.skops").read_bytes())
    (versions / name / "manifest.json").write_text(json.dumps(manifest))
    releases.point(Settings(home=root / "home"), NAME, name, "")


def follow(door: Door) -> None:
    import time

    end, wanted = time.monotonic() + 20, len(list((door.paths.root / "home/releases" / NAME / "versions").iterdir()))
    while door.client.get("/models").json()[NAME] != f"v{wanted}.0.0":
        assert time.monotonic() < end, door.client.get("/health").text
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("column", "keys", "said"),
    [
        ("sex", {"changes": "free"}, "column sex tells the groups of protected.sex apart and has changes 'free'; a"),
        ("job", {"changes": "up"}, "column job has changes 'up', and its values have no order; declare its categories"),
        ("pay", {"changes": "down"}, "column pay has changes 'down', and no request holds it, so that no reason can"),
        ("job", {"changes": "often"}, "changes is 'often': input should be 'free', 'up', 'down' or 'never'"),
        ("hours", {"changes": "free"}, "data.entity is hours, which has changes 'free'; a reason never names it"),
    ],
)
def test_a_config_that_lets_the_wrong_thing_change_is_refused(
    tmp_path: Path, column: str, keys: dict[str, Any], said: str
) -> None:
    from tasks.spec.model import load_model

    model = copy.deepcopy(document("binary"))
    found = next(c for c in model["data"]["columns"] if c["name"] == column)
    found |= keys
    if "entity" in said:
        model["data"]["entity"] = "hours"
    paths = lay(tmp_path, model)
    with pytest.raises(ConfigError) as refused:
        load_model(paths.root, NAME)
    assert said in str(refused.value)


TYPES: list[dict[str, Any]] = [
    {"name": "since", "type": "date", "minimum": "2000-01-01", "changes": "up", "description": "member since; by day"},
    {"name": "owner", "type": "boolean", "nullable": True, "changes": "free", "description": "owns a home"},
    {"name": "grade", "type": "category", "categories": ["a", "b", "c"], "nullable": True, "changes": "down"},
    {"name": "seen", "type": "datetime", "zone": "Europe/Berlin", "changes": "free"},
    {"name": "debt", "type": "number", "nullable": True, "changes": "free", "unit": "dollars"},
]


def of_all_types(rows: int, seed: int) -> pd.DataFrame:
    """Pay by what each type of column says, and gaps."""
    rng = np.random.default_rng(seed)
    found = table(rows, seed)
    day = rng.integers(0, 8000, rows)
    found["since"] = (pd.Timestamp("2000-01-01") + pd.to_timedelta(day, unit="D")).strftime("%Y-%m-%d")
    found["owner"] = rng.choice(["true", "false"], rows)
    found["grade"] = rng.choice(["a", "b", "c"], rows)
    hours = rng.integers(0, 20_000, rows)
    found["seen"] = (pd.Timestamp("2020-01-01") + pd.to_timedelta(hours, unit="h")).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    found["debt"] = rng.lognormal(6, 1, rows).round(2)
    drive = day / 400 + 8 * (found["owner"] == "true") - 4 * found["grade"].map("abc".index) + hours / 4000
    found["pay"] = (drive - 2 * np.log(found["debt"]) + 24 + rng.normal(size=rows)).round(2)
    for name in ("owner", "grade", "debt"):
        found.loc[rng.random(rows) < 0.1, name] = np.nan
    return found


@pytest.mark.parametrize("estimator", ["logistic_regression", "hist_gradient_boosting", "random_forest"])
def test_columns_of_every_type_change_as_they_may(tmp_path: Path, estimator: str) -> None:
    model = with_columns("binary", copy.deepcopy(TYPES), tuple(c["name"] for c in TYPES))
    parameters = {"n_estimators": 12} if estimator == "random_forest" else {}
    model["estimator"] = {"kind": estimator, "parameters": parameters}
    with opened(lay(tmp_path, model, of_all_types(900, 0))) as door:
        frame = of_all_types(60, 1).drop(columns=["pay", "level"]).astype(object)
        frame = frame.where(frame.notna(), None)
        rows = [
            row | {"owner": {"true": True, "false": False}.get(row["owner"]), "hours": int(row["hours"])}
            for row in frame.to_dict("records")
        ]
        answers = asked(door, rows, explain=True)
        pairs = [(row, a, r) for row, a in zip(rows, answers, strict=True) for r in a["explanation"]["reasons"]]
        after = asked(door, [changed(row, reason) for row, _, reason in pairs])
        assert len(pairs) > 60
        assert all(then["decision"] != a["decision"] for then, (_, a, _) in zip(after, pairs, strict=True))
        named: dict[str, list[tuple[Any, Any]]] = {}
        for row, _, reason in pairs:
            for change in reason["changes"]:
                assert change["now"] == row[change["column"]] != change["to"] and change["to"] is not None
                named.setdefault(change["column"], []).append((change["now"], change["to"]))
        assert set(named) == {"since", "owner", "grade", "seen", "debt"}
        assert all(to > now for now, to in named["since"]) and all(now is not None for now, _ in named["grade"])
        assert all(to < now for now, to in named["grade"])  # towards a
        assert all(to.endswith("T00:00:00+00:00") for _, to in named["seen"])  # no person's own moment
        said = " ".join(r["says"] for _, _, r in pairs)
        assert "Owns a home is no; with yes the decision" in said and "Member since is 20" in said
        assert "Owns a home is missing; with " in said and " dollars" in said
        for answer in answers:
            found = answer["explanation"]
            assert sum(found["attributions"].values()) == pytest.approx(found["output"] - found["base"], abs=1e-9)
            assert found["of"] == f'{"probability" if estimator == "random_forest" else "log-odds"} of "over 30"'
