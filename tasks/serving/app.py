"""The prediction service: it answers, and what it answered is on disk first."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from tasks.serving.follower import Follower, Serving
from tasks.serving.schema import problems, row_model
from tasks.spec.errors import LogUnavailable

MOST_ROWS = 1000


class Log(Protocol):
    def append(self, rows: Sequence[Any]) -> None: ...

    def outcomes(self, model: str, labels: Sequence[tuple[str, bool]]) -> dict[str, int]: ...


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PredictBody(Closed):
    row: dict[str, Any] | None = Field(None, description="One input row.")
    rows: list[dict[str, Any]] | None = Field(None, min_length=1, max_length=MOST_ROWS, description="Up to 1,000 input rows.")


class Answer(Closed):
    id: str = Field(description="Name this prediction by it when its outcome is known.")
    score: float = Field(description="Probability of the positive class.")
    decision: bool


class PredictAnswer(Closed):
    model: str
    version: str
    predictions: list[Answer]


class Outcome(Closed):
    id: str = Field(min_length=1, max_length=64)
    label: bool


class OutcomesBody(Closed):
    outcomes: list[Outcome] = Field(min_length=1, max_length=MOST_ROWS)


class Metrics:
    """What Prometheus reads; a registry of its own, so that two apps in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter("assay_predictions", "Rows answered", ["model", "version", "decision"], registry=self.registry)
        self.seconds = Histogram("assay_predict_seconds", "Time to answer a request", ["model"], registry=self.registry)
        self.refused = Counter("assay_refused", "Requests refused", ["model", "why"], registry=self.registry)
        self.outcomes = Counter("assay_outcomes", "Outcomes received", ["model", "kind"], registry=self.registry)
        self.info = Gauge("assay_champion", "1 for the version that serves", ["model", "version"], registry=self.registry)
        self.problems = Gauge("assay_release_problem", "1 where a new release could not be loaded", ["model"], registry=self.registry)

    def render(self, follower: Follower) -> bytes:
        self.info.clear()
        self.problems.clear()
        for model, serving in follower.serving.items():
            self.info.labels(model, serving.version).set(1)
        for model in follower.problems:
            self.problems.labels(model).set(1)
        return generate_latest(self.registry)


def create_app(releases: Path, log: Log, make_row: Callable[..., Any]) -> FastAPI:
    """The service over one release store and one log; ``make_row`` builds a row of that log."""
    follower, metrics = Follower(releases), Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        yield
        follower.stop()

    # FastAPI's own documentation pages load from outside hosts.
    app = FastAPI(title="Assay prediction service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    schemas: dict[tuple[str, str], type[BaseModel]] = {}

    def serving(name: str) -> Serving:
        found = follower.serving.get(name)
        if found is None:
            metrics.refused.labels(name if name in follower.problems else "unknown", "no champion").inc()
            if name in follower.problems:
                raise HTTPException(503, f"{name} cannot be served: {follower.problems[name]}")
            raise HTTPException(404, f"no model {name!r} serves here; serving: {', '.join(follower.serving) or 'none yet'}")
        return found

    def schema(now: Serving, name: str) -> type[BaseModel]:
        key = (name, now.version)
        if key not in schemas:
            schemas[key] = row_model(now.release.manifest)
        return schemas[key]

    @app.exception_handler(LogUnavailable)
    async def unavailable(_: Request, error: LogUnavailable) -> JSONResponse:
        metrics.refused.labels("all", "log").inc()
        return JSONResponse({"detail": str(error)}, status_code=503)

    @app.post("/models/{name}/predict", response_model=PredictAnswer, summary="Score one row or many")
    def predict(name: str, body: PredictBody) -> PredictAnswer:
        begun, now = time.perf_counter(), serving(name)
        if (body.row is None) == (body.rows is None):
            raise HTTPException(422, "give either row (one) or rows (up to 1,000)")
        rows, bad = problems(body.rows if body.rows is not None else [body.row or {}], schema(now, name))
        if bad:
            metrics.refused.labels(name, "input").inc()
            raise HTTPException(422, bad)
        manifest = now.release.manifest
        scores = now.release.score(_table(rows, manifest.inputs))
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        answers = [Answer(id=uuid.uuid4().hex, score=float(s), decision=bool(s >= manifest.decision_threshold)) for s in scores]
        log.append(
            [
                make_row(id=a.id, model=name, version=now.version, time=moment, inputs=row, score=a.score, decision=a.decision)
                for a, row in zip(answers, rows, strict=True)
            ]
        )
        for answer in answers:
            metrics.rows.labels(name, now.version, str(answer.decision).lower()).inc()
        metrics.seconds.labels(name).observe(time.perf_counter() - begun)
        return PredictAnswer(model=name, version=now.version, predictions=answers)

    @app.post("/models/{name}/outcomes", summary="Report what became of predictions")
    def outcomes(name: str, body: OutcomesBody) -> dict[str, int]:
        serving(name)
        counts = log.outcomes(name, [(o.id, o.label) for o in body.outcomes])
        for kind, count in counts.items():
            metrics.outcomes.labels(name, kind).inc(count)
        return counts

    @app.get("/models", summary="What serves")
    def models() -> dict[str, str]:
        return {name: now.version for name, now in follower.serving.items()}

    @app.get("/models/{name}", summary="One model: version, manifest and input schema")
    def model(name: str) -> dict[str, Any]:
        now = serving(name)
        manifest = now.release.manifest.model_dump(mode="json")
        return {"version": now.version, "manifest": manifest, "row": schema(now, name).model_json_schema()}

    @app.get("/health", summary="Whether every model serves what the registry asks for")
    def health() -> JSONResponse:
        state = {"status": "degraded" if follower.problems else "ok", "models": models(), "problems": follower.problems}
        return JSONResponse(state)

    @app.get("/metrics", summary="For Prometheus")
    def prometheus() -> Response:
        return Response(metrics.render(follower), media_type="text/plain; version=0.0.4")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def home() -> str:
        rows = "".join(f"<li><a href='/models/{n}'>{n}</a> {s.version}</li>" for n, s in follower.serving.items())
        return (
            "<!doctype html><meta charset=utf-8><title>Assay prediction service</title>"
            "<body style='font:16px system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem'><h1>Assay prediction service</h1>"
            f"<ul>{rows or '<li>no model serves yet</li>'}</ul><p><a href='/openapi.json'>OpenAPI</a> · "
            "<a href='/health'>health</a> · <a href='/metrics'>metrics</a></p>"
        )

    _document(app, follower, schema)
    return app


def _table(rows: list[dict[str, Any]], inputs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[c["name"] for c in inputs])
    return table.astype({c["name"]: "str" if c["type"] == "category" else "float64" for c in inputs})


def _document(app: FastAPI, follower: Follower, schema: Callable[[Serving, str], type[BaseModel]]) -> None:
    """Put the row schema of every model that serves now into the OpenAPI document."""
    general = app.openapi

    def openapi() -> dict[str, Any]:
        app.openapi_schema = None
        document = general()
        for name, now in follower.serving.items():
            row = schema(now, name)
            document["components"]["schemas"][row.__name__] = row.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
