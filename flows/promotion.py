"""Make a registered version champion by hand."""

from __future__ import annotations

from prefect import flow
from prefect.states import Completed, State

from tasks.promotion import align_service, assign_version
from tasks.spec.requests import PromotionRequest


@flow(name="promote", flow_run_name="{request.model} {request.version}", log_prints=True)
def promote_version(request: PromotionRequest) -> State:
    """Point the alias at a registered version; only versions whose verdict passed are ever registered.

    Args:
        request: which model, which version, why, and who asked.
    """
    version = assign_version(request, "promoted")
    align_service(request.model.value)
    return Completed(message=f"{request.model.value} {version} is champion.", name="Promoted")
