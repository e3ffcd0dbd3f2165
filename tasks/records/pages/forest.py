"""The measurements of a gate as a forest plot: estimate, interval and limit, on a scale for each quantity."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from tasks.records.pages.canvas import BAD, GOOD, INK, SOFT, centred, dot, ends, line, scale, svg, tick, ticks
from tasks.spec.display import metric_form
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.wording import number

WIDTH = 250
FOLDED, MANY = 12, 40
"""Measurements above which those that can wait are folded away: beside plots, and at all."""
FIRST: dict[State, int] = {"fail": 0, "insufficient_evidence": 1, "pass": 2}
Row = tuple[Measurement, Markup]


def ordered(gates: Sequence[GateResult]) -> list[GateResult]:
    """What failed first, mandatory before advisory; within these, in the order of the config."""
    return sorted(gates, key=lambda g: (FIRST[g.state], not g.mandatory))


def forest(gate: GateResult) -> tuple[list[Row], list[Row]]:
    """Rows to show and rows to fold away, each with its picture; empty where no measurement has an interval."""
    groups: dict[object, list[Measurement]] = {}
    for m in gate.measurements:
        groups.setdefault(_scale_of(gate, m), []).append(m)
    interval = any(m.low is not None for m in gate.measurements)
    fold = len(gate.measurements) > (FOLDED if gate.plots else MANY)
    shown: list[Row] = []
    folded: list[Row] = []
    for group in sorted(groups.values(), key=lambda g: min(FIRST[m.state] for m in g)):
        hidden = fold and all(_waits(gate, m) for m in group)
        rows = group if all(m.limit is None for m in group) else sorted(group, key=lambda m: FIRST[m.state])
        (folded if hidden else shown).extend(
            zip(rows, _pictures(rows) if interval else [Markup("")] * len(rows), strict=True)
        )
    return (shown, folded) if shown else (folded, [])


def _waits(gate: GateResult, m: Measurement) -> bool:
    """Whether a number can wait: nobody judges it, or it holds where others of the gate do not."""
    return (m.limit is None and m.state != "fail" and m.value is not None) or (
        gate.state != "pass" and m.state == "pass"
    )


def _scale_of(gate: GateResult, m: Measurement) -> object:
    """What shares a scale: the same quantity of other groups; expert rules share one by state and limit."""
    if gate.kind == "rules":
        return m.state, m.limit, m.low is None
    return "" if gate.kind == "robustness" else m.quantity or _of_old_label(m.label)


def _of_old_label(label: str) -> str:
    """What is measured, of evidence before 2026-11-28, when the label alone said it."""
    return re.split(r" of | where |, | \(", label)[0]


def _pictures(group: list[Measurement]) -> list[Markup]:
    values = [v for m in group for v in (m.value, m.low, m.high, m.limit) if v is not None and m.value is not None]
    if not values:
        return [Markup("")] * len(group)
    # without an interval there is nothing to zoom in on, and a scale from 0 shows the size
    low, high = ends(values if any(m.low is not None for m in group) else [0.0, *values])
    marks = [t for t in ticks(low, high, 4) if low <= t <= high]
    first = next(i for i, m in enumerate(group) if m.value is not None)
    return [
        _picture(m, low, high, marks, i == first) if m.value is not None else Markup("") for i, m in enumerate(group)
    ]


def _picture(m: Measurement, low: float, high: float, marks: list[float], axis: bool) -> Markup:
    """One line; the first of a group carries the numbers of the scale."""
    x, top = scale(low, high, 14, WIDTH - 14), 16 if axis else 0
    at, colour = top + 13, {"pass": GOOD, "fail": BAD}.get(m.state, INK)
    body = "".join(line(x(t), top, x(t), top + 26, "#e6e9ec") for t in marks)
    if axis:
        body += "".join(
            centred(x(t), 11, tick(t, metric_form(m.quantity)), WIDTH, ' fill="#5b6470"') for t in marks
        ) + line(14, top, WIDTH - 14, top, SOFT)
    if m.low is not None and m.high is not None:
        body += line(x(m.low), at, x(m.high), at, colour, 3)
    if m.limit is not None:
        body += line(x(m.limit), top + 1, x(m.limit), top + 25, INK, 1.6, "3 2")
    body += dot(x(m.value or 0.0), at, colour, hollow=m.state != "pass")
    value, low_end, high_end, limit = (number(v, metric_form(m.quantity)) for v in (m.value, m.low, m.high, m.limit))
    interval = f", {low_end} to {high_end}" if low_end else ""
    return svg(WIDTH, top + 26, body, f"{value}{interval}" + (f", limit {limit}" if limit else ""))
