"""Overrides, appeals and reviews, sent to a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.records.log.predictions import PredictionLog
from tasks.serving.human import _misfit
from tasks.spec.manifest import Manifest
from tasks.spec.model import load_model
from tests import asking
from tests.serving.running import ROOT, Service, point, release, start


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    config = load_model(ROOT, "care")
    release(tmp_path, config, "v1.0.0", 1)
    point(tmp_path, "v1.0.0")
    running = start(tmp_path, config)
    yield running
    running.process.kill()
    running.process.wait(timeout=10)


def test_what_people_say_is_counted_and_joined(service: Service) -> None:
    ids = [p["id"] for p in service.predict(rows=service.rows(3)).json()["predictions"]]

    def send(what: str, *rows: dict[str, Any]) -> Any:
        return asking.post(f"{service.url}/models/care/{what}", json={what: list(rows)}, timeout=30).json()

    override = {"id": ids[0], "decision": True, "who": "anna", "why": "knows the case"}
    assert send("overrides", override, override, override | {"id": "nobody"}) == {
        "accepted": 1,
        "repeated": 1,
        "changed": 0,
        "unknown": 1,
        "late": 0,
    }
    assert (
        send(
            "appeals",
            {"id": ids[1], "claim": "wrong age", "who": "pia"},
            {"id": ids[1], "state": "upheld", "who": "anna"},
        )["changed"]
        == 1
    )
    assert send("reviews", {"id": ids[2], "window": 1, "verdict": "unsure", "who": "anna"})["accepted"] == 1
    log = PredictionLog(f"sqlite:///{service.home}/predictions.db")
    found = log.frame("care", 0, 2**62, extras=True)
    log.close()
    assert (
        found["_override"].tolist()[0] is True
        and found["_appeal"].tolist()[1] == "upheld"
        and found["_review"].tolist()[2] == "unsure"
    )
    assert (
        'assay_human_total{kind="unknown",model="care",what="override"} 1.0'
        in asking.get(f"{service.url}/metrics").text
    )
    (bad,) = send("overrides", override | {"decision": "yes"})["problems"]
    assert (bad["row"], bad["field"], bad["message"]) == (0, "decision", "a decision of care is true or false")
    for what, row in (
        ("appeals", {"id": ids[0], "state": "closed", "who": "x"}),
        ("reviews", {"id": ids[0], "verdict": "agree", "who": "a\x00b"}),
        ("overrides", override | {"why": ""}),
        ("overrides", override | {"who": "anna\nEvidence: x"}),
    ):
        assert "detail" in send(what, row)
    assert (
        asking.post(f"{service.url}/models/nobody/appeals", json={"appeals": [{"id": "a", "who": "x"}]}).status_code
        == 404
    )


def test_a_decision_is_of_the_models_kind() -> None:
    fields: dict[str, Any] = {
        "model": "one",
        "title": "",
        "model_digest": "",
        "features": (),
        "inputs": (),
        "seed": 0,
        "trained_rows": 1,
        "libraries": {},
    }
    binary = Manifest(**fields, decision_threshold=0.5)
    classes = Manifest(**fields, kind="multiclass", decision_threshold=None, classes=("a", "b", "c"))
    number, limit = (
        Manifest(**fields, kind="regression", decision_threshold=None),
        Manifest(**fields, kind="regression", decision_threshold=3.0),
    )
    values: list[bool | float | str] = [True, 1.0, "a", "z"]
    assert [[_misfit(0, v, m) is None for v in values] for m in (binary, classes, number, limit)] == [
        [True, False, False, False],
        [False, False, True, False],
        [False, True, False, False],
        [True, True, False, False],
    ]
