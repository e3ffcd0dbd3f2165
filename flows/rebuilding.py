"""Make registered versions again from their record alone, and keep what came of it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.rebuilding import make_again
from tasks.reporting import fail_with_message
from tasks.spec.requests import FinalState, RebuildRequest


@flow(name="rebuild", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def rebuild(request: RebuildRequest) -> State:
    """Make a version again, or the one for which it was longest ago.

    Args:
        request: which model, which version or every one, and who asked.
    """
    found = make_again(request)
    if not found:
        return Completed(message=f"{request.model} has no version yet.", name=FinalState.NOTHING_TO_REBUILD)
    said = "; ".join(f"{one.version} {one.sentence}" for one in found)
    if any(one.outcome in ("differs", "impossible") for one in found):
        return Failed(message=f"{request.model}: {said}.", name=FinalState.DIFFERS)
    return Completed(message=f"{request.model}: {said}.", name=FinalState.REBUILT)
