"""Prefect's server asks who it is: in a real browser, over HTTP, and where the login could be read."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import psutil

from tasks.records.pages.verdict import data_rows
from tasks.records.pages.words import cell
from tests.browser import browser
from tests.records.pages.test_markup import PLANTED
from tests.system import Running


def test_the_form_in_a_browser(running: Running, tmp_path: Path) -> None:
    """What a person sees who starts a training by hand: first the login, then every field with its description."""
    training = running.api.call("GET", "/deployments/name/train/training")["id"]
    form = f"{running.system.api_url.removesuffix('/api')}/deployments/deployment/{training}/run"
    told = running.assay("up").stdout
    where = running.settings.home / "keys/prefect"
    assert f"log in with the line in {where}" in told and where.read_text().strip() not in told
    with browser(tmp_path / "profile") as page:
        page.go(form)
        page.type("input[type=password]", "assay:wrong")
        page.press("Enter")
        page.until("/fail|incorrect|invalid|denied/i.test(document.body.innerText)")
        page.go(form)
        page.type("input[type=password]", where.read_text().strip())
        page.press("Enter")
        page.until("!document.querySelector('input[type=password]')")
        page.go(form)
        for text in (
            "The model, as listed in deployments/models.yaml.",
            "Commit, tag or branch of the origin to train",
            "Promote the candidate where every mandatory gate passes.",
        ):
            page.until(f"document.body.innerText.includes({json.dumps(text)})")


def test_prefects_api_is_closed_to_whoever_has_no_login(running: Running) -> None:
    """Who may write there runs code on the worker."""
    url = running.system.api_url
    body = {"parameters": {"request": {"model": "care", "actor": "mallory"}}}
    training = running.api.call("GET", "/deployments/name/train/training")["id"]
    for auth in (None, ("assay", "wrong"), ("admin", "pass")):
        for method, path in (
            ("GET", "/version"),
            ("POST", "/deployments/filter"),
            ("POST", f"/deployments/{training}/create_flow_run"),
        ):
            answer = httpx.request(method, url + path, json=body, auth=auth, trust_env=False)
            assert answer.status_code == 401, (auth, path, answer.text)
    secret = (running.settings.home / "keys/prefect").read_text().strip().partition(":")[2]
    assert len(secret) >= 43 and (running.settings.home / "keys/prefect").stat().st_mode & 0o77 == 0
    holding = [
        path
        for path in running.settings.home.rglob("*")
        if path.is_file()
        and path.name != "prefect"
        and path.stat().st_size < 1 << 24
        and secret.encode() in path.read_bytes()
    ]
    assert holding == []
    argv = [word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or ()]
    assert not any(secret in word for word in argv)


def test_markup_from_outside_is_text_in_what_prefects_pages_show(running: Running, tmp_path: Path) -> None:
    """The same as tests/records/pages/test_markup.py asks of a renderer, in the one that people have before them."""
    told = [f"P{n} {text}" for n, text in enumerate(PLANTED)]
    listed = "\n".join(f"- {cell(text)}" for text in told)
    checks = [{"table": t, "sentence": t, "success": False, "observed": None, "rows": 1} for t in told]
    documents = {
        "markdown": "| a |\n|---|\n" + "\n".join(f"| {cell(text)} |" for text in told) + "\n\n" + listed,
        "table": json.dumps(data_rows(checks)),
    }
    origin = running.system.api_url.removesuffix("/api")
    with browser(tmp_path / "profile", height=3000) as page:
        page.go(origin)
        page.type("input[type=password]", (running.settings.home / "keys/prefect").read_text().strip())
        page.press("Enter")
        page.until("!document.querySelector('input[type=password]')")
        for kind, data in documents.items():
            made = running.api.call("POST", "/artifacts/", {"key": f"planted-{kind}", "type": kind, "data": data})
            page.go(f"{origin}/artifacts/artifact/{made['id']}")
            for text in told:
                shown = " ".join(text.split())
                page.until(f"document.body.innerText.replace(/\\s+/g, ' ').includes({json.dumps(shown)})")
            live = "document.querySelectorAll('img[src=x], [src*=evil], [href*=evil], [href^=javascript]').length"
            assert page.ask(live) == 0, kind
