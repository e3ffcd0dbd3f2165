"""One window laid into the groups of the reference: what happened to them, and whether they still make sense."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.groupings.events import Event, EventKind, Sides, WindowEvents, about, events
from tasks.science.monitors.groupings.reference import (
    GroupReference,
    adjusted_rand,
    clustered,
    coherence,
    label_table,
    nearest,
    plane_of,
    silhouettes,
)
from tasks.science.monitors.groupings.words import apart
from tasks.science.stats.shift import shift
from tasks.spec.evidence import Finding
from tasks.spec.groupings import POINTS, Centre, EmbeddingMap, GroupNow, GroupSummary, MapPoint
from tasks.spec.model import ModelConfig

TESTS = 8
"""Among which ``alpha`` is shared in equal parts (Bonferroni): four kinds of events, shares, silhouette, stability, label coherence."""
ROWS = 5000
"""Rows of a window that are looked at most, drawn at random."""
FEWEST = 50
"""Rows (with labels, for coherence) below which nothing is concluded."""
RESAMPLES = 12
LABEL_RESAMPLES = 100
WORSE = 0.2
"""Part of the reference's silhouette, and absolute loss of the adjusted Rand index, that must be lost for an alarm."""
INCOHERENT = 0.5
"""Part of the reference's label coherence that must be lost for an alarm."""
KINDS: tuple[EventKind, ...] = ("new", "merged", "split", "vanished")
NOTHING: dict[EventKind, str] = {
    "new": "no place is dense in the window and next to empty in the reference",
    "merged": "no two groups that were apart have left their places and meet between them",
    "split": "no group has a gap that the reference has not",
    "vanished": "every group still has rows",
}


@dataclass(frozen=True)
class _Seen:
    """A window's rows that could be placed."""

    sides: Sides
    rows: pd.DataFrame
    asked: int
    unplaced: int

    @property
    def n(self) -> int:
        return len(self.rows)


def grouping_findings(
    config: ModelConfig,
    reference: GroupReference,
    embedded_window: np.ndarray,
    rows: pd.DataFrame,
    alpha: float,
    seed: int,
    number: int = 0,
) -> tuple[list[Finding], GroupSummary, EmbeddingMap | None]:
    """Follow the groups of the reference into one window.

    Where nothing changed, any alarm at all has at most the chance ``alpha``, shared in equal parts among :data:`TESTS` tests:
    the four kinds of events (:mod:`tasks.science.monitors.groupings.events`), the shares of the groups (chi-squared, an effect floor
    of ``monitoring.drift_distance``), and whether the groups hold: silhouette, stability and label coherence.

    Args:
        embedded_window: (n, d) from :func:`tasks.science.models.embeddings.embed` with ``reference.space``.
        rows: (n, columns) raw inputs, ``_score`` and ``_label`` of the same rows.
        number: of the window, for the map.

    Returns:
        Findings of kind ``grouping``; the summary; the map, None where there is no space to draw.
    """
    if len(embedded_window) != len(rows):
        raise ValueError(
            f"{len(embedded_window)} embedded rows and {len(rows)} rows were given; they must be the same rows"
        )
    if reference.reason:
        return _untold(reference.reason, len(rows), None)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(rows))[:ROWS])
    good = chosen[np.isfinite(embedded_window[chosen]).all(axis=1)]
    window = _Seen(Sides.of(reference, embedded_window[good]), rows.iloc[good], len(rows), len(chosen) - len(good))
    if window.n < FEWEST:
        without = (
            f", {window.unplaced} of them without finite numbers in {reference.space.source if reference.space else ''}"
            if window.unplaced
            else ""
        )
        return _untold(
            f"the window has {len(rows)} rows{without} and {FEWEST} are needed, so nothing is concluded about its groups",
            len(rows),
            _map(config, reference, window, (), number, rng),
        )
    level = alpha / TESTS
    seen = events(window.sides, level, rng)
    told = [_event(config, reference, window, e, i) for i, e in enumerate(seen.events)]
    found = [
        *told,
        *_quiet(window, seen),
        _shares(config, reference, window, level),
        *_sense(config, reference, window, level, rng),
    ]
    if window.unplaced:
        share = window.unplaced / len(chosen)
        found.append(
            Finding(
                kind="grouping",
                subject="rows without a place",
                value=share,
                rows=len(rows),
                alarm=False,
                sentence=f"{window.unplaced} of {len(chosen)} rows ({share:.1%}) have no finite numbers in the embedding and belong to no group",
            )
        )
    return found, _summary(reference, window, found, told), _map(config, reference, window, seen.events, number, rng)


def _untold(
    reason: str, rows: int, drawn: EmbeddingMap | None
) -> tuple[list[Finding], GroupSummary, EmbeddingMap | None]:
    finding = Finding(kind="grouping", subject="groups", value=None, rows=rows, alarm=False, sentence=reason)
    return [finding], GroupSummary(sentence=reason, holds=None), drawn


def event_name(reference: GroupReference, event: Event, position: int) -> str:
    names = [reference.groups[j].name for j in event.groups]
    return {
        "new": f"new group N{position + 1}",
        "merged": f"groups {' and '.join(names)}",
        "split": f"group {names[0]}",
        "vanished": f"group {names[0]}",
    }[event.kind]


def _event(config: ModelConfig, reference: GroupReference, window: _Seen, event: Event, position: int) -> Finding:
    names = [reference.groups[j].name for j in event.groups]
    inside, size = (
        window.rows[event.members],
        f"{int(event.members.sum())} of {window.n} rows ({event.members.mean():.1%})",
    )
    if event.kind == "new":
        words = "; ".join(apart(config, inside, window.rows[~event.members]))
        said = f"a new group, N{position + 1}: {size} lie close together where the reference has {event.reference_share:.1%}, nearest to group {names[0]}{_moved(window, event)}. What sets it apart: {words}"
    elif event.kind == "merged":
        words = " / ".join(_typical(reference, j) for j in event.groups)
        left = " and ".join(f"{now:.1%} ({was:.1%})" for now, was in (_about(window, j) for j in event.groups))
        said = f"groups {names[0]} and {names[1]} have merged: {size} lie between their old places, {event.reference_share:.1%} in the reference; about these lie {left}. They were: {words}. Now: {'; '.join(apart(config, inside, window.rows[~event.members]))}"
    elif event.kind == "split" and event.parts is not None:
        smaller = event.parts.sum() / event.members.sum()
        words = "; ".join(apart(config, window.rows[event.parts], window.rows[event.members & ~event.parts]))
        said = f"group {names[0]} ({size}) has split into parts of {1 - smaller:.0%} and {smaller:.0%}: {event.share:.0%} of it lie in between, {event.reference_share:.0%} in the reference. What sets the smaller part apart from the other: {words}"
    else:
        now = (window.sides.own == event.groups[0]).mean()
        said = f"group {names[0]} has vanished: {event.share:.1%} of the rows lie near its centre, {event.reference_share:.1%} in the reference ({now:.1%} are nearest to it). Its rows were: {_typical(reference, event.groups[0])}{_taken(reference, window, event.groups[0])}"
    return Finding(
        kind="grouping",
        subject=event_name(reference, event, position),
        value=event.share,
        reference=event.reference_share,
        rows=window.n,
        alarm=True,
        sentence=said,
    )


def _typical(reference: GroupReference, j: int) -> str:
    return "; ".join(reference.groups[j].typical)


def _moved(window: _Seen, event: Event) -> str:
    """Whether the group nearest to a new one lost as many rows about its centre as the new one has."""
    now, was = _about(window, event.groups[0])
    name = window.sides.reference.groups[event.groups[0]].name
    return (
        f", which lost as much about its centre ({now:.1%} of the rows, {was:.1%} in the reference): {name} or a part of it has moved there"
        if was - now > 0.5 * event.share
        else ""
    )


def _about(window: _Seen, j: int) -> tuple[float, float]:
    """Shares of the window's and of the reference's rows that lie about a group's centre."""
    now, was = about(window.sides, j)
    return float(now.mean()), float(was.mean())


def _taken(reference: GroupReference, window: _Seen, gone: int) -> str:
    """Which group grew by most of what another lost."""
    k = len(reference.centres)
    gain = (np.bincount(window.sides.own, minlength=k) / window.n) - np.array([g.share for g in reference.groups])
    most = int(gain.argmax())
    return (
        f". Group {reference.groups[most].name} grew by {gain[most]:.1%} of the rows meanwhile"
        if most != gone and gain[most] > 0.5 * reference.groups[gone].share
        else ""
    )


def _quiet(window: _Seen, seen: WindowEvents) -> list[Finding]:
    """One finding for each kind of event that did not happen, and what could not be seen."""
    happened = {e.kind for e in seen.events}
    found = []
    for kind in KINDS:
        untold = seen.untold.get(kind, "")
        if kind not in happened:
            found.append(
                Finding(
                    kind="grouping",
                    subject=f"{kind} groups",
                    value=0.0,
                    rows=window.n,
                    alarm=False,
                    sentence=NOTHING[kind] + (f"; {untold}, so there nothing is concluded" if untold else ""),
                )
            )
    return found


def _shares(config: ModelConfig, reference: GroupReference, window: _Seen, level: float) -> Finding:
    names = np.array([g.name for g in reference.groups])
    if len(names) < 2:
        return Finding(
            kind="grouping",
            subject="shares",
            value=None,
            rows=window.n,
            alarm=False,
            sentence=f"there is one group, so there are no shares to compare: {reference.choice}",
        )
    s = shift(
        pd.Series(names[window.sides.was], dtype=object), pd.Series(names[window.sides.own], dtype=object), "groups"
    )
    now, was = (np.bincount(o, minlength=len(names)) / len(o) for o in (window.sides.own, window.sides.was))
    most = int(np.abs(now - was).argmax())
    said = f"the groups have other shares by a Jensen-Shannon distance of {s.excess:.3f}; the most changed is {names[most]} with {now[most]:.1%}, {was[most]:.1%} in the reference"
    limit = config.monitoring.drift_distance
    return Finding(
        kind="grouping",
        subject="shares",
        value=s.excess,
        limit=limit,
        rows=window.n,
        alarm=bool(s.p_value <= level and s.excess > limit),
        sentence=said,
    )


def _sense(
    config: ModelConfig, reference: GroupReference, window: _Seen, level: float, rng: np.random.Generator
) -> list[Finding]:
    """Do the groups still make sense: apart from each other, found again, and of one mind about the label."""
    if len(reference.centres) < 2:
        why = f"there is one group, so it has nothing to be apart from: {reference.choice}"
        return [
            Finding(kind="grouping", subject=s, value=None, rows=window.n, alarm=False, sentence=why)
            for s in ("silhouette", "stability", "label coherence")
        ]
    return [
        _silhouette(window, level),
        _stability(reference, window, level, rng),
        _coherence(config, reference, window, level, rng),
    ]


def _silhouette(window: _Seen, level: float) -> Finding:
    """Simplified silhouette, the window's mean against the reference's: Welch's test (1947), one-sided, and a loss of :data:`WORSE` of it."""
    now, was = silhouettes(window.sides.distance), silhouettes(window.sides.was_distance)
    error = float(np.sqrt(now.var(ddof=1) / len(now) + was.var(ddof=1) / len(was)))
    value, before = float(now.mean()), float(was.mean())
    p_value = float(norm.cdf((value - before) / error)) if error > 0 else 1.0
    limit, wide = before - WORSE * abs(before), 1.96 * float(now.std(ddof=1)) / np.sqrt(len(now))
    said = f"the silhouette of the groups is {value:.2f}, {before:.2f} in the reference (1: far apart, 0: no groups)"
    return Finding(
        kind="grouping",
        subject="silhouette",
        value=value,
        low=value - wide,
        high=value + wide,
        reference=before,
        limit=limit,
        rows=window.n,
        alarm=p_value <= level and value < limit,
        sentence=said,
    )


def _stability(reference: GroupReference, window: _Seen, level: float, rng: np.random.Generator) -> Finding:
    """Adjusted Rand index of the reference's groups with groups found anew on the window.

    :data:`RESAMPLES` resamples of the window beside as many windows of the same size from the reference's compared rows. The alarm
    asks that the window's mean lie below what the reference's windows predict for one more (Student's prediction bound) and
    :data:`WORSE` below their mean; the index is skewed, and that floor carries what the bound does not.
    """
    k, n = len(reference.centres), min(window.n, 1000)

    def found_again(placed: np.ndarray) -> float:
        drawn = placed[rng.integers(0, len(placed), n)]
        return adjusted_rand(nearest(reference.centres, drawn)[0], clustered(drawn, k, 2, rng).labels_)

    now = np.array([found_again(window.sides.window) for _ in range(RESAMPLES)])
    was = np.array([found_again(reference.placed) for _ in range(RESAMPLES)])
    value, before = float(now.mean()), float(was.mean())
    bound = before - float(student.ppf(1 - level, RESAMPLES - 1)) * float(was.std(ddof=1)) * np.sqrt(1 + 1 / RESAMPLES)
    limit = float(min(bound, before - WORSE))
    low, high = (float(q) for q in np.quantile(now, [0.025, 0.975]))
    said = f"groups found anew on the window agree with the reference's by an adjusted Rand index of {value:.2f} ({low:.2f} to {high:.2f} over resamples), {before:.2f} on windows of the reference (1: the same, 0: as by chance)"
    return Finding(
        kind="grouping",
        subject="stability",
        value=value,
        low=low,
        high=high,
        reference=before,
        limit=limit,
        rows=window.n,
        alarm=value < limit,
        sentence=said,
    )


def _coherence(
    config: ModelConfig, reference: GroupReference, window: _Seen, level: float, rng: np.random.Generator
) -> Finding:
    """Share of the label's variance that the groups explain: bootstrap standard errors of both, a one-sided normal test, and a loss of :data:`INCOHERENT` of it."""
    k, label = (
        len(reference.centres),
        label_table(config, window.rows) if LABEL in window.rows else np.full((window.n, 1), np.nan),
    )
    known, known_was = np.isfinite(label).all(axis=1), np.isfinite(reference.label).all(axis=1)
    if min(known.sum(), known_was.sum()) < FEWEST:
        said = f"{int(known.sum())} rows of the window and {int(known_was.sum())} of the reference are labelled and {FEWEST} are needed, so nothing is concluded about the labels of groups"
        return Finding(
            kind="grouping", subject="label coherence", value=None, rows=int(known.sum()), alarm=False, sentence=said
        )
    now, was = (window.sides.own[known], label[known]), (window.sides.was[known_was], reference.label[known_was])
    value, before = (coherence(own, of, k) for own, of in (now, was))
    if not np.isfinite(value) or not np.isfinite(before):
        where = "window" if not np.isfinite(value) else "reference"
        return Finding(
            kind="grouping",
            subject="label coherence",
            value=None,
            rows=int(known.sum()),
            alarm=False,
            sentence=f"all labels of the {where} are the same, so there is nothing for groups to explain",
        )
    drawn = [
        np.array([coherence(own[i], of[i], k) for i in rng.integers(0, len(own), (LABEL_RESAMPLES, len(own)))])
        for own, of in (now, was)
    ]
    error = float(np.sqrt(np.nanvar(drawn[0]) + np.nanvar(drawn[1])))
    p_value = float(norm.cdf((value - before) / error)) if error > 0 else 1.0
    low, high = (float(q) for q in np.nanquantile(drawn[0], [0.025, 0.975]))
    limit = before * INCOHERENT
    said = f"the groups explain {value:.1%} of the label's variance, {before:.1%} in the reference"
    return Finding(
        kind="grouping",
        subject="label coherence",
        value=value,
        low=low,
        high=high,
        reference=before,
        limit=limit,
        rows=int(known.sum()),
        alarm=p_value <= level and value < limit,
        sentence=said,
    )


def _summary(reference: GroupReference, window: _Seen, found: list[Finding], told: list[Finding]) -> GroupSummary:
    of = {f.subject: f for f in found}
    alarms = [f for f in found if f.alarm]
    holds = not alarms
    sentence = (
        f"the {len(reference.groups)} groups of the reference hold in this window"
        if holds
        else f"the groups of the reference do not hold in this window: {'; '.join(_brief(f) for f in alarms)}"
    )
    if len(reference.groups) == 1 and holds:
        sentence = f"nothing happened to the one group that the reference forms: {reference.choice}"

    def pair(subject: str) -> tuple[float | None, float | None]:
        return of[subject].value, of[subject].reference

    return GroupSummary(
        sentence=sentence,
        holds=holds,
        groups=_groups_now(reference, window),
        events=tuple(f.sentence for f in told),
        **dict(
            zip(
                (
                    "stability",
                    "reference_stability",
                    "silhouette",
                    "reference_silhouette",
                    "coherence",
                    "reference_coherence",
                ),
                (*pair("stability"), *pair("silhouette"), *pair("label coherence")),
                strict=True,
            )
        ),
    )


def _brief(finding: Finding) -> str:
    """An event in its first clause, and of the rest that it changed."""
    if finding.subject.startswith(("new", "group")):
        return finding.sentence.split(":")[0]
    return f"{finding.subject} {finding.value:.2f}" + (
        "" if finding.reference is None else f" instead of {finding.reference:.2f}"
    )


def _groups_now(reference: GroupReference, window: _Seen) -> tuple[GroupNow, ...]:
    label = window.rows.get(LABEL)
    numbers = None if label is None else pd.to_numeric(label, errors="coerce").to_numpy(float)
    score = window.rows[SCORE].to_numpy(float)
    made = []
    for j, group in enumerate(reference.groups):
        inside, was = window.sides.own == j, window.sides.was == j
        made.append(
            GroupNow(
                name=group.name,
                rows=int(inside.sum()),
                share=float(inside.mean()),
                reference_share=float(was.mean()),
                label=None if numbers is None else _mean(numbers[inside]),
                reference_label=_mean(reference.label[was, 0]) if reference.label.shape[1] == 1 else None,
                score=_mean(score[inside]),
                reference_score=_mean(reference.score[was]),
            )
        )
    return tuple(made)


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _map(
    config: ModelConfig,
    reference: GroupReference,
    window: _Seen,
    found: tuple[Event, ...],
    number: int,
    rng: np.random.Generator,
) -> EmbeddingMap | None:
    """Half of the points from the reference and half from the window, on the reference's axes; what lies beyond them is drawn at their ends."""
    if reference.space is None or not len(reference.centres):
        return None
    low, high = reference.ends.T
    fresh = [(i, e) for i, e in enumerate(found) if e.kind == "new"]
    own = window.sides.own.copy()
    for place, (_, e) in enumerate(fresh):
        own[e.members] = len(reference.groups) + place
    before, now = (rng.permutation(n)[: POINTS // 2] for n in (len(reference.placed), window.n))
    old_label = _label_values(config, reference.label)
    new_label = _label_values(config, label_table(config, window.rows)) if LABEL in window.rows else [None] * window.n
    new_score = window.rows[SCORE].to_numpy(float)
    at, then = (np.clip(plane_of(p), low, high) for p in (window.sides.window, reference.placed))
    points = [_point(then[i], reference.score[i], old_label[i], int(window.sides.was[i]), "reference") for i in before]
    points += [_point(at[i], new_score[i], new_label[i], int(own[i]), number) for i in now]
    middles = [*plane_of(reference.centres), *(plane_of(window.sides.window[e.members]).mean(axis=0) for _, e in fresh)]
    names = [
        *((g.name, _short("; ".join(g.typical))) for g in reference.groups),
        *((f"N{i + 1}", "new in this window") for i, _ in fresh),
    ]
    target = config.data.target
    spread = reference.placed.var(axis=0)
    kinds = {
        "binary": ("probability", "outcome"),
        "multiclass": ("probability of the most probable class", "class"),
        "regression": ("predicted number", "number"),
    }[config.kind]
    return EmbeddingMap(
        model=config.name,
        source=reference.space.source[:300],
        explained=min(1.0, float(spread[:2].sum() / spread.sum())) if spread.sum() > 0 else 1.0,
        score_name=_short(f"probability of {target.positive}" if target.kind == "binary" else kinds[0]),
        label_name=_short(f"{target.positive}, or {target.negative}" if target.kind == "binary" else kinds[1]),
        x=(float(low[0]), float(high[0])),
        y=(float(low[1]), float(high[1])),
        groups=tuple(
            Centre(name=n, words=w, x=float(np.clip(c[0], low[0], high[0])), y=float(np.clip(c[1], low[1], high[1])))
            for (n, w), c in zip(names, middles, strict=True)
        ),
        points=tuple(points),
        note=f"{len(before)} of {len(reference.placed)} reference rows and {len(now)} of {window.asked} rows of the window",
    )


def _short(words: str) -> str:
    return words if len(words) <= 300 else words[:299] + "…"


def _label_values(config: ModelConfig, table: np.ndarray) -> list[float | str | None]:
    known = np.isfinite(table).all(axis=1)
    if config.kind == "multiclass":
        return [config.classes[int(row.argmax())] if k else None for row, k in zip(table, known, strict=True)]
    return [float(row[0]) if k else None for row, k in zip(table, known, strict=True)]


def _point(at: np.ndarray, score: float, label: float | str | None, group: int, window: int | str) -> MapPoint:
    place = {
        "x": round(float(at[0]), 4),
        "y": round(float(at[1]), 4),
        "score": float(score) if np.isfinite(score) else None,
        "label": label,
        "group": group,
        "window": window,
    }
    return MapPoint.model_validate(place)
