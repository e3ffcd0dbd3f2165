"""Two versions side by side as a page: what changed, and what it did, with plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tasks.records.pages.canvas import (
    ACCENT,
    BOTTOM,
    INK,
    LEFT,
    RIGHT,
    SOFT,
    TOP,
    centred,
    dot,
    line,
    scale,
    short,
    svg,
    text,
    tick,
    ticks,
)
from tasks.records.pages.canvas import WIDTH as PLOT
from tasks.records.pages.networks import architecture, losses, losses_short
from tasks.records.pages.words import PAGES
from tasks.spec.display import metric_name, metric_said

WIDTH = 250
MOST = 12
"""Columns and features that are drawn, those that differ most."""


def comparison_page(found: dict[str, Any], names: tuple[str, str], value: Any) -> str:
    """The page.

    Args:
        found: a comparison as ``assay diff --json`` prints it.
        names: of the older and the newer one.
        value: from a value of ``model.yaml`` to a few characters.
    """
    columns = (found["data"] or {}).get("columns", ())
    moved = sorted((c for c in columns if c["distance"] and c["cells"]), key=lambda c: -c["distance"])[:MOST]
    return PAGES.get_template("side_by_side.html").render(
        heading=f"{found['title']}: {names[0]} and {names[1]}",
        found=found,
        old=names[0],
        new=names[1],
        value=value,
        moved=[(c, distributions(c, names)) for c in moved],
        difference=difference,
        network=_networks(found["network"], names) if found["network"] else [],
        importance=importance(found["importance"], names) if found["importance"] else "",
        signed=signed,
        plain=plain,
    )


def _networks(network: dict[str, Any], names: tuple[str, str]) -> list[tuple[str, Markup, list[str]]]:
    """Losses of both in one plot, and the layers of each."""
    runs = [(name, run) for name, run in zip(names, network["epochs"], strict=True) if run is not None]
    drawn = []
    if runs and len({run["loss"] for _, run in runs}) == 1:
        told = [f"{name}: {losses_short(run)}" for name, run in runs]
        drawn.append(("Loss by epoch", losses(runs), told))
    for name, layers in zip(names, network["layers"], strict=True):
        if layers:
            drawn.append((f"Layers of {name}", architecture(layers), []))
    return drawn


def plain(effect: dict[str, Any], key: str, unit: str = "") -> str:
    return metric_said(effect[key], effect["name"], unit)


def signed(value: float | None, name: str, unit: str = "") -> str:
    """A difference with its sign, in the form in which people read the metric."""
    if value is None:
        return ""
    said = metric_said(value, name, unit)
    return f"+{said}" if value >= 0 else said


def difference(effect: dict[str, Any]) -> Markup:
    """A difference and its interval on a scale around 0."""
    ends = [effect["difference"], effect["low"] or 0.0, effect["high"] or 0.0]
    reach = max(map(abs, ends)) * 1.1 or 1.0
    x, at = scale(-reach, reach, 14, WIDTH - 14), 12
    body = line(14, at, WIDTH - 14, at, "#e6e9ec") + line(x(0), 1, x(0), 23, INK, 1.2, "3 2")
    if effect["low"] is not None and effect["high"] is not None:
        body += line(x(effect["low"]), at, x(effect["high"]), at, ACCENT, 3)
    body += dot(x(effect["difference"]), at)
    name = metric_name(effect["name"])
    return svg(WIDTH, 24, body, f"{name}: {signed(effect['difference'], effect['name'])}")


def distributions(column: dict[str, Any], names: tuple[str, str]) -> Markup:
    """Shares of rows by cell of both tables, the older one as an outline."""
    cells = list(zip(column["cells"], column["shares_old"], column["shares_new"], strict=True))
    if not column["edges"] or not (
        cells[-1][1] or cells[-1][2]
    ):  # what no row has is left out, at the end of numbers alone
        cells = [c for at, c in enumerate(cells) if c[1] or c[2] or (column["edges"] and at + 1 < len(cells))] or cells
    most = max(max(old, new) for _, old, new in cells) or 1.0
    y, width = scale(0.0, most * 1.1, BOTTOM, TOP), (RIGHT - LEFT) / len(cells)
    body = f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" fill="none" stroke="{SOFT}"/>'
    for t in ticks(0.0, most * 1.1, 4):
        body += line(LEFT - 4, y(t), LEFT, y(t), SOFT) + text(LEFT - 7, y(t) + 4, tick(t, "rate"), "end")
    for at, (_, old, new) in enumerate(cells):
        left = LEFT + at * width
        body += _bar(left + 0.12 * width, y(new), 0.76 * width, f'fill="{ACCENT}" fill-opacity=".45"')
        body += _bar(left + 0.02 * width, y(old), 0.96 * width, f'fill="none" stroke="{INK}" stroke-width="1.2"')
    body += _named_cells([name for name, _, _ in cells], column["edges"], width)
    below = BOTTOM + 50
    key = [
        (LEFT, names[0], f'fill="none" stroke="{INK}" stroke-width="1.2"'),
        (LEFT + 120, names[1], f'fill="{ACCENT}" fill-opacity=".45"'),
    ]
    for at, name, paint in key:
        body += f'<rect x="{at}" y="{below - 10}" width="18" height="11" {paint}/>'
        body += text(at + 24, below, short(name, 14))
    return svg(PLOT, below + 8, body, f"{column['name']}: shares of rows in both")


def _bar(left: float, top: float, width: float, paint: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{max(BOTTOM - top, 0):.1f}" {paint}/>'


def _named_cells(names: Sequence[str], edges: Sequence[float], width: float) -> str:
    """Of a number the ends of its cells, of a category its names; as many as fit without overlapping."""
    if edges:
        half, last = len(edges) // 2, len(edges) - 1
        shown = [(LEFT + width * at, edges[at]) for at in (0, half, last)]
        body = "".join(centred(x, BOTTOM + 16, f"{value:.4g}", PLOT) for x, value in shown)
        lacking = centred(RIGHT - width / 2, BOTTOM + 30, "missing", PLOT) if names[-1] == "missing" else ""
        return body + lacking
    room = max(3, int(width / 6.4))
    return "".join(
        centred(LEFT + (at + 0.5) * width, BOTTOM + 16 + 14 * (at % 2), short(name, room * 2 - 1), PLOT)
        for at, name in enumerate(names)
    )


def importance(shares: dict[str, Sequence[float]], names: tuple[str, str]) -> Markup:
    """By feature, the share of the attribution that each gives it: hollow the older, full the newer one."""
    top = sorted(shares.items(), key=lambda item: -max(item[1]))[:MOST]
    most = max((max(pair) for _, pair in top), default=1.0) or 1.0
    x = scale(0.0, most * 1.05, 154, PLOT - 14)
    body = ""
    for at, (name, (old, new)) in enumerate(top):
        y = 16 + 22 * at
        body += text(146, y + 4, short(name, 20), "end") + line(154, y, PLOT - 14, y, "#e6e9ec")
        body += line(x(old), y, x(new), y, ACCENT, 2) + dot(x(old), y, hollow=True, title=f"{name}: {old:.1%}")
        body += dot(x(new), y, title=f"{name}: {new:.1%}")
    end = 14 + 22 * len(top)
    body += line(154, end, PLOT - 14, end, SOFT)
    for t in ticks(0.0, most, 4):
        body += line(x(t), end, x(t), end + 4, SOFT) + centred(x(t), end + 16, tick(t, "rate"), PLOT)
    body += dot(60, end + 32, hollow=True) + text(70, end + 36, short(names[0], 14))
    body += dot(190, end + 32) + text(200, end + 36, short(names[1], 14))
    return svg(PLOT, end + 44, body, "share of the attribution by feature, in both")
