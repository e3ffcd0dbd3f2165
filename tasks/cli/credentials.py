"""How commands of this home ask its service: with the home's own key, over a connection that is what it should be."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tasks.serving.keys import ROLES, KeyFile, public_id, write_private
from tasks.spec.errors import AssayError, ConfigError, UnreachableError
from tasks.spec.settings import Settings

OWN = "this home's commands"
OPEN = "nobody has to, since ASSAY_ACCESS=open: anybody on this machine may ask and report"
DAYS, RENEWED_BEFORE = 365, timedelta(days=30)


def headers(settings: Settings) -> dict[str, str]:
    """The header of every request to the service; none where there is no key, and the service then says what to do.

    Raises:
        ConfigError: the file of ``ASSAY_KEY_FILE`` cannot be read.
    """
    try:
        key = settings.own_key.read_text().strip()
    except OSError as error:
        if settings.key_file is None:
            return {}
        raise ConfigError(
            f"the key of ASSAY_KEY_FILE cannot be read from {settings.key_file} ({error.strerror}). Name a file that "
            "holds a key alone, as 'assay keys add' showed it"
        ) from None
    if not public_id(key) or not key.isascii() or len(key.split()) != 1:
        raise ConfigError(f"{settings.own_key} holds no key; write one into it as 'assay keys add' showed it, alone")
    return {"authorization": f"Bearer {key}"}


def own_id(settings: Settings) -> str | None:
    """The public id of the key that commands of this home ask with; None where there is none."""
    return public_id(headers(settings).get("authorization", "").removeprefix("Bearer ")) or None


def client(settings: Settings, url: str, timeout: float = 60) -> httpx.Client:
    """A client of the service; what it sends goes to no proxy."""
    return httpx.Client(
        base_url=url, headers=headers(settings), timeout=timeout, trust_env=False, verify=_verified(settings, url)
    )


def says_yes(settings: Settings, url: str) -> bool:
    """Whether an address answers well to who says nothing of themselves: no key goes there."""
    return httpx.get(url, timeout=2, trust_env=False, verify=_verified(settings, url)).is_success


def _verified(settings: Settings, url: str) -> ssl.SSLContext | bool:
    """Of a service of this home, its very certificate, which names another host than 127.0.0.1."""
    if settings.service_url or settings.tls_cert is None or not url.startswith("https:"):
        return ssl.create_default_context() if url.startswith("https:") else True
    context = ssl.create_default_context(cafile=str(settings.tls_cert))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def ensure_own_key(settings: Settings) -> None:
    """Make the key of this home's commands where there is none, or none that holds for a month more."""
    if settings.key_file is not None or settings.access == "open":
        return
    keys, now = KeyFile(settings.access_folder), datetime.now(UTC)
    try:
        known = keys.keys().get(public_id(settings.own_key.read_text().strip()))
    except OSError:
        known = None
    if known and known.state((now + RENEWED_BEFORE).timestamp()) == "holds":
        return
    token, _ = keys.add(OWN, ROLES, days=DAYS)
    write_private(settings.own_key, token + "\n")
    if known and known.state() == "holds":
        keys.revoke(known.id)


def login_link(settings: Settings, url: str) -> str:
    """An address that logs a browser in once, as the key of this home's commands.

    Raises:
        UnreachableError: the service does not answer.
        AssayError: it refuses.
    """
    try:
        with client(settings, url, timeout=10) as asked:
            answer = asked.post("/links")
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"the prediction service at {url} does not answer ({type(error).__name__}). Start it with: make up"
        ) from None
    if answer.is_error:
        raise AssayError(f"the service gives no link: {detail(answer)}")
    return url + str(answer.json()["path"])


def detail(answer: httpx.Response) -> str:
    """What the service says is wrong."""
    try:
        document: Any = answer.json()
        return str(document["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:300]}"
