"""Bring a running system in line with the models of its origin: schedules, and the drop-downs of the forms.

One step, which may be repeated: ``assay up`` takes it, and so does the keeper after each push that changes a model's
configuration. Runs that are under way go on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasks.cli.prefect_api import PrefectApi
from tasks.records.repository.git import Git, GitError
from tasks.spec.base import parse_yaml, validate
from tasks.spec.errors import ConfigError
from tasks.spec.models import ModelList
from tasks.spec.watching import Monitoring
from tasks.spec.wording import plural

WATCHING, REBUILDING = "monitor/monitoring", "rebuild/rebuilding"
"""Deployments of which each model has a schedule of its own."""
DAY = 86_400


def align(api: PrefectApi, git: Git, revision: str) -> list[str]:
    """Make schedules and forms those of a revision's models; what is in line already is not touched.

    A schedule that a person paused stays paused. A model whose ``monitoring`` cannot be read keeps the schedule it has.

    Returns:
        What changed, or could not be changed, one sentence each.

    Raises:
        ConfigError: ``models.yaml`` of the revision cannot be read; nothing was changed.
        UnreachableError, AssayError: the server does not answer, or refuses.
    """
    names = validate(_document(git, revision, "deployments/models.yaml"), ModelList, "deployments/models.yaml").models
    watched, said = _watched(git, revision, names)
    watching = _Schedules(api, WATCHING, {name: found.every_seconds for name, found in watched.items()})
    rebuilding = _Schedules(api, REBUILDING, {name: found.rebuild_days * DAY for name, found in watched.items()})
    gone = watching.remove_all_but(names)
    rebuilding.remove_all_but(names)
    said += [f"the schedule of {name} is removed" for name in gone]
    for deployment in api.call("POST", "/deployments/filter", {"deployments": {"tags": {"all_": ["assay"]}}}):
        schema = with_models(deployment["parameter_openapi_schema"], names)
        if schema != deployment["parameter_openapi_schema"]:
            api.call("PATCH", f"/deployments/{deployment['id']}", {"parameter_openapi_schema": schema})
    for name, state in watching.set().items():
        every = f"every {watching.seconds[name]} s"
        said.append(f"{name} is watched {every}" if state == "made" else f"{name} is now watched {every}{state}")
    for name, state in rebuilding.set().items():
        every = plural(watched[name].rebuild_days, "day")
        if state != "made":
            said.append(f"a version of {name} is now made again every {every}{state}")
    return said


class _Schedules:
    """A model's schedules of one deployment, each called as the model.

    Args:
        seconds: between two runs, by model.
    """

    def __init__(self, api: PrefectApi, deployment: str, seconds: dict[str, int]) -> None:
        found = api.call("GET", f"/deployments/name/{deployment}")
        self.api, self.seconds, self.path = api, seconds, f"/deployments/{found['id']}/schedules"
        self.ours = {s["slug"]: s for s in found["schedules"] if _is_ours(s)}

    def remove_all_but(self, names: tuple[str, ...]) -> list[str]:
        """Remove those of models that are gone, before the forms forget the names; gives the names."""
        gone = sorted(set(self.ours) - set(names))
        for name in gone:
            self.api.call("DELETE", f"{self.path}/{self.ours[name]['id']}")
        return gone

    def set(self) -> dict[str, str]:
        """Make and change what is not in line; by name ``made``, or what to add where another interval was set."""
        done = {}
        for name, every in self.seconds.items():
            wanted = {"slug": name, "schedule": {"interval": float(every)}, "parameters": _parameters(name)}
            there = self.ours.get(name)
            if there is None:
                self.api.call("POST", self.path, [wanted | {"active": True}])
                done[name] = "made"
                continue
            same = float(there["schedule"].get("interval", 0)) == every
            if not same or there["parameters"] != wanted["parameters"]:
                self.api.call("PATCH", f"{self.path}/{there['id']}", wanted | {"active": there["active"]})
            if not same:
                done[name] = "" if there["active"] else ", once its schedule is resumed"
        return done


def restart(api: PrefectApi) -> None:
    """Let the schedules of models begin now.

    Prefect starts nothing twice for one time. A schedule whose clock was set back would start nothing until the clock
    is again where it was.
    """
    now = datetime.now(UTC).isoformat()
    for schedules in (_Schedules(api, deployment, {}) for deployment in (WATCHING, REBUILDING)):
        for one in schedules.ours.values():
            kept = {key: one[key] for key in ("slug", "active")} | {"parameters": _parameters(one["slug"])}
            schedule = {"interval": one["schedule"]["interval"], "anchor_date": now}
            api.call("PATCH", f"{schedules.path}/{one['id']}", kept | {"schedule": schedule})


def with_models(schema: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a flow's parameters with the models' names as the values that a request's ``model`` allows."""
    definitions = {key: dict(definition) for key, definition in schema["definitions"].items()}
    for definition in definitions.values():
        fields = definition.get("properties", {})
        if "model" in fields:
            definition["properties"] = fields | {"model": fields["model"] | {"enum": list(names)}}
    return schema | {"definitions": definitions}


def request_of(name: str) -> dict[str, Any]:
    """What a schedule asks of monitoring."""
    return {"model": name, "reason": "schedule", "actor": "schedule"}


def _parameters(name: str) -> dict[str, Any]:
    return {"request": request_of(name)}


def _is_ours(schedule: dict[str, Any]) -> bool:
    """Whether a schedule is a model's, and not one that a person made in the UI.

    Prefect 3.8.8 empties the parameters of a schedule that is changed without naming them, as by a pause.
    """
    slug = schedule["slug"]
    return bool(slug) and schedule["parameters"] in (_parameters(slug), {}, None)


def _watched(git: Git, revision: str, names: tuple[str, ...]) -> tuple[dict[str, Monitoring], list[str]]:
    """How each model is watched, and a sentence for every model whose configuration does not say."""
    found, said = {}, []
    for name in names:
        path = f"deployments/models/{name}/model.yaml"
        try:
            raw = _document(git, revision, path).get("monitoring", {})
            if not isinstance(raw, dict):
                raise ConfigError(f"{path}: monitoring is {raw!r}; write a mapping of keys to values.")
            found[name] = validate(raw, Monitoring, f"{path}, monitoring")
        except ConfigError as error:
            said.append(f"the schedule of {name} stays as it is: {error}")
    return found, said


def _document(git: Git, revision: str, path: str) -> dict[str, Any]:
    try:
        text = git.read("show", f"{revision}:{path}").decode()
    except GitError:
        raise ConfigError(f"{path} is not in this commit; add it, or take its name out.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no UTF-8 text; save it as UTF-8.") from None
    return parse_yaml(text, path)
