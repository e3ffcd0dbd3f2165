"""From a request to a verdict, and to a new champion where the verdict allows it."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.approval import ask_for_signature, needs_signature
from tasks.data import check_data, prepare_data
from tasks.evaluation import score_champion_and_challenger
from tasks.label_faults import refuse_faulty_labels
from tasks.labels import collect_rows
from tasks.promotion import promote, record_examined, reject, reject_data, same_as_champion
from tasks.reporting import evidence_of, fail_with_message, report_data, report_model, report_verdict
from tasks.spec.errors import PromotionConflict
from tasks.spec.requests import FinalState, TrainingRequest
from tasks.spec.verdicts import verdict_sentence
from tasks.timestamps import timestamp_ledger
from tasks.training import checkout, commit_candidate, commit_data, refuse_sealed_elsewhere, train_and_evaluate
from tasks.validation import examine

EXAMINATIONS = 3


@flow(name="train", flow_run_name="{request.model} because of {request.reason}", log_prints=True)
@fail_with_message
def train(request: TrainingRequest) -> State:
    """Train one commit in a clean checkout, examine it against the champion, and promote it if it is fit.

    Args:
        request: which model, which commit, why, and who asked.
    """
    model = request.model
    with checkout(request) as worktree:
        if request.collect:
            refuse_faulty_labels(request)
            if collected := collect_rows(worktree, model):
                commit_data(worktree, request, collected)
        prepare_data(worktree, model)
        refuse_sealed_elsewhere(worktree, model)
        data, checks = check_data(worktree, model)
        report_data(model, checks)
        if data.state != "pass":
            reject_data(worktree, data, request)
            return Failed(message=f"Not trained: {data.reason}", name=FinalState.REJECTED)
        train_and_evaluate(worktree, model)
        candidate = commit_candidate(worktree, request)
        if request.promote and (same := same_as_champion(candidate)):
            return Completed(
                message=f"Nothing to promote: code, config and data are those of {model} {same}, the champion.",
                name=FinalState.UNCHANGED,
            )
        for _ in range(EXAMINATIONS):
            evidence, champion = score_champion_and_challenger(candidate)
            verdict = examine(candidate, evidence, champion, data, request.actor, request.reason)
            said = verdict_sentence(verdict)
            report_verdict(candidate, verdict)
            if not verdict.passed:
                reject(candidate, verdict, request, evidence_of(candidate, verdict))
                failed = any(g.state == "fail" for g in verdict.failed)
                why = "; ".join(g.reason for g in verdict.failed)
                return Failed(
                    message=f"Not promoted: {said}. {why}",
                    name=FinalState.REJECTED if failed else FinalState.INSUFFICIENT_EVIDENCE,
                )
            if not request.promote:
                record_examined(candidate, verdict, request, evidence_of(candidate, verdict))
                return Completed(message=f"Fit to serve: {said}. Not promoted, as asked.", name=FinalState.EXAMINED)
            if why := needs_signature(candidate, verdict):
                ask_for_signature(candidate, verdict, request, evidence_of(candidate, verdict))
                return Completed(
                    message=f"Fit to serve: {said}. It waits, since {why}. A second person signs with: "
                    f"assay approve {model} {candidate.commit[:12]}",
                    name=FinalState.AWAITING_SIGNATURE,
                )
            try:
                version = promote(candidate, verdict, request, evidence_of(candidate, verdict))
            except PromotionConflict as conflict:
                print(f"{conflict} Examining again.")
                continue
            timestamp_ledger()
            report_model(model, [])
            return Completed(message=f"{model} {version} is champion: {said}.", name=FinalState.PROMOTED)
    return Failed(
        message=f"Not promoted: the champion changed {EXAMINATIONS} times during the examination.",
        name=FinalState.OVERTAKEN,
    )
