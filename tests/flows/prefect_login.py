"""What somebody can do who has the login of Prefect's server and no more."""

from __future__ import annotations

import httpx

from tests.system import Running


def asked_through_prefects_own_api(running: Running, commit: str) -> None:
    """Everybody has the same login there, so a name is what somebody wrote; the seal of another request is no proof."""
    training = running.api.call("GET", "/deployments/name/train/training")["id"]
    pushed = next(r for r in running.api.runs("train/training") if r["parameters"]["request"]["revision"] == commit)
    assert pushed["labels"]["assay.door"]
    body = {
        "parameters": {"request": {"model": "care", "revision": commit, "actor": "bob@example.org"}},
        "labels": {"assay.door": pushed["labels"]["assay.door"]},
    }
    url = f"{running.system.api_url}/deployments/{training}/create_flow_run"
    answer = httpx.post(url, json=body, auth=running.login, trust_env=False, timeout=60)
    assert answer.is_success, answer.text
    run = answer.json()["id"]
    assert running.api.wait(run, seconds=240)["name"] == "Rejected"
    assert running.ledger()[-1].actor == "bob@example.org (shared login)"
