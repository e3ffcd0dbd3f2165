"""The gates on data expectations and on benchmarks: absolute floors, and the champion on the same rows.

Several of them are one intersection-union test (Berger 1982): since each has to pass, the chance that a candidate which
is unfit by one of them gets through all is at most the level of that one, without any correction for their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.science.benchmarks import BenchmarkFault, benchmark_rows
from tasks.science.comparison import Interval, metric_interval, paired_difference
from tasks.science.examination import Examination
from tasks.science.judging import MINIMUM, judge, result
from tasks.science.metrics import METRICS
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.gates import ComparisonGate, DataGate, FloorGate


def _scores(values: np.ndarray) -> bool:
    """Whether these are probabilities; a NaN is not."""
    return bool(((values >= 0) & (values <= 1)).all())


NO_SCORES = "some scores are no numbers between 0 and 1"


def _settle(config: Any, found: Interval, state: State, reason: str, measured: Measurement) -> GateResult:
    """A pass needs an interval: where every row agrees it has no width, and says nothing about the next row."""
    if state == "pass" and not found.low < found.high:
        state, reason = "insufficient_evidence", f"{reason}; all {measured.rows:,} rows agree, so there is no interval to judge by"
    return result(config, state, reason, (measured.model_copy(update={"state": state}),), found.method)


def _judged_rows(config: FloorGate | ComparisonGate, examination: Examination) -> np.ndarray | GateResult:
    """(n,) bool: the benchmark's rows, or why they cannot be judged."""
    try:
        mask = benchmark_rows(config.benchmark, examination)
    except BenchmarkFault as fault:
        return result(config, "fail", str(fault))
    rows, label = int(mask.sum()), examination.label[mask]
    scores = [examination.score[mask]]
    if isinstance(config, ComparisonGate) and examination.champion_score is not None:
        scores.append(examination.champion_score[mask])
    if not all(_scores(s) for s in scores):
        return result(config, "fail", NO_SCORES)
    few = min(int(label.sum()), int((~label).sum()))
    if few < MINIMUM:
        reason = f"the smaller class of {config.benchmark} has {few} of {rows} rows; at least {MINIMUM} are needed to tell"
        return result(config, "insufficient_evidence", reason)
    return mask


def data(config: DataGate, examination: Examination) -> GateResult:
    """The expectations that were checked on the data."""
    checked = examination.data_check
    if checked is None:
        return result(config, "fail", "the data were not checked, and this gate is there to see that they are")
    return checked.model_copy(update={"gate": config.name, "mandatory": config.mandatory})


def floor(config: FloorGate, examination: Examination) -> GateResult:
    """The metric against an absolute limit."""
    mask = _judged_rows(config, examination)
    if isinstance(mask, GateResult):
        return mask
    better = METRICS[config.metric].greater_is_better
    label, score = examination.label[mask], examination.score[mask]
    found = metric_interval(config.metric, label, score, examination.decision_threshold, config.confidence, examination.seed)
    state = judge(found.value, found.low if better else found.high, config.limit, better)
    measured = Measurement(
        label=f"{config.metric} on {config.benchmark}", value=found.value, low=found.low, high=found.high, limit=config.limit, rows=len(label), state=state
    )
    side = "at least" if better else "at most"
    reason = f"{config.metric} is {found.value:.4f} ({found.low:.4f} to {found.high:.4f}) on {len(label):,} rows; {side} {config.limit:g} is asked"
    return _settle(config, found, state, reason, measured)


def comparison(config: ComparisonGate, examination: Examination) -> GateResult:
    """Non-inferiority to the champion on the same rows."""
    mask = _judged_rows(config, examination)
    if isinstance(mask, GateResult):
        return mask
    if examination.champion_score is None:
        return result(config, "pass", "there is no champion to compare with yet; the floors carry this release")
    better = METRICS[config.metric].greater_is_better
    label, score, champion = examination.label[mask], examination.score[mask], examination.champion_score[mask]
    found = paired_difference(config.metric, label, score, champion, examination.decision_threshold, config.confidence, examination.seed)
    limit = -config.margin if better else config.margin
    state = judge(found.value, found.low if better else found.high, limit, better)
    measured = Measurement(
        label=f"{config.metric}, challenger minus champion, on {config.benchmark}",
        value=found.value,
        low=found.low,
        high=found.high,
        limit=limit,
        rows=len(label),
        state=state,
    )
    reason = f"{config.metric} moves by {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f}) on {len(label):,} rows; worse by {config.margin:g} is tolerated"
    if np.array_equal(score, champion):  # the same answers: equal by identity, with nothing to estimate
        return result(config, state, reason, (measured,), found.method)
    return _settle(config, found, state, reason, measured)
