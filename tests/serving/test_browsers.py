"""Hosts, forms, cookies and links of the service, tried from outside through a process that serves."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tasks.records.pages.model import model_page
from tasks.records.pages.watch import ModelStatus
from tasks.serving.keys import KeyFile, public_id
from tests.browser import document, picture
from tests.records.pages.watched import life
from tests.serving.running import Service, until
from tests.serving.stranger import PAGE, ask, browser, field, log_in, raw, serving

service = pytest.fixture(scope="module")(serving)


@pytest.mark.parametrize(
    "hosts",
    [
        ["Host: evil.example"], ["Host: 127.0.0.1.evil.example"], ["Host: evil.example:80@127.0.0.1"], ["Host: "], [],
        ["Host: localhost", "Host: evil.example"], ["Host: evil.example", "X-Forwarded-Host: localhost"],
        ["Host: 0.0.0.0"],
    ],
)  # fmt: skip
def test_another_host_is_refused_before_anything_else(service: Service, hosts: list[str]) -> None:
    said = raw(service, "GET /health/live HTTP/1.1", *hosts)
    assert said.split(b"\r\n")[0].split()[1] == b"400", said[:200]


def test_this_machines_names_are_taken_whatever_is_forwarded(service: Service) -> None:
    for host in ("localhost", "LOCALHOST:8090", "127.0.0.1:1", "[::1]:80"):
        said = raw(service, "GET /health/live HTTP/1.1", f"Host: {host}")
        assert said.startswith(b"HTTP/1.1 200"), (host, said[:200])
    told = raw(
        service, "GET /login HTTP/1.1", "Host: localhost", "X-Forwarded-Proto: https", "X-Forwarded-For: 10.0.0.9"
    )
    assert b"Set-Cookie" in told or b"set-cookie" in told
    assert b"Secure" not in told, "a proxy that nobody named is not believed"


def test_a_browser_logs_in_comes_back_and_logs_out(service: Service) -> None:
    key = service.key("read")
    time.sleep(0.6)
    with browser(service) as client:
        asked = client.get("/reports/care/watching.html?x=1")
        assert (
            asked.status_code == 303 and asked.headers["location"] == "/login?next=/reports/care/watching.html%3Fx%3D1"
        )
        answer = log_in(client, key, "/reports/care/watching.html?x=1")
        assert answer.status_code == 303 and answer.headers["location"] == "/reports/care/watching.html?x=1"
        (cookie,) = [c for c in answer.headers.get_list("set-cookie") if "_form" not in c]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and key.split("_", 2)[2] not in cookie
        page = client.get("/reports/care/watching.html")
        assert page.status_code == 200 and page.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert page.headers["x-frame-options"] == "DENY" and page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        home = client.get("/").text
        assert f"key {public_id(key)}" in home
        stolen = dict(client.cookies)
        assert client.post("/logout").status_code == 415
        assert client.post("/logout", data={"form": "x"}).status_code == 403, "without the token of its page"
        assert client.get("/").status_code == 200
        assert client.post("/logout", data={"form": field(home, "form")}).headers["location"] == "/login"
        assert client.get("/").status_code == 303
    with httpx.Client(base_url=service.url, headers=PAGE, cookies=stolen) as thief:
        assert thief.get("/").status_code == 303, "whoever kept the cookie is out, too"


def test_a_session_only_reads(service: Service) -> None:
    key = service.key("read", "predict", "outcomes", "operate")
    time.sleep(0.6)
    with browser(service) as client:
        log_in(client, key)
        for path, body in (("/models/care/predict", {"rows": service.rows(1)}), ("/links", {})):
            answer = client.post(path, json=body)
            assert answer.status_code == 403 and "a browser's session reads and does nothing else" in answer.text


def test_a_session_ends_with_its_key(service: Service) -> None:
    key = service.key("read")
    time.sleep(0.6)
    with browser(service) as client:
        log_in(client, key)
        assert client.get("/").status_code == 200
        KeyFile(service.home / "access").revoke(public_id(key))
        until(lambda: client.get("/").status_code == 303, seconds=2)


def test_forged_cookies_open_nothing(service: Service) -> None:
    from itsdangerous import URLSafeTimedSerializer

    key = service.key("read")
    time.sleep(0.6)
    with browser(service) as client:
        log_in(client, key)
        (name,) = [c for c in client.cookies if not c.endswith("_form")]
        good = client.cookies[name]
    forger = URLSafeTimedSerializer("guessed", salt="session")
    secret = (service.home / "access/session.secret").read_text()
    other = URLSafeTimedSerializer(secret, salt="form").dumps(["0" * 32, public_id(key)])
    nobody = URLSafeTimedSerializer(secret, salt="session").dumps(["0" * 32, "0" * 12])
    odd = URLSafeTimedSerializer(secret, salt="session").dumps({"key": public_id(key)})
    for value in (
        forger.dumps(["0" * 32, public_id(key)]),
        good[:-1],
        "." + good,
        other,
        nobody,
        odd,
        "",
        "a.b.c",
        '"',
    ):
        answer = ask(service, "/", headers=PAGE | {"cookie": f"{name}={value}"})
        assert answer.status_code == 303, value
    assert ask(service, "/", headers=PAGE | {"cookie": f'a={{"b"}}; {name}={good}'}).status_code == 200, (
        "beside others'"
    )


def test_a_form_of_elsewhere_logs_nobody_in(service: Service) -> None:
    key = service.key("read")
    time.sleep(0.6)
    with browser(service) as client, browser(service) as other:
        page = client.get("/login").text
        foreign = field(other.get("/login").text, "form")
        for form in ("", "x", foreign):
            answer = client.post("/login", data={"key": key, "form": form, "next": "/"})
            assert answer.status_code == 403 and "The form is too old, or was not shown to this browser" in answer.text
        assert client.post("/login", json={"key": key}).status_code == 415
        large = client.post("/login", data={"key": "x" * 5000, "form": field(page, "form")})
        assert large.status_code == 413
        assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "evil.example",
        "/%0d%0aset-cookie:a=b\r\nx", "/\t/evil.example", "http:/health", "/nowhere", "/login?next=/",
        "///evil.example", "",
    ],
)  # fmt: skip
def test_a_log_in_leads_nowhere_else(service: Service, next: str) -> None:
    key = service.key("read")
    time.sleep(0.6)
    with browser(service) as client:
        page = client.get("/login", params={"next": next}).text
        assert field(page, "next") == "/"
        answer = client.post("/login", data={"key": key, "form": field(page, "form"), "next": next})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


def link(service: Service, key: str, page: str) -> str:
    """An address that logs a browser in and shows it a page."""
    path = ask(service, "/links", key, "POST").json()["path"]
    return f"{service.url}{path}&next={page}"


def test_a_report_draws_in_a_browser_and_what_is_planted_in_it_does_nothing(service: Service, tmp_path: Path) -> None:
    key = service.key("read", "operate")
    planted = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    reports = [r.model_copy(update={"model": "care"}) for r in life(12)]
    told = ModelStatus("care", f"Care {planted}", "v1.0.0", "", reports, told=[planted], answers=[planted])
    page = model_page(told)
    (service.home / "reports/care/watching.html").write_text(page)
    (service.home / "reports/care/raw.html").write_text(page.replace("<h1>", f"{planted}<h1 onclick='x'>"))
    (tmp_path / "page.html").write_text(page)
    time.sleep(0.6)
    alone = picture((tmp_path / "page.html").as_uri(), tmp_path / "one", tmp_path / "one.png")
    served = picture(link(service, key, "/reports/care/watching.html"), tmp_path / "two", tmp_path / "two.png")
    assert alone == served and len(set(alone)) > 50, "the policy keeps nothing of ours from being drawn"
    dom = document(link(service, key, "/reports/care/watching.html"), tmp_path / "three", 1000, 3)
    assert "<title>Care &lt;img" in dom and "&lt;script&gt;" in dom and "<img" not in dom
    dom = document(link(service, key, "/reports/care/raw.html"), tmp_path / "four", 1000, 3)
    assert "<script>document" in dom and "<title>run" not in dom, "the browser runs no script, even where one got in"


def test_a_link_logs_in_once(service: Service) -> None:
    key = service.key("read", "operate")
    time.sleep(0.6)
    path = ask(service, "/links", key, "POST").json()["path"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(service, path, headers=PAGE), range(8)))
    (good,) = [a for a in answers if a.status_code == 200]
    assert "SameSite=Strict" in good.headers["set-cookie"] and "url=/" in good.text
    value = good.headers["set-cookie"].split(";")[0]
    assert ask(service, "/", headers=PAGE | {"cookie": value}).status_code == 200
    assert all(a.status_code in (401, 429) for a in answers if a is not good)
    assert "set-cookie" in good.headers and path.split("=")[1] not in good.text
