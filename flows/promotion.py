"""Make a version champion by a person's hand: one that is registered, or one that waited for a signature."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.approval import promote_signed
from tasks.promotion import align_service, assign_version
from tasks.reporting import fail_with_message, report_model
from tasks.spec.requests import ApprovalRequest, FinalState, PromotionRequest
from tasks.timestamps import timestamp_ledger


@flow(name="promote", flow_run_name="{request.model} {request.version}", log_prints=True)
@fail_with_message
def promote_version(request: PromotionRequest) -> State:
    """Point the alias at a registered version; only versions whose verdict passed are ever registered.

    Args:
        request: which model, which version, why, and who asked.
    """
    version = assign_version(request, "promoted")
    align_service(request.model)
    timestamp_ledger()
    report_model(request.model, [])
    return Completed(message=f"{request.model} {version} is champion.", name=FinalState.PROMOTED)


@flow(name="approve", flow_run_name="{request.model} signed by {request.warrant.signer}", log_prints=True)
@fail_with_message
def approve(request: ApprovalRequest) -> State:
    """Promote a fit candidate of high materiality on the signature of a second person.

    Args:
        request: which candidate, who signs, the signature, and why.
    """
    version = promote_signed(request)
    align_service(request.model)
    timestamp_ledger()
    report_model(request.model, [])
    return Completed(
        message=f"{request.model} {version} is champion, signed by {request.warrant.signer}.", name=FinalState.PROMOTED
    )
