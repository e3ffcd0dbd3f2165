"""What runs from a home, read from what its start has written; nothing is started or stopped here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from tasks.cli.processes import Processes
from tasks.spec.errors import AssayError
from tasks.spec.settings import ROOT, Settings

PARTS = ("service", "keeper", "worker", "server")
PATIENCE = 120.0


@dataclass(frozen=True)
class System:
    api_url: str
    service_url: str
    origin: str
    code: str = str(ROOT)
    """The checkout whose code runs."""
    root: str = ""
    """Fingerprint of the ledger's first list."""


def recorded(settings: Settings) -> System | None:
    """The system that was started from this home and not stopped, whether it still runs or not."""
    try:
        return System(**json.loads((settings.home / "run/system.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def state(settings: Settings) -> System | None:
    """The system that runs from this home, or None; what listens at its addresses are its own processes."""
    processes, system = Processes(settings.home), recorded(settings)
    there = (
        system is not None
        and processes.alive("worker") is not None
        and all(processes.answers_at(part, url) for part, url in addresses(system).items())
    )
    return system if there else None


def addresses(system: System) -> dict[str, str]:
    """Where the parts answer that listen."""
    return {"server": system.api_url, "service": system.service_url}


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One command at a time starts or stops the system of a home."""
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / "system.lock", timeout=2 * PATIENCE):
            yield
    except Timeout:
        raise AssayError(
            f"another command has been starting or stopping the system of {settings.home} for {2 * PATIENCE:.0f} s. "
            "Wait for its end, or end it, and try again."
        ) from None
