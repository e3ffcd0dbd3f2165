"""Tasks of the four eyes: a person other than the requester signs first.

So it is where a model's materiality is high, and where its labels come from one source, or from sources that do not
agree.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.delivery import deliver
from tasks.promotion import note, register
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry import ledger
from tasks.records.registry.state import state
from tasks.spec.base import digest_json
from tasks.spec.errors import PromotionConflict, PromotionRefused
from tasks.spec.evidence import Verdict
from tasks.spec.ledger import AwaitingDetails
from tasks.spec.line import flat
from tasks.spec.requests import ApprovalRequest, TrainingRequest
from tasks.spec.settings import Settings
from tasks.spec.verdicts import verdict_sentence
from tasks.versions import Candidate, materiality


def needs_signature(candidate: Candidate, verdict: Verdict) -> str:
    """Why somebody has to sign; empty where nobody has."""
    why = ["its materiality is high"] if materiality(candidate) == "high" else []
    why += [f"{gate.gate} did not pass: {gate.reason}" for gate in verdict.doubted]
    held = verdict.envelope
    return "; ".join([*why, *([held.sentence] if held is not None and verdict.doubted else [])])


@task(cache_policy=NO_CACHE, task_run_name="ask for a signature")
def ask_for_signature(
    candidate: Candidate, verdict: Verdict, request: TrainingRequest, evidence: dict[str, Any]
) -> None:
    """Write down that a fit candidate waits for a person; the champion keeps serving."""
    why = f"fit to serve, and waits for the signature of a second person, since {needs_signature(candidate, verdict)}"
    sentence = f"{why}: {verdict_sentence(verdict)}"
    _, author, *others = map(flat, candidate.requesters(request.actor))
    details = AwaitingDetails(author=author, authors=tuple(others))
    draft = note("awaiting_signature", candidate, request, sentence, evidence, details)
    event = {"commit": candidate.commit, "evidence": digest_json(evidence), "verdict": verdict.created}
    settings = Settings()
    with closing(PredictionLog(settings.log_database)) as log:
        log.decide(Decision(draft, ledger.height(settings), [("assay.awaiting_signature", event)]))
    deliver(candidate.model)


def waiting(settings: Settings, model: str, commit: str) -> str:
    """The whole id of a commit that waits for a signature.

    Raises:
        PromotionRefused: none does, or the commit is a version already.
    """
    now = state(settings).of(model)
    chosen = [c for c in now.waiting if c.startswith(commit)]
    if chosen:
        return chosen[-1]
    if any(v.commit.startswith(commit) for v in now.versions.values()):
        raise PromotionRefused(f"{model} at {commit[:12]} was signed and promoted already; nothing to do.")
    raise PromotionRefused(
        f"no candidate {commit[:12]} of {model} waits for a signature; waiting: "
        f"{', '.join(c[:12] for c in now.waiting) or 'none'}."
    )


@task(cache_policy=NO_CACHE, task_run_name="promote with the signature of {request.warrant.signer}")
def promote_signed(request: ApprovalRequest) -> str:
    """Promote on the evidence that was signed; the ledger counts no approval that does not hold.

    Raises:
        PromotionRefused: nothing waits, the signature does not hold, or the signer asked for it or wrote it.
    """
    settings, model = Settings(), request.model
    commit = waiting(settings, model, request.commit)
    waits = state(settings).of(model).waiting[commit]
    evidence, verdict = ledger.evidence(settings, waits.evidence), ledger.verdict(settings, waits.evidence)
    if verdict is None:
        raise PromotionRefused(f"what waits of {model} at {commit[:12]} holds no verdict; train the candidate again.")
    try:
        return register(verdict, evidence, waits.requesters[0], "person", request.warrant)
    except PromotionConflict as conflict:
        raise PromotionConflict(
            f"{conflict} The verdict that was signed compares with another champion: train again, and sign the new "
            "verdict."
        ) from None
