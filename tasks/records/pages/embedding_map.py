"""The embedding map: reference and window on one pair of axes, in four small pictures with one encoding each.

Readable without colour: lightness encodes what is ordered, shape what is not. The lightest fill has an outline, and
every picture has its key below it. The axes are the reference's, so the maps of two windows can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from markupsafe import Markup, escape

from tasks.records.pages.canvas import INK, SOFT, WIDTH, scale, short, svg, text
from tasks.spec.groupings import REFERENCE, EmbeddingMap, MapPoint

SIDE, LEFT, TOP = 300, 20, 6
LIGHTNESS = ("#f4e285", "#8cc084", "#2a9d8f", "#33658a", "#2b2350")
"""From light to dark by even steps of luminance, so that grey paper and any eye keep the order."""
FAINT = "#c3c9cf"
SHAPES = ("circle", "triangle", "square", "diamond", "cross", "plus", "down", "bar", "ring", "star")
PAINTS = ("#33658a", "#d1495b", "#edae49", "#2a9d8f", "#2b2350", "#7a5195", "#8a8d2f", "#555b63", "#b3400a", "#0b5a94")
Mark = tuple[str, str]
"""Shape and fill."""


Picture = tuple[str, Markup]
"""Title and drawing."""


def embedding_map(drawn: EmbeddingMap, words: bool = True) -> Markup:
    """Four maps of the same points: by window, by group, by score and by label.

    The page shows them side by side or, on a phone, below each other.

    Args:
        words: list below the maps what is typical of each group, for a page that does not say it elsewhere.
    """
    figures = [
        f"<figure><figcaption><strong>{escape(title)}</strong></figcaption>{picture}</figure>"
        for title, picture in (_by_window(drawn), map_by_group(drawn), _by_score(drawn), _by_label(drawn))
    ]
    said = (
        f"Each mark is a row, near others that the model treats alike ({drawn.source}). The two axes hold "
        f"{drawn.explained:.0%} of what varies and are "
        f"the same for every window of this version; what lies beyond them is drawn at the edge. Drawn: {drawn.note}."
    )
    return (
        Markup('<div class="figures maps">')
        + Markup("".join(figures))
        + Markup(f'</div><p class="soft">{escape(said)}</p>')
        + (_names(drawn) if words else Markup(""))
    )


def _names(drawn: EmbeddingMap) -> Markup:
    rows = "".join(
        '<li><svg viewBox="0 0 14 14" width="14" height="14" role="img" '
        f'aria-label="{SHAPES[i % len(SHAPES)]}">{_mark(7, 7, *_group_mark(i), 4.5)}</svg> '
        f"<strong>{escape(g.name)}</strong> {escape(g.words)}</li>"
        for i, g in enumerate(drawn.groups)
    )
    return Markup(f'<ul style="list-style:none;padding:0">{rows}</ul>')


def _by_window(drawn: EmbeddingMap) -> Picture:
    numbers = sorted({p.window for p in drawn.points if p.window != REFERENCE}, key=str)
    words = f"window {numbers[0]}" if numbers else "this window"
    marks: list[tuple[Mark, str]] = [(("circle", FAINT), "reference"), (("triangle", LIGHTNESS[4]), words)]
    return _figure(drawn, "By window", [(p, marks[p.window != REFERENCE][0]) for p in drawn.points], marks)


def _group_mark(group: int) -> Mark:
    return SHAPES[group % len(SHAPES)], PAINTS[group % len(PAINTS)]


def map_by_group(drawn: EmbeddingMap) -> Picture:
    """The points by the group that each lies in, with the groups' names."""
    key = [(_group_mark(i), g.name) for i, g in enumerate(drawn.groups)]
    return _figure(drawn, "By group", [(p, _group_mark(p.group)) for p in drawn.points], key, letters=True)


def _by_score(drawn: EmbeddingMap) -> Picture:
    known = [(p, p.score) for p in drawn.points if p.score is not None]
    return _figure(drawn, f"By prediction: {drawn.score_name}", *_shaded(known, [s for _, s in known]))


def _by_label(drawn: EmbeddingMap) -> Picture:
    """Classes by shape, yes and no by a dark triangle and a light circle, a number by lightness.

    Rows without a label are left out.
    """
    known = [(p, p.label) for p in drawn.points if p.label is not None]
    title = f"By label: {drawn.label_name}"
    if not known:
        return "By label", Markup('<p class="soft">No label of these rows is known yet.</p>')
    values = [v for _, v in known]
    if any(isinstance(v, str) for v in values):
        names = sorted({str(v) for v in values})
        of = {name: _group_mark(i) for i, name in enumerate(names)}
        return _figure(drawn, title, [(p, of[str(v)]) for p, v in known], [(of[name], name) for name in names])
    if set(values) <= {0.0, 1.0}:
        either: list[tuple[Mark, str]] = [(("circle", LIGHTNESS[0]), "no"), (("triangle", LIGHTNESS[4]), "yes")]
        yes, _, no = drawn.label_name.partition(", or ")
        either = [(either[0][0], no or "no"), (either[1][0], yes if no else "yes")]
        return _figure(drawn, "By label", [(p, either[int(float(v))][0]) for p, v in known], either)
    return _figure(drawn, title, *_shaded([(p, float(v)) for p, v in known], [float(v) for v in values]))


def _shaded(
    known: Sequence[tuple[MapPoint, float]], values: Sequence[float]
) -> tuple[list[tuple[MapPoint, Mark]], list[tuple[Mark, str]]]:
    """Five steps of lightness from lowest to highest fifth of the values; equal values never get two."""
    ordered = sorted(values)
    edges = sorted({ordered[len(ordered) * i // 5] for i in range(1, 5)} - {ordered[0]}) if ordered else []
    shades = [LIGHTNESS[round(i * 4 / len(edges))] if edges else LIGHTNESS[2] for i in range(len(edges) + 1)]
    ends = (
        [
            f"under {edges[0]:.3g}",
            *(f"{a:.3g} to {b:.3g}" for a, b in zip(edges, edges[1:], strict=False)),
            f"from {edges[-1]:.3g}",
        ]
        if edges
        else [f"{ordered[0]:.3g}"]
        if ordered
        else []
    )
    return [(p, ("circle", shades[sum(v >= e for e in edges)])) for p, v in known], [
        (("circle", shade), words) for shade, words in zip(shades, ends, strict=False)
    ]


def _figure(
    drawn: EmbeddingMap,
    title: str,
    points: Sequence[tuple[MapPoint, Mark]],
    key: Sequence[tuple[Mark, str]],
    letters: bool = False,
) -> Picture:
    x, y = scale(*drawn.x, LEFT, LEFT + SIDE), scale(*drawn.y, TOP + SIDE * 0.8, TOP)
    bottom = TOP + SIDE * 0.8
    body = (
        f'<rect x="{LEFT - 6}" y="{TOP - 4}" width="{SIDE + 12}" height="{bottom - TOP + 8:.0f}" fill="#fff" '
        f'stroke="{SOFT}"/>'
    )
    sides = [[pair for pair in points if (pair[0].window == REFERENCE) is side] for side in (True, False)]
    mixed: list[tuple[MapPoint, Mark]] = [
        pair for both in zip_longest(*sides) for pair in both if pair is not None
    ]  # so that neither side hides the other
    body += "".join(_mark(x(p.x), y(p.y), *mark, 3.2) for p, mark in mixed)
    if letters:
        body += "".join(
            text(
                x(g.x),
                y(g.y) + 6,
                g.name,
                "middle",
                f' font-size="17" font-weight="700" paint-order="stroke" stroke="#fff" stroke-width="4" fill="{INK}"',
            )
            for g in drawn.groups
        )
    below, keyed = _key(key, bottom + 22)
    return title, svg(WIDTH, int(below), body + keyed, f"{title}: {len(points)} rows")


def _key(key: Sequence[tuple[Mark, str]], top: float) -> tuple[float, str]:
    """The key in rows of as many as fit, and where it ends."""
    body, at, line = "", float(LEFT), top
    for (shape, paint), words in key:
        said = short(words, 44)
        width = 20 + 6.4 * len(said) + 10
        if at > LEFT and at + width > WIDTH:
            at, line = float(LEFT), line + 17
        body += _mark(at + 4, line - 4, shape, paint, 4.5) + text(at + 14, line, said)
        at += width
    return line + 10, body


def _mark(x: float, y: float, shape: str, paint: str, r: float) -> str:
    return _DRAWN[shape](x, y, r, f' fill="{paint}" stroke="{INK}" stroke-width=".5" stroke-opacity=".7"', paint)


def _polygon(*corners: tuple[float, float]) -> Callable[[float, float, float, str, str], str]:
    def drawn(x: float, y: float, r: float, style: str, paint: str) -> str:
        return f'<polygon points="{" ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in corners)}"{style}/>'

    return drawn


def _circle(x: float, y: float, r: float, style: str, paint: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r * 0.9:.1f}"{style}/>'


def _ring(x: float, y: float, r: float, style: str, paint: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r * 0.8:.1f}" fill="#fff" stroke="{paint}" '
        f'stroke-width="{r * 0.45:.1f}"/>'
    )


def _strokes(*lines: tuple[float, float, float, float]) -> Callable[[float, float, float, str, str], str]:
    def drawn(x: float, y: float, r: float, style: str, paint: str) -> str:
        path = "".join(f"M{x + r * a:.1f} {y + r * b:.1f}L{x + r * c:.1f} {y + r * d:.1f}" for a, b, c, d in lines)
        return f'<path d="{path}" fill="none" stroke="{paint}" stroke-width="{r * 0.5:.1f}"/>'

    return drawn


_DRAWN: dict[str, Callable[[float, float, float, str, str], str]] = {
    "circle": _circle,
    "ring": _ring,
    "triangle": _polygon((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    "down": _polygon((0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
    "square": _polygon((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "diamond": _polygon((0, -1.3), (1, 0), (0, 1.3), (-1, 0)),
    "bar": _polygon((-0.4, -1.2), (0.4, -1.2), (0.4, 1.2), (-0.4, 1.2)),
    "star": _polygon(
        (0, -1.3),
        (0.35, -0.4),
        (1.2, -0.4),
        (0.55, 0.2),
        (0.8, 1.1),
        (0, 0.6),
        (-0.8, 1.1),
        (-0.55, 0.2),
        (-1.2, -0.4),
        (-0.35, -0.4),
    ),
    "cross": _strokes((-0.9, -0.9, 0.9, 0.9), (-0.9, 0.9, 0.9, -0.9)),
    "plus": _strokes((-1.1, 0, 1.1, 0), (0, -1.1, 0, 1.1)),
}
