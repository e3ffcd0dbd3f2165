"""The story in a real system: pushes, forms, schedules, verdicts, signatures, rollback; and nothing leaves the
machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest

from tasks.cli.waivers import add_waiver
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.registry import Registry
from tasks.science.data.tables import as_requests
from tasks.spec.base import digest_file
from tasks.spec.ledger import EntryDraft, FeedDetails
from tasks.spec.model import load_model
from tasks.spec.models import model_names
from tasks.versions import version_files
from tests import asking
from tests.conftest import ROOT
from tests.flows.prefect_login import asked_through_prefects_own_api
from tests.keys import key
from tests.system import Running, replay_rows, set_value

SNAPSHOT = Path(__file__).parent / "deployed.json"


def test_a_second_up_gives_what_runs(running: Running) -> None:
    again = running.assay("up", "--json")
    said = json.loads(again.stdout)
    assert said.pop("login").startswith(f"{running.system.service_url}/login/once?token=")
    assert (again.returncode, said) == (0, running.system.__dict__)
    told = running.assay("up").stdout
    assert (
        "Assay runs already. Port 4200 and 8090 were taken, so another was chosen." in told
        and running.system.service_url in told
    )


def test_what_trains_leaves_the_cores_to_others_while_it_waits(running: Running) -> None:
    """OpenMP's threads spin by default, and on a busy machine many times as long as they work."""
    said = [
        p.info["environ"] or {}
        for p in psutil.process_iter(["cmdline", "environ"])
        if {"worker", "start"} <= set(p.info["cmdline"] or ())
    ]
    assert [e["GOMP_SPINCOUNT"] for e in said if e.get("ASSAY_HOME") == str(running.settings.home)] == [
        os.environ.get("GOMP_SPINCOUNT", "1000")
    ]


def test_what_is_deployed_is_what_was_reviewed(running: Running) -> None:
    """Names, schedules and every field of every form; UPDATE_SNAPSHOT=1 takes a meant change over."""
    found = {}
    for deployment in running.call("/deployments/filter", {}):
        definitions = deployment["parameter_openapi_schema"]["definitions"]
        request = next(v for k, v in definitions.items() if k.endswith("Request"))
        kept = (
            "type",
            "enum",
            "description",
            "default",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "pattern",
            "anyOf",
            "$ref",
        )
        found[deployment["name"]] = {
            "tags": deployment["tags"],
            "description": deployment["description"],
            "entrypoint": deployment["entrypoint"],
            "required": request.get("required", []),
            "fields": {
                name: {k: v for k, v in field.items() if k in kept} for name, field in request["properties"].items()
            },
            "schedules": [
                {"interval": s["schedule"]["interval"], "active": s["active"], "parameters": s["parameters"]}
                for s in sorted(deployment["schedules"], key=lambda s: s["schedule"]["interval"])
            ],
        }
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(as_json(found))
    assert as_json(found) == SNAPSHOT.read_text()


def test_the_scheduler_makes_runs(running: Running) -> None:
    """With a wrong version of one library it does not, and says so only in the server's log."""

    def scheduled() -> set[str]:
        body = {
            "deployments": {"name": {"any_": ["monitoring"]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "limit": 50,
        }
        return {
            r["parameters"]["request"]["model"] for r in running.call("/flow_runs/filter", body) if r["auto_scheduled"]
        }

    running.until(lambda: scheduled() == set(model_names(ROOT)), "runs of all schedules")


def test_watching_what_was_never_released_ends_with_a_sentence(running: Running) -> None:
    """For who asks it is a mistake; for a schedule, which begins with the system, it is none, and no run stands there
    in red. What a run decided that died is told all the same."""
    left = EntryDraft(kind="monitored", model="care", actor="a", reason="schedule", sentence="feed: it was told late",
                      evidence={}, details=FeedDetails(silent=("outcomes",)))  # fmt: skip
    with closing(PredictionLog(running.settings.log_database)) as log:
        log.decide(Decision(left, 0))
    early = running.api.start("monitor/monitoring", {"model": "care", "reason": "schedule", "actor": "schedule"})
    done = running.assay("monitor", "income", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["state"]) == (1, "Failed")
    assert (
        told["message"]
        == "income has no champion yet, so there is nothing to watch. Train it first: assay train income"
    )
    running.until(lambda: "Finished in state" in running.logs(told["flow_run"]), "the end of the log")
    time.sleep(4)  # what the engine adds on its way out comes with the next sending of logs, 2 s apart
    assert "Traceback" not in running.logs(told["flow_run"])
    state = running.api.wait(early, seconds=60)
    assert (state["type"], state["name"]) == ("COMPLETED", "Nothing to watch") and state["message"].startswith(
        "care has no champion yet"
    )
    assert [e.sentence for e in running.ledger() if e.model == "care"] == ["feed: it was told late"]


def test_a_push_trains_examines_promotes_and_serves(running: Running, released: dict[str, Any]) -> None:
    assert f"assay: training of care at {released['pushed'][:8]} started" in released["said"]
    assert released["name"] == "Promoted", released["message"]
    assert re.fullmatch(r"care v1\.0\.0 is champion: (all|\d+ of) \d+ gates passed.*\.", released["message"])
    assert [(e.kind, e.actor) for e in running.ledger() if e.model == "care" and e.kind != "monitored"][:2] == [
        ("trained", "dana@example.org"),
        ("promoted", "dana@example.org"),
    ]
    running.until(lambda: running.serves("care") == "v1.0.0", "v1.0.0 in the service")
    artifacts = {a["key"]: a for a in running.call("/artifacts/filter", {})}
    assert artifacts["verdict-care"]["data"].startswith("**Fit to serve.**")
    assert len(json.loads(artifacts["data-care"]["data"])) > 3
    link = re.search(r"\[The whole page\]\((\S+)\)", artifacts["verdict-care"]["data"])
    assert link is not None
    page = asking.get(link[1]).text
    assert "auc-floor" in page and "<script" not in page
    assert "rows of the holdout answer for the 1st of 100 times, asked by 1 name." in page
    assert "care: v1.0.0 is champion and serves" in running.assay("status").stdout


@pytest.mark.acceptance  # the rule alone: tests/test_promotion.py
def test_what_is_the_champion_already_is_not_promoted_again(running: Running, released: dict[str, Any]) -> None:
    done = running.assay("train", "care", "--revision", released["pushed"])
    assert (done.returncode, done.stdout.strip()) == (
        0,
        "Unchanged: Nothing to promote: code, config and data are those of care v1.0.0, the champion.",
    )


def test_rows_scored_from_a_file_are_logged_and_watched(
    running: Running, released: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    replay(running).to_parquet(path)
    done = running.assay("predict", "care", str(path), "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    log = PredictionLog(running.settings.log_database)
    assert log.frame("care", 0, 2**62)["_id"].tolist() == [a["id"] for a in answers]
    log.close()
    watched = running.assay("monitor", "care")
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert "✓ window 1 " in watched.stderr
    assert [e.kind for e in running.ledger()][-1] == "monitored"
    assert (running.settings.reports / "care/window-00001.html").exists()
    since = {"occurred": {"since": "2026-01-01T00:00:00Z"}, "event": {"prefix": ["assay."]}}
    running.until(
        lambda: any(
            e["event"].startswith("assay.decision.")
            for e in running.call("/events/filter", {"filter": since})["events"]
        ),
        "an event of the decision",
    )


def test_a_pushed_typo_is_told_and_nothing_changes(running: Running, released: dict[str, Any]) -> None:
    commit = running.push("care: typo", model=lambda text: text.replace("decision_threshold:", "decision_treshold:"))
    state = running.finished("train/training", commit)
    assert state["type"] == "FAILED"
    assert "decision_treshold is not a known key; did you mean 'decision_threshold'?" in state["message"]
    assert "Traceback" not in state["message"]
    running.push(
        "care: mended\n\nAssay-Run-Reason: mended",
        model=lambda text: text.replace("decision_treshold:", "decision_threshold:"),
    )
    assert "assay: nothing was started: the message of" in running.said and "commit without that line" in running.said
    assert running.champion() == "v1.0.0"


def test_broken_data_are_on_record_and_train_nothing(running: Running, released: dict[str, Any]) -> None:
    before = running.expectations()
    commit = running.push("care: impossible expectation", expectations=set_value("max_value", "1"))
    state = running.finished("train/training", commit)
    assert state["name"] == "Rejected" and state["message"].startswith("Not trained: 1 of")
    newest = running.ledger()[-1]
    assert (newest.kind, newest.commit) == ("rejected", commit) and newest.sentence.startswith("not trained")
    assert newest.actor == "dana@example.org"
    asked_through_prefects_own_api(running, commit)
    running.push("care: expectation as before\n\nAssay-Run-Reason: mended", expectations=lambda _: before)


def test_high_materiality_waits_for_a_second_person(running: Running, released: dict[str, Any], tmp_path: Path) -> None:
    """Whose signature does not hold is refused in tests/test_approval.py; here is the way through the system."""
    keys = {name: key(tmp_path, name) for name in ("dana", "jo")}
    running.appoint(**keys)
    commit = running.push("care: high materiality", model=set_value("materiality", "high"))
    state = running.finished("train/training", commit)
    assert state["name"] == "Awaiting signature" and running.champion() == "v1.0.0"
    entry = running.ledger()[-1]
    assert entry.kind == "awaiting_signature"
    candidate = str(entry.commit)
    assert f"{candidate[:12]} waits for a signature" in running.assay("status").stdout

    def approve(signer: str) -> tuple[int, str]:
        done = running.assay(
            "approve",
            "care",
            candidate[:12],
            "--as",
            f"{signer}@example.org",
            "--key",
            str(keys[signer]),
            "--because",
            "I read the verdict",
        )
        return done.returncode, done.stdout + done.stderr

    assert (code := approve("dana"))[0] == 1 and "nobody signs for themselves" in code[1]
    assert running.champion() == "v1.0.0"
    assert (code := approve("jo"))[0] == 0 and "care v2.0.0 is champion, signed by jo@example.org" in code[1]
    assert running.champion() == "v2.0.0"
    assert running.ledger()[-1].sentence == "became champion: v2.0.0, after v1.0.0, signed by jo@example.org"
    assert (code := approve("jo"))[0] == 6 and "promoted already" in code[1]


@pytest.mark.acceptance  # the rule alone: tests/test_waivers.py
def test_a_gate_is_let_go_only_by_a_second_persons_waiver(
    running: Running, released: dict[str, Any], tmp_path: Path
) -> None:
    """The next version fails a floor; with a waiver that Jo signed it passes, and the verdict says so in red."""
    path = key(tmp_path, "kim")
    version = Registry(running.settings).next_version("care")
    running.appoint(kim=path)
    commit = running.push(
        "care: a floor that is too high",
        model=lambda text: text.replace("metric: roc_auc, limit: 0.62", "metric: roc_auc, limit: 0.9"),
    )
    examined = running.assay(
        "examine", "care", "--revision", commit, "--report", str(tmp_path / "verdict.md"), "--json"
    )
    assert (examined.returncode, json.loads(examined.stdout)["state"]) == (1, "Rejected")
    assert "| auc-floor | ✕ fail |" in (tmp_path / "verdict.md").read_text()
    running.git("pull", "--quiet", "--rebase", "origin", "main")
    terms = {
        "gate": "auc-floor",
        "version": version,
        "reason": "the floor was mistyped",
        "who": "kim@example.org",
        "expires": "2099-12-31",
    }
    add_waiver(running.settings, running.clone, "care", terms, path)
    running.git("add", ".")
    commit = running.push("care: waive the floor")
    state = running.finished("train/training", commit)
    assert state["name"] in ("Promoted", "Awaiting signature"), state["message"]
    verdict = next(
        p for p in (running.settings.reports / "care").glob("verdict-*.html") if "Waived: auc-floor" in p.read_text()
    )
    assert "kim@example.org until 2099-12-31: The floor was mistyped." in verdict.read_text()


def test_a_rollback_by_hand_is_served_within_seconds(running: Running, released: dict[str, Any]) -> None:
    running.until(lambda: running.serves("care") == running.champion(), "the champion in the service")
    assert running.champion() != "v1.0.0", "the tests before promote a second version"
    unsigned = running.assay("rollback", "care", "--because", "a test of the way back")
    assert unsigned.returncode == 1 and "nobody who may order it signed it (dana@example.org, " in unsigned.stdout
    done = running.assay("rollback", "care", "--because", "a test of the way back", *running.signed())
    assert (done.returncode, done.stdout.strip()) == (0, "Rolled back: care v1.0.0 serves again.")
    running.until(lambda: running.serves("care") == "v1.0.0", "v1.0.0 in the service", seconds=5)
    refused = running.assay("rollback", "care", "--because", "once more", *running.signed())
    assert refused.returncode == 6 and "no earlier champion to go back to" in refused.stderr
    assert running.assay("ledger", "--verify").returncode == 0


def test_a_stopped_model_answers_nothing_until_a_version_is_put_back(
    running: Running, released: dict[str, Any]
) -> None:
    champion = str(running.champion())
    rows = as_requests(load_model(ROOT, "care"), replay(running).head(1))

    def answer() -> httpx.Response:
        return asking.post(f"{running.system.service_url}/models/care/predict", json={"rows": rows})

    done = running.assay("stop", "care", "--because", "its answers do harm", *running.signed())
    assert (done.returncode, done.stdout.strip()) == (
        0,
        f"Stopped: care {champion} does not answer any more. Put a version back with a promotion or a rollback.",
    )
    running.until(lambda: answer().status_code == 503, "the service to stop answering", seconds=5)
    assert "its answers do harm" in answer().text
    assert (
        again := running.assay("stop", "care", "--because", "once more", *running.signed())
    ).returncode == 1 and "is stopped already" in again.stdout
    assert running.assay("promote", "care", champion, "--because", "it was mended", *running.signed()).returncode == 0
    running.until(lambda: answer().status_code == 200, "the service to answer again", seconds=5)
    assert [e.kind for e in running.ledger()][-2:] == ["stopped", "promoted"]


@pytest.mark.acceptance  # with DVC alone: tests/test_versions.py
def test_a_version_is_rebuilt_from_its_commit_when_all_its_files_are_lost(
    running: Running, released: dict[str, Any]
) -> None:
    """Code, parameters and the pinned source are enough: the model file comes out with the same digest."""
    first = Registry(running.settings).versions("care")[0]
    before = version_files(running.settings, "care", first).model / "model.skops"
    digest = digest_file(before)
    shutil.rmtree(running.settings.home / "versions/care")
    shutil.rmtree(running.settings.cache)
    assert digest_file(version_files(running.settings, "care", first).model / "model.skops") == digest


def test_nothing_left_this_machine(running: Running, released: dict[str, Any]) -> None:
    """Every Python process of the system was audited from its start: server, worker, service, flows, commands.

    Stages get none of this environment, and the kernel keeps them from the network
    (``tests/records/repository/test_sandbox.py``).
    """
    parts = [
        environment
        for path in Path("/proc").glob("[0-9]*/environ")
        if str(running.settings.home).encode() in (environment := environment_of(path))
    ]
    assert len(parts) > 2 and all(str(running.outbound).encode() in environment for environment in parts)
    assert not running.outbound.exists() or running.outbound.read_text() == ""


def environment_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


@pytest.mark.parametrize(
    "code",
    [
        "socket.create_connection(('192.0.2.1', 80), 0.2)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
    ],
)
def test_the_audit_sees_what_leaves(
    running: Running, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTBOUND_LOG", str(tmp_path / "log"))
    subprocess.run([sys.executable, "-c", f"import socket; {code}"], capture_output=True, check=False)
    assert "192.0.2.1" in (seen := (tmp_path / "log").read_text()) or "example.org" in seen


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def replay(running: Running) -> pd.DataFrame:
    """One window of inputs of ``care``, as the service takes them."""
    config = load_model(ROOT, "care")
    return replay_rows(running, "care")[[c.name for c in config.inputs]].head(config.monitoring.window_rows)


def test_the_service_says_what_it_serves(running: Running, released: dict[str, Any]) -> None:
    health = asking.get(f"{running.system.service_url}/health").json()
    assert health["status"] == "ok" and set(health["models"]) == {"care"}
