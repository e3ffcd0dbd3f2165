"""What came in through a door of Assay, shown by the seal of a key that this home alone has.

Prefect's server knows one login, and whoever has it may write any name into a form. A request of the command line, of a
push or of a decision carries a seal (HMAC-SHA-256, RFC 2104). It is over what is asked and the key under which that
starts once, so that nobody can put it on another request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.spec.base import canonical_json

LABEL = "assay.door"
"""The label of a flow run that holds its seal."""


def door(home: Path) -> bytes:
    """The key of a home's doors, made at the first time, readable by its owner alone."""
    path = home / "keys/door"
    if not path.exists():
        keep(path, secrets.token_hex(32))
    return path.read_text().strip().encode()


def keep(path: Path, secret: str) -> None:
    """Write a secret where there is none yet, for its owner alone; of two that come at once, the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(f"{secret}\n")
    with suppress(FileExistsError):
        os.link(name, path)
    os.unlink(name)


def seal(home: Path, flow: str, request: Mapping[str, Any], key: str) -> str:
    """The seal of one request to a flow, under its idempotency key."""
    said = canonical_json({"flow": flow, "request": request, "key": key})
    return hmac.new(door(home), said, hashlib.sha256).hexdigest()


def holds(given: object, home: Path, flow: str, request: Mapping[str, Any], key: str) -> bool:
    """Whether a seal is that of a request."""
    return hmac.compare_digest(str(given).encode(), seal(home, flow, request, key).encode())
