"""How a flow run can end: the names of its final state, which Prefect shows and the command line reads."""

from __future__ import annotations

from enum import StrEnum


class FinalState(StrEnum):
    """Names of final states; whether a run did what it was for is the state's type (``COMPLETED``), not its name."""

    PROMOTED = "Promoted"
    EXAMINED = "Examined"
    """Fit to serve, and not promoted, as asked."""
    AWAITING_SIGNATURE = "Awaiting signature"
    UNCHANGED = "Unchanged"
    """The candidate is the champion once more."""
    REJECTED = "Rejected"
    INSUFFICIENT_EVIDENCE = "Insufficient evidence"
    """Not promoted, and no mandatory gate failed outright."""
    OVERTAKEN = "Overtaken"
    ROLLED_BACK = "Rolled back"
    STOPPED = "Stopped"
    NOTHING_NEW = "Nothing new"
    NOTHING_TO_WATCH = "Nothing to watch"
