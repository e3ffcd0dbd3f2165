"""Values over windows, and what was decided in each: shapes and dashes tell lines apart, colour only helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from markupsafe import Markup

from tasks.records.pages.canvas import (
    ACCENT,
    BAD,
    BOTTOM,
    GOOD,
    HALO,
    INK,
    LEFT,
    RIGHT,
    SOFT,
    TOP,
    WIDTH,
    ToPixels,
    beside,
    centred,
    dot,
    ends,
    line,
    scale,
    short,
    svg,
    text,
    tick,
    ticks,
)
from tasks.spec.evidence import WindowReport
from tasks.spec.wording import NumberForm, number

SHOWN = 40
"""Windows that a plot shows at most: the newest."""
MARKS = {"nothing": "·", "alert": "▲", "retrain": "R", "roll_back": "B", "stop": "S"}
MEANING = (("·", "quiet"), ("▲", "alert"), ("R", "retrain"), ("B", "roll back"), ("S", "stop"))
STYLES = (
    (INK, "", "dot"),
    (ACCENT, "6 3", "square"),
    (BAD, "2 2", "triangle"),
    (GOOD, "8 3 2 3", "diamond"),
    ("#6b4a9e", "1 3", "hollow"),
    (SOFT, "4 4", "dot"),
)


@dataclass(frozen=True)
class PlotLine:
    """One value over windows: ``points`` are window number, value, and the ends of its interval where it has one."""

    name: str
    points: tuple[tuple[int, float, float | None, float | None], ...]


def over_windows(
    title: str,
    y_label: str,
    lines: Sequence[PlotLine],
    limit: float | None = None,
    begins: Sequence[tuple[int, str]] = (),
    form: NumberForm = "number",
    unit: str = "",
) -> Markup:
    """Lines over window numbers with their intervals and one limit; a legend below tells shape and dash.

    Args:
        begins: where another version began to answer, and its name: no line crosses that.
        form, unit: how the values are read.
    """
    lines = [PlotLine(x.name, x.points[-SHOWN:]) for x in lines if x.points]
    if not lines:
        return Markup('<p class="soft">Nothing to draw yet.</p>')
    windows = [w for x in lines for w, *_ in x.points]
    heights = [v for x in lines for _, *values in x.points for v in values if v is not None] + (
        [limit] if limit is not None else []
    )
    x, y = _axis(windows), scale(*ends(heights), BOTTOM, TOP)
    body = _frame(windows, ends(heights), y_label + (f", {unit}" if unit and form == "target" else ""), form)
    labels = ""  # drawn last, so that no line crosses them
    if limit is not None:
        body += line(LEFT, y(limit), RIGHT, y(limit), BAD, 1.2, "5 3")
        said = f"limit {number(limit, form, unit)}"
        labels += text(LEFT + 4, y(limit) - 4, said, "start", f'{HALO} fill="{BAD}"')
    for window, version in begins:
        if min(windows) < window <= max(windows):
            at = (x(window) + x(window - 1)) / 2
            body += line(at, TOP, at, BOTTOM, SOFT, 1)
            labels += beside(at, TOP + 11, version, HALO)
    below = BOTTOM + 50
    for i, drawn in enumerate(lines):
        colour, dash, shape = STYLES[i % len(STYLES)]
        aside = 2.5 * (i - (len(lines) - 1) / 2)  # intervals of two lines in one window stand side by side
        for w, _, low, high in drawn.points:
            if low is not None and high is not None:
                body += line(x(w) + aside, y(low), x(w) + aside, y(high), colour, 1)
        for _, part in groupby(drawn.points, key=lambda p: sum(p[0] >= window for window, _ in begins)):
            path = " ".join(f"{x(w) + aside:.1f},{y(v):.1f}" for w, v, *_ in part)
            body += (
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"'
                + (f' stroke-dasharray="{dash}"' if dash else "")
                + "/>"
            )
        body += "".join(
            _mark(shape, x(w) + aside, y(v), colour, f"{drawn.name}, window {w}: {number(v, form, unit)}")
            for w, v, *_ in drawn.points
        )
        body += (
            line(LEFT, below - 4, LEFT + 26, below - 4, colour, 1.8, dash)
            + _mark(shape, LEFT + 13, below - 4, colour)
            + text(LEFT + 32, below, short(drawn.name, 44))
        )
        below += 17
    return svg(WIDTH, below - 6, body + labels, title)


def timeline(reports: Sequence[WindowReport]) -> Markup:
    """Versions as bands and decisions as letters, window by window."""
    shown = reports[-SHOWN:]
    if not shown:
        return Markup('<p class="soft">No analysis window has been looked at yet.</p>')
    numbers = [r.window for r in shown]
    x = _axis(numbers)
    step = (x(numbers[-1]) - x(numbers[0])) / max(len(numbers) - 1, 1) if len(numbers) > 1 else 20.0
    body = ""
    for i, (version, run) in enumerate(groupby(shown, key=lambda r: r.version)):
        held = list(run)
        begin, end = max(x(held[0].window) - step / 2, LEFT - 6), min(x(held[-1].window) + step / 2, RIGHT + 6)
        body += (
            f'<rect x="{begin:.1f}" y="16" width="{max(end - begin - 1, 1):.1f}" height="20" rx="3" '
            f'fill="{ACCENT if i % 2 else INK}" fill-opacity="{0.16 if i % 2 else 0.1}"/>'
        )
        if end - begin > 6.5 * len(version):
            body += text((begin + end) / 2, 30, version, "middle", ' font-weight="600"')
    for r in shown:
        quiet = r.decision.action == "nothing"
        body += text(
            x(r.window), 56, MARKS[r.decision.action], "middle", f' font-weight="700" fill="{GOOD if quiet else BAD}"'
        )
        body += line(
            x(r.window), 66, x(r.window), 66 + 22 * (r.labelled / max(r.rows, 1)), SOFT, max(min(step - 1, 6), 1)
        )
    body += "".join(centred(x(t), 104, f"{t:g}", WIDTH) for t in _round(numbers)) + text(
        (LEFT + RIGHT) / 2, 118, "window", "middle"
    )
    body += text(2, 30, "version") + text(2, 56, "decided") + text(2, 80, "labels")
    body += text(2, 138, "\u2003".join(f"{mark} {means}" for mark, means in MEANING)) + text(
        2, 154, "bars: share of the window's rows with a known outcome"
    )
    return svg(WIDTH, 160, body, "Versions and decisions by window")


def begins(reports: Sequence[WindowReport]) -> list[tuple[int, str]]:
    """The windows at which another version began to answer."""
    return [(now.window, now.version) for before, now in pairwise(reports) if now.version != before.version]


def _axis(windows: Sequence[int]) -> ToPixels:
    low, high = min(windows), max(windows)
    return scale(low, high, LEFT + 8, RIGHT - 8) if high > low else (lambda value: (LEFT + RIGHT) / 2)


def _round(windows: Sequence[int]) -> list[float]:
    low, high = min(windows), max(windows)
    return [t for t in ticks(low, high) if t == int(t)] if high > low else [float(low)]


def _frame(windows: Sequence[int], heights: tuple[float, float], y_label: str, form: NumberForm) -> str:
    x, y = _axis(windows), scale(*heights, BOTTOM, TOP)
    body = f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="{SOFT}"/>'
    for t in _round(windows):
        body += line(x(t), BOTTOM, x(t), BOTTOM + 4, SOFT) + centred(x(t), BOTTOM + 16, f"{t:g}", WIDTH)
    for t in ticks(*heights):
        body += line(LEFT - 4, y(t), LEFT, y(t), SOFT) + text(LEFT - 7, y(t) + 4, tick(t, form), "end")
    middle = (TOP + BOTTOM) / 2
    return (
        body
        + text((LEFT + RIGHT) / 2, BOTTOM + 31, "window", "middle")
        + text(10, middle, short(y_label, 32), "middle", f' transform="rotate(-90 10 {middle:.0f})"')
    )


def _mark(shape: str, x: float, y: float, colour: str, title: str = "") -> str:
    if shape in ("dot", "hollow"):
        return dot(x, y, colour, shape == "hollow", title).replace('r="4"', 'r="3"')
    points = {
        "square": [(-3, -3), (3, -3), (3, 3), (-3, 3)],
        "triangle": [(0, -4), (4, 3), (-4, 3)],
        "diamond": [(0, -4), (4, 0), (0, 4), (-4, 0)],
    }[shape]
    place = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in points)
    return (
        f'<polygon points="{place}" fill="{colour}">'
        + (f"<title>{Markup.escape(title)}</title>" if title else "")
        + "</polygon>"
    )
