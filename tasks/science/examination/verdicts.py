"""What every gate shares: how a number, its bound and a limit become a state."""

from __future__ import annotations

import math
from typing import Any

from tasks.spec.evidence import GateResult, Measurement, Plot, State


def result(
    config: Any,
    state: State,
    reason: str,
    measured: tuple[Measurement, ...] = (),
    estimator: str = "",
    plots: tuple[Plot, ...] = (),
    remedy: str = "",
) -> GateResult:
    """The result of the gate that ``config`` describes; without ``remedy``, :func:`remedy` says what would help."""
    return GateResult(
        gate=config.name,
        kind=config.kind,
        mandatory=config.mandatory,
        state=state,
        reason=reason,
        measurements=measured,
        estimator=estimator,
        plots=plots,
        remedy=remedy,
    )


def judge(value: float, pessimistic: float, limit: float, greater_is_better: bool) -> State:
    """Fail where the estimate is on the wrong side of the limit, pass where its pessimistic bound is on the right side.

    NaN never passes.
    """
    sign = 1 if greater_is_better else -1
    if not sign * value >= sign * limit:
        return "fail"
    return "pass" if sign * pessimistic >= sign * limit else "insufficient_evidence"


def judge_with_refutation(
    estimate: float, pessimistic: float, limit: float, greater_is_better: bool, refuted: float, chance: float
) -> State:
    """Pass where the pessimistic bound is on the right side of the limit, fail where being on it is refuted.

    Args:
        estimate, pessimistic: NaN never passes.
        refuted: p-value of "the truth is on the right side", adjusted for all that are asked together.
        chance: the p-value up to which the gate fails.
    """
    sign = 1 if greater_is_better else -1
    if sign * pessimistic >= sign * limit and sign * estimate >= sign * limit:
        return "pass"
    return "fail" if refuted <= chance else "insufficient_evidence"


def combine_states(states: list[State]) -> State:
    """The state of a whole: fail before insufficient evidence before pass; of nothing, insufficient evidence."""
    for state in ("fail", "insufficient_evidence"):
        if state in states:
            return state
    return "pass" if states else "insufficient_evidence"


def remedy(found: GateResult) -> str:
    """What would make a gate pass that did not, from its measurements; a gate that knows better says so itself.

    For insufficient evidence these are the rows at which the interval would exclude the limit. The interval is taken to
    narrow with the square root of the rows, and the estimate to stay where it is.

    Returns:
        A sentence, or an empty text where the gate passed or its measurements do not say.
    """
    open_ones = [
        m for m in found.measurements if m.state == found.state and m.value is not None and m.limit is not None
    ]
    if found.state == "pass" or not open_ones:
        return ""
    if found.state == "fail":
        m = open_ones[0]
        way = "rise" if (m.value or 0.0) < (m.limit or 0.0) else "come down"
        return f"to pass, {m.value:.4g} has to {way} to {m.limit:.4g} with its interval" + (
            f", and {len(open_ones) - 1} more likewise" if len(open_ones) > 1 else ""
        )
    needed = [rows for m in open_ones if (rows := rows_needed(m)) is not None]
    if not needed:
        return ""
    return (
        f"about {max(needed):,} rows instead of {open_ones[0].rows:,} would decide, if the estimate stays where it is"
    )


def rows_needed(m: Measurement) -> int | None:
    """Rows at which the bound would reach the limit; None where the estimate lies on it, or there is no bound."""
    if m.value is None or m.limit is None or m.low is None or m.high is None:
        return None
    gap = abs(m.value - m.limit)
    width = m.value - m.low if m.limit <= m.value else m.high - m.value
    if not math.isfinite(gap) or not math.isfinite(width):
        return None
    return math.ceil(m.rows * (width / gap) ** 2 / 10) * 10 if gap > 0 and width > gap else None
