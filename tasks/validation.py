"""Tasks of validation: every gate side by side, the waivers that hold, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from tasks.asked import ASKED_ON_MAIN, gates_of, rules_of, same_question
from tasks.envelopes import envelope_use
from tasks.evaluation import examination
from tasks.holdouts import asking, over_budget, seal, spent
from tasks.label_sources import check_label_sources
from tasks.records.registry import waivers
from tasks.records.registry.authority import Source, State
from tasks.records.registry.envelopes import unattended
from tasks.records.registry.registry import Registry
from tasks.records.registry.searches import origin_of
from tasks.records.registry.state import Branch, state
from tasks.records.repository import sandbox
from tasks.records.repository.git import Git
from tasks.records.repository.installed import examiner_digest, other_than_installed
from tasks.science.gates.run import run_gate
from tasks.spec.base import digest_file, load_yaml
from tasks.spec.data_record import DataRecord
from tasks.spec.estimator import TrustedTypes
from tasks.spec.evidence import GateResult, Verdict, doubted
from tasks.spec.gate import Materiality
from tasks.spec.gates import ComparisonGate, FloorGate, GateConfig, needed_kinds
from tasks.spec.line import flat
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.spec.waivers import Waiver, Waivers
from tasks.stages.described import described, other_than
from tasks.versions import Candidate, materiality, newest_benchmark, unprotected


@task(cache_policy=NO_CACHE, task_run_name="gate {gate.name}")
def check_gate(gate: GateConfig, candidate: Candidate, evidence: Path, data: GateResult) -> GateResult:
    """Run one gate on the candidate's evidence."""
    if getattr(gate, "benchmark", None) == "newest":
        newest = newest_benchmark(pd.read_parquet(evidence, columns=["_benchmark"]))
        gate = gate.model_copy(update={"benchmark": newest})
    return run_gate(gate, examination(candidate, evidence, data))


@task(cache_policy=NO_CACHE, task_run_name="make data and measurements anew with the installed code")
def made_here(candidate: Candidate) -> GateResult | None:
    """A mandatory gate for a candidate that changes the code: what examines it is ours; None where the code is ours."""
    why = other_than_installed(Settings(), candidate.commit, candidate.model)
    if why is None:
        return None
    return GateResult(
        gate="installed-code",
        kind="installed_code",
        mandatory=True,
        state="fail" if why else "pass",
        reason=why or "the candidate changes the code, and its data and measurements are those of the installed code",
        remedy="install that code first (assay down; assay up from its checkout), then train again" if why else "",
    )


def described_as_asked(candidate: Candidate) -> GateResult | None:
    """A mandatory gate that fails where the service would answer by another description than the gates go by.

    The service reads the manifest: thresholds, names and bounds. The candidate's own stage wrote it. None where it says
    what the config says.
    """
    paths, config = candidate.paths, candidate.config
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    record = DataRecord.model_validate_json(paths.record.read_text())
    trusted = model_folder(candidate.worktree, candidate.model) / "code/trusted.yaml"
    types = load_yaml(trusted, TrustedTypes).types if trusted.exists() else ()
    asked = described(config, rows, record, types, digest_file(paths.model / "model.skops"))
    found = other_than(candidate.manifest, asked)
    if not found:
        return None
    return GateResult(
        gate="described-as-asked",
        kind="described",
        mandatory=True,
        state="fail",
        reason=f"the manifest of the model is not what its config and data say: {flat('; '.join(found))}",
        remedy="to pass, train it with the installed code's stage train",
    )


def examine(
    candidate: Candidate, evidence: Path, champion: str | None, data: GateResult, actor: str, reason: str
) -> Verdict:
    """Run all gates that are asked as tasks; one that crashes fails alone and by name.

    Args:
        actor: who asked for the candidate; nobody who asked for it or wrote it signs what lets it through.
        reason: what started the run; an envelope answers where no person did, and the actor proves that.
    """
    requesters = candidate.requesters(actor)
    gates, changed = gates_of(candidate.config)
    again = asking(Settings(), candidate)
    held_to = {"rules": rules_of(candidate.worktree, candidate.model)[1]}
    runs = [check_gate.submit(again.held_to(gate), candidate, evidence, data) for gate in gates]
    results = []
    for gate, run in zip(gates, runs, strict=True):
        outcome = _outcome(gate, run)
        files = ["model.yaml"] * (gate.name in changed) + ["rules.yaml"] * held_to.get(gate.kind, False)
        said = [outcome.reason, *(ASKED_ON_MAIN.format(file=file) for file in files)]
        results.append(again.judged(gate, outcome.model_copy(update={"reason": "; ".join(said)})))
    use = again.implied(gates, results)
    beside = (
        made_here(candidate),
        same_question(candidate.config, candidate.commit),
        described_as_asked(candidate),
        check_label_sources(candidate),
        over_budget(again, candidate.config),
        spent(again, gates),
    )
    results += [told for told in beside if told is not None]
    if again.sealed:
        results, use = seal(Settings(), candidate, again, results)
    results += missing_gates(materiality(candidate), gates, grouped=not unprotected(candidate))
    waived, refused = apply_waivers(tuple(results), _signed_waivers(candidate, requesters))
    found = verdict_of(candidate, champion, waived, refused)
    held = None
    if unattended(reason, actor) and (doubt := doubted(waived)):
        measure = partial(_measured, candidate, evidence, data)
        held = envelope_use(candidate, requesters, doubt, again.sealed, measure)
    search = origin_of(Settings(), candidate.config)
    return found.model_copy(update={"search": search, "holdout": use, "envelope": held})


def _outcome(gate: GateConfig, run: PrefectFuture[GateResult]) -> GateResult:
    """What a gate says; where it crashed, that."""
    run.wait()
    outcome = run.state.result(raise_on_failure=False)
    if isinstance(outcome, GateResult):
        return outcome
    reason = f"the gate itself crashed: {type(outcome).__name__}: {outcome}"
    return GateResult(gate=gate.name, kind=gate.kind, mandatory=gate.mandatory, state="fail", reason=reason)


def _measured(
    candidate: Candidate, evidence: Path, data: GateResult, gates: Sequence[FloorGate | ComparisonGate]
) -> list[GateResult]:
    """The criteria of an envelope, on the rows that the gates look at."""
    return [_outcome(gate, check_gate.submit(gate, candidate, evidence, data)) for gate in gates]


def missing_gates(asked: Materiality, gates: tuple[GateConfig, ...], grouped: bool = True) -> list[GateResult]:
    """A failed gate for every kind that the materiality asks for and the config does not list as mandatory.

    Args:
        grouped: False where neither the candidate nor the champion has protected groups.
    """
    listed = {g.kind for g in gates if g.mandatory}
    return [
        GateResult(
            gate=f"missing-{kind}",
            kind=kind,
            mandatory=True,
            state="fail",
            reason=f"{asked} materiality asks for a mandatory gate of kind {kind}, and model.yaml lists none",
            remedy=f"to pass, add a gate of kind {kind} to model.yaml",
        )
        for kind in needed_kinds(asked, grouped)
        if kind not in listed
    ]


def _signed_waivers(candidate: Candidate, requesters: tuple[str, ...]) -> list[tuple[Waiver, str]]:
    """Every waiver of the candidate's folder, with what is wrong with it or an empty string."""
    path = model_folder(candidate.worktree, candidate.model) / "waivers.yaml"
    if not path.exists():
        return []
    settings = Settings()
    version = Registry(settings).next_version(candidate.model)
    git, now = Git(settings.clone), state(settings)
    found = load_yaml(path, Waivers).waivers
    return [(w, waiver_problem(w, candidate.model, version, requesters, now, Branch(git, now.tip))) for w in found]


def waiver_problem(
    waiver: Waiver, model: str, version: str, requesters: tuple[str, ...], now: State, source: Source
) -> str:
    """Why a waiver does not hold, in a sentence; empty where it does.

    Args:
        version: what the candidate would become.
        requesters: who asked for the candidate or wrote it.
        now: what the ledger proves; its list says who may sign.
        source: the entries that the ledger holds.
    """
    today = max(datetime.now(UTC).date().isoformat(), now.newest[:10])  # a clock set back gives nobody more time
    place = waivers.Place(
        model=model,
        version=version,
        gate=waiver.gate,
        requesters=requesters,
        day=date.fromisoformat(today),
        approvers={p.name: p.keys for p in now.policy.who("approver")} if now.policy else {},
        list=now.policy_digest,
        holds=lambda number, digest: number <= now.sequence and source.digest_of(number) == digest,
    )
    return waivers.problem(waiver.model_dump(mode="json"), place)


def apply_waivers(
    results: tuple[GateResult, ...], found: list[tuple[Waiver, str]]
) -> tuple[tuple[GateResult, ...], tuple[str, ...]]:
    """Put each waiver that holds beside the gate that it names, where that gate did not pass; give the problems of the
    rest.
    """
    refused = [problem for _, problem in found if problem]
    holding = {w.gate: w for w, problem in found if not problem}
    unknown = sorted(set(holding) - {r.gate for r in results})
    refused += [
        f"a waiver names gate {name!r}, which this model does not have; allowed: {', '.join(r.gate for r in results)}"
        for name in unknown
    ]
    done = [
        r.model_copy(update={"waiver": holding[r.gate]}) if r.gate in holding and r.state != "pass" else r
        for r in results
    ]
    return tuple(done), tuple(refused)


def verdict_of(
    candidate: Candidate, champion: str | None, results: tuple[GateResult, ...], refused_waivers: tuple[str, ...] = ()
) -> Verdict:
    """Put the results together; whatever is mandatory, not a pass and not waived refuses the candidate."""
    return Verdict(
        model=candidate.model,
        commit=candidate.commit,
        champion=champion,
        model_digest=candidate.model_digest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        passed=bool(results) and all(r.state == "pass" or r.waiver is not None for r in results if r.mandatory),
        gates=results,
        refused_waivers=refused_waivers,
        data=candidate.manifest.data,
        unprotected=candidate.config.unprotected,
        examiner=examiner_digest(),
        isolation=sandbox.measured(),
    )
