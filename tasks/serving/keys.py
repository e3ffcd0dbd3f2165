"""Keys of programs: who may do what, kept as hashes in one file, and read anew whenever that file changed.

A key reads ``assay_<public id>_<secret>``. The secret has 256 random bits, so one SHA-256 of it is enough: there is no
dictionary to try. The public id names the key in the log, in messages and in ``assay keys list``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.spec.errors import ConfigError
from tasks.spec.formats import ACCESS_KEYS, refuse_other_format
from tasks.spec.line import Line

Role = Literal["predict", "outcomes", "review", "read", "operate"]
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "assay_"
IN_TEXT = re.compile(f"{PREFIX}[0-9a-f]{{12}}_")
"""How a key begins, wherever it stands."""
FILE, FOLDER_MODE, FILE_MODE = "keys.json", 0o700, 0o600
DAYS, MOST_DAYS = 90, 3650
USED, USED_SECONDS = "used", 60.0
"""Folder of empty files, one a key, whose date is that of its last use; seconds that the date may be behind."""
LOOK_SECONDS = 0.5
"""Between two looks at the file, so a revoked key is refused within this time."""
MAKE = "assay keys add NAME --role {role}"
"""The command that makes a key; every refusal names it."""


UNREADABLE = "the list of keys cannot be read, so nobody is known; 'assay keys list' says why"
log = logging.getLogger("assay.serving")


class Key(BaseModel):
    """What is known of one key; the secret is not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[0-9a-f]{12}$")
    name: Line = Field(min_length=1, max_length=80)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the whole key as it was shown."""
    roles: tuple[Role, ...] = Field(min_length=1)
    models: tuple[str, ...] | None = None
    """Those that it is for; None: all, also those to come."""
    made: str
    expires: str
    """ISO 8601, UTC."""
    revoked: str | None = None
    stolen: str | None = None
    """The moment from which what came with it is not believed: outcomes do not teach. ISO 8601, UTC."""
    requests: float | None = Field(None, gt=0)
    """A second at most; None: what the service's setting says."""
    rows: float | None = Field(None, gt=0)

    def state(self, now: float | None = None) -> str:
        """``holds``, ``revoked`` or ``expired``."""
        if self.revoked:
            return "revoked"
        gone = datetime.fromisoformat(self.expires).timestamp() <= (time.time() if now is None else now)
        return "expired" if gone else "holds"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def public_id(token: str) -> str:
    """The public id that a key claims to have; empty where it is no key."""
    head, _, rest = token.partition("_")
    claimed, _, secret = rest.partition("_")
    return claimed if f"{head}_" == PREFIX and secret else ""


class KeyFile:
    """The file as commands change it: under a lock, and whole at every moment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE

    def keys(self) -> dict[str, Key]:
        """All keys by public id, the oldest first.

        Raises:
            ConfigError: the file is no list of keys, or a newer release wrote it.
        """
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read ({error.strerror}), so no key is known.") from None
        try:
            document = json.loads(text)
            refuse_other_format(document, ACCESS_KEYS, "Use the release that wrote it.")
            found = [Key.model_validate_json(json.dumps(key)) for key in document["keys"]]
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise ConfigError(
                f"{self.path} is no list of keys ({str(error).splitlines()[0]}), so no key is known. Bring it back "
                "from a backup, or remove it and make new keys: " + MAKE.format(role="predict")
            ) from None
        return {key.id: key for key in found}

    def add(
        self,
        name: str,
        roles: Sequence[str],
        models: Sequence[str] = (),
        days: float = DAYS,
        requests: float | None = None,
        rows: float | None = None,
    ) -> tuple[str, Key]:
        """Make a key; gives it as it is shown once, and what is kept of it.

        Raises:
            ConfigError: a role, model name or number is not allowed.
        """
        wrong = [role for role in roles if role not in ROLES]
        if wrong or not roles:
            said = f"{wrong[0]!r} is no role" if wrong else "a key needs at least one role"
            raise ConfigError(f"{said}; allowed: {', '.join(ROLES)}. Give one or several: --role predict --role read")
        if not 0 < days <= MOST_DAYS:
            raise ConfigError(f"a key holds for more than 0 and at most {MOST_DAYS:,} days; --days was {days:g}.")
        public, now = secrets.token_hex(6), datetime.now(UTC)
        token = f"{PREFIX}{public}_{secrets.token_urlsafe(32)}"
        try:
            key = Key(
                id=public,
                name=name,
                sha256=_digest(token),
                roles=tuple(role for role in ROLES if role in roles),
                models=tuple(sorted(set(models))) or None,
                made=now.isoformat(timespec="seconds"),
                expires=(now + timedelta(days=days)).isoformat(timespec="seconds"),
                requests=requests,
                rows=rows,
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}.") from None
        with self._changed() as keys:
            keys[key.id] = key
        return token, key

    def revoke(self, public: str, stolen: str | None = None) -> Key:
        """End a key; services refuse it within a second. Revoking again changes nothing but an earlier ``stolen``.

        Args:
            stolen: the moment from which its outcomes teach no more (ISO 8601; UTC without a zone).

        Raises:
            ConfigError: no key has this id, or the moment is none.
        """
        since = _moment(stolen) if stolen is not None else None
        with self._changed() as keys:
            if public not in keys:
                raise ConfigError(f"no key has the id {public!r}; ids stand in the first column of: assay keys list")
            if keys[public].revoked is None:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                keys[public] = keys[public].model_copy(update={"revoked": now})
            if since is not None and since < (keys[public].stolen or "9999"):
                keys[public] = keys[public].model_copy(update={"stolen": since})
            return keys[public]

    def last_used(self, public: str) -> str | None:
        """When a key was last sent and held, give or take a minute; None where nobody knows of it."""
        try:
            moment = (self.folder / USED / public).stat().st_mtime
        except OSError:
            return None
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")

    @contextmanager
    def _changed(self) -> Iterator[dict[str, Key]]:
        private_folder(self.folder)
        with FileLock(self.folder / f"{FILE}.lock", timeout=30):
            keys = self.keys()
            yield keys
            document = {
                "format": ACCESS_KEYS.number,
                "keys": [k.model_dump(mode="json", exclude_none=True) for k in keys.values()],
            }
            write_private(self.path, json.dumps(document, indent=1) + "\n")


def _moment(text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no moment; write one such as 2026-11-29T14:00 (UTC), or with its zone."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="milliseconds")


class Keys:
    """The file as a service reads it: looked at anew, one dictionary in between."""

    def __init__(self, folder: Path) -> None:
        self.file = KeyFile(folder)
        self.problem = ""
        """Why no key is known, where the file cannot be read."""
        self._known: dict[str, Key] = {}
        self._stamp: tuple[int, ...] | None = (-1,)
        self._looked, self._lock = 0.0, threading.Lock()
        self._told: dict[str, float] = {}

    def used(self, key: Key) -> None:
        """Note that a key was sent; once a minute that is written, by one of the processes that see it."""
        now = time.monotonic()
        if now - self._told.get(key.id, -USED_SECONDS) < USED_SECONDS:
            return
        self._told[key.id] = now
        path = self.file.folder / USED / key.id
        with suppress(OSError):  # nobody is refused for that
            if not path.exists() or time.time() - path.stat().st_mtime >= USED_SECONDS:
                private_folder(path.parent)
                path.touch(mode=FILE_MODE)

    def of(self, token: str) -> Key | None:
        """The key, where its secret is the right one; whether it still holds is for :meth:`Key.state`."""
        key = self.by_id(public_id(token))
        right = hmac.compare_digest(_digest(token), key.sha256 if key else "0" * 64)
        return key if key is not None and right else None

    def by_id(self, public: str) -> Key | None:
        self._look()
        return self._known.get(public)

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        with self._lock:
            stamp = self._stamped()
            if stamp != self._stamp:
                try:
                    self._known, self.problem = self.file.keys(), ""
                except ConfigError as error:  # a list that cannot be read opens nothing
                    self._known, self.problem = {}, UNREADABLE
                    log.error("%s", error)  # not for strangers: it names a file
                self._stamp = stamp
            self._looked = time.monotonic()

    def _stamped(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.file.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def private_folder(folder: Path) -> None:
    """A folder that its owner alone may enter; one that is there is closed to others."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, and that is whole under its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(number, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
