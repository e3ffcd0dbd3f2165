"""Sessions of browsers: a signed cookie that names a key, links that log in once, and forms that were ours.

itsdangerous signs; the secret is a file of the home that its owner alone reads, so every worker knows it. What ended
and what a link is good for are files, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import cookie_parser
from starlette.types import Scope

from tasks.serving.keys import FILE_MODE, private_folder

SECRET, LINKS, ENDED = "session.secret", "links", "ended"
SESSION_SECONDS, FORM_SECONDS, LINK_SECONDS = 12 * 3600, 1800, 900


@dataclass(frozen=True)
class Session:
    id: str
    key: str
    """Public id of the key that logged in; the session ends with it."""


class Sessions:
    """What signs and knows sessions of one home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("", LINKS, ENDED):
            private_folder(folder / name)
        secret = _secret(folder / SECRET)
        self._session = URLSafeTimedSerializer(secret, salt="session")
        self._form = URLSafeTimedSerializer(secret, salt="form")
        # Cookies do not know ports: two services of one machine need two names.
        self.name = f"assay_{hashlib.sha256(secret.encode()).hexdigest()[:8]}"
        self._tidy()

    # -- sessions ---------------------------------------------------------------------------------------------------

    def begin(self, key: str, secure: bool) -> str:
        """The value of ``Set-Cookie`` that begins a session of a key."""
        value = self._session.dumps([secrets.token_hex(16), key])
        return self._cookie(value, SESSION_SECONDS, secure)

    def of(self, scope: Scope) -> Session | None:
        """The session of a request's cookie; None where there is none that is ours, young enough and not ended."""
        for value in self._values(scope, self.name):
            with suppress(BadData, ValueError, TypeError):
                name, key = self._session.loads(value, max_age=SESSION_SECONDS)
                if not (self.folder / ENDED / str(name)).exists():
                    return Session(str(name), str(key))
        return None

    def end(self, session: str, secure: bool) -> str:
        """End a session, also for who kept its cookie; gives the ``Set-Cookie`` that removes it."""
        if session:
            (self.folder / ENDED / session).touch(mode=FILE_MODE)
        self._tidy()
        return self._cookie("", 0, secure)

    # -- forms ------------------------------------------------------------------------------------------------------

    def form(self, about: str, secure: bool) -> tuple[str, str]:
        """A token for one form, and the ``Set-Cookie`` that it is good with.

        Args:
            about: what the form does, and for a session which.
        """
        holder = secrets.token_hex(16)
        cookie = f"{self.name}_form={holder}; Path=/; HttpOnly; SameSite=Strict; Max-Age={FORM_SECONDS}"
        return self._form.dumps([about, holder]), cookie + ("; Secure" if secure else "")

    def is_ours(self, token: str, about: str, scope: Scope) -> bool:
        """Whether a form was shown to this browser, for this purpose, and not long ago."""
        try:
            said, holder = self._form.loads(token, max_age=FORM_SECONDS)
        except (BadData, ValueError, TypeError):
            return False
        return bool(said == about and holder in list(self._values(scope, f"{self.name}_form")))

    def bound(self, about: str) -> str:
        """A token for a form of a page of a session."""
        return self._form.dumps([about, ""])

    def is_bound(self, token: str, about: str) -> bool:
        with suppress(BadData, ValueError, TypeError):
            said, holder = self._form.loads(token, max_age=SESSION_SECONDS)
            return bool(said == about and holder == "")
        return False

    # -- links ------------------------------------------------------------------------------------------------------

    def link(self, key: str) -> str:
        """A token that begins one session of a key."""
        token = secrets.token_urlsafe(32)
        path = self.folder / LINKS / hashlib.sha256(token.encode()).hexdigest()
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(number, "w") as stream:
            json.dump({"key": key, "until": time.time() + LINK_SECONDS}, stream)
        return token

    def follow(self, token: str) -> str | None:
        """The key that a link is for; None where it was used, is too old or never was. Two at once: one gets it."""
        path = self.folder / LINKS / hashlib.sha256(token.encode()).hexdigest()
        try:
            document: dict[str, Any] = json.loads(path.read_text())
            path.unlink()  # of two, one fails here
            return str(document["key"]) if float(document["until"]) > time.time() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _tidy(self) -> None:
        for name, age in ((LINKS, LINK_SECONDS), (ENDED, SESSION_SECONDS)):
            for path in (self.folder / name).iterdir():
                with suppress(OSError):
                    if path.stat().st_mtime < time.time() - age:
                        path.unlink()

    def _cookie(self, value: str, seconds: int, secure: bool) -> str:
        said = f"{self.name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}"
        return said + ("; Secure" if secure else "")

    @staticmethod
    def _values(scope: Scope, name: str) -> Iterator[str]:
        for header, value in scope["headers"]:
            if header == b"cookie":
                jar = cookie_parser(value.decode("latin-1"))
                if name in jar:
                    yield jar[name]


def _secret(path: Path) -> str:
    """The secret of a home; of several processes that start at once, one makes it."""
    with suppress(FileExistsError):
        part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            with os.fdopen(number, "w") as stream:
                stream.write(secrets.token_urlsafe(48))
            os.link(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path.read_text()
