"""How a browser logs in, and out again: a form, and links that are good once."""

from __future__ import annotations

import math
from typing import Annotated
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from markupsafe import Markup

from tasks.serving.access import Access, From
from tasks.serving.home import page
from tasks.serving.keys import MAKE
from tasks.serving.permits import permits_of
from tasks.serving.rates import Attempts
from tasks.serving.sessions import LINK_SECONDS

MOST_FORM_BYTES = 4096
FAILS_A_MINUTE = 10
MAKE_LINK = "assay login"
STALE = "The form is too old, or was not shown to this browser. Try again."
WRONG = f"That is no key that holds here and may read. One that does is made with: {MAKE.format(role='read')}"
LOGGED_IN = Markup("<p><a href='{}'>Go on</a></p>")
ONWARD = Markup("<meta http-equiv=refresh content='0;url={}'>")
USED = f"This link was used already, or is older than {LINK_SECONDS // 60} minutes. Another is made with: {MAKE_LINK}"


def safe_next(asked: str) -> str:
    """Where a log-in leads back to: a page of this service, and the first one for whatever else was asked."""
    parts = urlsplit(asked)
    odd = not asked.isprintable() or "\\" in asked or any(c.isspace() for c in asked)
    if odd or parts.scheme or parts.netloc or not asked.startswith("/") or asked.startswith("//"):
        return "/"
    permits, _ = permits_of(parts.path)
    return asked if "GET" in permits and not parts.path.startswith("/login") else "/"


class LoginRoutes:
    def __init__(self, access: Access) -> None:
        self.access = access
        self._attempts = Attempts(FAILS_A_MINUTE, cells=access.failures, kind="log-in")

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        router.get("/login")(self.form)
        router.post("/login")(self.log_in)
        router.get("/login/once")(self.once)
        router.post("/logout")(self.log_out)
        router.post("/links")(self.link)
        return router

    def form(self, request: Request, next: Annotated[str, Query(max_length=2000)] = "/") -> HTMLResponse:
        return self._form(request, next)

    async def log_in(self, request: Request) -> Response:
        fields, address, sessions = await _fields(request), _address(request), self.access.sessions
        back = safe_next(fields.get("next", "/"))
        wait = self._attempts.wait(address)
        if wait > 0:
            said = f"Too many wrong keys came from {address}. Try again in {math.ceil(wait)} seconds."
            answer = self._form(request, back, said, 429)
            answer.headers["retry-after"] = str(math.ceil(wait))
            return answer
        if sessions is None or self.access.keys is None:
            return RedirectResponse(back, 303)
        if not sessions.is_ours(fields.get("form", ""), "login", request.scope):
            return self._form(request, back, STALE, 403)
        key = self.access.keys.of(fields.get("key", "").strip())
        if key is None or key.state() != "holds" or "read" not in key.roles:
            self._attempts.failed(address)
            return self._form(request, back, WRONG, 401)
        return RedirectResponse(back, 303, {"set-cookie": sessions.begin(key.id, _secure(request))})

    def once(
        self,
        request: Request,
        token: Annotated[str, Query(max_length=200)] = "",
        next: Annotated[str, Query(max_length=2000)] = "/",
    ) -> Response:
        sessions, keys, address = self.access.sessions, self.access.keys, _address(request)
        if sessions is None or keys is None:
            return RedirectResponse("/", 303)
        back = safe_next(next)
        if self._attempts.wait(address) > 0:
            raise HTTPException(429, "too many wrong links; try again in a minute", {"retry-after": "60"})
        found = sessions.follow(token)
        key = keys.by_id(found) if found else None
        if key is None or key.state() != "holds" or "read" not in key.roles:
            self._attempts.failed(address)
            return self._form(request, back, USED, 401)
        # A redirect would still count as the navigation of who linked here, and bring no SameSite=Strict cookie.
        answer = HTMLResponse(page("Logged in", LOGGED_IN.format(back), head=ONWARD.format(back)))
        answer.headers["set-cookie"] = sessions.begin(key.id, _secure(request))
        return answer

    async def log_out(self, request: Request, sender: From) -> Response:
        fields, sessions = await _fields(request), self.access.sessions
        if sessions is None or not sender.session:
            raise HTTPException(400, "only a browser can log out; a key is ended with: assay keys revoke ID")
        if not sessions.is_bound(fields.get("form", ""), f"logout {sender.session}"):
            raise HTTPException(403, "no form of this session asked to log out; use the button of the page")
        answer = RedirectResponse("/login", 303)
        answer.headers["set-cookie"] = sessions.end(sender.session, _secure(request))
        return answer

    def link(self, sender: From) -> JSONResponse:
        """A path that logs a browser in once, as this key."""
        if self.access.sessions is None or sender.id is None:
            return JSONResponse({"path": "/", "seconds": LINK_SECONDS})
        if "read" not in sender.roles:
            raise HTTPException(403, f"{sender.name} has no role read, so a browser would see nothing")
        token = self.access.sessions.link(sender.id)
        return JSONResponse({"path": f"/login/once?token={quote(token)}", "seconds": LINK_SECONDS})

    def _form(self, request: Request, back: str, said: str = "", status: int = 200) -> HTMLResponse:
        if self.access.sessions is None:
            return HTMLResponse(page("Log in", Markup("<p>This service asks nobody for a key.</p>")))
        token, cookie = self.access.sessions.form("login", _secure(request))
        body = Markup(
            "{said}<form method=post action='/login'><label for=key>Key with the role <em>read</em></label>"
            "<input id=key name=key type=password autocomplete=current-password required autofocus spellcheck=false>"
            "<input type=hidden name=form value='{token}'><input type=hidden name=next value='{back}'>"
            "<button>Log in</button></form><p class=soft>On the machine of the service, <code>{command}</code> "
            "prints a link that logs a browser in.</p>"
        ).format(
            said=Markup("<p class=bad role=alert>{}</p>").format(said) if said else "",
            token=token,
            back=safe_next(back),
            command=MAKE_LINK,
        )
        return HTMLResponse(page("Log in", body), status, {"set-cookie": cookie})


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sent.

    Raises:
        HTTPException: 415 or 413, where it is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "this takes the form of its page alone (application/x-www-form-urlencoded)")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(413, f"the form has more than {MOST_FORM_BYTES:,} bytes; no key is that long")
    try:
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise HTTPException(400, "the form cannot be read; send that of the page") from None
    return {name: values[0] for name, values in found.items()}


def _address(request: Request) -> str:
    return request.client.host if request.client else "an unknown address"


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"
