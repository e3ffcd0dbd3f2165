"""The routes of the prediction service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from tasks.serving.access import OPEN, Access, From, Sender, sender_of
from tasks.serving.bodies import (
    EXPLAINED_AS,
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
from tasks.serving.home import home_page
from tasks.serving.human import HumanLog, HumanRoutes
from tasks.serving.metrics import Metrics
from tasks.serving.problems import printable, problem
from tasks.serving.release import Release
from tasks.serving.schema import outcome_problems, scored
from tasks.spec.arrivals import LoggedRow
from tasks.spec.wording import plural


class Log(HumanLog, Probed, Protocol):
    """Where predictions and outcomes are kept; each call returns once they are on disk."""

    def append(self, rows: Sequence[Any]) -> None: ...

    def append_rows(self, records: Sequence[LoggedRow]) -> None: ...

    def outcomes(
        self, model: str, labels: Sequence[tuple[str, bool | float | str]], sender: str | None
    ) -> dict[str, int]: ...

    def close(self) -> None: ...


class Routes:
    """What the service answers from: the follower's releases, one log, and ``make_row`` that builds a row of it."""

    def __init__(
        self,
        follower: Follower,
        log: Log,
        make_row: Callable[..., Any],
        metrics: Metrics,
        now: Health,
        access: Access,
    ) -> None:
        self.follower, self.log, self.make_row, self.metrics, self.now = follower, log, make_row, metrics, now
        self.access = access

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
        router.get(
            "/health/ready",
            summary="Whether it should be asked: 503 with a sentence where not",
            responses={503: {"description": "Something is wrong.", "content": {"application/json": {"schema": {}}}}},
        )(self.ready)
        router.get("/health", summary="Whether every model serves what the registry asks for")(self.health)
        router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)(self.prometheus)
        router.get("/", response_class=HTMLResponse, include_in_schema=False)(self.home)
        return router

    def predict(self, name: str, body: PredictBody, sender: From) -> PredictAnswer | ExplainedAnswer:
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
        count = len(body.rows) if body.rows else 1
        sender.take_rows(count * EXPLAINED_AS if body.explain else count)
        if body.explain and (refused := unexplained(now.loaded.explainer, name, count)):
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
        self._keep(name, now.version, answers, rows, sender.id)
        for answer in answers:
            self.metrics.answered(name, now.version, answer.decision)
        self.metrics.took(name, time.perf_counter() - begun)
        if body.explain:
            return ExplainedAnswer(model=name, version=now.version, predictions=with_reasons)
        return PredictAnswer(model=name, version=now.version, predictions=answers)

    def outcomes(self, name: str, body: OutcomesBody, sender: From) -> OutcomesAnswer:
        sender.take_rows(len(body.outcomes))
        bad = outcome_problems([o.label for o in body.outcomes], self._serving(name).release.manifest)
        if bad:
            self.metrics.refused.labels(name, "outcome").inc()
            raise HTTPException(422, bad)
        counts = self.log.outcomes(name, [(o.id, o.label) for o in body.outcomes], sender.id)
        for kind, count in counts.items():
            self.metrics.outcomes.labels(name, kind).inc(count)
        return OutcomesAnswer(**counts)

    def models(self, sender: From) -> dict[str, str]:
        return {name: version for name, (version, stopped) in self._loaded(sender).items() if not stopped}

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
        status = "degraded" if found or record or self.access.open else "ok"
        loaded = {name: version for name, (version, _) in self._loaded().items()}
        said: dict[str, Any] = {"models": loaded, "problems": found, "general": self.follower.general()}
        said |= {"access": OPEN if self.access.open else "keys", "process": os.getpid(), "workers": self.now.workers()}
        stopped = sorted(name for name, s in self.follower.serving.items() if s.pointer.stopped)
        return JSONResponse({"status": status, **said, "stopped": stopped, "heights": heights, "record": record})

    def live(self) -> dict[str, str]:
        return {"status": "ok"}

    def ready(self, sender: Annotated[Sender | None, Depends(sender_of)]) -> JSONResponse:
        """A probe has no key and learns no more than the status; who may read all learns why."""
        found = self.now.problems()
        said: dict[str, Any] = {"status": "not ready" if found else "ok"}
        if sender is not None and "read" in sender.roles and sender.models is None:
            said["problems"] = found
        elif found:
            said["detail"] = f"{plural(len(found), 'problem')}; GET /health names them to a key with the role read"
        return JSONResponse(said, 503 if found else 200)

    def prometheus(self) -> Response:
        return Response(self.metrics.render(self.follower), media_type="text/plain; version=0.0.4")

    def home(self, sender: From) -> str:
        sessions = self.access.sessions
        token = sessions.bound(f"logout {sender.session}") if sessions and sender.session else ""
        return home_page(self._loaded(sender), OPEN if self.access.open else "", sender.name, token)

    def _loaded(self, sender: Sender | None = None) -> dict[str, tuple[str, str]]:
        """Version of each model that a key is for, and why it is stopped; empty where it answers."""
        found = self.follower.serving.items()
        return {
            name: (now.version, now.pointer.stopped or "") for name, now in found if not sender or sender.may_see(name)
        }

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

    def _keep(
        self, name: str, version: str, answers: Sequence[RowAnswer], rows: Sequence[dict[str, Any]], sender: str | None
    ) -> None:
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
                    sender=sender,
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
