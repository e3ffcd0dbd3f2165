"""What the findings on the feed share: their form, times and spans in words."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.spec.evidence import Finding

CLOCK_SECONDS = 60.0
"""Difference between the clocks of several services that is nothing unusual."""


def feed_finding(
    subject: str, value: float | None, rows: int, alarm: bool, sentence: str, **more: float | None
) -> Finding:
    return Finding(kind="feed", subject=subject, value=value, rows=rows, alarm=alarm, sentence=sentence, **more)


def parsed_time(text: str | None) -> datetime | None:
    try:
        return None if text is None else in_utc(datetime.fromisoformat(text))
    except ValueError:
        return None


def in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def span(seconds: float) -> str:
    """A length of time as a person would say it."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} seconds"
