"""How this home's own parts log in to its Prefect server, and the client that tells nobody else."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path

from tasks.cli.prefect_api import PrefectApi
from tasks.cli.processes import Processes
from tasks.signing import doors
from tasks.spec.settings import Settings

NAME = "assay"
"""Who logs in: Prefect's own server knows one login, so whoever has it is nobody in particular."""


def login_file(settings: Settings) -> Path:
    """Where the login stands that the server asks for, as ``name:password``, readable by the owner of the home."""
    return settings.home / "keys/prefect"


def login(settings: Settings) -> str:
    """The login of this home's Prefect server, made at the first time."""
    path = login_file(settings)
    if not path.exists():
        doors.keep(path, f"{NAME}:{secrets.token_urlsafe(32)}")
    return path.read_text().strip()


def own_server(settings: Settings, url: str) -> PrefectApi:
    """A client of this home's own server: what listens there is asked who it is before it is told the login."""
    processes = Processes(settings.home)
    listens = partial(processes.answers_at, "server", url)
    return PrefectApi(url, login(settings), listens, partial(doors.seal, settings.home))


def of_server(settings: Settings) -> dict[str, str]:
    """What the server's environment holds beside that of the other parts."""
    return {"PREFECT_SERVER_API_AUTH_STRING": login(settings), **of_client(settings)}


def of_client(settings: Settings) -> dict[str, str]:
    """What the environment of a client of Prefect holds: the worker, its flows, and the command that deploys."""
    return {"PREFECT_API_AUTH_STRING": login(settings)}
