"""The routes of the prediction service."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse, JSONResponse

from tasks.serving.bodies import (
    ExplainedAnswer,
    OutcomesAnswer,
    OutcomesBody,
    PredictAnswer,
    PredictBody,
    RowAnswer,
    new_id,
    router_of_bodies,
)
from tasks.serving.explaining import explained, unexplained
from tasks.serving.follower import Follower, Serving
from tasks.serving.health import Health, Probed
from tasks.serving.human import HumanLog, HumanRoutes
from tasks.serving.metrics import Metrics
from tasks.serving.problems import printable, problem
from tasks.serving.release import Release
from tasks.serving.schema import outcome_problems, scored
from tasks.spec.arrivals import LoggedRow


class Log(HumanLog, Probed, Protocol):
    """Where predictions and outcomes are kept; each call returns once they are on disk."""

    def append(self, rows: Sequence[Any]) -> None: ...

    def append_rows(self, records: Sequence[LoggedRow]) -> None: ...

    def outcomes(self, model: str, labels: Sequence[tuple[str, bool | float | str]]) -> dict[str, int]: ...

    def close(self) -> None: ...


class Routes:
    """What the service answers from: the follower's releases, one log, and ``make_row`` that builds a row of it."""

    def __init__(
        self, follower: Follower, log: Log, make_row: Callable[..., Any], metrics: Metrics, now: Health
    ) -> None:
        self.follower, self.log, self.make_row, self.metrics, self.now = follower, log, make_row, metrics, now

    def router(self) -> APIRouter:
        router, bodies = APIRouter(), router_of_bodies()
        bodies.post("/models/{name}/predict", summary="Score one row or many")(self.predict)
        bodies.post("/models/{name}/outcomes", summary="Report what became of predictions")(self.outcomes)
        router.include_router(bodies)
        router.include_router(
            HumanRoutes(lambda name: self._serving(name).release.manifest, self.log, self.metrics).router()
        )
        router.get("/models", summary="What serves")(self.models)
        router.get("/models/{name}", summary="One model: version, manifest and input schema")(self.model)
        router.get("/health/live", summary="Whether this process answers at all")(self.live)
        router.get("/health/ready", summary="Whether it should be asked: 503 with a sentence where not")(self.ready)
        router.get("/health", summary="Whether every model serves what the registry asks for")(self.health)
        router.get("/metrics", summary="For Prometheus")(self.prometheus)
        router.get("/", response_class=HTMLResponse, include_in_schema=False)(self.home)
        return router

    def predict(self, name: str, body: PredictBody) -> PredictAnswer | ExplainedAnswer:
        begun, now = time.perf_counter(), self._serving(name)
        if now.pointer.stopped:
            self.metrics.refused.labels(name, "stopped").inc()
            raise HTTPException(
                503,
                f"{name} is stopped: {now.pointer.stopped}. Nothing is answered until a version is promoted or "
                "rolled back to.",
            )
        if (body.row is None) == (body.rows is None):
            raise HTTPException(422, [problem(None, "body", None, "give either row (one) or rows (up to 1,000)")])
        if body.explain and (
            refused := unexplained(now.loaded.explainer, name, 1 if body.rows is None else len(body.rows))
        ):
            self.metrics.refused.labels(name, "explain").inc()
            raise HTTPException(422, [problem(None, "explain", True, refused)])
        rows, bad = now.row.check(body.rows if body.rows is not None else [body.row or {}])
        scores, unscored = np.empty(0), bad
        if not bad:
            scores, unscored = scored(now.release, rows)
        if unscored:
            self.metrics.refused.labels(name, "input").inc()
            raise HTTPException(422, unscored)
        answers = _answers(now.release, scores)
        if body.explain:
            with_reasons, bad = explained(now.loaded.explainer, rows, scores, answers)
            if bad:
                self.metrics.refused.labels(name, "explain").inc()
                raise HTTPException(422, bad)
        self._keep(name, now.version, answers, rows)
        for answer in answers:
            self.metrics.answered(name, now.version, answer.decision)
        self.metrics.took(name, time.perf_counter() - begun)
        if body.explain:
            return ExplainedAnswer(model=name, version=now.version, predictions=with_reasons)
        return PredictAnswer(model=name, version=now.version, predictions=answers)

    def outcomes(self, name: str, body: OutcomesBody) -> OutcomesAnswer:
        bad = outcome_problems([o.label for o in body.outcomes], self._serving(name).release.manifest)
        if bad:
            self.metrics.refused.labels(name, "outcome").inc()
            raise HTTPException(422, bad)
        counts = self.log.outcomes(name, [(o.id, o.label) for o in body.outcomes])
        for kind, count in counts.items():
            self.metrics.outcomes.labels(name, kind).inc(count)
        return OutcomesAnswer(**counts)

    def models(self) -> dict[str, str]:
        return {name: now.version for name, now in self.follower.serving.items()}

    def model(self, name: str) -> dict[str, Any]:
        now = self._serving(name)
        return {
            "version": now.version,
            "manifest": now.release.manifest.model_dump(mode="json"),
            "row": now.row.json_schema(),
        }

    def health(self) -> JSONResponse:
        found = self.now.problems()
        heights = {name: s.pointer.height for name, s in self.follower.serving.items()}
        record = self.follower.trust.record()
        status = "degraded" if found or record else "ok"
        said = {"models": self.models(), "problems": found, "general": self.follower.general()}
        stopped = sorted(name for name, s in self.follower.serving.items() if s.pointer.stopped)
        return JSONResponse({"status": status, **said, "stopped": stopped, "heights": heights, "record": record})

    def live(self) -> dict[str, str]:
        return {"status": "ok"}

    def ready(self) -> JSONResponse:
        found = self.now.problems()
        return JSONResponse({"status": "not ready" if found else "ok", "problems": found}, 503 if found else 200)

    def prometheus(self) -> Response:
        return Response(self.metrics.render(self.follower), media_type="text/plain; version=0.0.4")

    def home(self) -> str:
        rows = "".join(f"<li><a href='/models/{n}'>{n}</a> {s.version}</li>" for n, s in self.follower.serving.items())
        return (
            "<!doctype html><meta charset=utf-8><title>Assay prediction service</title>"
            "<body style='font:16px system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem'><h1>Assay prediction "
            "service</h1>"
            f"<ul>{rows or '<li>no model serves yet</li>'}</ul><p><a href='/reports/'>reports</a> · <a "
            "href='/openapi.json'>OpenAPI</a> · "
            "<a href='/health'>health</a> · <a href='/metrics'>metrics</a></p>"
        )

    def _serving(self, name: str) -> Serving:
        serving, found = self.follower.serving, self.follower.problems
        if name in serving:
            return serving[name]
        self.metrics.refused.labels(name if name in found else "unknown", "no champion").inc()
        if name in found:
            raise HTTPException(503, f"{name} cannot be served: {found[name]}")
        raise HTTPException(
            404, f"no model {printable(name)!r} serves here; serving: {', '.join(serving) or 'none yet'}"
        )

    def _keep(self, name: str, version: str, answers: Sequence[RowAnswer], rows: Sequence[dict[str, Any]]) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.log.append(
            [
                self.make_row(
                    id=a.id,
                    model=name,
                    version=version,
                    time=moment,
                    inputs=row,
                    score=a.score,
                    decision=a.decision,
                    **({} if a.scores is None else {"scores": a.scores}),
                )
                for a, row in zip(answers, rows, strict=True)
            ]
        )


def _answers(release: Release, scores: np.ndarray) -> list[RowAnswer]:
    """One answer a row, with the scores of all classes where there are several."""
    classes, decisions = release.manifest.classes, release.decide(scores)
    if release.manifest.kind != "multiclass":
        return [RowAnswer(id=new_id(), score=s, decision=d) for s, d in zip(scores.tolist(), decisions, strict=True)]
    return [
        RowAnswer(id=new_id(), score=max(row), scores=dict(zip(classes, row, strict=True)), decision=d)
        for row, d in zip(scores.tolist(), decisions, strict=True)
    ]
