"""A running system and its models: what a push adds, changes or takes away, without a restart and with runs under
way."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import yaml

from tasks.spec.models import model_names
from tests import asking
from tests.conftest import ROOT
from tests.system import Running, require_package_index

pytestmark = pytest.mark.acceptance  # a second whole system; the hook alone: tests/test_hook.py
NEW = "twin"


def watching(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = running.api.call("GET", "/deployments/name/monitor/monitoring")
    return found


def schedule(running: Running) -> dict[str, Any] | None:
    return next((s for s in watching(running)["schedules"] if s["slug"] == NEW), None)


def offered(running: Running, deployment: str) -> list[str]:
    """The drop-down of a form."""
    definitions = running.api.call("GET", f"/deployments/name/{deployment}")["parameter_openapi_schema"]["definitions"]
    names: list[str] = next(
        d["properties"]["model"]["enum"] for d in definitions.values() if "model" in d.get("properties", {})
    )
    return names


def push(running: Running, listed: list[str], **changes: Any) -> None:
    """Push the list of models, and the new model's configuration with changed keys of ``monitoring``."""
    running.git("pull", "--quiet", "--rebase", "--autostash", "origin", "main")
    (running.clone / "deployments/models.yaml").write_text(f"models: [{', '.join(listed)}]\n")
    path = running.clone / f"deployments/models/{NEW}/model.yaml"
    if path.exists():
        document = yaml.safe_load(path.read_text())
        document["monitoring"] |= changes
        path.write_text(yaml.safe_dump(document))
    running.git("add", "--all")
    running.git("commit", "--quiet", "-m", "models")
    running.said = running.git("push", "origin", "HEAD:main")


def test_a_pushed_model_is_trained_served_and_watched_by_the_system_that_runs(running: Running) -> None:
    """The run of another model that is under way when it comes goes on to its end."""
    require_package_index()
    names = list(model_names(ROOT))
    under_way = running.api.start(
        "train/training", {"model": "care", "reason": "person", "actor": "dana", "revision": "main", "promote": False}
    )
    running.until(lambda: running.api.state(under_way)["type"] == "RUNNING", "the first run", seconds=90)

    models = running.clone / "deployments/models"
    shutil.copytree(models / "care", models / NEW)
    path = models / NEW / "model.yaml"
    document = yaml.safe_load(path.read_text()) | {"name": NEW, "materiality": "low"}
    document["gates"] = [g for g in document["gates"] if g["kind"] in ("data", "floor", "rules", "readiness")]
    document["gates"] = [g | ({"latency_ms": 5000} if g["kind"] == "readiness" else {}) for g in document["gates"]]
    path.write_text(yaml.safe_dump(document))
    shutil.copytree(running.clone / "data/care/collected", running.clone / f"data/{NEW}/collected")
    push(running, [*names, NEW], every_seconds=450)
    assert f"assay: {NEW} is watched every 450 s" in running.said
    assert f"assay: training of {NEW} at" in running.said
    found = schedule(running)
    assert found is not None and (found["schedule"]["interval"], found["active"]) == (450, True)
    for deployment in ("train/training", "monitor/monitoring", "stop/stop"):
        assert offered(running, deployment) == [*names, NEW]

    done = running.finished("train/training", running.git("rev-parse", "HEAD"))
    assert done["name"] == "Promoted", done["message"]
    running.until(lambda: running.serves(NEW) == "v1.0.0", f"{NEW} in the service")
    assert running.api.wait(under_way, seconds=240)["type"] in ("COMPLETED", "FAILED")
    assert "Not promoted, as asked" in str(running.api.state(under_way)["message"])

    def scheduled() -> set[str]:
        body = {
            "deployments": {"name": {"any_": ["monitoring"]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "limit": 100,
        }
        return {r["parameters"]["request"]["model"] for r in running.call("/flow_runs/filter", body)}

    running.until(lambda: NEW in scheduled(), "a run of the new schedule", seconds=90)


def test_a_schedule_follows_the_configuration_and_stays_paused_where_a_person_paused_it(running: Running) -> None:
    found = schedule(running)
    assert found is not None
    path = f"/deployments/{watching(running)['id']}/schedules/{found['id']}"
    running.api.call("PATCH", path, {"active": False})
    names = [*model_names(ROOT), NEW]
    push(running, names, every_seconds=600)
    assert f"assay: {NEW} is now watched every 600 s, once its schedule is resumed" in running.said
    found = schedule(running)
    assert found is not None and (found["schedule"]["interval"], found["active"]) == (600, False)
    assert found["parameters"] == {"request": {"model": NEW, "reason": "schedule", "actor": "schedule"}}

    push(running, names, every_seconds=5)
    assert (
        f"assay: the schedule of {NEW} stays as it is: deployments/models/{NEW}/model.yaml, monitoring: every_seconds "
        "is 5: input should be greater than or equal to 30." in running.said
    )
    before = watching(running)
    again = running.assay("up", "--json")
    assert again.returncode == 0 and json.loads(again.stdout).items() >= running.system.__dict__.items()
    after = watching(running)
    assert [s | {"updated": ""} for s in after["schedules"]] == [s | {"updated": ""} for s in before["schedules"]]


def test_a_model_that_is_taken_away_is_watched_no_more(running: Running) -> None:
    """And one more than the list can hold changes nothing."""
    names = list(model_names(ROOT))
    push(running, ["NOT A NAME"])
    assert (
        "assay: schedules and forms stay as they are: deployments/models.yaml: models.0 is 'NOT A NAME'" in running.said
    )
    assert schedule(running) is not None
    shutil.rmtree(running.clone / f"deployments/models/{NEW}")
    shutil.rmtree(running.clone / f"data/{NEW}")
    push(running, names)
    assert f"assay: the schedule of {NEW} is removed" in running.said
    assert schedule(running) is None and offered(running, "train/training") == names
    refused = asking.post(
        f"{running.system.api_url}/deployments/{watching(running)['id']}/create_flow_run",
        json={"parameters": {"request": {"model": NEW}}},
        auth=running.login,
        trust_env=False,
    )
    assert refused.status_code == 409 and NEW in refused.text
