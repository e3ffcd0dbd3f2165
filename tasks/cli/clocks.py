"""Whether this machine's clock stands before what its own system has written: a clock was set.

Nothing that holds is decided by a clock: entries have their chain, predictions their positions, windows their numbers.
What waits for a time, such as a schedule, an expiry or a deletion by age, follows the clock, and so a person is told.
"""

from __future__ import annotations

from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tasks.records.log.database import Database
from tasks.records.registry.state import state as state_of
from tasks.science.monitors.feed.common import parsed_time, span
from tasks.spec.errors import AssayError
from tasks.spec.settings import Settings

AHEAD = timedelta(minutes=5)
"""How far clocks of several machines may be apart."""
MEND = "set this machine's clock; where it is right, nothing: the next entry and the next prediction end this"


def set_back(settings: Settings) -> Path:
    """Where the keeper says that the clock was set back under the system that runs."""
    return settings.home / "run/clock.txt"


def clock_problems(settings: Settings) -> list[str]:
    """What is dated after now, a sentence each: the ledger's newest entry, and the log's newest prediction.

    A ledger or a log that cannot be asked says nothing here: what is wrong with it is another part's answer.
    """
    now = datetime.now(UTC)
    asked = {"the ledger's newest entry": _entry(settings), "the log's newest prediction": _prediction(settings)}
    return [
        f"{what} is of {text}, {span(by.total_seconds())} after now, {now:%Y-%m-%dT%H:%M:%SZ}: a clock was set"
        for what, text in asked.items()
        if (by := _ahead(text, now)) > AHEAD
    ]


def _ahead(text: str | None, now: datetime) -> timedelta:
    moment = parsed_time(text)
    return timedelta() if moment is None else moment - now


def _entry(settings: Settings) -> str | None:
    with suppress(AssayError):
        return state_of(settings).newest if settings.has_origin else None
    return None


def _prediction(settings: Settings) -> str | None:
    if not settings.has_log:
        return None
    with (
        suppress(AssayError, sa.exc.SQLAlchemyError),
        closing(Database(settings.log_database)) as database,
        database.engine.connect() as connection,
    ):
        return connection.execute(sa.text("SELECT time FROM predictions ORDER BY seq DESC LIMIT 1")).scalar()
    return None
