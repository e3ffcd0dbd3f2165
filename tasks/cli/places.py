"""Places of the worker: each kind of flow has its own, so that none can keep another from starting.

A training may last as long as its stages may (an hour), and two pushes would hold both places of a worker that had two.
A rollback, a stop and a look at new windows do not wait for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cli.prefect_api import PrefectApi
from tasks.science.monitors.feed.common import span

POOL = "assay"
PLACES = {"rollback": 2, "promotion": 2, "monitoring": 2, "training": 2}
"""Runs at once of each work queue of ``deployments/prefect.yaml``, the most urgent queue first."""
PATIENCE = 60.0
"""Seconds after which a run that has not begun is told; on a busy machine a start takes half of that."""
QUEUED = ("training",)
"""Where it is usual that runs wait: trainings take minutes."""


@dataclass(frozen=True)
class Late:
    """A run that was due and has not begun."""

    name: str
    queue: str
    deployment: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.deployment} {self.name}, due {span(self.seconds)} ago"


def ensure_places(api: PrefectApi) -> int:
    """Make the pool and its queues, with their limits; gives how many runs a worker takes at once."""
    api.ensure_pool(POOL)
    path = f"/work_pools/{POOL}/queues"
    there = {queue["name"] for queue in api.call("POST", f"{path}/filter", {})}
    for priority, (name, most) in enumerate(PLACES.items(), 1):
        wanted = {"concurrency_limit": most, "priority": priority}
        if name not in there:
            api.call("POST", f"{path}/", {"name": name, **wanted})
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
    return [run for run in found if run.seconds >= PATIENCE]
