"""Which role opens which route. What is not listed here is not there: the door answers 404 before anything else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tasks.serving.keys import Role

Needs = Role | Literal["nothing", "any"]
"""``nothing``: no key, such as for a probe. ``any``: whoever is known."""


LONGEST = 300
"""Characters of a path: the longest is that of a report."""
DOTS = frozenset({".", ".."})


@dataclass(frozen=True)
class Permit:
    method: str
    path: str
    """As the application declares it."""
    needs: Needs
    overall: bool = False
    """It tells of all models, so a key that is for some of them does not open it."""


PERMITS = (
    Permit("POST", "/models/{name}/predict", "predict"),
    Permit("POST", "/models/{name}/outcomes", "outcomes"),
    Permit("POST", "/models/{name}/overrides", "review"),
    Permit("POST", "/models/{name}/appeals", "review"),
    Permit("POST", "/models/{name}/reviews", "review"),
    Permit("GET", "/models", "read"),
    Permit("GET", "/models/{name}", "read"),
    Permit("GET", "/health/live", "nothing"),
    Permit("GET", "/health/ready", "nothing"),
    Permit("GET", "/health", "read", overall=True),
    Permit("GET", "/metrics", "read", overall=True),
    Permit("GET", "/openapi.json", "read", overall=True),
    Permit("GET", "/", "read"),
    Permit("GET", "/reports/{name}/{page}", "read"),
    Permit("GET", "/reports/{page}", "read", overall=True),
    Permit("GET", "/reports/", "read", overall=True),
    Permit("GET", "/reports", "read", overall=True),
    Permit("GET", "/login", "nothing"),
    Permit("POST", "/login", "nothing"),
    Permit("GET", "/login/once", "nothing"),
    Permit("POST", "/links", "operate"),
    Permit("POST", "/logout", "any"),
)


def _pattern(path: str) -> re.Pattern[str]:
    parts = (f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in path.split("/"))
    return re.compile("/".join(parts))


_PATTERNS = tuple((permit, _pattern(permit.path)) for permit in PERMITS)


def permits_of(path: str) -> tuple[dict[str, Permit], str | None]:
    """What opens a path, by method, and the model that the path names; nothing where no route is listed.

    Args:
        path: of a request, decoded.
    """
    return _permits(path) if len(path) <= LONGEST else ({}, None)  # what strangers send fills no memory


@lru_cache(1024)
def _permits(path: str) -> tuple[dict[str, Permit], str | None]:
    found: dict[str, Permit] = {}
    model: str | None = None
    if not DOTS.isdisjoint(path.split("/")):  # what serves files would go up there, past the model that the path names
        return found, model
    for permit, pattern in _PATTERNS:
        fits = pattern.fullmatch(path)
        if fits and permit.method not in found:
            found[permit.method] = permit
            model = fits.groupdict().get("name")
    if "GET" in found:
        found["HEAD"] = found["GET"]
    return found, model
