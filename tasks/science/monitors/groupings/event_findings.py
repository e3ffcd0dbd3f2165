"""What happened to the groups of the reference in a window, as findings in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.science.monitors.groupings.events import Event, EventKind, WindowEvents, about
from tasks.science.monitors.groupings.placed import PlacedWindow
from tasks.science.monitors.groupings.reference import GroupReference
from tasks.science.monitors.groupings.words import apart
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig

KINDS: tuple[EventKind, ...] = ("new", "merged", "split", "vanished")
NOTHING: dict[EventKind, str] = {
    "new": "no place is dense in the window and next to empty in the reference",
    "merged": "no two groups that were apart have left their places and meet between them",
    "split": "no group has a gap that the reference has not",
    "vanished": "every group still has rows",
}


@dataclass(frozen=True)
class EventFinding:
    """An event that happened to groups."""

    finding: Finding
    headline: str
    """What happened, without how it shows; the sentence of the finding begins with it."""


def _event_name(reference: GroupReference, event: Event, position: int) -> str:
    names = [reference.groups[j].name for j in event.groups]
    return {
        "new": f"new group N{position + 1}",
        "merged": f"groups {' and '.join(names)}",
        "split": f"group {names[0]}",
        "vanished": f"group {names[0]}",
    }[event.kind]


def event_finding(
    config: ModelConfig, reference: GroupReference, window: PlacedWindow, event: Event, position: int
) -> EventFinding:
    """What happened, where, to how many rows, and what sets them apart.

    Args:
        position: of the event among those of the window, which names a new group.
    """
    names = [reference.groups[j].name for j in event.groups]
    inside, outside = window.rows[event.members], window.rows[~event.members]
    size = f"{int(event.members.sum())} of {window.n} rows ({event.members.mean():.1%})"
    if event.kind == "new":
        words = "; ".join(apart(config, inside, outside))
        headline = f"a new group, N{position + 1}"
        rest = (
            f"{size} lie close together where the reference has {event.reference_share:.1%}, nearest to group "
            f"{names[0]}"
            f"{_moved(window, event)}. What sets it apart: {words}"
        )
    elif event.kind == "merged":
        words = " / ".join(_typical(reference, j) for j in event.groups)
        left = " and ".join(f"{now:.1%} ({was:.1%})" for now, was in (_about(window, j) for j in event.groups))
        headline = f"groups {names[0]} and {names[1]} have merged"
        rest = (
            f"{size} lie between their old places, {event.reference_share:.1%} in the reference; about these lie "
            f"{left}. "
            f"They were: {words}. Now: {'; '.join(apart(config, inside, outside))}"
        )
    elif event.kind == "split" and event.parts is not None:
        smaller = event.parts.sum() / event.members.sum()
        words = "; ".join(apart(config, window.rows[event.parts], window.rows[event.members & ~event.parts]))
        headline = f"group {names[0]} ({size}) has split into parts of {1 - smaller:.0%} and {smaller:.0%}"
        rest = (
            f"{event.share:.0%} of it lie in between, {event.reference_share:.0%} in the reference. "
            f"What sets the smaller part apart from the other: {words}"
        )
    else:
        now = (window.sides.own == event.groups[0]).mean()
        headline = f"group {names[0]} has vanished"
        rest = (
            f"{event.share:.1%} of the rows lie near its centre, {event.reference_share:.1%} in the reference "
            f"({now:.1%} are nearest to it). Its rows were: {_typical(reference, event.groups[0])}"
            f"{_taken(reference, window, event.groups[0])}"
        )
    finding = Finding(
        kind="grouping",
        subject=_event_name(reference, event, position),
        value=event.share,
        reference=event.reference_share,
        rows=window.n,
        alarm=True,
        sentence=f"{headline}: {rest}",
    )
    return EventFinding(finding, headline)


def _typical(reference: GroupReference, j: int) -> str:
    return "; ".join(reference.groups[j].typical)


def _moved(window: PlacedWindow, event: Event) -> str:
    """Whether the group nearest to a new one lost as many rows about its centre as the new one has."""
    now, was = _about(window, event.groups[0])
    name = window.sides.reference.groups[event.groups[0]].name
    return (
        (
            f", which lost as much about its centre ({now:.1%} of the rows, {was:.1%} in the reference): {name} or a "
            "part of it has moved there"
        )
        if was - now > 0.5 * event.share
        else ""
    )


def _about(window: PlacedWindow, j: int) -> tuple[float, float]:
    """Shares of the window's and of the reference's rows that lie about a group's centre."""
    now, was = about(window.sides, j)
    return float(now.mean()), float(was.mean())


def _taken(reference: GroupReference, window: PlacedWindow, gone: int) -> str:
    """Which group grew by most of what another lost."""
    k = len(reference.centres)
    gain = (np.bincount(window.sides.own, minlength=k) / window.n) - np.array([g.share for g in reference.groups])
    most = int(gain.argmax())
    return (
        f". Group {reference.groups[most].name} grew by {gain[most]:.1%} of the rows meanwhile"
        if most != gone and gain[most] > 0.5 * reference.groups[gone].share
        else ""
    )


def quiet_findings(window: PlacedWindow, seen: WindowEvents) -> list[Finding]:
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
