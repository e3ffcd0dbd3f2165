"""Small inline SVG: no script, no outside request, with_display_names without colour."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from tasks.records.pages.canvas import ACCENT, BAD, GOOD, INK, SOFT, centred, ends, short, svg
from tasks.spec.display import metric_form
from tasks.spec.evidence import GateResult
from tasks.spec.wording import number


def picture(drawn: Markup) -> str:
    """A plot as a markdown image on white, for a page that somebody else draws."""
    whole = str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" style="background:#fff" ', 1)
    return f"![plot](data:image/svg+xml;base64,{base64.b64encode(whole.encode()).decode()})"


def interval_bar(gate: GateResult, unit: str = "") -> Markup:
    """The first measurement that has the gate's answer as estimate, interval and limit on one line."""
    whole = [m for m in gate.measurements if m.value is not None and m.low is not None and m.limit is not None]
    m = next((m for m in whole if m.state == gate.state), whole[0] if whole else None)
    if m is None or m.value is None or m.low is None or m.high is None or m.limit is None:
        return Markup("")
    least, most = min(m.low, m.limit, m.value), max(m.high, m.limit, m.value)
    span = (most - least) or 1.0

    def x(value: float) -> float:
        return 12 + 196 * (value - least) / span

    colour = {"pass": GOOD, "fail": BAD}.get(m.state, INK)
    value, low, high, limit = (number(v, metric_form(m.quantity), unit) for v in (m.value, m.low, m.high, m.limit))
    body = (
        f'<line x1="{x(m.low):.1f}" x2="{x(m.high):.1f}" y1="14" y2="14" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{x(m.value):.1f}" cy="14" r="5" fill="{colour}"/>'
        f'<line x1="{x(m.limit):.1f}" x2="{x(m.limit):.1f}" y1="3" y2="25" stroke="{INK}" stroke-dasharray="3 2"/>'
        + centred(x(m.limit), 37, f"limit {limit}", 220)
    )
    return svg(220, 42, body, f"{value}, {low} to {high}, limit {limit}")


def evaluation_plots(evaluation: dict[str, Any]) -> list[Markup]:
    """ROC, reliability and importance, where the evaluation holds them."""
    curves, drawn = evaluation.get("curves", {}), []
    if curves.get("roc"):
        drawn.append(
            _unit_square("ROC", "false-positive rate", "true-positive rate", [p[:2] for p in curves["roc"]], dots=False)
        )
    if curves.get("calibration"):
        drawn.append(
            _unit_square("Reliability", "mean score", "observed", [p[:2] for p in curves["calibration"]], dots=True)
        )
    if evaluation.get("importance"):
        drawn.append(_importance(evaluation["importance"]))
    return drawn


def _unit_square(title: str, x_label: str, y_label: str, points: Sequence[Sequence[float]], dots: bool) -> Markup:
    values = [v for p in points for v in p[:2]]
    low, high = (0.0, 1.0) if min(values) >= 0 and max(values) <= 1 else ends(values)  # rates, or numbers

    def at(p: Sequence[float]) -> tuple[float, float]:
        return 40 + 220 * (p[0] - low) / (high - low), 250 - 220 * (p[1] - low) / (high - low)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
    marks = (
        "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{ACCENT}"/>' for x, y in map(at, points))
        if dots
        else ""
    )
    ticks = "".join(
        f'<text x="{40 + 220 * t:.0f}" y="264" text-anchor="middle">{low + (high - low) * t:.3g}</text><text x="34" '
        f'y="{254 - 220 * t:.0f}" text-anchor="end">{low + (high - low) * t:.3g}</text>'
        for t in (0, 0.5, 1)
    )
    body = (
        f'<text x="40" y="18" font-size="13" font-weight="600">{title}</text>'
        f'<rect x="40" y="30" width="220" height="220" fill="none" stroke="{SOFT}"/>'
        f'<line x1="40" y1="250" x2="260" y2="30" stroke="{SOFT}" stroke-dasharray="4 3"/>'
        f'<polyline points="{path}" fill="none" stroke="{ACCENT}" stroke-width="2"/>{marks}{ticks}'
        f'<text x="150" y="280" text-anchor="middle">{x_label}</text><text x="12" y="140" text-anchor="middle" '
        f'transform="rotate(-90 12 140)">{y_label}</text>'
    )
    return svg(300, 288, body, title)


def _importance(shares: dict[str, float]) -> Markup:
    top = sorted(shares.items(), key=lambda item: -item[1])[:12]
    most = max((share for _, share in top), default=1.0) or 1.0
    rows = "".join(
        f'<text x="150" y="{46 + 19 * i}" text-anchor="end">{escape(short(name, 21))}</text>'
        f'<rect x="156" y="{35 + 19 * i}" width="{170 * share / most:.1f}" height="13" fill="{ACCENT}"/>'
        f'<text x="{160 + 170 * share / most:.1f}" y="{46 + 19 * i}">{share:.1%}</text>'
        for i, (name, share) in enumerate(top)
    )
    title = '<text x="10" y="18" font-size="13" font-weight="600">Share of the attribution</text>'
    return svg(380, 48 + 19 * len(top), title + rows, "Share of the attribution by feature")
