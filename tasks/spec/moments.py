"""Dates and times of day as numbers, and as the texts that files and requests hold.

A date is the number of days since 1970-01-01; a moment is the number of seconds since 1970-01-01T00:00Z, to the
microsecond. The calendar is the proleptic Gregorian one of ISO 8601, years 1 to 9999; leap seconds do not exist.

A moment without an offset is local time of its column's zone. The hour that is repeated when clocks go back means its
first pass, as PEP 495 has it for ``fold=0``. What the clocks skip never was, and is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FIRST = date(1970, 1, 1)
BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?) ?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?",
)


@lru_cache(maxsize=64)
def zone_named(name: str) -> tzinfo:
    """A time zone by its IANA name.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone; allowed are names such as UTC or Europe/Berlin") from None


def day(value: object, layout: str | None = None) -> float:
    """Days since 1970-01-01 of a date: ISO text, text in a declared layout, or a date of Python or pandas.

    Args:
        layout: directives of ``strptime`` that the text follows instead of ISO 8601.

    Raises:
        ValueError: it is no date, or it has a time of day.
    """
    if isinstance(value, datetime):
        if value.time() != time():
            raise ValueError(f"{value} has a time of day")
        value = value.date()
    if isinstance(value, date):
        return float((value - FIRST).days)
    text = _text(value, layout)
    if layout is None and not DATE.fullmatch(text):
        raise ValueError(f"{text} is no ISO date")
    return day(datetime.strptime(text, layout) if layout else date.fromisoformat(text))


def moment(value: object, zone: str = "UTC", layout: str | None = None) -> float:
    """Seconds since 1970 of a moment: ISO text, text in a declared layout, or a time of Python or pandas.

    A date alone is its midnight. What is finer than a microsecond is cut off.

    Args:
        zone: IANA name of the zone in which a moment without an offset is.
        layout: directives of ``strptime`` that the text follows instead of ISO 8601.

    Raises:
        ValueError: it is no moment, or local clocks skipped it.
    """
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        value = _read(_text(value, layout), layout)
    value = value.replace(microsecond=value.microsecond)  # of pandas' nanoseconds the whole microseconds
    try:
        instant = _placed(value, zone_named(zone)) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value} is beyond the years 1 to 9999 in UTC") from None
    return (instant - BEGIN).total_seconds()


def layout_fault(layout: str) -> str:
    """Why a layout cannot tell a date: a moment that is written in it comes back as another; empty where it can."""
    probe = datetime(2023, 11, 14, 15, tzinfo=UTC)
    try:
        found = datetime.strptime(probe.strftime(layout), layout)
    except ValueError as error:
        return f"which strptime cannot read ({error}); write directives such as %d.%m.%Y"
    if found.day == probe.day and found.month != probe.month:
        return "which has a day and no month; add %m"
    return "which has an hour of 12 and neither %p nor %H; write %H, or add %p" if found.hour == 3 else ""


def _text(value: object, layout: str | None) -> str:
    if isinstance(value, str):
        return value.strip()
    if layout is not None and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # 20240301 in a typed file
    raise ValueError(f"{value!r} is no text")


def _read(text: str, layout: str | None) -> datetime:
    if layout is not None:
        return datetime.strptime(text, layout)
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no ISO moment")
    return datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}{found[3] or ''}")


def _placed(local: datetime, zone: tzinfo) -> datetime:
    instant = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None, fold=0) != local.replace(fold=0):
        raise ValueError(f"{local} does not exist in {zone}: clocks skipped it")
    return instant


def day_text(days: float) -> str:
    """The nearest date, as ISO text."""
    return (FIRST + timedelta(days=min(max(round(days), LEAST_DAY), MOST_DAY))).isoformat()


def moment_text(seconds: float) -> str:
    """A moment as ISO text in UTC, with its offset."""
    within = min(max(seconds, LEAST_DAY * 86400.0), (MOST_DAY + 1) * 86400.0 - 1)
    return (BEGIN + timedelta(seconds=within)).isoformat()


LEAST_DAY, MOST_DAY = (date.min - FIRST).days, (date.max - FIRST).days
