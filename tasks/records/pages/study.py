"""A study of configurations as a page: what was tried, side by side, and what made the difference."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import log10
from typing import Any

import pandas as pd
from markupsafe import Markup

from tasks.records.pages.canvas import (
    ACCENT,
    BAD,
    BOTTOM,
    HALO,
    INK,
    SOFT,
    TOP,
    WIDTH,
    centred,
    dot,
    ends,
    frame,
    line,
    scale,
    short,
    svg,
    text,
    tick,
    ticks,
)
from tasks.records.pages.plots import picture
from tasks.records.pages.words import PAGES, cell, code, page_link
from tasks.spec.display import metric_name
from tasks.spec.search import FEATURES, Estimate, StudyRecord, Trial
from tasks.spec.wording import plural

MARGIN, AXIS, HEIGHT, MOST = 150, 150, 250, 12
"""Pixels left of the first axis, between two, and of an axis; axes that are drawn, those of most importance."""
LISTED = 20
"""Trials in markdown; the page lists all."""
FOLDED = {
    "time": "each part of the rows is predicted from earlier ones",
    "entities": "no entity is both learned from and predicted",
    "classes": "at random, each class in its share",
    "chance": "at random",
}
STATES = {"complete": ACCENT, "pruned": SOFT, "failed": BAD, "interrupted": BAD}


def study_page(record: StudyRecord, title: str, importance: Mapping[str, float]) -> str:
    """The page.

    Args:
        title: of the model.
        importance: share of each dimension in what sets the best trials apart.
    """
    return PAGES.get_template("study.html").render(
        heading=f"{title}: search",
        record=record,
        front=record.front(),
        trials=_ranked(record),
        places=places(record),
        drawn=cells(record),
        short=short_place,
        estimate=estimate,
        figures=figures(record, importance),
        folded=FOLDED[record.folded],
        counted=counted(record),
    )


def study_markdown(record: StudyRecord, importance: Mapping[str, float], address: str = "") -> str:
    """The same for Prefect: the first trials as a table, and the plots as pictures."""
    front, named, of = {t.number for t in record.front()}, places(record), cells(record)
    objectives = [record.metric, *([record.fairness] if record.fairness else [])]
    lines = [f"{counted(record)} {_says_front(record)}", ""]
    lines += [
        "| "
        + " | ".join(["Trial", "State", *map(cell, objectives), *(code(short_place(place)) for place in named)])
        + " |"
    ]
    lines += ["|" + "---|" * (2 + len(objectives) + len(named))]
    for t in _ranked(record)[:LISTED]:
        values = [estimate(t.metrics.get(record.metric))] + [estimate(t.fairness)] * bool(record.fairness)
        number = f"**{t.number}**" if t.number in front else str(t.number)
        drawn = [cell(of(t, place)) for place in named]
        lines.append("| " + " | ".join([number, t.state, *values, *drawn]) + " |")
    drawings = "\n\n".join(f"**{cell(name)}**\n\n{picture(drawn)}" for name, _, drawn in figures(record, importance))
    return "\n".join(lines) + f"\n\n{drawings}\n\nStudy {code(record.study)}.{page_link(address)}"


def counted(record: StudyRecord) -> str:
    """How many trials there are, by how they ended."""
    states = [t.state for t in record.trials]
    told = [f"{states.count(state)} {state}" for state in STATES if state in states]
    return f"{plural(len(states), 'trial')}: {', '.join(told)}." if told else "No trial has ended yet."


def _says_front(record: StudyRecord) -> str:
    front = record.front()
    if not front:
        return "None was completed."
    if record.fairness is None:
        return f"Trial {front[0].number} is first."
    return f"No other dominates {', '.join(str(t.number) for t in front)}."


def _ranked(record: StudyRecord) -> list[Trial]:
    """The front first, then the rest by the objective, then what has none."""
    front = [t.number for t in record.front()]
    sign = -1 if record.greater_is_better else 1

    def rank(trial: Trial) -> tuple[float, ...]:
        if trial.number in front:
            return (0, front.index(trial.number))
        found = trial.metrics.get(record.metric) if trial.state == "complete" else None
        return (2, trial.number) if found is None else (1, sign * found.value)

    return sorted(record.trials, key=rank)


def places(record: StudyRecord) -> list[str]:
    """Every place that any trial drew, in the order in which they came up."""
    return list(dict.fromkeys(place for t in record.trials for place in t.values))


def short_place(place: str) -> str:
    """A place, or a dimension, without what all have in common."""
    return place.removeprefix("estimator.").removeprefix("parameters.")


def cells(record: StudyRecord) -> Callable[[Trial, str], str]:
    """What a trial drew at a place, in few characters; of features, those that others had."""
    names = list(dict.fromkeys(n for t in record.trials for n in t.values.get(FEATURES) or ()))

    def of(trial: Trial, place: str) -> str:
        if place not in trial.values:
            return ""
        if place != FEATURES:
            return shown(trial.values[place])
        lacking = [name for name in names if name not in trial.values[FEATURES]]
        return f"without {', '.join(lacking)}" if lacking else f"all {len(names)}"

    return of


def shown(value: Any) -> str:
    """A drawn value in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def estimate(found: Estimate | None) -> str:
    """A value with its interval."""
    if found is None:
        return ""
    between = "" if found.low is None or found.high is None else f" ({found.low:.4f} to {found.high:.4f})"
    return f"{found.value:.4f}{between}"


def figures(record: StudyRecord, importance: Mapping[str, float]) -> list[tuple[str, str, Markup]]:
    """The drawings that the trials allow: heading, what it shows, and the drawing."""
    if not record.finished:
        return []
    found = []
    if record.fairness is not None:
        said = f"Filled: those that no other dominates. Rows that were predicted, {record.rows:,} at most."
        found.append((f"{metric_name(record.metric)} against {record.fairness}", said, pareto(record)))
    found.append(("In the order of the trials", "Line: the first so far. Grey: ended early.", history(record)))
    axes = _axes(record, importance)
    if axes:
        found.append(("What was drawn, and what came of it", "Dark: the best tenth.", parallel(record, axes)))
    if importance:
        said = "Share of each in what sets the best tenth apart (PED-ANOVA, Watanabe et al. 2023)."
        found.append(("Importance", said, bars(importance)))
    return found


def history(record: StudyRecord) -> Markup:
    """The objective over the number of the trial, and the first so far."""
    drawn = [t for t in record.trials if record.metric in t.metrics]
    values = [t.metrics[record.metric].value for t in drawn]
    body, x, y = frame((0, max(1, max(t.number for t in drawn))), ends(values), "trial", metric_name(record.metric))
    best, before = None, 0.0
    for t in drawn:
        value = t.metrics[record.metric].value
        if t.state == "complete" and (best is None or (value > best) == record.greater_is_better):
            if best is not None:
                body += line(before, y(best), x(t.number), y(best), INK, 1.2)
                body += line(x(t.number), y(best), x(t.number), y(value), INK, 1.2)
            best, before = value, x(t.number)
    if best is not None:
        body += line(before, y(best), x(drawn[-1].number), y(best), INK, 1.2)
    for t, value in zip(drawn, values, strict=True):
        said = f"trial {t.number}, {t.state}: {estimate(t.metrics[record.metric])}"
        body += dot(x(t.number), y(value), STATES[t.state], t.state != "complete", said)
    return svg(WIDTH, BOTTOM + 40, body, "objective by trial")


def pareto(record: StudyRecord) -> Markup:
    """Both objectives of every finished trial, and the front as a line."""
    drawn = [(t, t.metrics[record.metric].value, t.fairness.value) for t in record.finished if t.fairness]
    body, x, y = frame(
        ends([v for _, v, _ in drawn]), ends([g for _, _, g in drawn]), metric_name(record.metric), str(record.fairness)
    )
    front = sorted((t.metrics[record.metric].value, t.fairness.value) for t in record.front() if t.fairness is not None)
    for (a, b), (c, d) in zip(front, front[1:], strict=False):
        body += line(x(a), y(b), x(c), y(d), ACCENT, 1.2, "3 2")
    chosen = {t.number for t in record.front()}
    for t, value, gap in drawn:
        said = f"trial {t.number}: {estimate(t.metrics[record.metric])}, {record.fairness} {estimate(t.fairness)}"
        body += dot(x(value), y(gap), ACCENT if t.number in chosen else SOFT, t.number not in chosen, said)
        if t.number in chosen:
            body += centred(x(value), y(gap) - 8, str(t.number), WIDTH)
    return svg(WIDTH, BOTTOM + 40, body, "both objectives of every trial")


def _axes(record: StudyRecord, importance: Mapping[str, float]) -> list[str]:
    """Places of the parallel coordinates, of which several values were drawn; those of most importance."""
    varied = [
        place
        for place in places(record)
        if len({json.dumps(t.values[place]) for t in record.finished if place in t.values}) > 1
    ]
    by_importance = sorted(varied, key=lambda place: -max(
        (share for name, share in importance.items() if name.startswith(place)), default=0.0
    ))  # fmt: skip
    return [place for place in varied if place in by_importance[:MOST]]


def parallel(record: StudyRecord, axes: Sequence[str]) -> Markup:
    """Parallel coordinates (Inselberg 1985): a line a finished trial, an axis a place, the objective at the right."""
    drawn = sorted(record.finished, key=lambda t: t.metrics[record.metric].value, reverse=not record.greater_is_better)
    dark = {t.number for t in drawn[-max(1, len(drawn) // 10) :]}
    place_of, body = {}, ""
    for at, name in enumerate([*axes, record.metric]):
        x = MARGIN + AXIS * at
        values = {t.number: _value(t, name, record.metric) for t in drawn if name in (*t.values, record.metric)}
        marks, y = _axis(list(values.values()))
        place_of[name] = {number: (x, y(value)) for number, value in values.items()}
        body += line(x, TOP + 16, x, TOP + HEIGHT, SOFT)
        body += text(x, TOP + 6, short(short_place(name) if at < len(axes) else metric_name(name), 22), "middle")
        for height, word in marks:
            body += line(x - 3, height, x, height, SOFT) + text(x - 5, height + 4, short(word, 22), "end", HALO)
    lines = ""
    for t in drawn:  # the best last, on top
        points = [place_of[name][t.number] for name in [*axes, record.metric] if t.number in place_of[name]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        colour, width, shade = (ACCENT, 2, 1) if t.number in dark else (SOFT, 1, 0.55)
        said = f"trial {t.number}: {estimate(t.metrics[record.metric])}"
        lines += (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'opacity="{shade}"><title>{said}</title></polyline>'
        )
    return svg(MARGIN + AXIS * len(axes) + 50, TOP + HEIGHT + 12, lines + body, "parallel coordinates of all trials")


def _value(trial: Trial, name: str, metric: str) -> Any:
    if name == metric:
        return trial.metrics[metric].value
    value = trial.values[name]
    return len(value) if name == FEATURES else value


def _axis(values: Sequence[Any]) -> tuple[list[tuple[float, str]], Any]:
    """Marks of an axis, and the place of a value on it: numbers by size, everything else by name."""
    bottom, top = TOP + HEIGHT - 8, TOP + 30
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min(values), max(values)
        if low > 0 and high / low > 50:  # drawn by their logarithm, most likely
            inner = scale(log10(low), log10(high), bottom, top)
            marks = [10.0**k for k in range(-12, 13) if low <= 10.0**k <= high] or [low, high]
            return [(inner(log10(m)), f"{m:g}") for m in marks], lambda v: inner(log10(v))
        plain = scale(low, high, bottom, top)
        whole = all(isinstance(v, int) for v in values)
        return [(plain(m), tick(m)) for m in ticks(low, high, 4) if not whole or m == int(m)], plain
    names = sorted({shown(v) for v in values})
    step = (bottom - top) / max(len(names) - 1, 1)
    heights = {name: bottom - step * at for at, name in enumerate(names)}
    return [(heights[name], name) for name in names], lambda v: heights[shown(v)]


def bars(importance: Mapping[str, float]) -> Markup:
    """Shares as bars, the largest first."""
    top = sorted(importance.items(), key=lambda item: -item[1])[:MOST]
    most = max(share for _, share in top) or 1.0
    body = ""
    for at, (name, share) in enumerate(top):
        y, width = 12 + 20 * at, 110 * share / most
        body += text(184, y + 10, short(short_place(name), 27), "end")
        body += f'<rect x="190" y="{y}" width="{width:.1f}" height="13" fill="{ACCENT}"/>'
        body += text(194 + width, y + 10, f"{share:.0%}")
    return svg(WIDTH, 20 + 20 * len(top), body, "importance of what was drawn")


def study_table(record: StudyRecord) -> pd.DataFrame:
    """A row a trial: its number and state, objectives with intervals, all metrics, what was drawn, and its origin."""
    metrics = sorted({m for t in record.trials for m in t.metrics}, key=lambda m: (m != record.metric, m))
    places = list(dict.fromkeys(place for t in record.trials for place in t.values))
    rows = []
    for t in record.trials:
        row: dict[str, Any] = {"trial": t.number, "state": t.state}
        if record.fairness is not None:
            row |= _columns(record.fairness, t.fairness)
        for name in metrics:
            row |= _columns(name, t.metrics.get(name))
        row |= {place: _cell(place, t.values.get(place)) for place in places}
        row |= {"began": t.began, "seconds": t.seconds, "seed": t.seed, "commit": t.commit, "data": record.data}
        rows.append(row | {"study": record.study, "configuration": t.configuration, "said": t.said})
    return pd.DataFrame(rows)


def _cell(place: str, value: Any) -> Any:
    """A drawn value as a cell: numbers as numbers, names as they are, everything else as JSON."""
    if place == FEATURES and value is not None:
        return " ".join(value)
    return value if value is None or isinstance(value, int | float | str) else json.dumps(value)


def _columns(name: str, found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
