"""Take a version out of service: back to an earlier fit one, or, where none is better, to no answer at all."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.promotion import align_service, assign_version, stop_serving
from tasks.reporting import fail_with_message, report_model
from tasks.spec.requests import FinalState, RollbackRequest, StopRequest


@flow(name="roll-back", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def roll_back(request: RollbackRequest) -> State:
    """Return to an earlier version of a model.

    Args:
        request: which model, to which version, why, and who asked.
    """
    version = assign_version(request, "rolled_back")
    align_service(request.model)
    report_model(request.model, [])
    return Completed(message=f"{request.model} {version} serves again.", name=FinalState.ROLLED_BACK)


@flow(name="stop", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def stop(request: StopRequest) -> State:
    """Stop answering: the service says why until a version is promoted or rolled back to.

    Args:
        request: which model, why, and who asked.
    """
    version = stop_serving(request)
    report_model(request.model, [])
    return Completed(
        message=f"{request.model} {version} does not answer any more. "
        "Put a version back with a promotion or a rollback.",
        name=FinalState.STOPPED,
    )
