"""A watched series with its forecast: what was realized, what is estimated, what may come, and the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    beside,
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
from tasks.spec.display import metric_form, with_display_names
from tasks.spec.forecast import Forecast, Observation
from tasks.spec.wording import NumberForm, number, plural

SHOWN = 24
"""Windows of the past that are drawn at most: the newest."""
WIDE = 1.959963984540054
"""Half of a 95 % interval, in standard errors."""


class _Shown:
    """The series' name for people, and its values as they are read."""

    def __init__(self, subject: str, unit: str) -> None:
        self.name, self.unit = with_display_names(subject), unit
        self.form: NumberForm = metric_form(subject)
        self.axis = self.name + (f", {unit}" if unit and self.form == "target" else "")

    def __call__(self, value: float) -> str:
        return number(value, self.form, self.unit)


def fan(series: Sequence[Observation], forecast: Forecast, unit: str = "") -> Markup:
    """One series and its forecast as SVG.

    Realized values are filled dots on a solid line, estimates hollow ones on a dashed line, both with 95 % whiskers.
    An estimate stays beside the realized value that replaced it. The forecast is a hatched 80 % band with its mean as
    a dotted line; the limit is a thick dashed line whose far side is striped.

    Args:
        unit: of a regression target.
    """
    show = _Shown(forecast.subject, unit)
    shown = series[-SHOWN:]
    if not shown:
        return Markup('<p class="soft">Nothing has been observed yet.</p>')
    first, last = shown[0].window, forecast.ahead[-1].window if forecast.ahead else shown[-1].window
    heights = [
        forecast.limit,
        *(o.value + s * WIDE * o.error for o in shown for s in (-1, 1)),
        *(v for a in forecast.ahead for v in (a.low, a.high)),
        *(o.estimate for o in shown if o.estimate is not None),
    ]
    # A whisker of a tiny window must not flatten all that matters: four times what the values span is room enough.
    room = _room([v for o in shown for v in (o.value, forecast.limit)], heights)
    x, y = scale(first - 0.6, last + 0.6, LEFT, RIGHT), scale(*room, BOTTOM, TOP)
    body = (
        _axes(first, last, x, y, show, room)
        + _beyond(y, forecast)
        + _future(forecast, x, y, show)
        + _past(shown, x, y, show)
    )
    if forecast.shift is not None and first < forecast.shift <= last:
        at = x(forecast.shift - 0.5)
        body += line(at, TOP, at, BOTTOM, INK, 1, "1 3") + beside(at, BOTTOM - 5, "level shift", HALO)
    body += _limit(y, forecast, show)
    key, height = _key(shown, forecast)
    return svg(WIDTH, height, body + key, _spoken(shown, forecast, show))


def _room(values: Sequence[float], heights: Sequence[float]) -> tuple[float, float]:
    span = max(values) - min(values) or max(heights) - min(heights)
    middle = (max(values) + min(values)) / 2
    return ends([min(max(h, middle - 2 * span), middle + 2 * span) for h in heights])


def _axes(first: int, last: int, x: ToPixels, y: ToPixels, show: _Shown, room: tuple[float, float]) -> str:
    body = f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="{SOFT}"/>'
    for window in sorted({round(t) for t in ticks(first, last, 7)}):
        if first <= window <= last:
            at = x(window)
            body += line(at, BOTTOM, at, BOTTOM + 4, SOFT) + text(at, BOTTOM + 16, str(window), "middle")
    for t in ticks(*room):
        if TOP < y(t) < BOTTOM:
            body += line(LEFT - 4, y(t), LEFT, y(t), SOFT) + text(LEFT - 7, y(t) + 4, tick(t, show.form), "end")
    body += text((LEFT + RIGHT) / 2, BOTTOM + 33, "analysis window", "middle")
    middle = (TOP + BOTTOM) / 2
    return body + text(10, middle, short(show.axis, 32), "middle", f' transform="rotate(-90 10 {middle:.0f})"')


def _beyond(y: ToPixels, forecast: Forecast) -> str:
    """The side of the limit that nobody wants to be on, striped."""
    edge = y(forecast.limit)
    top, bottom = (edge, float(BOTTOM)) if forecast.greater_is_better else (float(TOP), edge)
    stripes = ""
    for start in range(int(LEFT) - (BOTTOM - TOP), int(RIGHT), 9):
        # A stripe rises to the right at 45 degrees; what of it lies inside the rectangle is drawn.
        a, b = max(start, LEFT), min(start + bottom - top, RIGHT)
        if a < b:
            stripes += line(a, bottom - (a - start), b, bottom - (b - start), BAD, 0.5)
    return f'<g opacity=".45">{stripes}</g>'


def _limit(y: ToPixels, forecast: Forecast, show: _Shown) -> str:
    at = y(forecast.limit)
    below = forecast.greater_is_better
    return line(LEFT, at, RIGHT, at, BAD, 2.2, "9 4") + text(
        LEFT + 5,
        at + (13 if below and at < BOTTOM - 16 else -5 if at > TOP + 16 else 13),
        f"limit {show(forecast.limit)}",
        "start",
        HALO + ' font-weight="600"',
    )


def _future(forecast: Forecast, x: ToPixels, y: ToPixels, show: _Shown) -> str:
    """The 80 % band from where the past ends, hatched with uprights, its mean dotted."""
    if not forecast.ahead:
        return ""
    ahead = [(x(a.window), y(a.low), y(a.mean), y(a.high)) for a in forecast.ahead]
    start = x(forecast.ahead[0].window - 0.5)
    ahead.insert(0, (start, *ahead[0][1:]))
    edge = [(at, high) for at, _, _, high in ahead] + [(at, low) for at, low, _, _ in reversed(ahead)]
    body = f'<polygon points="{_path(edge)}" fill="{ACCENT}" fill-opacity=".16" stroke="{ACCENT}" stroke-width="1.2"/>'
    body += "".join(line(at, low, at, high, ACCENT, 1) for at, low, _, high in ahead[1:])
    body += (
        f'<polyline points="{_path([(at, mean) for at, _, mean, _ in ahead])}" fill="none" stroke="{INK}" '
        'stroke-width="2" stroke-dasharray="1.5 3" stroke-linecap="round"/>'
    )
    titles = ""
    for a in forecast.ahead:
        said = f"window {a.window}: {show(a.mean)}, {show(a.low)} to {show(a.high)} (80 %)"
        titles += (
            f'<rect x="{x(a.window) - 5:.1f}" y="{y(a.high):.1f}" width="10" '
            f'height="{max(y(a.low) - y(a.high), 1):.1f}" fill="#fff" fill-opacity="0">'
            f"<title>{said}; beyond the limit by then {a.breached:.0%}</title></rect>"
        )
    return body + line(start, TOP, start, BOTTOM, SOFT, 1) + titles


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _past(shown: Sequence[Observation], x: ToPixels, y: ToPixels, show: _Shown) -> str:
    body = ""
    for o in shown:
        colour = INK if o.realized else ACCENT
        top, bottom = y(o.value + WIDE * o.error), y(o.value - WIDE * o.error)
        body += line(x(o.window), top, x(o.window), bottom, colour, 1.3, "" if o.realized else "2 2") + "".join(
            line(x(o.window) - 3, end, x(o.window) + 3, end, colour, 1.3) for end in (top, bottom)
        )
    estimates = [(x(o.window), y(v)) for o in shown if (v := o.estimate if o.realized else o.value) is not None]
    realized = [(x(o.window), y(o.value)) for o in shown if o.realized]
    body += (
        f'<polyline points="{_path(estimates)}" fill="none" stroke="{ACCENT}" stroke-width="1.6" '
        'stroke-dasharray="5 4"/>'
        if len(estimates) > 1
        else ""
    )
    body += (
        f'<polyline points="{_path(realized)}" fill="none" stroke="{INK}" stroke-width="2"/>'
        if len(realized) > 1
        else ""
    )
    for o in shown:
        known = "realized" if o.realized else "estimated"
        if o.realized and o.estimate is not None:
            body += dot(
                x(o.window),
                y(o.estimate),
                ACCENT,
                hollow=True,
                title=f"window {o.window}: had been estimated at {show(o.estimate)}",
            )
        body += dot(
            x(o.window),
            y(o.value),
            INK if o.realized else ACCENT,
            hollow=not o.realized,
            title=f"window {o.window}: {known} {show(o.value)}, {plural(o.rows, 'row')}",
        )
    return body


def _key(shown: Sequence[Observation], forecast: Forecast) -> tuple[str, int]:
    """One line a sign that is in the picture, and the height of the whole."""
    rows: list[tuple[Callable[[float], str], str]] = []
    if any(o.realized for o in shown):
        rows.append(
            (
                lambda at: line(LEFT, at - 4, LEFT + 26, at - 4, INK, 2) + dot(LEFT + 13, at - 4, INK),
                "realized, from labels (95 % interval)",
            )
        )
    if any(not o.realized or o.estimate is not None for o in shown):
        rows.append(
            (
                lambda at: (
                    line(LEFT, at - 4, LEFT + 26, at - 4, ACCENT, 1.6, "5 4")
                    + dot(LEFT + 13, at - 4, ACCENT, hollow=True)
                ),
                "estimated without labels (95 % interval)",
            )
        )
    if forecast.ahead:
        band = (
            f'<rect x="{LEFT}" y="{{:.0f}}" width="26" height="10" fill="{ACCENT}" fill-opacity=".16" '
            f'stroke="{ACCENT}"/>'
        )
        rows.append(
            (
                lambda at: band.format(at - 9) + line(LEFT, at - 4, LEFT + 26, at - 4, INK, 2, "1.5 3"),
                "forecast: mean and 80 % interval",
            )
        )
    body, below = "", BOTTOM + 52
    for sign, words in rows:
        body += sign(below) + text(LEFT + 32, below, words)
        below += 17
    return body, below - 8


def _spoken(shown: Sequence[Observation], forecast: Forecast, show: _Shown) -> str:
    newest = shown[-1]
    begin = f"{show.name} by window, {show(newest.value)} in window {newest.window}, limit {show(forecast.limit)}"
    if not forecast.ahead:
        return f"{begin}; {forecast.reason}"
    a = forecast.ahead[-1]
    ahead = f"forecast for window {a.window}: {show(a.mean)}, {show(a.low)} to {show(a.high)}"
    return f"{begin}; {ahead}; chance of a breach by then {forecast.probability or 0:.0%}"
