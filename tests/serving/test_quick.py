"""The quick way and the way with words answer alike, write alike, and together forget nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tasks.serving.together import MOST_WAITING
from tasks.spec.model import load_model
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    config = load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config)
    yield running
    running.process.kill()
    running.process.wait()


def test_both_ways_answer_and_log_the_same(service: Service) -> None:
    """An escape in a name is all that sends a body the other way."""
    rows = service.rows(40, seed=3)
    plain = json.dumps({"rows": rows})
    name = service.config.inputs[0].name
    with_words = plain.replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')
    assert json.loads(plain) == json.loads(with_words)
    url = f"{service.url}/models/care/predict"
    quick, slow = (asking.post(url, content=text, headers=JSON) for text in (plain, with_words))
    assert quick.status_code == slow.status_code == 200, (quick.text, slow.text)
    ours, theirs = quick.json(), slow.json()
    ids = [[p.pop("id") for p in found["predictions"]] for found in (ours, theirs)]
    assert ours == theirs and list(quick.json()["predictions"][0]) == list(slow.json()["predictions"][0])
    logged = service.log().set_index("_id")
    first, second = (logged.loc[each].drop(columns=["_seq", "_time"]).reset_index(drop=True) for each in ids)
    assert first.equals(second)


def test_what_waits_beyond_the_limit_is_refused_and_the_rest_is_kept(service: Service) -> None:
    """Another process holds the log's lock, so nothing can be written for as long as the test wishes."""
    before = len(service.log())
    holder = sqlite3.connect(service.home / "predictions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    body = json.dumps({"rows": service.rows(1000)})
    requests = MOST_WAITING // 1000 + 6

    def send(_: int) -> httpx.Response:
        return asking.post(f"{service.url}/models/care/predict", content=body, headers=JSON, timeout=60)

    with ThreadPoolExecutor(requests) as pool:
        sent = [pool.submit(send, n) for n in range(requests)]
        try:
            until(lambda: sum(s.done() for s in sent) >= 6)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
    answers = [s.result() for s in sent]
    refused = [a for a in answers if a.status_code == 503]
    assert len(refused) == 6 and all(a.headers["retry-after"] == "1" for a in refused)
    assert all(a.headers["content-type"] == "application/problem+json" for a in refused)
    assert "20,000 rows wait to be written" in refused[0].json()["detail"]
    acknowledged = [p["id"] for a in answers if a.status_code == 200 for p in a.json()["predictions"]]
    logged = service.log()["_id"].tolist()
    assert set(acknowledged) <= set(logged) and len(logged) == before + len(acknowledged) == before + MOST_WAITING


def test_ids_begin_with_the_time_and_are_never_given_twice(service: Service) -> None:
    found: list[Any] = [
        p["id"]
        for _ in range(3)
        for p in asking.post(f"{service.url}/models/care/predict", json={"rows": service.rows(500)}).json()[
            "predictions"
        ]
    ]
    assert len(set(found)) == 1500 and [i[:10] for i in found] == sorted(i[:10] for i in found)
    assert {i[12] for i in found} == {"7"} and {i[16] for i in found} <= set("89ab")
