"""A network as pictures: its layers, and its loss by epoch; of two versions in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tasks.records.pages.canvas import ACCENT, BOTTOM, INK, LEFT, SOFT, WIDTH, ends, frame, line, short, svg, text
from tasks.spec.display import metric_name

DRAWN, HIGH = 12, 150.0
"""Units of a layer that are drawn at most, and how high a column of them is."""


def figures(evaluation: dict[str, Any]) -> list[tuple[str, Markup, str]]:
    """Title, picture and a sentence of each, where an evaluation is of a network."""
    network, drawn = evaluation.get("network") or {}, []
    if network.get("epochs"):
        drawn.append(("Loss by epoch", losses([("", network["epochs"])]), losses_said(network["epochs"])))
    if network.get("layers"):
        drawn.append(("Layers", architecture(network["layers"]), ""))
    return drawn


def losses(runs: Sequence[tuple[str, dict[str, Any]]]) -> Markup:
    """Training loss dashed and validation loss whole, by epoch; a ring at the epoch that is kept.

    Args:
        runs: a name (empty where there is one run only) and the fields of :class:`tasks.spec.estimator.Epochs`, the
            older run first.
    """
    colours = [INK, ACCENT][-len(runs) :]
    every = [value for _, run in runs for side in ("training", "validation") for value in run[side]]
    most = max(len(run["training"]) for _, run in runs)
    body, x, y = frame((1, max(most, 2)), ends(every), "epoch", metric_name(runs[-1][1]["loss"]))
    for (_, run), colour in zip(runs, colours, strict=True):
        for side, dash in (("training", ' stroke-dasharray="4 3"'), ("validation", "")):
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(run[side], 1))
            body += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        at, value = run["kept"], run["validation"][run["kept"] - 1]
        body += (
            f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="4.5" fill="#fff" stroke="{colour}" stroke-width="1.8">'
            f"<title>epoch {at}: {value:.5g}</title></circle>"
        )
    below = BOTTOM + 52
    for at, (name, colour) in enumerate(zip([name for name, _ in runs], colours, strict=True)):
        of = f"{short(name, 14)}: " if name else ""
        top = below + 17 * at
        body += line(LEFT, top - 4, LEFT + 22, top - 4, colour, 1.6) + text(LEFT + 28, top, f"{of}validation")
        body += line(LEFT + 150, top - 4, LEFT + 172, top - 4, colour, 1.6, "4 3") + text(LEFT + 178, top, "training")
    return svg(WIDTH, below + 17 * (len(runs) - 1) + 8, body, f"{metric_name(runs[-1][1]['loss'])} by epoch")


def losses_short(run: dict[str, Any]) -> str:
    """The kept and the last epoch in a line."""
    count, kept, name = len(run["training"]), run["kept"], metric_name(run["loss"])
    both = [f"{run['validation'][at - 1]:.4g} on validation and {run['training'][at - 1]:.4g} on training rows"
            for at in (kept, count)]  # fmt: skip
    last = f"; the last had {both[1]}" if kept < count else ""
    return f"epoch {kept} of {count} is kept, {name} {both[0]}{last}"


def losses_said(run: dict[str, Any]) -> str:
    """Which epoch is kept, and why it is that one, in a sentence."""
    count, kept = len(run["training"]), run["kept"]
    why = "the validation loss fell no more" if run["stopped"] == "patience" else "the epochs were over"
    how = {"entity": "of whole entities", "period": "of the latest periods", "random": "drawn at random"}[run["by"]]
    said = (
        f"epoch {kept} of {count} is kept, with a {metric_name(run['loss'])} of {run['validation'][kept - 1]:.4g} on "
        f"{run['held_out']:,} rows {how}, and {run['training'][kept - 1]:.4g} on the {run['learned']:,} that were "
        f"learned from; the last epoch had {run['validation'][-1]:.4g}, and then {why}"
    )
    return f"{said}; not by period, since {run['why']}" if run["why"] else said


def architecture(layers: Sequence[dict[str, Any]]) -> Markup:
    """The layers from left to right with all their links; of a wide layer a few units, and how many they are.

    Args:
        layers: the fields of :class:`tasks.answering.outline.Layer`, from the inputs to the outputs.
    """
    step = (WIDTH - 60) / max(len(layers) - 1, 1)
    columns = [(30 + step * at, _places(layer["units"])) for at, layer in enumerate(layers)]
    body = "".join(
        line(x1, y1, x2, y2, "#cfd6dc", 0.6)
        for (x1, left), (x2, right) in zip(columns, columns[1:], strict=False)
        for y1 in left
        for y2 in right
    )
    for (x, places), layer in zip(columns, layers, strict=True):
        colour = SOFT if layer["name"] == "inputs" else ACCENT
        body += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>' for y in places)
        if len(places) < layer["units"]:
            middle = (places[len(places) // 2 - 1] + places[len(places) // 2]) / 2
            body += f'<rect x="{x - 6:.1f}" y="{middle - 7:.1f}" width="12" height="14" fill="#fff"/>'
            body += text(x, middle + 4, "⋮", "middle")
        body += text(x, HIGH + 28, f"{layer['units']:,}", "middle", ' font-weight="600"')
        body += text(x, HIGH + 42, layer["activation"] if layer["name"] != "inputs" else "inputs", "middle")
    total = sum(layer["weights"] for layer in layers)
    body += text(WIDTH / 2, HIGH + 62, f"{total:,} weights", "middle")
    return svg(WIDTH, int(HIGH) + 70, body, f"a network of {len(layers) - 2} hidden layers, {total:,} weights")


def _places(units: int) -> list[float]:
    """The heights of the units that are drawn; with a gap in the middle where they are not all."""
    drawn = min(units, DRAWN)
    apart = min(HIGH / DRAWN, 22.0)
    first = 10 + (HIGH - apart * (drawn - 1)) / 2
    places = [first + apart * at for at in range(drawn)]
    return places if drawn == units else places[: drawn // 2 - 1] + places[drawn // 2 + 1 :]
