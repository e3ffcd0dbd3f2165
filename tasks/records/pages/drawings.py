"""The plots of gates, drawn: one function a kind, with_display_names without colour."""

from __future__ import annotations

from itertools import pairwise

from markupsafe import Markup

from tasks.records.pages.canvas import (
    ACCENT,
    BAD,
    BOTTOM,
    HALO,
    INK,
    LEFT,
    RIGHT,
    SOFT,
    TOP,
    WIDTH,
    ToPixels,
    centred,
    dot,
    ends,
    frame,
    line,
    scale,
    short,
    svg,
    text,
    ticks,
)
from tasks.spec.evidence import Plot, Point, Series

PITCH = 22
NAMES = 146
"""Where the names of an intervals plot end."""


def draw(plot: Plot) -> Markup:
    """The plot as SVG; its title and note are for the page to write."""
    return _DRAWN[plot.kind](plot)


def _spoken(plot: Plot) -> str:
    return f"{plot.title}. {plot.note}"


def _points(plot: Plot) -> list[Point]:
    return [p for s in plot.series for p in s.points]


def _heights(plot: Plot) -> list[float]:
    return [v for p in _points(plot) for v in (p.y, p.low, p.high) if v is not None]


def _x(point: Point) -> float:
    return point.x or 0.0


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _curve(plot: Plot) -> Markup:
    xs = [_x(p) for p in _points(plot)]
    body, x, y = frame((min(xs), max(xs)), ends(_heights(plot)), plot.x_label, plot.y_label, plot.x_type)
    below = BOTTOM + 52
    for i, series in enumerate(plot.series):
        banded = [p for p in series.points if p.low is not None and p.high is not None]
        if banded:
            edge = [(x(_x(p)), y(p.high or 0.0)) for p in banded] + [
                (x(_x(p)), y(p.low or 0.0)) for p in reversed(banded)
            ]
            body += (
                f'<polygon points="{_path(edge)}" fill="{ACCENT}" fill-opacity=".14" stroke="{SOFT}" '
                'stroke-width=".7"/>'
            )
        if plot.sign is not None:
            body += _against(plot.sign, series, x, y)
        colour, dash = (ACCENT, "") if i == 0 else (INK, "6 4")
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        body += (
            f'<polyline points="{_path([(x(_x(p)), y(p.y)) for p in series.points])}" fill="none" stroke="{colour}" '
            f'stroke-width="2.2"{dashed}/>'
        )
        body += line(LEFT, below - 4, LEFT + 26, below - 4, colour, 2.2, dash) + text(
            LEFT + 32, below, short(series.name, 46)
        )
        below += 17
    if plot.sign is not None:
        body += _arrow(plot.sign, below)
        below += 17
    return svg(WIDTH, below - 8, body, _spoken(plot))


def _against(sign: str, series: Series, x: ToPixels, y: ToPixels) -> str:
    """The level that the rule holds the curve to once it is reached, and what lies on the wrong side of it."""
    held, level = [], series.points[0].y
    for p in series.points:
        level = max(level, p.y) if sign == "rises" else min(level, p.y)
        held.append((p, level))
    if not any(abs(at - p.y) > 1e-9 for p, at in held):
        return ""
    edge = [(x(_x(p)), y(at)) for p, at in held]
    area = edge + [(x(_x(p)), y(p.y)) for p, _ in reversed(held)]
    worst, at = max(held, key=lambda pair: abs(pair[1] - pair[0].y))
    drawn = (
        f'<polygon points="{_path(area)}" fill="{BAD}" fill-opacity=".35"/><polyline points="{_path(edge)}" '
        f'fill="none" stroke="{BAD}" stroke-width="1.5" stroke-dasharray="3 2"/>'
    )
    return drawn + text(
        x(_x(worst)), (y(at) + y(worst.y)) / 2 + 4, "✕", "middle", f' font-size="13" font-weight="700" fill="{BAD}"'
    )


def _arrow(sign: str, below: float) -> str:
    """The rule's sign in the key, and what a breach looks like."""
    rises = sign == "rises"
    start, end = (below + 1, below - 9) if rises else (below - 9, below + 1)
    corners: list[tuple[float, float]] = [
        (LEFT + 27, end),
        (LEFT + 18, end + (1 if rises else -5)),
        (LEFT + 21, end + (6 if rises else 1)),
    ]
    head = f'<polygon points="{_path(corners)}" fill="{INK}"/>'
    return (
        line(LEFT, start, LEFT + 24, end, INK, 1.6)
        + head
        + text(LEFT + 32, below, f"rule: {sign}; ✕ the mean goes against it")
    )


def _reliability(plot: Plot) -> Markup:
    values = [*_heights(plot), *(_x(p) for p in _points(plot))]
    if min(values) < 0 or max(values) > 1:  # of numbers, not of rates
        low, top = ends(values)
    else:
        low, top = 0.0, next((t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if max(values) <= t), 1.0)
    body, x, y = frame((low, top), (low, top), plot.x_label, plot.y_label)
    body += line(x(low), y(low), x(top), y(top), INK, 1, "4 3")
    for p in plot.series[0].points:
        body += _whisker(x(_x(p)), y, p) + dot(
            x(_x(p)), y(p.y), title=f"scored {_x(p):.4g}: {plot.y_label} {p.y:.4g} of {p.rows} rows"
        )
    return svg(WIDTH, BOTTOM + 42, body, _spoken(plot))


def _whisker(at: float, y: ToPixels, p: Point) -> str:
    if p.low is None or p.high is None:
        return ""
    return (
        line(at, y(p.low), at, y(p.high), ACCENT, 2)
        + line(at - 4, y(p.low), at + 4, y(p.low), ACCENT, 1.5)
        + line(at - 4, y(p.high), at + 4, y(p.high), ACCENT, 1.5)
    )


def _histogram(plot: Plot) -> Markup:
    points = plot.series[0].points
    width = min((_x(b) - _x(a) for a, b in pairwise(points)), default=1.0)
    body, x, y = frame(
        (_x(points[0]) - width / 2, _x(points[-1]) + width / 2),
        (0.0, max(p.y for p in points) * 1.12 or 1.0),
        plot.x_label,
        plot.y_label,
    )
    for p in points:
        left, right = x(_x(p) - width / 2), x(_x(p) + width / 2)
        outside = any(r.axis == "x" and r.high is not None and not r.low <= _x(p) <= r.high for r in plot.regions)
        paint = BAD if outside else ACCENT
        body += (
            f'<rect x="{left + 0.5:.1f}" y="{y(p.y):.1f}" width="{right - left - 1:.1f}" '
            f'height="{BOTTOM - y(p.y):.1f}" fill="{paint}" fill-opacity="{".9" if outside else ".55"}"/>'
        )
    return svg(WIDTH, BOTTOM + 42, body + _regions(plot, x, y), _spoken(plot))


def _regions(plot: Plot, x: ToPixels, y: ToPixels) -> str:
    """Limit lines and the edges of bands, dashed, each with its words."""
    body = ""
    for r in plot.regions:
        edges = [r.low] if r.high is None else [r.low, r.high]
        if r.axis == "y":
            crossed = any(o.axis == "x" and x(o.low) > RIGHT - 150 for o in plot.regions)
            place, anchor = (LEFT + 4, "start") if crossed else (RIGHT - 4, "end")
            body += "".join(line(LEFT, y(e), RIGHT, y(e), INK, 1.3, "5 3") for e in edges) + text(
                place, y(edges[0]) - 4, r.label, anchor, HALO
            )
            continue
        body += "".join(line(x(e), TOP, x(e), BOTTOM, INK, 1.3, "5 3") for e in edges)
        if len(edges) == 2:
            a, b = x(edges[0]), x(edges[1])
            body += line(a, TOP + 5, b, TOP + 5, INK, 3) + text(
                min(max((a + b) / 2, LEFT + 26), RIGHT - 26), TOP - 4, r.label, "middle"
            )
        else:
            left = x(edges[0]) > (LEFT + RIGHT) / 2
            body += text(x(edges[0]) + (-4 if left else 4), TOP - 4, r.label, "end" if left else "start")
    return body


def _scatter(plot: Plot) -> Markup:
    points = plot.series[0].points
    lines = {
        axis: [v for r in plot.regions if r.axis == axis for v in (r.low, r.high) if v is not None]
        for axis in ("x", "y")
    }
    body, x, y = frame(
        ends([*(_x(p) for p in points), *lines["x"]]),
        ends([0.0, *(p.y for p in points), *lines["y"]]),
        plot.x_label,
        plot.y_label,
    )
    body += _regions(plot, x, y)
    gate = lines["x"][0] if lines["x"] else float("-inf")
    for p in points:
        counted = _x(p) >= gate
        body += dot(
            x(_x(p)), y(p.y), BAD if counted else ACCENT, hollow=not counted, title=f"{p.label}: {_x(p):.3f}, {p.y:.1%}"
        )
    # What the rule counts is named first.
    return svg(
        WIDTH, BOTTOM + 42, body + _names(sorted(points, key=lambda p: (_x(p) < gate, -p.y)), x, y), _spoken(plot)
    )


def _names(points: list[Point], x: ToPixels, y: ToPixels) -> str:
    """Names beside their dots; one that would cover a dot or another name is left to its tooltip and the numbers."""
    taken = [(x(_x(p)) - 4, x(_x(p)) + 4, y(p.y)) for p in points]
    body = ""
    for p in points:
        name, at, height = short(p.label, 20), x(_x(p)), y(p.y)
        for start in (at + 8, at - 8 - 6.6 * len(name)):
            end = start + 6.6 * len(name)
            if (
                start >= LEFT
                and end <= RIGHT
                and all(abs(height - h) > 11 or start > b or end < a for a, b, h in taken)
            ):
                taken.append((start, end, height))
                body += text(at + 8 if start > at else at - 8, height + 4, name, "start" if start > at else "end", HALO)
                break
    return body


def _intervals(plot: Plot) -> Markup:
    points = plot.series[0].points
    values = [v for p in points for v in (p.y, p.low, p.high, p.limit) if v is not None]
    low, high = min(0.0, *values), max(values)
    x = scale(low, high + (high - low) * 0.05 or 1.0, NAMES + 8, WIDTH - 46)
    body = ""
    for i, p in enumerate(points):
        at = 16 + PITCH * i
        body += text(NAMES, at + 4, short(p.label, 20), "end") + line(NAMES + 8, at, WIDTH - 46, at, "#e6e9ec")
        if p.low is not None and p.high is not None:
            body += line(x(p.low), at, x(p.high), at, ACCENT, 3)
        if p.limit is not None:
            body += line(x(p.limit), at - 9, x(p.limit), at + 9, INK, 1.6, "3 2")
        body += dot(x(p.y), at, title=f"{p.label}: {p.y:.4g}") + text(WIDTH - 2, at + 4, f"{p.y:.1%}", "end")
    end = 10 + PITCH * len(points)
    body += line(NAMES + 8, end, WIDTH - 46, end, SOFT)
    for t in ticks(low, high, 4):
        body += line(x(t), end, x(t), end + 4, SOFT) + centred(x(t), end + 16, f"{t:.4g}", WIDTH)
    return svg(WIDTH, end + 40, body + text(WIDTH - 2, end + 33, plot.x_label, "end"), _spoken(plot))


def _cases(plot: Plot) -> Markup:
    """One line a case, from 0 to 1 (of numbers, around them), with its score, and the allowed range as a thick bar."""
    values = [p.y for p in plot.series[0].points] + [v for r in plot.regions for v in (r.low, r.high) if v is not None]
    low, high = (0.0, 1.0) if min(values) >= 0 and max(values) <= 1 else ends(values)
    body, x = "", scale(low, high, 8, WIDTH - 52)
    for i, p in enumerate(plot.series[0].points):
        at = 30 + 40 * i
        body += text(8, at - 12, short(p.label, 50)) + line(8, at, WIDTH - 52, at, SOFT)
        for r in plot.regions:
            if r.high is not None:
                body += line(x(r.low), at, x(r.high), at, INK, 5) + "".join(
                    line(x(e), at - 8, x(e), at + 8, INK, 1.3, "3 2") for e in (r.low, r.high)
                )
        body += dot(x(p.y), at, hollow=i > 0) + text(
            WIDTH - 2, at + 4, f"{p.y:.3f}" if high <= 1 else f"{p.y:.4g}", "end", ' font-weight="600"'
        )
    end = 14 + 40 * len(plot.series[0].points)
    for t in (0.0, 0.5, 1.0) if (low, high) == (0.0, 1.0) else ticks(low, high, 4):
        body += line(x(t), end - 2, x(t), end + 2, SOFT) + centred(x(t), end + 13, f"{t:g}", WIDTH)
    key = f"{plot.x_label}; thick: {plot.regions[0].label}" if plot.regions else plot.x_label
    return svg(WIDTH, end + 32, body + text(x((low + high) / 2), end + 28, key, "middle"), _spoken(plot))


_DRAWN = {
    "curve": _curve,
    "reliability": _reliability,
    "histogram": _histogram,
    "scatter": _scatter,
    "intervals": _intervals,
    "cases": _cases,
}
