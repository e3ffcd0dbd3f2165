"""What every drawing shares: the SVG around it, colours, round ticks and a frame with two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from tasks.spec.columns import KINDS
from tasks.spec.wording import NumberForm

INK, SOFT, GOOD, BAD, ACCENT = "#1b1f24", "#9aa3ad", "#00735c", "#b3400a", "#0b5a94"
WIDTH = 340
"""Of a plot: it fits a phone without being made smaller."""
LEFT, RIGHT, TOP, BOTTOM = 48, 328, 14, 194
HALO = ' paint-order="stroke" stroke="#fff" stroke-width="3"'
"""Keeps words legible on lines."""
LETTER = 7.0
"""Pixels that a character of a number takes at most, at the pictures' font size."""
ToPixels = Callable[[float], float]


def svg(width: int, height: int, body: str, label: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}" '
        f'font-family="system-ui,sans-serif" font-size="11" fill="{INK}">{body}</svg>'
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers between two ends, at most about ``most``."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * 0.999)
    return [round(k * step, 10) + 0.0 for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def tick(value: float, form: NumberForm = "number") -> str:
    """A round number on an axis; the unit is the axis's."""
    return f"{100 * value:.6g}%" if form == "rate" else f"{value:,.6g}"


def scale(low: float, high: float, start: float, end: float) -> ToPixels:
    """From a value to a place; what lies outside is held at the edge."""
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * min(max((value - low) / span, 0.0), 1.0)


def ends(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """Lowest and highest with some room; a lone value gets room of its own size."""
    low, high = min(values), max(values)
    pad = (high - low) * room or abs(high) * 0.1 or 0.5
    return low - pad, high + pad


def short(text: str, most: int) -> str:
    """A label that fits, begin and end kept, since names differ at either."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def centred(x: float, y: float, words: str, width: float, more: str = "") -> str:
    """Text centred at ``x``, moved where it would leave a picture of this width.

    Args:
        x: where the middle should be, in pixels.
        y: the baseline, in pixels.
        words: the text, at the pictures' own font size.
        width: of the picture, in pixels.
        more: further attributes, beginning with a blank.
    """
    half = min(LETTER * len(words) / 2, width / 2)
    return text(min(max(x, half), width - half), y, words, "middle", more)


def beside(at: float, y: float, words: str, more: str = "") -> str:
    """Text to the right of a vertical line at ``at``, or to its left where the picture would cut it."""
    fits = at + 3 + LETTER * len(words) <= WIDTH
    return text(at + 3 if fits else at - 3, y, words, "start" if fits else "end", more)


def line(x1: float, y1: float, x2: float, y2: float, colour: str = INK, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashed}/>'
    )


def dot(x: float, y: float, colour: str = ACCENT, hollow: bool = False, title: str = "") -> str:
    tooltip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{"#fff" if hollow else colour}" stroke="{colour}" '
        f'stroke-width="1.5">{tooltip}</circle>'
    )


def frame(
    x_ends: tuple[float, float], y_ends: tuple[float, float], x_label: str, y_label: str, x_type: str = "number"
) -> tuple[str, ToPixels, ToPixels]:
    """Two axes with round ticks, and the places of values on them.

    Args:
        x_type: the type of the column on the horizontal axis; a date is written as one.
    """
    kind, round_ticks = KINDS[x_type], ticks(*x_ends)
    words = [kind.text(t) if kind.calendar else tick(t) for t in round_ticks]
    room = max(1, int((RIGHT - LEFT) / (LETTER * max((len(w) for w in words), default=1) + LETTER)))
    apart = -(-len(words) // room)
    x, y = scale(*x_ends, LEFT, RIGHT), scale(*y_ends, BOTTOM, TOP)
    body = f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="{SOFT}"/>'
    for t, word in list(zip(round_ticks, words, strict=True))[::apart]:
        body += line(x(t), BOTTOM, x(t), BOTTOM + 4, SOFT) + centred(x(t), BOTTOM + 16, word, WIDTH)
    for t in ticks(*y_ends):
        body += line(LEFT - 4, y(t), LEFT, y(t), SOFT) + text(LEFT - 7, y(t) + 4, tick(t), "end")
    body += text((LEFT + RIGHT) / 2, BOTTOM + 33, short(x_label, 50), "middle")
    middle = (TOP + BOTTOM) / 2
    return body + text(10, middle, short(y_label, 32), "middle", f' transform="rotate(-90 10 {middle:.0f})"'), x, y
