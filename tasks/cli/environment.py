"""The environment that the parts of a system run in: ours alone, whatever else its user has set up."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping

from tasks.cli.processes import HOME, MARK
from tasks.cli.state import System
from tasks.spec.settings import Settings

QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
PATIENT = {"GOMP_SPINCOUNT": "1000"}
"""GNU OpenMP's threads wait for each other awake for microseconds and then asleep, unless the environment says
otherwise. By default they stay awake for long and take the cores that the others need: on a busy machine boosted trees
take many times as long. Asleep at once (OMP_WAIT_POLICY=PASSIVE), they take many times as long on a quiet one."""
LOCAL = ("127.0.0.1", "localhost")
SWITCHES = ("PREFECT_LOGGING_", "PREFECT_SERVER_SERVICES_")
"""What a user may set of Prefect: how much it logs, and which of the server's services run."""
SOCKS = ("socks4", "socks5")


def for_parts(settings: Settings, system: System, mark: str) -> dict[str, str]:
    """The environment of server, worker, service, and of the flows that the worker starts."""
    return {
        **PATIENT,
        **without_proxy_to_here(_kept(os.environ)),
        **QUIET,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_PROFILES_PATH": str(settings.home / "prefect/profiles.toml"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.sqlite("prefect/prefect.db", "sqlite+aiosqlite"),
        "PREFECT_API_URL": system.api_url,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "true",
        MARK: mark,
        HOME: str(settings.home),
        "ASSAY_ORIGIN": settings.origin_url,
        "ASSAY_BRANCH": settings.branch,
        "ASSAY_LOG_URL": settings.log_database,
        "ASSAY_SERVICE_URL": system.service_url,
        "ASSAY_ISOLATION": settings.isolation,
        "ASSAY_ACCESS": settings.access,
        "ASSAY_TIMESTAMP_URL": settings.timestamp_url,
        "ASSAY_TIMESTAMP_CA": str(settings.timestamp_ca or ""),
    }


def without_proxy_to_here(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment whose proxies are for other machines only.

    Prefect's client asks the proxy for 127.0.0.1 too, and fails at once over a SOCKS proxy that it cannot speak to.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not (name.lower().endswith("_proxy") and value.lower().startswith(SOCKS) and not _speaks_socks())
    }
    told = [part.strip() for name in ("no_proxy", "NO_PROXY") for part in kept.get(name, "").split(",")]
    exempt = ",".join(dict.fromkeys([*filter(None, told), *LOCAL]))
    return kept | {"no_proxy": exempt, "NO_PROXY": exempt}


def _kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would point a part at another Prefect: addresses, databases, passwords, profiles."""
    return {
        name: value
        for name, value in environment.items()
        if name != "PYTHONDONTWRITEBYTECODE" and (not name.startswith("PREFECT_") or name.startswith(SWITCHES))
    }


def _speaks_socks() -> bool:
    return importlib.util.find_spec("socksio") is not None
