"""What people say about predictions: overrides, appeals, and experts' reviews."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Literal, Protocol

from fastapi import APIRouter, HTTPException
from pydantic import Field

from tasks.serving.access import From
from tasks.serving.bodies import Closed, router_of_bodies
from tasks.serving.metrics import Metrics
from tasks.serving.problems import MOST_TOLD, problem
from tasks.serving.quick_rows import MOST_ROWS
from tasks.spec.line import Line
from tasks.spec.manifest import Manifest

TEXT = "^[^\\x00]*$"
"""PostgreSQL takes every character but this one."""
Who = Field(min_length=1, max_length=200, pattern=TEXT, description="Who says so, as your organisation names people.")
Said = Field("", max_length=4000, pattern=TEXT)


class About(Closed):
    id: str = Field(
        min_length=1,
        max_length=64,
        pattern="^[\\x20-\\x7e]+$",
        description="The id that the prediction was answered with.",
    )


class OverrideBody(About):
    decision: bool | float | str = Field(
        description="What was decided instead: true or false, a class, or a number, by the kind of the model."
    )
    who: Line = Who
    why: str = Field(min_length=1, max_length=4000, pattern=TEXT)


class AppealBody(About):
    claim: str = Said
    state: Literal["open", "upheld", "rejected"] = Field(
        "open", description="open: somebody contests the decision; upheld, rejected: the answer."
    )
    who: Line = Who


class ReviewBody(About):
    window: int | None = Field(None, ge=1, le=2**31 - 1, description="The window in whose queue the prediction was.")
    verdict: Literal["agree", "disagree", "unsure"]
    who: Line = Who
    note: str = Said


class OverridesBody(Closed):
    overrides: list[OverrideBody] = Field(min_length=1, max_length=MOST_ROWS)


class AppealsBody(Closed):
    appeals: list[AppealBody] = Field(min_length=1, max_length=MOST_ROWS)


class ReviewsBody(Closed):
    reviews: list[ReviewBody] = Field(min_length=1, max_length=MOST_ROWS)


class HumanAnswer(Closed):
    """Each is counted once; the counts add up to what was sent."""

    accepted: int = Field(description="The first of its prediction.")
    repeated: int = Field(description="Says what is known already.")
    changed: int = Field(description="Differs from the one before it and counts from now on; the earlier one is kept.")
    unknown: int = Field(description="This model made no prediction of that id; not stored.")
    late: int = Field(0, description="An appeal that comes after its answer; kept, and the answer stands.")


class HumanLog(Protocol):
    """Where they are kept; each call takes rows with the fields of its body, and returns once they are on disk."""

    def overrides(self, model: str, rows: Sequence[Any], sender: str | None) -> dict[str, int]: ...

    def appeals(self, model: str, rows: Sequence[Any], sender: str | None) -> dict[str, int]: ...

    def reviews(self, model: str, rows: Sequence[Any], sender: str | None) -> dict[str, int]: ...


class HumanRoutes:
    def __init__(self, manifest: Callable[[str], Manifest], log: HumanLog, metrics: Metrics) -> None:
        self.manifest, self.log, self.metrics = manifest, log, metrics

    def router(self) -> APIRouter:
        router = router_of_bodies()
        router.post("/models/{name}/overrides", summary="Report what a person decided instead")(self.overrides)
        router.post("/models/{name}/appeals", summary="Contest a decision, or answer who did")(self.appeals)
        router.post("/models/{name}/reviews", summary="Report what an expert thinks of predictions")(self.reviews)
        return router

    def overrides(self, name: str, body: OverridesBody, sender: From) -> HumanAnswer:
        sender.take_rows(len(body.overrides))
        manifest = self.manifest(name)
        wrong = (p for n, o in enumerate(body.overrides) if (p := _misfit(n, o.decision, manifest)))
        bad = list(islice(wrong, MOST_TOLD + 1))
        if bad:
            self.metrics.refused.labels(name, "input").inc()
            raise HTTPException(422, bad)
        return self._counted(name, "override", self.log.overrides(name, body.overrides, sender.id))

    def appeals(self, name: str, body: AppealsBody, sender: From) -> HumanAnswer:
        sender.take_rows(len(body.appeals))
        self.manifest(name)
        return self._counted(name, "appeal", self.log.appeals(name, body.appeals, sender.id))

    def reviews(self, name: str, body: ReviewsBody, sender: From) -> HumanAnswer:
        sender.take_rows(len(body.reviews))
        self.manifest(name)
        return self._counted(name, "review", self.log.reviews(name, body.reviews, sender.id))

    def _counted(self, name: str, what: str, counts: dict[str, int]) -> HumanAnswer:
        for kind, count in counts.items():
            self.metrics.human.labels(name, what, kind).inc(count)
        return HumanAnswer(**counts)


def _misfit(row: int, value: bool | float | str, manifest: Manifest) -> dict[str, Any] | None:
    """What is wrong with a decision of this model's kind, as the service tells a wrong input."""
    truth, text = isinstance(value, bool), isinstance(value, str)
    if manifest.kind == "multiclass":
        wrong = value not in manifest.classes if text else True
        allowed = f"one of the classes {', '.join(manifest.classes)}"
    elif manifest.kind == "regression" and manifest.decision_threshold is None:
        wrong, allowed = truth or text, "a number"
    elif manifest.kind == "regression":
        wrong, allowed = text, "true or false, or a number"
    else:
        wrong, allowed = not truth, "true or false"
    return problem(row, "decision", value, f"a decision of {manifest.model} is {allowed}") if wrong else None
