"""The prediction service: it answers, and what it answered is on disk first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tasks.serving.access import Access, Door
from tasks.serving.crew import Place
from tasks.serving.document import completed
from tasks.serving.elsewhere import ModelUnavailable
from tasks.serving.follower import Follower
from tasks.serving.health import Health
from tasks.serving.limits import BodyLimit
from tasks.serving.login import LoginRoutes
from tasks.serving.metrics import Metrics
from tasks.serving.problems import PROBLEM, of_errors, refusal
from tasks.serving.quick import Quick
from tasks.serving.routes import Log, Routes
from tasks.serving.together import Together
from tasks.serving.trust import Trust
from tasks.spec.errors import LogUnavailable

RETRY = {"retry-after": "1"}
"""Seconds after which a request that the log could not take may be sent again."""


def create_app(
    releases: Path,
    trust: Trust,
    log: Log,
    make_row: Callable[..., Any],
    most_body_bytes: int,
    access: Access,
    place: Place | None = None,
) -> FastAPI:
    """The service over one release store and one log; ``make_row`` builds a row of that log.

    Args:
        trust: which pointers of the store it follows.
        access: who may ask.
        place: of this process among those that answer on one port; None where it is alone.

    The log belongs to the app: it is closed when the app ends, after the last request in flight was answered.
    """
    follower, metrics, together = Follower(releases, trust), Metrics(), Together(log.append_rows)
    health = Health(follower, log, place)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        health.start()
        try:
            yield
        finally:  # the server comes here once it has drained its requests
            follower.stop()
            health.stop()
            together.close()
            log.close()

    # FastAPI's own documentation pages load from outside hosts.
    app = FastAPI(title="Assay prediction service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(Routes(follower, log, make_row, metrics, health, access).router())
    app.include_router(LoginRoutes(access).router())
    app.add_middleware(BodyLimit, most=most_body_bytes, refused=metrics.refused.labels("all", "size").inc)

    app.add_middleware(
        Quick, follower=follower, together=together, metrics=metrics, failed=health.failed, most=most_body_bytes
    )
    app.add_middleware(Door, access=access, refused=lambda why: metrics.refused.labels("all", why).inc())

    @app.exception_handler(HTTPException)
    async def told(_: Request, error: HTTPException) -> JSONResponse:
        return _refused(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refused(_: Request, error: RequestValidationError) -> JSONResponse:
        return _refused(422, of_errors(error.errors()))

    @app.exception_handler(LogUnavailable)
    async def unavailable(_: Request, error: LogUnavailable) -> JSONResponse:
        metrics.refused.labels("all", "log").inc()
        health.failed(error)
        return _refused(503, str(error), RETRY)

    @app.exception_handler(ModelUnavailable)
    async def given_up(_: Request, error: ModelUnavailable) -> JSONResponse:
        metrics.refused.labels("all", "process").inc()
        return _refused(503, str(error), RETRY)

    _document(app, follower)
    return app


def _refused(status: int, said: Any, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(refusal(status, said), status, headers, PROBLEM)


def _document(app: FastAPI, follower: Follower) -> None:
    """Say in the OpenAPI document what serves now, too."""
    general = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        return completed(general(), follower.serving)

    app.openapi = openapi  # type: ignore[method-assign]
