"""Try other configurations of a model, and write down what came of each; nothing is trained or promoted by it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.data import prepare_data
from tasks.reporting import fail_with_message, report_search
from tasks.searching import opened_search, outcome, record_search, searchable, try_configurations
from tasks.spec.requests import FinalState, SearchRequest
from tasks.training import checkout, refuse_sealed_elsewhere


@flow(name="search", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def search(request: SearchRequest) -> State:
    """Try the configurations of a commit's ``search:`` part by cross-validation inside its training rows.

    Args:
        request: which model, which commit, how much, and who asked.
    """
    with checkout(request) as worktree:
        searchable(worktree, request.model)
        prepare_data(worktree, request.model)
        refuse_sealed_elsewhere(worktree, request.model)
        with opened_search(worktree, request) as found:
            try_configurations(found, report_search)
            record_search(found, request)
            return Completed(message=f"{outcome(found)}.", name=FinalState.SEARCHED)
