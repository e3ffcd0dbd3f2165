"""Tasks of the sources of labels: a candidate that learned from production is held against each who labelled it."""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.apart import answering, command_apart, model_apart
from tasks.labels import CONTESTED, labels_policy, recorded
from tasks.records.registry.registry import Registry
from tasks.records.repository import process
from tasks.records.repository.changes import collected_until
from tasks.records.repository.git import Git
from tasks.science.data.tables import LABEL, ROW, SOURCE, label_array
from tasks.science.gates.sources import KIND, NAME, Labelled, Party, label_sources, parties
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.line import flat
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.versions import Candidate

SECONDS, AT_ONCE = 1800, 2


@task(cache_policy=NO_CACHE, task_run_name="train without each large source of labels")
def check_label_sources(candidate: Candidate) -> GateResult | None:
    """Whether the candidate's labels from production may teach without a person; None where it learned no new ones.

    Rows that the champion's data hold were judged when it was promoted.
    """
    before = _known_until(candidate)
    if before is None:
        return None
    try:
        return _judged(candidate, before)
    except (AssayError, ValueError) as error:  # a model raises the latter for rows that it cannot score
        return _unknown(f"what each source taught could not be found out: {error}")


def _known_until(candidate: Candidate) -> int | None:
    """The last row of the log that the champion knows; None where the candidate knows no later one."""
    settings, model = Settings(), candidate.model
    git, champion = Git(settings.clone), Registry(settings).champion(model)
    before = collected_until(git, champion.commit, model) if champion else 0
    return before if collected_until(git, candidate.commit, model) > before else None


def _judged(candidate: Candidate, before: int) -> GateResult:
    config, policy = candidate.config, labels_policy(candidate.config)
    train, holdout = (_collected(candidate, side) for side in ("train", "holdout"))
    if SOURCE not in holdout or holdout[SOURCE].isna().all():
        return _unknown("it is not recorded who labelled the rows from production")
    known = pd.concat([train, holdout], ignore_index=True)
    held_out = np.arange(len(known)) >= len(train)
    known, held_out = known[known[SOURCE].notna()], held_out[known[SOURCE].notna()]
    inputs = [c.name for c in config.inputs]
    unseen = known[held_out]
    found = Labelled(
        rows=known[inputs].reset_index(drop=True),
        label=label_array(config, known[LABEL]),
        source=known[SOURCE].to_numpy(str),
        held_out=held_out,
        score=answering(candidate.paths.model).score(unseen),
        contested=recorded(candidate.paths).left_out.get(CONTESTED, 0),
        new=recorded(candidate.paths, before).sources,
    )
    asked = [party for party in parties(found.source, policy) if party.large]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {party: pool.submit(_without, candidate, party, unseen) for party in asked if len(asked) > 1}
        scores = {party: run.result() for party, run in runs.items()}
    return label_sources(config.kind, policy, found, scores, config.threshold, config.seed)


def _collected(candidate: Candidate, side: str) -> pd.DataFrame:
    rows = pd.read_parquet(candidate.paths.prepared / f"{side}.parquet")
    return rows[rows[ROW] < 0]


def _without(candidate: Candidate, party: Party, rows: pd.DataFrame) -> np.ndarray:
    """Scores of rows by a model that was trained without what a party labelled.

    Raises:
        ConfigError: it could not be trained.
    """
    model, code = candidate.model, model_folder(candidate.worktree, candidate.model) / "code"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["--model", model, "--root", str(candidate.worktree), "--out", str(folder)]
        words += [f"--source={source}" for source in party.members]
        with command_apart("tasks.stages.without", words, [candidate.worktree], [folder], model, code) as command:
            try:
                status, _, said = process.run(command, folder, {}, SECONDS)
            except subprocess.TimeoutExpired:
                raise ConfigError(f"training without {party.name} took more than {SECONDS:,} s.") from None
        if status:
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {status}"]
            raise ConfigError(f"without {party.name}, {flat(lines[-1]).removeprefix('error: ')}")
        with model_apart(folder) as answers:
            return answers.score(rows)


def _unknown(reason: str) -> GateResult:
    return GateResult(
        gate=NAME,
        kind=KIND,
        mandatory=False,
        state="insufficient_evidence",
        reason=reason,
        remedy="a person looks at these labels, and signs with assay approve",
    )
