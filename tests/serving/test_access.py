"""Which key opens what at the service, tried from outside through a process that serves."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.serving.access import Access
from tasks.serving.app import create_app
from tasks.serving.keys import KeyFile, Keys, public_id
from tasks.serving.permits import PERMITS, permits_of
from tasks.serving.trust import Trust
from tests import asking
from tests.asking import bearer
from tests.serving.running import Service, until
from tests.serving.stranger import ask, assay, predict, raw, serving

service = pytest.fixture(scope="module")(serving)


def test_without_a_key_nothing_is_answered_but_probes(service: Service) -> None:
    answer = ask(service, "/models/care/predict", method="POST", json={"rows": service.rows(1)})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == 'Bearer realm="assay"'
    assert answer.json()["detail"] == (
        "no key was sent. Send one as 'Authorization: Bearer KEY'; a key is made with: assay keys add NAME --role "
        "predict"
    )
    for path in (
        "/",
        "/models",
        "/models/care",
        "/health",
        "/metrics",
        "/openapi.json",
        "/reports/",
        "/reports/x",
        "/no",
    ):
        assert ask(service, path).status_code == 401, path
    for path in (
        "/reports/care/watching.html",
        "/reports/../health",
        "//models",
        "/models/../metrics",
        "/%2e%2e/health",
    ):
        assert ask(service, path).status_code == 401, path
    assert ask(service, "/health/live").json() == {"status": "ok"}
    assert ask(service, "/health/ready").json() == {"status": "ok"}, "a probe learns no more"
    assert ask(service, "/docs").status_code == 401 and ask(service, "/models", method="OPTIONS").status_code == 401


@pytest.mark.parametrize(
    "sent",
    [
        "Bearer",
        "Bearer x",
        "Bearer assay_",
        "Bearer assay__",
        "Basic YTpi",
        "Bearer assay_000000000000_" + "A" * 43,
    ],
)
def test_a_wrong_key_is_refused(service: Service, sent: str) -> None:
    answer = ask(service, "/models", headers={"authorization": sent})
    assert answer.status_code == 401 and "the key is not known here" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer realm="assay", error="invalid_token"'


def test_a_secret_of_another_key_and_a_changed_one_are_refused(service: Service) -> None:
    one, other = service.key("read"), service.key("read")
    mixed = f"assay_{public_id(one)}_{other.split('_', 2)[2]}"
    changed = one[:-1] + ("A" if one[-1] != "A" else "B")
    hashed = KeyFile(service.home / "access").keys()[public_id(one)].sha256
    time.sleep(0.6)
    assert ask(service, "/models", one).status_code == 200
    for wrong in (mixed, changed, one + "A", one.upper(), hashed, f"assay_{public_id(one)}_{hashed}"):
        assert ask(service, "/models", wrong).status_code == 401, wrong
    assert ask(service, "/models", headers=bearer(one) | {"authorization": f"bearer {one}"}).status_code == 200
    twice = raw(
        service,
        "GET /models HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {changed}",
        f"Authorization: Bearer {one}",
    )
    assert b" 400 " in twice.split(b"\r\n")[0] and b"more than once" in twice


def test_a_key_in_the_address_is_refused_even_where_it_is_good(service: Service) -> None:
    key = service.key("read")
    time.sleep(0.6)
    escaped = key.replace("_", "%5F")
    for path in (f"/models?key={key}", f"/models?access_token={escaped}", f"/models?{key}", f"/models/{key}"):
        for answer in (ask(service, path), ask(service, path, key)):
            assert answer.status_code == 400 and "it is logged and remembered" in answer.json()["detail"]
            assert key not in answer.text


def test_a_key_says_when_it_expired(service: Service) -> None:
    token, key = KeyFile(service.home / "access").add("short", ("read",), days=2 / 86400)
    time.sleep(0.7)
    assert ask(service, "/models", token).status_code == 200
    until(lambda: ask(service, "/models", token).status_code == 401, seconds=5)
    assert ask(service, "/models", token).json()["detail"] == (
        f"key {key.id} (short) expired at {key.expires}. Make a new one with: assay keys add NAME --role read"
    )


def test_a_revoked_key_is_refused_within_two_seconds_while_it_asks(service: Service) -> None:
    made = json.loads(assay(service, "keys", "add", "nightly", "--role", "predict", "--model", "care", "--json").stdout)
    assert (made["roles"], made["models"], made["state"]) == (["predict"], ["care"], "holds") and "sha256" not in made
    until(lambda: predict(service, made["key"]).status_code == 200, seconds=3)
    assert assay(service, "keys", "revoke", made["id"]).stdout == f"key {made['id']} (nightly) is revoked\n"
    revoked = time.monotonic()
    while predict(service, made["key"]).status_code == 200:
        assert time.monotonic() - revoked < 2
    assert "was revoked at" in predict(service, made["key"]).json()["detail"]
    shown = assay(service, "keys", "list").stdout
    assert re.search(rf"{made['id']}  revoked   until .* predict; care; nightly", shown)
    assert made["key"].split("_", 2)[2] not in shown + assay(service, "keys", "list", "--json").stdout


def test_the_commands_refuse_in_words(service: Service) -> None:
    for arguments, said in (
        (("add", "x", "--role", "admin"), "'admin' is no role; allowed: predict, outcomes, review, read, operate."),
        (
            ("add", "x", "--role", "read", "--model", "nobody"),
            "'nobody' is no model of deployments/models.yaml; allowed: ",
        ),
        (
            ("add", "x", "--role", "read", "--days", "0"),
            "a key holds for more than 0 and at most 3,650 days; --days was 0.",
        ),
        (("add", "a\nb", "--role", "read"), "it holds the character U+000A"),
        (("revoke", "000000000000"), "no key has the id '000000000000'"),
    ):
        done = assay(service, "keys", *arguments)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, (arguments, done.stderr)


ROUTES = [
    ("POST", "/models/care/predict", {"rows": [{}]}, "predict"),
    ("POST", "/models/care/outcomes", {"outcomes": [{"id": "a", "label": True}]}, "outcomes"),
    (
        "POST",
        "/models/care/overrides",
        {"overrides": [{"id": "a", "decision": True, "who": "x", "why": "y"}]},
        "review",
    ),
    ("POST", "/models/care/appeals", {"appeals": [{"id": "a", "who": "x"}]}, "review"),
    ("POST", "/models/care/reviews", {"reviews": [{"id": "a", "verdict": "agree", "who": "x"}]}, "review"),
    ("GET", "/models/care", None, "read"),
    ("GET", "/metrics", None, "read"),
    ("GET", "/openapi.json", None, "read"),
    ("GET", "/reports/care/watching.html", None, "read"),
    ("POST", "/links", None, "operate"),
]


def test_each_route_opens_to_its_role_alone(service: Service) -> None:
    roles = ("predict", "outcomes", "review", "read", "operate")
    keys = {role: service.key(role) for role in roles}
    time.sleep(0.6)
    for method, path, body, needed in ROUTES:
        for role, key in keys.items():
            answer = ask(service, path, key, method, json=body) if body else ask(service, path, key, method)
            if role == needed:
                assert answer.status_code in (200, 422) or (path == "/links" and "has no role read" in answer.text), (
                    path
                )
            else:
                assert answer.status_code == 403, (path, role)
                said = (
                    f"has the roles {role}; {method} {permits_of(path)[0][method].path} needs the role {needed}. A key"
                )
                assert said in answer.json()["detail"]


def test_a_key_of_one_model_opens_no_other(service: Service) -> None:
    mine, other = service.key("predict", "read", models=("care",)), service.key("predict", "read", models=("income",))
    time.sleep(0.6)
    assert predict(service, mine).status_code == 200 and ask(service, "/models", mine).json() == {"care": "v1.0.0"}
    refused = predict(service, other)
    assert refused.status_code == 403 and (
        "is for income, and not for the model 'care'. A key for it is made with: assay keys add NAME --role predict "
        "--model care" in refused.json()["detail"]
    )
    assert predict(service, other, "nobody").status_code == 403, "nor does it tell which others there are"
    assert ask(service, "/models", other).json() == {} and "care" not in ask(service, "/", other).text
    assert ask(service, "/reports/care/watching.html", mine).status_code == 200
    for path in ("/reports/care/watching.html", "/models/care"):
        assert ask(service, path, other).status_code == 403
    for path in ("/reports/care/..", "/reports/care/../account.html", "/reports/./account.html", "/reports/care/."):
        said = raw(service, f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {mine}")
        assert said.startswith(b"HTTP/1.1 404"), (path, said[:100])
    for path in ("/metrics", "/health", "/openapi.json", "/reports/", "/reports/account.html"):
        assert "not for what tells of all models" in ask(service, path, mine).json()["detail"], path


def test_rates_are_kept_for_each_key(service: Service) -> None:
    slow, other = service.key("read", requests=2), service.key("read")
    few = service.key("predict", rows=10)
    time.sleep(0.6)
    answers = [ask(service, "/models", slow) for _ in range(6)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused and refused[0].headers["retry-after"] == "1"
    assert "sends more than 2 requests a second" in refused[0].json()["detail"]
    assert ask(service, "/models", other).status_code == 200
    for words in ({}, {"x": None}):  # the quick way, and the one with words
        time.sleep(1.1)
        many = {"rows": [row | words for row in service.rows(10)]}
        first, second = (ask(service, "/models/care/predict", few, "POST", json=many) for _ in range(2))
        assert first.status_code in (200, 422) and second.status_code == 429, (words, second.text)
        assert "sends more than 10 rows a second" in second.json()["detail"]


def test_every_row_carries_who_sent_it(service: Service) -> None:
    asks, labels, reviews = service.key("predict"), service.key("outcomes"), service.key("review")
    time.sleep(0.6)
    body = {"rows": service.rows(2)}
    quick = ask(service, "/models/care/predict", asks, "POST", json=body).json()["predictions"]
    parts = iter([json.dumps(body).encode()])  # chunked, which the quick way does not take
    general = ask(
        service, "/models/care/predict", asks, "POST", content=parts, headers={"content-type": "application/json"}
    ).json()["predictions"]
    ids = [p["id"] for p in (*quick, *general)]
    told = {"id": ids[0], "who": "an expert"}
    for key, what, row in (
        (labels, "outcomes", {"id": ids[0], "label": True}),
        (reviews, "overrides", told | {"decision": True, "why": "known"}),
        (reviews, "appeals", told),
        (reviews, "reviews", told | {"verdict": "agree"}),
    ):
        answer = ask(service, f"/models/care/{what}", key, "POST", json={what: [row]})
        assert answer.json()["accepted"] == 1, answer.text
    engine = sa.create_engine(f"sqlite:///{service.home}/predictions.db")
    with engine.connect() as connection:
        find = sa.text("SELECT sender FROM predictions WHERE id = :id")
        assert [connection.execute(find, {"id": key}).scalar() for key in ids] == [public_id(asks)] * 4
        for table, key in (("outcomes", labels), ("overrides", reviews), ("appeals", reviews), ("reviews", reviews)):
            found = connection.execute(sa.text(f"SELECT sender FROM {table} WHERE id = :id"), {"id": ids[0]}).scalars()
            assert list(found) == [public_id(key)], table
    engine.dispose()
    log = PredictionLog(f"sqlite:///{service.home}/predictions.db")
    row = log.frame("care", 0, 2**62, extras=True).set_index("_id").loc[ids[0]]
    log.close()
    assert (row["_sender"], row["_label_sender"]) == (public_id(asks), public_id(labels))


def test_no_secret_stands_in_any_file_of_the_home_or_in_what_the_service_says(service: Service) -> None:
    key = service.key("read", "predict", "operate")
    time.sleep(0.6)
    token = ask(service, "/links", key, "POST").json()["path"].split("token=")[1]
    ask(service, f"/models?key={key}", key)
    predict(service, key)
    said = (
        ask(service, "/metrics", key).text + ask(service, "/health", key).text + ask(service, "/openapi.json", key).text
    )
    secret = key.split("_", 2)[2]
    assert secret not in said and public_id(key) not in said
    files = [path for path in service.home.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        assert secret.encode() not in content and token.encode() not in content, path
    process = Path(f"/proc/{service.process.pid}")
    assert secret.encode() not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    folder = service.home / "access"
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "keys.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "session.secret").stat().st_mode & 0o777 == 0o600


def test_a_list_that_cannot_be_read_opens_nothing(service: Service) -> None:
    path, key = service.home / "access/keys.json", asking.KEYS[service.url]
    before = path.read_text()
    try:
        for broken in (
            "",
            "[]",
            '{"format": 1, "keys": [{"id": "000000000000"}]}',
            before.replace('"format": 1', '"format": 9'),
        ):
            path.write_text(broken)
            until(lambda: ask(service, "/models", key).status_code == 503, seconds=3)
            assert ask(service, "/models").status_code == 503
            assert ask(service, "/models", key).json()["detail"].startswith("the list of keys cannot be read, so ")
        assert str(path) in (service.home / "service.log").read_text(), "strangers are not told where"
        path.unlink()
        until(lambda: ask(service, "/models", key).status_code == 401, seconds=3)
    finally:
        path.write_text(before)
    until(lambda: ask(service, "/models", key).status_code == 200, seconds=3)


def test_nothing_speaks_another_protocol(service: Service) -> None:
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    for path in ("/", "/models", "/reports/index.html"):
        said = raw(service, f"GET {path} HTTP/1.1", "Host: localhost", *upgrade)
        assert said.split()[1] in (b"401", b"403"), said[:200]


def _all(routes: list[Any]) -> Iterator[Any]:
    """Routes, those of routers that were included, too; what is neither fails here."""
    for route in routes:
        yield from _all(route.original_router.routes) if hasattr(route, "original_router") else [route]


def test_the_routes_of_the_application_are_those_of_the_table(tmp_path: Path) -> None:
    """Whoever adds a route without saying who may ask it has added nothing: the door answers 404."""
    log = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    trust = Trust(tmp_path / "keys/examiners", tmp_path / "heights.json")
    app = create_app(tmp_path / "releases", trust, log, Prediction, 1000, Access(Keys(tmp_path), None))
    declared = {(method, route.path) for route in _all(app.routes) for method in route.methods - {"HEAD"}}
    stated = {(p.method, p.path) for p in PERMITS if not p.path.startswith("/reports")}
    log.close()
    assert declared == stated and ("GET", "/openapi.json") in declared
    assert permits_of("/models/" + "a" * 300) == ({}, None), "so that no path of a stranger is kept that is long"
    assert permits_of("/reports/a/b/c") == ({}, None) and permits_of("/models/") == ({}, None)
    sent = [permits_of(path)[1] for path in ("/models/care/predict", "/reports/care/x.html", "/metrics")]
    assert sent == ["care", "care", None]


def test_what_is_not_in_the_table_is_not_there(service: Service) -> None:
    key = asking.KEYS[service.url]
    gone = ask(service, "/docs", key)
    assert (gone.status_code, gone.json()["detail"]) == (
        404,
        "there is no '/docs' here; /openapi.json lists what there is",
    )
    wrong = ask(service, "/models", key, "DELETE")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
