"""Tasks of the four eyes: where a model's materiality is high, a person other than the requester signs first."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.promotion import note, register
from tasks.records.registry import ledger, signatures
from tasks.records.registry.registry import Registry
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.errors import PromotionConflict, PromotionRefused
from tasks.spec.evidence import Verdict
from tasks.spec.ledger import Entry
from tasks.spec.requests import ApprovalRequest, TrainingRequest
from tasks.spec.settings import Settings
from tasks.spec.verdicts import verdict_sentence
from tasks.versions import Candidate, materiality


def needs_signature(candidate: Candidate) -> bool:
    """Whether somebody has to sign."""
    return materiality(candidate) == "high"


def statement(entry: Entry, signer: str, because: str) -> dict[str, Any]:
    """What a signer puts the name to: this commit, on this evidence, for this reason."""
    return {
        "promote": entry.model,
        "commit": entry.commit,
        "evidence": entry.evidence,
        "signer": signer,
        "because": because,
    }


@task(cache_policy=NO_CACHE, task_run_name="ask for a signature")
def ask_for_signature(
    candidate: Candidate, verdict: Verdict, request: TrainingRequest, evidence: dict[str, Any]
) -> None:
    """Write down that a fit candidate waits for a person; the champion keeps serving."""
    why = "fit to serve, and waits for the signature of a second person, since its materiality is high"
    sentence = f"{why}: {verdict_sentence(verdict)}"
    entry = note("awaiting_signature", candidate, request, sentence, evidence)
    resource = {"prefect.resource.id": f"assay.model.{candidate.model}", "prefect.resource.name": candidate.model}
    emit_event(
        event="assay.awaiting_signature",
        resource=resource,
        payload={"commit": candidate.commit, "evidence": str(entry.evidence), "verdict": verdict.created},
    )


def waiting(settings: Settings, model: str, commit: str) -> Entry:
    """The ledger entry that asks for a signature on a commit.

    Raises:
        PromotionRefused: none does, or the commit is a version already.
    """
    found = [e for e in ledger.entries(settings, model) if e.kind == "awaiting_signature"]
    chosen = [e for e in found if str(e.commit).startswith(commit)]
    if not chosen:
        raise PromotionRefused(
            f"no candidate {commit[:12]} of {model} waits for a signature; waiting: "
            f"{', '.join(str(e.commit)[:12] for e in found) or 'none'}."
        )
    if any(v.commit == chosen[-1].commit for v in Registry(settings).versions(model)):
        raise PromotionRefused(f"{model} at {commit[:12]} was signed and promoted already; nothing to do.")
    return chosen[-1]


@task(cache_policy=NO_CACHE, task_run_name="promote with the signature of {request.signer}")
def promote_signed(request: ApprovalRequest) -> str:
    """Check the signature and promote on the evidence that was signed.

    Raises:
        PromotionRefused: nothing waits, the signature does not hold, or the signer asked for it or wrote it.
    """
    settings, model = Settings(), request.model
    entry = waiting(settings, model, request.commit)
    git = ensure_clone(settings)
    author = git.run("log", "-1", "--format=%ae", f"{request.commit}^")
    if request.signer.casefold() in (entry.actor.casefold(), author.casefold()):
        raise PromotionRefused(
            f"{request.signer} asked for {model} {request.commit[:12]} or wrote it, and nobody signs for themselves. "
            "Ask another signer."
        )
    signed = statement(entry, request.signer, request.because)
    signatures.check(signed, request.signature, request.signer, signatures.allowed_signers(git, settings.branch))
    evidence = ledger.evidence(settings, str(entry.evidence))
    verdict = Verdict.model_validate(evidence["verdict"], strict=False)
    approval = {"statement": signed, "signature": request.signature}
    try:
        return register(
            verdict, evidence | {"approval": approval}, f"{entry.actor}, signed by {request.signer}", entry.reason
        )
    except PromotionConflict as conflict:
        raise PromotionConflict(
            f"{conflict} The verdict that was signed compares with another champion: train again, and sign the new "
            "verdict."
        ) from None
