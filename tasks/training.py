"""Tasks around training: the clean checkout of one commit, the DVC run in it, the commit that comes of it."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from tasks.holdout_rows import rows_of
from tasks.holdouts import refuse_numbers, refuse_other_rows, refuse_shown, refuse_unsealed
from tasks.labels import Collected
from tasks.records.registry import ledger, settled
from tasks.records.repository import dvc, lockfile, machine, workspace
from tasks.records.repository.git import Git
from tasks.spec.base import digest_file
from tasks.spec.errors import AssayError, CorruptionError, StageError
from tasks.spec.ledger import EntryDraft, TrainedDetails
from tasks.spec.manifest import Manifest
from tasks.spec.model import load_model
from tasks.spec.requests import SearchRequest, TrainingRequest
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.versions import Candidate

LARGEST = 4 << 20
"""Bytes of a candidate's manifest, and of its metrics."""


@contextmanager
def checkout(request: TrainingRequest | SearchRequest) -> Iterator[Path]:
    """A clean checkout of the requested commit, apart from anybody's working tree; gone at the end.

    It has the name of the flow run, and so has the candidate's branch: what a run that died had done is known by it.
    """
    name = uuid.UUID(flow_run.id).hex[:12] if flow_run.id else None
    with workspace.worktree(Settings(), request.revision, name) as path:
        config = load_model(path, request.model)  # a wrong one ends here, before any work
        refuse_unsealed(config)
        refuse_other_rows(config, Git(path).rev_parse("HEAD"))
        lockfile.claim_nothing(path, request.model)
        yield path


def refuse_sealed_elsewhere(worktree: Path, model: str) -> None:
    """Refuse prepared rows that another model's sealed holdout keeps; as :func:`tasks.holdouts.refuse_shown`."""
    refuse_shown(Settings(), ModelPaths(worktree, model), load_model(worktree, model))


@task(cache_policy=NO_CACHE, task_run_name="commit the new data version")
def commit_data(worktree: Path, request: TrainingRequest, collected: Collected) -> str:
    """Record the collected rows as a commit on the main branch; a model's fate does not change what the data are."""
    message = (
        f"data: {collected.rows:,} labelled rows of {request.model} collected in production\n\n"
        f"{collected.sentence}\n\n"
        f"Assay-Run-Reason: {request.reason}\nAssay-Actor: {request.actor}\n"
    )
    return workspace.push_data(Settings(), worktree, message)


@task(cache_policy=NO_CACHE, task_run_name="dvc repro evaluate@{model}")
def train_and_evaluate(worktree: Path, model: str) -> None:
    """Let DVC train and evaluate whatever changed."""
    dvc.reproduce(worktree, f"evaluate@{model}")


def candidate_branch(model: str, base: str, worktree: Path) -> str:
    """A branch of its own for every run: two of one commit may end in the same second."""
    return f"{settled.CANDIDATES}/{model}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{base[:8]}-{worktree.name}"


def _bounded(path: Path) -> str:
    """What a stage, whose code is the candidate's own, wrote for the record."""
    if (size := path.stat().st_size) > LARGEST:
        raise StageError(
            f"{path.name} of the candidate has {size:,} bytes, and allowed are {LARGEST:,}: it goes into the ledger, "
            "which everybody reads. Let the stage that writes it write less."
        )
    return path.read_text()


@task(cache_policy=NO_CACHE, task_run_name="commit the candidate")
def commit_candidate(worktree: Path, request: TrainingRequest) -> Candidate:
    """Leave one commit that holds code, parameters, ``dvc.lock`` and metrics, on a branch of its own in the origin."""
    name, settings = request.model, Settings()
    base = Git(worktree).rev_parse("HEAD")
    paths, config = ModelPaths(worktree, name), load_model(worktree, name)
    refuse_numbers(paths, config)
    metrics = json.loads(_bounded(paths.metrics))
    manifest = Manifest.model_validate_json(_bounded(paths.model / "manifest.json"))
    digest = digest_file(paths.model / "model.skops")
    if manifest.model_digest != digest:  # a text of the candidate's own code, which trailers are made of
        raise CorruptionError(
            f"the manifest of {name} names another model file than the one beside it ({digest}). The stage train wrote "
            "both: mend it."
        )
    branch = candidate_branch(name, base, worktree)
    message = (
        f"candidate: {name} trained from {base[:12]}\n\n{json.dumps(metrics, indent=1, sort_keys=True)}\n\n"
        f"Assay-Run-Reason: {request.reason}\nAssay-Actor: {request.actor}\nAssay-Model-Digest: {digest}\n"
    )
    commit = workspace.commit_run(settings, worktree, message)
    draft = EntryDraft(
        kind="trained",
        model=name,
        commit=commit,
        actor=request.actor,
        reason=request.reason,
        sentence=f"a candidate was trained on {manifest.trained_rows:,} rows",
        evidence={
            "metrics": metrics,
            "manifest": manifest.model_dump(mode="json"),
            "machine": machine.apart(Path(sys.executable), Path(sys.prefix)),
            "holdout": rows_of(settings, paths, config).model_dump(mode="json"),
        },
        details=TrainedDetails(base=base, branch=branch),
    )
    ledger.append(settings, draft, refs=[f"{commit}:refs/heads/{branch}"])
    try:
        settled.gather(settings)
    except AssayError as error:  # the next run tries again
        print(f"the branches of older candidates stay where they are: {error}")
    return Candidate(name, commit, branch, worktree, manifest.model_digest)
