"""Tasks of validation: every gate side by side, and the verdict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.evaluation import examination, newest_benchmark
from tasks.science.gates import run_gate
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.gates import GateConfig
from tasks.training import Candidate


@task(cache_policy=NO_CACHE, task_run_name="gate {gate.name}")
def check_gate(gate: GateConfig, candidate: Candidate, evidence: Path, data: GateResult) -> GateResult:
    """Run one gate on the candidate's evidence."""
    if getattr(gate, "benchmark", None) == "newest":
        newest = newest_benchmark(pd.read_parquet(evidence, columns=["_benchmark"]))
        gate = gate.model_copy(update={"benchmark": newest})
    return run_gate(gate, examination(candidate, evidence, data))


def examine(candidate: Candidate, evidence: Path, champion: str | None, data: GateResult) -> Verdict:
    """Run all gates of the model's config as tasks; one that crashes fails alone and by name."""
    gates = candidate.place.config().gates
    runs = [check_gate.submit(gate, candidate, evidence, data) for gate in gates]
    results = []
    for gate, run in zip(gates, runs, strict=True):
        run.wait()
        outcome = run.state.result(raise_on_failure=False)
        if not isinstance(outcome, GateResult):
            reason = f"the gate itself crashed: {type(outcome).__name__}: {outcome}"
            outcome = GateResult(gate=gate.name, kind=gate.kind, mandatory=gate.mandatory, state="fail", reason=reason)
        results.append(outcome)
    return verdict_of(candidate, champion, tuple(results))


def verdict_of(candidate: Candidate, champion: str | None, results: tuple[GateResult, ...]) -> Verdict:
    """Put the results together; whatever is mandatory and not a pass refuses the candidate."""
    return Verdict(
        model=candidate.model,
        commit=candidate.commit,
        champion=champion,
        model_digest=candidate.model_digest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        passed=bool(results) and all(r.state == "pass" for r in results if r.mandatory),
        gates=results,
    )
