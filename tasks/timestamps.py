"""Task that has the ledger's newest entry timestamped by somebody else, where an authority is set (RFC 3161)."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.records.registry import timestamps
from tasks.spec.errors import AssayError
from tasks.spec.settings import Settings


def timestamp_ledger(at_most_daily: bool = False) -> None:
    """Ask for a token over the newest entry; nothing where no authority is set, or the entry has one.

    Args:
        at_most_daily: not where one was asked for within a day.
    """
    if timestamps.due(Settings(), timestamps.DAY if at_most_daily else 0.0):
        ask_for_timestamp(return_state=True)


@task(cache_policy=NO_CACHE, task_run_name="have the ledger timestamped")
def ask_for_timestamp() -> State:
    """Say what became of it. An authority that does not answer fails nothing: the next run asks again."""
    try:
        sentence = timestamps.timestamp(Settings())
    except AssayError as error:
        print(f"The ledger was not timestamped: {error}. The next run asks again.")
        return Completed(message=f"Not timestamped: {error}.", name="Not timestamped")
    print(f"Timestamped: {sentence}.")
    return Completed(message=f"{sentence}.", name="Timestamped")
