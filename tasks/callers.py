"""Who asked for a flow run: a name counts as proven where the request came in through a door of Assay's own."""

from __future__ import annotations

from typing import TypeVar

from prefect.context import FlowRunContext

from tasks.signing import doors
from tasks.spec.line import shared
from tasks.spec.requests import Request
from tasks.spec.settings import Settings

R = TypeVar("R", bound=Request)


def as_proven(request: R) -> R:
    """A request as the record may call it: with *shared login* behind an actor whom anybody may have written there.

    What a schedule starts is as it is, and so is a flow that was called without a server's deployment.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if context is None or run is None or run.deployment_id is None or run.auto_scheduled:
        return request
    asked, given = run.parameters.get("request"), run.labels.get(doors.LABEL)
    key, flow = run.idempotency_key or "", context.flow.name if context.flow else ""
    if isinstance(asked, dict) and doors.holds(given, Settings().home, flow, asked, key):
        return request
    return request.model_copy(update={"actor": shared(request.actor)})
