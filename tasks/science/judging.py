"""What every gate shares: how a number, its bound and a limit become a state."""

from __future__ import annotations

from typing import Any

from tasks.spec.evidence import GateResult, Measurement, State

MINIMUM = 30
"""Rows (positives for true-positive rates) below which nothing is concluded."""


def result(config: Any, state: State, reason: str, measured: tuple[Measurement, ...] = (), estimator: str = "") -> GateResult:
    """The result of the gate that ``config`` describes."""
    return GateResult(
        gate=config.name, kind=config.kind, mandatory=config.mandatory, state=state, reason=reason, measurements=measured, estimator=estimator
    )


def judge(value: float, pessimistic: float, limit: float, greater_is_better: bool) -> State:
    """Fail where the estimate is on the wrong side of the limit, pass where its pessimistic bound is on the right one; NaN never passes."""
    sign = 1 if greater_is_better else -1
    if not sign * value >= sign * limit:
        return "fail"
    return "pass" if sign * pessimistic >= sign * limit else "insufficient_evidence"


def worst(states: list[State]) -> State:
    """The state of a whole: fail before insufficient evidence before pass; of nothing, insufficient evidence."""
    for state in ("fail", "insufficient_evidence"):
        if state in states:
            return state
    return "pass" if states else "insufficient_evidence"
