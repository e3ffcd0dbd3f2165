"""The gate that asks whether a candidate can serve: from its file, with the same answers, in time and in memory."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import combine_states, judge, result
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.gates import ReadinessGate

QUANTILE = 0.95
"""Of a later percentile, some hundred requests bound nothing but their slowest, and that is chance's, not the model's.
"""
METHOD = (
    "95th percentile of CPU time with its distribution-free upper bound from order statistics (Conover 1999, section "
    "3.2); scores compared bit by bit"
)


def readiness(config: ReadinessGate, examination: Examination) -> GateResult:
    """Recorded requests answered in a process without network: equal scores, CPU time and memory within the budget."""
    found = examination.readiness
    if found is None:
        return result(
            config,
            "fail",
            "the candidate was not loaded and asked as the service does it, and this gate is there to see that it was",
        )
    if "error" in found:
        return result(config, "fail", f"the candidate cannot serve: {found['error']}")
    if found["refused"]:
        return result(
            config,
            "fail",
            f"the service's input schema refuses rows that the model was trained on: {'; '.join(found['refused'])}",
        )
    rows = int(found["rows"])
    same = Measurement(
        label="scores that differ from training",
        value=float(found["differing"]),
        limit=0.0,
        rows=rows,
        state="fail" if found["differing"] else "pass",
    )
    milliseconds = np.sort(np.array(found["seconds"], dtype=float)) * 1000
    value, bound = quantile_bound(milliseconds, QUANTILE, config.confidence)
    state = (
        "insufficient_evidence"
        if np.isnan(bound) and value <= config.latency_ms
        else judge(value, bound, config.latency_ms, greater_is_better=False)
    )
    latency = Measurement(
        label="milliseconds of CPU for one row, 95th percentile",
        value=value,
        low=None if np.isnan(bound) else float(np.median(milliseconds)),
        high=None if np.isnan(bound) else bound,
        limit=config.latency_ms,
        rows=rows,
        state=state,
    )
    memory_state = judge(found["memory_mb"], found["memory_mb"], config.memory_mb, greater_is_better=False)
    memory = Measurement(
        label="peak memory of the process in MB",
        value=float(found["memory_mb"]),
        limit=config.memory_mb,
        rows=rows,
        state=memory_state,
    )
    measured = (same, latency, memory)
    text = (
        f"{found['differing']} of {rows} recorded requests get another score than in training; one row takes "
        f"{np.median(milliseconds):.1f} ms of CPU at the median, {value:.1f} ms at the 95th percentile"
    )
    reason = f"{text}, {config.latency_ms:g} ms are allowed; {found['memory_mb']:.0f} MB of {config.memory_mb:g} MB"
    return result(config, combine_states([m.state for m in measured]), reason, measured, METHOD)


def quantile_bound(ordered: np.ndarray, quantile: float, confidence: float) -> tuple[float, float]:
    """A quantile and its one-sided upper bound; NaN where there are too few values for one.

    Args:
        ordered: (n,) ascending.
    """
    n = len(ordered)
    rank = (
        int(binom.ppf(confidence, n, quantile)) + 1
    )  # smallest order statistic that lies above the quantile with this confidence
    value = float(np.quantile(ordered, quantile)) if n else float("nan")
    return value, float(ordered[rank - 1]) if 0 < rank <= n else float("nan")
