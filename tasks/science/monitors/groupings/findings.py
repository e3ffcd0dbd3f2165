"""One window laid into the groups of the reference: what happened to them, and whether they still make sense."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.groupings.embedding_map import window_map
from tasks.science.monitors.groupings.event_findings import EventFinding, event_finding, quiet_findings
from tasks.science.monitors.groupings.events import Sides, events
from tasks.science.monitors.groupings.placed import FEWEST, PlacedWindow, mean_of_known
from tasks.science.monitors.groupings.reference import GroupReference
from tasks.science.monitors.groupings.validity import share_finding, validity_findings
from tasks.spec.evidence import Finding
from tasks.spec.groupings import EmbeddingMap, GroupNow, GroupSummary
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

TESTS = 8
"""Among which ``alpha`` is shared in equal parts (Bonferroni): four kinds of events, shares, silhouette, stability,
label coherence."""
ROWS = 5000
"""Rows of a window that are looked at most, drawn at random."""


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

    Where nothing changed, any alarm at all has at most the chance ``alpha``, shared in equal parts among :data:`TESTS`
    tests. Four are the kinds of events (:mod:`tasks.science.monitors.groupings.events`). One is of the shares of the
    groups: chi-squared, with an effect floor of ``monitoring.drift_distance``. Three ask whether the groups hold:
    silhouette, stability and label coherence.

    Args:
        embedded_window: (n, d) from :func:`tasks.science.models.embeddings.embed` with ``reference.space``.
        rows: (n, columns) raw inputs, ``_score`` and ``_label`` of the same rows.
        number: of the window, for the map.

    Returns:
        Findings of kind ``grouping``; the summary; the map, None where there is no space to draw.

    Raises:
        ValueError: the embedded rows are not as many as the rows.
    """
    if len(embedded_window) != len(rows):
        raise ValueError(
            f"{plural(len(embedded_window), 'embedded row')} and {plural(len(rows), 'row')} were given; they "
            "must be the same rows"
        )
    if reference.reason:
        return _inconclusive(reference.reason, len(rows), None)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(rows))[:ROWS])
    good = chosen[np.isfinite(embedded_window[chosen]).all(axis=1)]
    window = PlacedWindow(
        Sides.of(reference, embedded_window[good]), rows.iloc[good], len(rows), len(chosen) - len(good)
    )
    if window.n < FEWEST:
        without = (
            f", {window.unplaced} of them without finite numbers in {reference.space.source if reference.space else ''}"
            if window.unplaced
            else ""
        )
        return _inconclusive(
            (
                f"the window has {plural(len(rows), 'row')}{without} and {FEWEST} are needed, so nothing is "
                "concluded about "
                "its groups"
            ),
            len(rows),
            window_map(config, reference, window, (), number, rng),
        )
    level = alpha / TESTS
    seen = events(window.sides, level, rng)
    happened = [event_finding(config, reference, window, e, i) for i, e in enumerate(seen.events)]
    found = [
        *(e.finding for e in happened),
        *quiet_findings(window, seen),
        share_finding(config, reference, window, level),
        *validity_findings(config, reference, window, level, rng),
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
                sentence=(
                    f"{window.unplaced} of {plural(len(chosen), 'row')} ({share:.1%}) have no finite numbers in "
                    "the embedding "
                    "and belong to no group"
                ),
            )
        )
    summary = _summary(reference, window, found, happened)
    return found, summary, window_map(config, reference, window, seen.events, number, rng)


def _inconclusive(
    reason: str, rows: int, drawn: EmbeddingMap | None
) -> tuple[list[Finding], GroupSummary, EmbeddingMap | None]:
    finding = Finding(kind="grouping", subject="groups", value=None, rows=rows, alarm=False, sentence=reason)
    return [finding], GroupSummary(sentence=reason, holds=None), drawn


def _summary(
    reference: GroupReference, window: PlacedWindow, found: list[Finding], happened: list[EventFinding]
) -> GroupSummary:
    of = {f.subject: f for f in found}
    alarms = [f for f in found if f.alarm]
    headlines = {e.finding.subject: e.headline for e in happened}
    holds = not alarms
    sentence = (
        f"the {plural(len(reference.groups), 'group')} of the reference hold in this window"
        if holds
        else "the groups of the reference do not hold in this window: "
        f"{'; '.join(headlines.get(f.subject) or _brief(f) for f in alarms)}"
    )
    if len(reference.groups) == 1 and holds:
        sentence = f"nothing happened to the one group that the reference forms: {reference.choice}"

    def pair(subject: str) -> tuple[float | None, float | None]:
        return of[subject].value, of[subject].reference

    return GroupSummary(
        sentence=sentence,
        holds=holds,
        groups=_groups_now(reference, window),
        events=tuple(e.finding.sentence for e in happened),
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
    """What changed, with its value of before."""
    return f"{finding.subject} {finding.value:.2f}" + (
        "" if finding.reference is None else f" instead of {finding.reference:.2f}"
    )


def _groups_now(reference: GroupReference, window: PlacedWindow) -> tuple[GroupNow, ...]:
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
                label=None if numbers is None else mean_of_known(numbers[inside]),
                reference_label=mean_of_known(reference.label[was, 0]) if reference.label.shape[1] == 1 else None,
                score=mean_of_known(score[inside]),
                reference_score=mean_of_known(reference.score[was]),
            )
        )
    return tuple(made)
