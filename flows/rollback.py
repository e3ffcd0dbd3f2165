"""Point the alias at an earlier fit version; the service follows in seconds."""

from __future__ import annotations

from prefect import flow
from prefect.states import Completed, State

from tasks.promotion import align_service, assign_version
from tasks.reporting import told_plainly
from tasks.spec.requests import RollbackRequest


@flow(name="roll-back", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@told_plainly
def roll_back(request: RollbackRequest) -> State:
    """Return to an earlier version of a model.

    Args:
        request: which model, to which version, why, and who asked.
    """
    version = assign_version(request, "rolled_back")
    align_service(request.model.value)
    return Completed(message=f"{request.model.value} {version} serves again.", name="Rolled back")
