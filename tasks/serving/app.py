"""The prediction service: it answers, and what it answered is on disk first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from tasks.serving.follower import Follower
from tasks.serving.limits import BodyLimit
from tasks.serving.metrics import Metrics
from tasks.serving.problems import of_errors
from tasks.serving.routes import Log, Routes
from tasks.serving.trust import Trust
from tasks.spec.errors import LogUnavailable


def create_app(releases: Path, trust: Trust, log: Log, make_row: Callable[..., Any], most_body_bytes: int) -> FastAPI:
    """The service over one release store and one log; ``make_row`` builds a row of that log.

    Args:
        trust: which pointers of the store it follows.

    The log belongs to the app: it is closed when the app ends, after the last request in flight was answered.
    """
    follower, metrics = Follower(releases, trust), Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        try:
            yield
        finally:  # the server comes here once it has drained its requests
            follower.stop()
            log.close()

    # FastAPI's own documentation pages load from outside hosts.
    app = FastAPI(title="Assay prediction service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(Routes(follower, log, make_row, metrics).router())
    app.add_middleware(BodyLimit, most=most_body_bytes, refused=metrics.refused.labels("all", "size").inc)

    @app.exception_handler(RequestValidationError)
    async def refused(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": of_errors(error.errors())}, status_code=422)

    @app.exception_handler(LogUnavailable)
    async def unavailable(_: Request, error: LogUnavailable) -> JSONResponse:
        metrics.refused.labels("all", "log").inc()
        return JSONResponse({"detail": str(error)}, status_code=503)

    _document(app, follower)
    return app


def _document(app: FastAPI, follower: Follower) -> None:
    """Put the row schema of every model that serves now into the OpenAPI document."""
    general = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        document = general()
        for now in follower.serving.values():
            document["components"]["schemas"][now.row.name] = now.row.json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
