"""The outermost door of the service: who asks, under which name of this host, and whether they may.

Nothing behind it is reached by a route without a stated role (:mod:`tasks.serving.permits`), without a key that holds,
or by a session of a browser for anything but reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec
from fastapi import Depends, HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.serving.cells import Cells, OwnCells
from tasks.serving.keys import IN_TEXT, MAKE, ROLES, Key, Keys
from tasks.serving.permits import Permit, permits_of
from tasks.serving.problems import PROBLEM, printable, refusal
from tasks.serving.rates import ATTEMPTS, BUCKET, Attempts, Bucket
from tasks.serving.sessions import Sessions

WRONG_A_MINUTE = 30
"""Wrong keys of one address, of programs; a form takes fewer."""
SENDER = "assay.sender"
"""Where a request's scope holds its sender."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
FORWARDED = (b"forwarded", b"x-forwarded-", b"x-real-ip")
CHALLENGE = {"www-authenticate": 'Bearer realm="assay"'}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""No page of ours has a script, so none may run."""
HARDENING = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
NO_KEY = "no key was sent. Send one as 'Authorization: Bearer KEY'; a key is made with: " + MAKE
WRONG_KEY = (
    "the key is not known here: it is wrong, or was made for another service. 'assay keys list' shows those that are, "
    "and a new one is made with: " + MAKE
)
ENDED = "key {key.id} ({key.name}) {why}. Make a new one with: " + MAKE
IN_ADDRESS = (
    "a key stands in the address, where it is logged and remembered. Send it as 'Authorization: Bearer KEY', and end "
    "the one that was shown: assay keys revoke ID"
)
OPEN = "anybody on this machine may ask and report, since ASSAY_ACCESS=open; unset it and start the service again"
READS = "a browser's session reads and does nothing else; send a key as 'Authorization: Bearer KEY'"
encode = msgspec.json.Encoder().encode


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, sentence: str, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.why, self.headers = status, sentence, why, headers or {}


@dataclass(frozen=True)
class Sender:
    """Who asks.

    ``id`` is the public id of a key, and None where the service answers without keys.
    """

    id: str | None
    name: str
    roles: frozenset[str]
    models: frozenset[str] | None
    requests: Bucket = field(compare=False)
    rows: Bucket = field(compare=False)
    session: str = ""
    """Of a browser that logged in, the session's id."""

    def may_see(self, model: str) -> bool:
        return self.models is None or model in self.models

    def wait_for_rows(self, count: int) -> float:
        """0, or the seconds after which so many rows may be sent."""
        return self.rows.draw(count)

    def take_rows(self, count: int) -> None:
        """Count rows of a request.

        Raises:
            HTTPException: 429, where they are too many for now.
        """
        wait = self.wait_for_rows(count)
        if wait:
            raise HTTPException(429, too_many(self, "rows", wait), retry_after(wait))


def too_many(sender: Sender, what: str, wait: float) -> str:
    rate = sender.rows.rate if what == "rows" else sender.requests.rate
    return f"{sender.name} sends more than {rate:,g} {what} a second. Send them again in {math.ceil(wait)} s"


def retry_after(wait: float) -> dict[str, str]:
    return {"retry-after": str(math.ceil(wait))}


def sender_of(request: Request) -> Sender:
    """For routes: who sent the request.

    Raises:
        KeyError: the door was not passed, which is an error of ours.
    """
    sender: Sender = request.scope[SENDER]
    return sender


From = Annotated[Sender, Depends(sender_of)]


@dataclass
class Access:
    """What the door knows.

    Args:
        keys: None where nobody is asked for one.
        hosts: names by which the service may be asked, besides those of loopback.
        requests: a second, of a key that says nothing else.
        rows: the same.
        rates: where what was asked is counted, and ``failures`` where wrong keys are.
    """

    keys: Keys | None
    sessions: Sessions | None
    hosts: frozenset[str] = frozenset()
    requests: float = 20_000.0
    rows: float = 500_000.0
    rates: Cells = field(default_factory=lambda: OwnCells(BUCKET))
    failures: Cells = field(default_factory=lambda: OwnCells(ATTEMPTS))
    _senders: dict[str, tuple[Key, Sender]] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.keys is None

    def __post_init__(self) -> None:
        self.anybody = Sender(None, "whoever asks", frozenset(ROLES), None, *self._buckets("", None, None))
        self.wrong_keys = Attempts(WRONG_A_MINUTE, cells=self.failures, kind="key")

    def sender(self, key: Key, session: str = "") -> Sender:
        """One for each key, so that its buckets are, too."""
        known = self._senders.get(key.id)
        if known is None or known[0] != key:
            models = None if key.models is None else frozenset(key.models)
            made = Sender(
                key.id,
                f"key {key.id} ({key.name})",
                frozenset(key.roles),
                models,
                *self._buckets(key.id, key.requests, key.rows),
            )
            known = self._senders[key.id] = (key, made)
        found = known[1]
        if not session:
            return found
        return Sender(found.id, found.name, found.roles, found.models, found.requests, found.rows, session)

    def _buckets(self, key: str, requests: float | None, rows: float | None) -> tuple[Bucket, Bucket]:
        return (
            Bucket(requests or self.requests, self.rates, f"requests {key}"),
            Bucket(rows or self.rows, self.rates, f"rows {key}"),
        )


class Door:
    """ASGI middleware, before everything else.

    Args:
        refused: is told why, in a word.
    """

    def __init__(self, app: ASGIApp, access: Access, refused: Callable[[str], None]) -> None:
        self.app, self.access, self.refused = app, access, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route speaks anything else
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            self._let_in(scope)
        except Refused as error:
            self.refused(error.why)
            await _answer(send, error, scope)
            return
        await self.app(scope, receive, _hardened(send))

    def _let_in(self, scope: Scope) -> None:
        """Write the sender into the scope.

        Raises:
            Refused: nobody may ask this, or not who asks.
        """
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._check_host(headers)
        if IN_TEXT.search(scope["path"]) or IN_TEXT.search(unquote(scope["query_string"].decode("latin-1"))):
            raise Refused(400, IN_ADDRESS, "key in address")
        permits, model = permits_of(scope["path"])
        permit = permits.get(scope["method"])
        sender = self._who(scope, headers, permit)
        if permit is None:
            if sender is None:
                raise self._unknown(scope, "read")
            raise _no_route(scope, permits)
        if sender is not None:
            self._check_may(sender, permit, model, scope)
            wait = sender.requests.draw(1)
            if wait:
                raise Refused(429, too_many(sender, "requests", wait), "rate", retry_after(wait))
        elif permit.needs != "nothing":
            raise self._unknown(scope, permit.needs)
        scope[SENDER] = sender

    def _check_host(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        named = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        if len(named) != 1 or not named[0]:
            raise Refused(400, f"a request names its host once; this one did {len(named)} times", "host")
        host = _without_port(named[0])
        if host not in LOOPBACK and (self.access.open or host not in self.access.hosts):
            fix = (
                "answers by the names of this machine alone, since ASSAY_ACCESS=open"
                if self.access.open
                else (
                    f"does not know that name; allowed: {', '.join(sorted(LOOPBACK | self.access.hosts))}. Add it to "
                    "ASSAY_HOSTS where it is this service's"
                )
            )
            raise Refused(400, f"the host was {printable(host)!r}, and the service {fix}", "host")
        if self.access.open:
            self._check_local(headers, named[0])

    def _check_local(self, headers: Iterable[tuple[bytes, bytes]], host: str) -> None:
        """Without keys nothing may come from elsewhere: by a proxy, or from another site's page in a browser here."""
        for name, value in headers:
            if name.startswith(FORWARDED):
                raise Refused(
                    403,
                    f"the request was forwarded ({name.decode('latin-1')}), and a service without keys answers nobody "
                    "from elsewhere. Unset ASSAY_ACCESS and use keys",
                    "forwarded",
                )
            if name == b"origin" and value.decode("latin-1").lower() not in (f"http://{host}", f"https://{host}"):
                raise Refused(
                    403,
                    "a page of another site sent the request, and a service without keys does not "
                    "answer it. Unset ASSAY_ACCESS and use keys",
                    "origin",
                )

    def _who(self, scope: Scope, headers: Iterable[tuple[bytes, bytes]], permit: Permit | None) -> Sender | None:
        """Who asks; None where nobody says.

        Raises:
            Refused: who asks is not who they say, or may not any more.
        """
        keys = self.access.keys
        if keys is None:
            return self.access.anybody
        sent = [value for name, value in headers if name == b"authorization"]
        needs = permit.needs if permit and permit.needs in ROLES else "read"
        if sent:
            if len(sent) > 1:
                raise Refused(400, "the header Authorization was sent more than once; send one key", "no key")
            scheme, _, token = sent[0].decode("latin-1").partition(" ")
            key = keys.of(token.strip()) if scheme.lower() == "bearer" else None
            if key is None:
                raise self._wrong_key(scope, keys, needs)
            if (state := key.state()) != "holds":
                raise Refused(401, _ended(key, state, needs), state, _challenge("invalid_token"))
            keys.used(key)
            return self.access.sender(key)
        return self._in_browser(scope, keys, permit)

    def _wrong_key(self, scope: Scope, keys: Keys, needs: str) -> Refused:
        """Many of one address have to wait; whoever sends a right one from there is answered meanwhile."""
        if keys.problem:
            return Refused(503, keys.problem, "wrong key", _challenge("invalid_token"))
        address = scope["client"][0] if scope["client"] else "an unknown address"
        wait = self.access.wrong_keys.wait(address)
        if wait > 0:
            said = f"too many wrong keys came from {address}. Try again in {math.ceil(wait)} s"
            return Refused(429, said, "wrong key", retry_after(wait))
        self.access.wrong_keys.failed(address)
        return Refused(401, WRONG_KEY.format(role=needs), "wrong key", _challenge("invalid_token"))

    def _in_browser(self, scope: Scope, keys: Keys, permit: Permit | None) -> Sender | None:
        """By the session of a cookie, which only reads, and ends itself."""
        session = self.access.sessions.of(scope) if self.access.sessions else None
        key = keys.by_id(session.key) if session else None
        if session is None or key is None or key.state() != "holds":
            return None
        if scope["method"] not in ("GET", "HEAD") and (permit is None or permit.path not in ("/logout", "/login")):
            raise Refused(403, READS, "role")
        return self.access.sender(key, session.id)

    def _check_may(self, sender: Sender, permit: Permit, model: str | None, scope: Scope) -> None:
        if permit.needs in ("nothing", "any"):
            return
        role = permit.needs
        if role not in sender.roles:
            has = ", ".join(r for r in ROLES if r in sender.roles)
            raise Refused(
                403,
                f"{sender.name} has the roles {has}; {scope['method']} {permit.path} needs the role {role}. A key with "
                f"it is made with: {MAKE.format(role=role)}",
                "role",
            )
        if sender.models is None:
            return
        if permit.overall or (model is not None and model not in sender.models):
            what = "what tells of all models" if permit.overall else f"the model {printable(str(model))!r}"
            more = "" if permit.overall else f" --model {model}"
            raise Refused(
                403,
                f"{sender.name} is for {', '.join(sorted(sender.models))}, and not for {what}. A key for it is made "
                f"with: {MAKE.format(role=role)}{more if more.isprintable() else ''}",
                "model",
            )

    def _unknown(self, scope: Scope, needs: str) -> Refused:
        """Nobody said who asks: a browser is shown the form, a program is told."""
        keys = self.access.keys
        if keys is not None and keys.problem:
            return Refused(503, keys.problem, "no key")
        accepts = b"".join(value for name, value in scope["headers"] if name == b"accept")
        if scope["method"] == "GET" and b"text/html" in accepts:
            path = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return Refused(303, "log in", "no key", {"location": f"/login?next={quote(path, safe='/')}"})
        return Refused(401, NO_KEY.format(role=needs if needs in ROLES else "read"), "no key", CHALLENGE)


def _ended(key: Key, state: str, needs: str) -> str:
    why = f"was revoked at {key.revoked}" if state == "revoked" else f"expired at {key.expires}"
    return ENDED.format(key=key, why=why, role=needs)


def _challenge(error: str) -> dict[str, str]:
    return {"www-authenticate": f'{CHALLENGE["www-authenticate"]}, error="{error}"'}


def _no_route(scope: Scope, permits: dict[str, Permit]) -> Refused:
    path = printable(scope["path"])
    if permits:
        allowed = ", ".join(sorted(permits))
        return Refused(405, f"{path} takes {allowed}, and no {printable(scope['method'])}", "path", {"allow": allowed})
    return Refused(404, f"there is no {path!r} here; /openapi.json lists what there is", "path")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _hardened(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            message["headers"] = [*message.get("headers", ()), *(h for h in HARDENING if h[0] not in there)]
        await send(message)

    return sent


async def _answer(send: Send, error: Refused, scope: Scope) -> None:
    content = b"" if error.status == 303 or scope["method"] == "HEAD" else encode(refusal(error.status, error.sentence))
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", str(len(content)).encode()),
        *((name.encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": error.status, "headers": headers}
    sent = _hardened(send)
    await sent(start)
    await sent({"type": "http.response.body", "body": content})
