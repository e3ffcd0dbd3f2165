"""What a ledger costs as it grows: writing, asking, looking and checking, with all processes that they start."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.cli.overview import overview
from tasks.proof.verify import check, content_of, signer_of
from tasks.records.registry import index, ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.registry.verification import told, verified
from tasks.spec.ledger import EntryDraft, WindowDetails
from tasks.spec.settings import Settings
from tests.statistics.long_ledgers import SIGNED, long_ledger
from tests.statistics.studies import Study

SIZES = (100, 10_000, 100_000)
TIMES = 7
"""How often what is short is measured; the median is told."""


def cost(job: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of this process and of those that it started and waited for, and seconds on the clock."""
    begun, before = time.perf_counter(), _cpu()
    job()
    return _cpu() - before, time.perf_counter() - begun


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def median(job: Callable[[], Any]) -> tuple[float, float]:
    found = [cost(job) for _ in range(TIMES)]
    return statistics.median(cpu for cpu, _ in found), statistics.median(wall for _, wall in found)


def window(number: int) -> EntryDraft:
    return EntryDraft(
        kind="monitored",
        model="income",
        actor="schedule",
        reason="schedule",
        sentence=f"window {number}",
        evidence={"window": number, "at": time.time_ns()},
        details=WindowDetails(window=number, action="nothing"),
    )


def scheduled(settings: Settings, number: int) -> None:
    """What a schedule's run asks of the ledger: the champion, the entry of its window, and the page's sentences."""
    Registry(settings).champion("income")
    ledger.append(settings, window(number), once_after=state(settings).sequence)
    told(settings, "income")


def short(settings: Settings) -> dict[str, tuple[float, float]]:
    """CPU and seconds by what is asked every day."""
    overview(settings)
    return {
        "append": median(lambda: ledger.append(settings, window(1))),
        "champion": median(lambda: Registry(settings).champion("income")),
        "status": median(lambda: overview(settings)),
        "schedule's run": median(lambda: scheduled(settings, 2)),
    }


def windows_alone(count: int) -> dict[str, tuple[float, float]]:
    """The same where models are trained once, so that the ledger alone grows."""
    with tempfile.TemporaryDirectory() as folder:
        return short(long_ledger(Path(folder), count, trainings=False))


def with_trainings(count: int) -> dict[str, tuple[float, float]]:
    """The same where branches and tags grow, too; and what reads all."""
    with tempfile.TemporaryDirectory() as folder:
        settings = long_ledger(Path(folder), count)
        found = short(settings)
        origin, root = Path(settings.origin), state(settings).root
        signer_of.cache_clear()
        found["verify.py"] = cost(lambda: holds(check(origin, root).problems))
        newest = [e.stored() for e in ledger.entries(settings)[-count // SIGNED :]]
        signer_of.cache_clear()
        found["of it signatures, one after another"] = cost(
            lambda: [signer_of(content_of(e), e["signature"]["armor"], "assay-ledger") for e in newest]
        )
        signer_of.cache_clear()
        found["--verify --whole"] = cost(lambda: holds(verified(settings, whole=True).problems))
        found["--verify after one more entry"] = median(lambda: one_more(settings))
        (settings.home / "ledger-state.json").unlink()
        found["state, read anew"] = cost(lambda: state(settings))
        (settings.home / index.NAME).unlink()
        found["index, made anew"] = cost(lambda: told(settings))
    return found


def one_more(settings: Settings) -> None:
    """An append, and a verification that goes on from the one before."""
    ledger.append(settings, window(3))
    found = verified(settings)
    holds(found.problems)
    if found.before + 1 != found.found.entries:
        raise RuntimeError(f"{found.found.entries - found.before} entries were checked, and one was new")


def holds(problems: list[str]) -> None:
    if problems:
        raise RuntimeError(f"the ledger that is measured does not hold: {problems[:3]}")


def rows(measured: Callable[[int], dict[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    """What each question costs by length of the ledger."""
    sizes = {size: measured(size) for size in SIZES}
    found: list[dict[str, Any]] = []
    for question in sizes[SIZES[0]]:
        row: dict[str, Any] = {"what": question}
        for size in SIZES:
            cpu, wall = sizes[size][question]
            row |= {f"{size:,}: CPU s": cpu, f"{size:,}: s": wall}
        row["CPU of the last by the first"] = sizes[SIZES[-1]][question][0] / sizes[SIZES[0]][question][0]
        found.append(row)
    return found


STUDIES = (
    Study(
        "A longer ledger",
        "By entries: CPU seconds of all processes, and seconds on the clock of a machine of two cores. Four models are "
        "trained once, and windows with 3 kB of evidence follow. `status` is without the start of Python; a schedule's "
        f"run is what it asks of the ledger. Each is the median of {TIMES}.",
        lambda: rows(windows_alone),
    ),
    Study(
        "A longer ledger with more branches and tags",
        "Of 200 entries 196 are windows, 2 trainings, 1 a rejection and 1 a promotion. Each training has a branch "
        "until it is gathered with others of long ago (docs/ledger.md), and each promotion two tags: 1,050 references "
        "at 100,000 entries, after 1,000 trainings and 500 promotions. Who writes an entry, or asks for a champion, "
        "asks for no tags. 2 % of the entries came after the first list and are signed: 2,000 of 100,000. `--verify "
        "after one more entry` contains the append.",
        lambda: rows(with_trainings),
    ),
)
