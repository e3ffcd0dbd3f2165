"""Tasks with an effect on what serves: promote, reject, roll back, and bring the service in line with the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.records.registry import ledger, releases
from tasks.records.registry.registry import Registry, Version, stopped_because
from tasks.records.repository.changes import changed_paths
from tasks.records.repository.git import Git
from tasks.spec.errors import PromotionRefused
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.ledger import (
    AssignmentKind,
    Details,
    EntryDraft,
    EntryKind,
    RejectedDetails,
    StoppedDetails,
    Warrant,
)
from tasks.spec.requests import PromotionRequest, RollbackRequest, StopRequest, TrainingRequest
from tasks.spec.settings import Settings
from tasks.spec.sources import concerns
from tasks.spec.verdicts import verdict_sentence
from tasks.versions import Candidate, version_files


@task(cache_policy=NO_CACHE, task_run_name="promote")
def promote(candidate: Candidate, verdict: Verdict, request: TrainingRequest, evidence: dict[str, Any]) -> str:
    """Register the candidate and make it champion in one atomic push, then hand it to the service.

    Raises:
        PromotionRefused: the verdict is not a pass, or belongs to another candidate.
        PromotionConflict: another champion came first; examine again.
    """
    if not verdict.passed or verdict.commit != candidate.commit:
        raise PromotionRefused(
            f"{candidate.model} at {candidate.commit[:12]} has no verdict that passed; nothing was promoted."
        )
    if verdict.doubted:
        raise PromotionRefused(
            f"{candidate.model} at {candidate.commit[:12]} waits for a person's signature: {verdict.doubted[0].reason}."
        )
    return register(verdict, evidence, request.actor, request.reason)


def register(
    verdict: Verdict, evidence: dict[str, Any], actor: str, reason: str, warrant: Warrant | None = None
) -> str:
    """Make the version that a passed verdict speaks of champion, and serve it; gives its tag."""
    version = Registry(Settings()).promote(
        model=verdict.model,
        commit=verdict.commit,
        evidence=evidence,
        actor=actor,
        reason=reason,
        expected_champion=verdict.champion,
        warrant=warrant,
    )
    serve_champion(verdict.model)
    return version.tag


def same_as_champion(candidate: Candidate) -> str | None:
    """The champion's tag where the candidate differs from it in nothing that makes or judges a model."""
    settings = Settings()
    champion = Registry(settings).champion(candidate.model)
    if champion is None:
        return None
    paths = changed_paths(Git(settings.clone), champion.commit, candidate.commit)
    dvc_yaml = (candidate.worktree / "dvc.yaml").read_text()
    return None if concerns(paths, dvc_yaml, candidate.model) else champion.tag


def note(
    kind: EntryKind,
    candidate: Candidate,
    request: TrainingRequest,
    sentence: str,
    evidence: dict[str, Any],
    details: Details | None = None,
) -> EntryDraft:
    """The entry that says what became of a candidate which is no version yet."""
    return EntryDraft(
        kind=kind,
        model=candidate.model,
        commit=candidate.commit,
        actor=request.actor,
        reason=request.reason,
        sentence=sentence,
        evidence=evidence,
        details=details,
    )


@task(cache_policy=NO_CACHE, task_run_name="record the examination")
def record_examined(candidate: Candidate, verdict: Verdict, request: TrainingRequest, evidence: dict[str, Any]) -> None:
    """Write down that a candidate is fit and was not to be promoted."""
    sentence = f"fit to serve, and not promoted, as asked: {verdict_sentence(verdict)}"
    ledger.append(Settings(), note("examined", candidate, request, sentence, evidence))


@task(cache_policy=NO_CACHE, task_run_name="record the rejection")
def reject(candidate: Candidate, verdict: Verdict, request: TrainingRequest, evidence: dict[str, Any]) -> None:
    """Write down what was refused and why; the champion keeps serving."""
    sentence = f"not fit to serve: {verdict_sentence(verdict)}"
    details = RejectedDetails(trained=True, gates={g.gate: g.state for g in verdict.failed})
    ledger.append(Settings(), note("rejected", candidate, request, sentence, evidence, details))


@task(cache_policy=NO_CACHE, task_run_name="record the broken data")
def reject_data(worktree: Path, data: GateResult, request: TrainingRequest) -> None:
    """Write down that nothing was trained, because the data break their expectations."""
    draft = EntryDraft(
        kind="rejected",
        model=request.model,
        commit=Git(worktree).rev_parse("HEAD"),
        actor=request.actor,
        reason=request.reason,
        sentence=f"not trained: {data.reason}",
        evidence={"data": data.model_dump(mode="json")},
        details=RejectedDetails(trained=False),
    )
    ledger.append(Settings(), draft)


@task(cache_policy=NO_CACHE, retries=3, retry_delay_seconds=2, task_run_name="bring the service in line")
def align_service(model: str) -> str | None:
    """Make the release store say what the registry says; safe to repeat."""
    return serve_champion(model)


def serve_champion(model: str) -> str | None:
    """Publish the registry's champion to the release store and point the service at it; safe to repeat."""
    settings = Settings()
    registry = Registry(settings)
    now = registry.state(model)
    if now.champion is None:
        return None
    champion = next(v for v in registry.versions(model) if v.tag == now.champion)
    releases.publish(settings, model, champion.tag, version_files(settings, model, champion).model)
    releases.point(settings, model, champion.tag, now.stopped, now.height, now.entry)
    return champion.tag


@task(cache_policy=NO_CACHE, task_run_name="stop serving")
def stop_serving(request: StopRequest) -> str:
    """Take a model out of service without putting another in its place; a promotion or rollback puts one back.

    Raises:
        PromotionRefused: the model has no champion, or is stopped already.
    """
    settings, model = Settings(), request.model
    champion = Registry(settings).champion(model)
    if champion is None:
        raise PromotionRefused(f"{model} has no champion, so nothing serves that could be stopped.")
    if stopped_because(settings, model):
        raise PromotionRefused(
            f"{model} is stopped already: {stopped_because(settings, model)}. Put a version back with: assay "
            f"promote {model} VERSION, or assay rollback {model}"
        )
    draft = EntryDraft(
        kind="stopped",
        model=model,
        version=champion.tag,
        commit=champion.commit,
        actor=request.actor,
        reason=request.reason,
        sentence=f"{champion.tag} was taken out of service: {request.because}",
        evidence={"because": request.because},
        details=StoppedDetails(because=request.because, warrant=request.warrant),
    )
    ledger.append(settings, draft)
    serve_champion(model)
    return champion.tag


@task(cache_policy=NO_CACHE, task_run_name="assign {request.version}")
def assign_version(request: PromotionRequest | RollbackRequest, kind: AssignmentKind) -> str:
    """Point the alias at a registered version, earlier or approved by hand, and hand it to the service.

    Raises:
        PromotionRefused: the version is not registered, is already champion, or there is none to go back to.
    """
    settings, model = Settings(), request.model
    registry = Registry(settings)
    champion = registry.champion(model)
    target = target_version(registry, model, request.version)
    if champion is not None and target.tag == champion.tag and not stopped_because(settings, model):
        raise PromotionRefused(f"{model} {target.tag} is the champion already; nothing to do.")
    version = registry.assign(
        model=model,
        version_tag=target.tag,
        kind=kind,
        evidence={"from": champion.tag if champion else None, "to": target.tag, "because": request.because},
        actor=request.actor,
        reason=request.reason,
        expected_champion=champion.tag if champion else None,
        warrant=request.warrant,
    )
    serve_champion(model)
    return version.tag


def target_version(registry: Registry, model: str, tag: str | None) -> Version:
    """The version that a promotion or rollback by hand means.

    Raises:
        PromotionRefused: it is not registered, or there is no earlier champion to go back to.
    """
    if tag is None:
        earlier = registry.previous_champions(model)
        if not earlier:
            raise PromotionRefused(f"{model} has no earlier champion to go back to; see 'assay versions {model}'.")
        return earlier[0]
    versions = {v.tag: v for v in registry.versions(model)}
    if tag not in versions:
        raise PromotionRefused(f"{model} has no version {tag}; registered: {', '.join(versions) or 'none'}.")
    return versions[tag]
