"""Start flows through Prefect's REST API; its own command costs seconds a call."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from tasks.signing.doors import LABEL
from tasks.spec.errors import AssayError, UnreachableError

ATTEMPTS, AGAIN = 6, 3
BUSY = 60.0
"""Seconds in which a server that says that it is busy (503) is asked again.

Its database is locked while several write, and for longer where a clock jumped and it makes up for
all schedules at once."""
TIMEOUT = 30.0
"""Seconds; a server whose clock was set, or whose machine is busy, is slow for a minute."""
POOL = "assay"
PLACES = {"rollback": 2, "promotion": 2, "monitoring": 2, "training": 2, "searching": 1, "rebuilding": 1}
"""Runs at once of each work queue of ``deployments/prefect.yaml``, the most urgent queue first.

A training may last as long as its stages may (an hour), and two pushes would hold both places of a worker that had two.
A rollback, a stop and a look at new windows do not wait for that.
"""
LATE = 60.0
"""Seconds after which a run that has not begun is told; on a busy machine a start takes half of that."""
QUEUED = ("training", "searching", "rebuilding")
"""Where it is usual that runs wait: those take minutes or hours."""
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass(frozen=True)
class Late:
    """A run that was due and has not begun."""

    name: str
    queue: str
    deployment: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.deployment} {self.name}, due {self.seconds / 60:.0f} min ago"


class PrefectApi:
    """A client of one server.

    Args:
        url: of its API.
        login: what it asks for, as ``name:password``; empty where it asks for nothing.
        ours: whether what listens there may be told the login; asked before each request.
        seal: what shows a run that its request came in through a door of ours, of its flow, request and key.
    """

    def __init__(
        self,
        url: str,
        login: str = "",
        ours: Callable[[], bool] | None = None,
        seal: Callable[[str, dict[str, Any], str], str] | None = None,
    ) -> None:
        self.url, self.ours, self.seal = url.rstrip("/"), ours, seal
        name, _, password = login.partition(":")
        self.auth = httpx.BasicAuth(name, password) if login else None

    def call(self, method: str, path: str, body: dict[str, Any] | list[dict[str, Any]] | None = None) -> Any:
        """One request; one that changes nothing when it comes twice is sent again where no answer comes in time.

        Raises:
            UnreachableError: the server does not answer, or it is another one.
            AssayError: it refuses.
        """
        begun = time.monotonic()
        for attempt in itertools.count():
            try:
                if self.ours is not None and not self.ours():
                    raise UnreachableError(
                        f"what listens at {self.url} is not the Prefect server of this home, so it was told nothing. "
                        "Start it with: make up"
                    )
                answer = httpx.request(
                    method, self.url + path, json=body, timeout=TIMEOUT, trust_env=False, auth=self.auth
                )
            except httpx.HTTPError as error:
                if isinstance(error, httpx.ReadTimeout) and attempt < AGAIN and _may_repeat(method, path, body):
                    continue
                raise UnreachableError(
                    f"the Prefect server at {self.url} does not answer ({type(error).__name__}). Start it with: make up"
                ) from None
            busy = answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and time.monotonic() - begun < BUSY
            if answer.status_code < 500 or not (busy or attempt < ATTEMPTS - 1):
                break
            time.sleep(min(0.3 * (attempt + 1), 3.0))
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise UnreachableError(
                f"the Prefect server at {self.url} is up and has been too busy for {time.monotonic() - begun:.0f} s. "
                "Give the command again; what keeps it busy is shown by: assay status"
            )
        if answer.status_code == 401:
            raise AssayError(
                f"the Prefect server at {self.url} refused the login. Of a server that another home or machine runs, "
                "give it as name:password in PREFECT_API_AUTH_STRING."
            )
        if answer.status_code == 404:
            raise AssayError(f"the Prefect server at {self.url} does not know {path}. Deploy with: make up")
        if not answer.is_success:  # a redirection, too: what was asked was not done
            raise AssayError(f"the Prefect server refused {path}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def ensure_pool(self, name: str) -> None:
        """Make a pool of process workers where there is none of this name."""
        if not self.call("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": [name]}}}):
            self.call("POST", "/work_pools/", {"name": name, "type": "process"})

    def start(
        self, deployment: str, request: dict[str, Any], idempotency_key: str | None = None, listed: bool = True
    ) -> str:
        """Start a run of ``flow/deployment``; gives its id.

        Args:
            listed: False: the model may be one that the deployment's form does not list; the flow checks its request.
        """
        found = self.call("GET", f"/deployments/name/{deployment}")
        key = idempotency_key or uuid.uuid4().hex  # a request that is sent again must not start a second run
        body: dict[str, Any] = {
            "parameters": {"request": request},
            "state": {"type": "SCHEDULED"},
            "idempotency_key": key,
            **({} if listed else {"enforce_parameter_schema": False}),
            **({"labels": {LABEL: self.seal(deployment.partition("/")[0], request, key)}} if self.seal else {}),
        }
        run = self.call("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return str(run["id"])

    def overtake(self, deployment: str, run_id: str, message: str) -> list[dict[str, Any]]:
        """Cancel runs of the same model that an earlier push asked for and that have not begun; gives these.

        Args:
            run_id: of the run that a newer push started.
            message: that the cancelled ones show.
        """
        flow, name = deployment.split("/")
        newer = self.call("GET", f"/flow_runs/{run_id}")
        body = {
            "flows": {"name": {"any_": [flow]}},
            "deployments": {"name": {"any_": [name]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "limit": 200,
        }
        model, done = newer["parameters"]["request"]["model"], []
        for run in self.call("POST", "/flow_runs/filter", body):
            asked = run["parameters"].get("request", {})
            older = run["created"] < newer["created"] and run["id"] != run_id
            if older and (asked.get("model"), asked.get("reason")) == (model, "push"):
                state = {"type": "CANCELLED", "message": message}
                answer = self.call("POST", f"/flow_runs/{run['id']}/set_state", {"state": state})
                done += [run] if answer["status"] == "ACCEPT" else []  # a worker may have taken it just now
        return done

    def state(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.call("GET", f"/flow_runs/{run_id}")
        state: dict[str, Any] = run["state"]
        return state

    def artifact(self, run_id: str, key: str) -> str | None:
        """The newest markdown artifact of a flow run under a key."""
        body = {
            "artifacts": {"flow_run_id": {"any_": [run_id]}, "key": {"any_": [key]}},
            "sort": "CREATED_DESC",
            "limit": 1,
        }
        found: list[dict[str, Any]] = self.call("POST", "/artifacts/filter", body)
        return str(found[0]["data"]) if found else None

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Task runs of one flow run in the order of their start: name, state_name, total_run_time (s)."""
        body = {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        runs: list[dict[str, Any]] = self.call("POST", "/task_runs/filter", body)
        return sorted((r for r in runs if r["start_time"]), key=lambda r: r["start_time"])

    def wait(
        self, run_id: str, seconds: float = 3600, on_progress: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """The final state of a run: type, name, message.

        Raises:
            AssayError: it was not final in time.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.state(run_id)
            if on_progress:
                on_progress(str(state["name"]))
            if state["type"] in FINAL:
                return state
            time.sleep(0.5)
        raise AssayError(f"flow run {run_id} is not finished after {seconds:.0f} s; look at it in the Prefect UI.")

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Runs of one deployment, newest first."""
        flow, name = deployment.split("/")
        body = {
            "flows": {"name": {"any_": [flow]}},
            "deployments": {"name": {"any_": [name]}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": 50,
        }
        runs: list[dict[str, Any]] = self.call("POST", "/flow_runs/filter", body)
        return runs


def ensure_places(api: PrefectApi) -> int:
    """Make the pool and its queues, with their limits; gives how many runs a worker takes at once."""
    api.ensure_pool(POOL)
    path = f"/work_pools/{POOL}/queues"
    there = {queue["name"] for queue in api.call("POST", f"{path}/filter", {})}
    for priority, (name, most) in enumerate(PLACES.items(), 1):
        wanted = {"concurrency_limit": most, "priority": priority}
        if name not in there:
            api.call("POST", path, {"name": name, **wanted})
        else:
            api.call("PATCH", f"{path}/{name}", wanted)
    return sum(PLACES.values())


def late_runs(api: PrefectApi) -> list[Late]:
    """Runs that were due and have not begun, oldest first."""
    body = {
        "work_pools": {"name": {"any_": [POOL]}},
        "flow_runs": {"state": {"name": {"any_": ["Late"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 200,
    }
    runs, now = api.call("POST", "/flow_runs/filter", body), datetime.now(UTC)
    named = {one["id"]: one["name"] for one in api.call("POST", "/deployments/filter", {})} if runs else {}
    found = [
        Late(
            name=run["name"],
            queue=str(run["work_queue_name"]),
            deployment=named.get(run["deployment_id"], "run"),
            seconds=(now - datetime.fromisoformat(run["expected_start_time"])).total_seconds(),
        )
        for run in runs
    ]
    return [run for run in found if run.seconds >= LATE]


def _may_repeat(method: str, path: str, body: Any) -> bool:
    return method == "GET" or path.endswith("/filter") or (isinstance(body, dict) and "idempotency_key" in body)
