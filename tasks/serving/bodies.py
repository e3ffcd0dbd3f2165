"""What clients send and what they get."""

from __future__ import annotations

import os
import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from tasks.serving.problems import REFUSED
from tasks.serving.quick_rows import MOST_EXPLAINED, MOST_ROWS
from tasks.serving.strict_json import StrictRoute

EXPLAINED_AS = 10
"""As how many rows one that is explained counts under a key's limit."""


def router_of_bodies() -> APIRouter:
    """A router whose routes read bodies strictly and document how they refuse them."""
    return APIRouter(route_class=StrictRoute, responses=REFUSED)


def new_id() -> str:
    """A prediction's name: a UUID of version 7 (RFC 9562), 32 hexadecimal digits.

    It begins with the time, so that the log's index grows at its end: with random names each row would change a page
    of its own.
    """
    random = int.from_bytes(os.urandom(10)) >> 6
    high, low = random >> 62, random & (1 << 62) - 1
    return f"{(time.time_ns() // 1_000_000) << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PredictBody(Closed):
    row: dict[str, Any] | None = Field(None, description="One input row.")
    rows: list[dict[str, Any]] | None = Field(
        None, min_length=1, max_length=MOST_ROWS, description="Up to 1,000 input rows."
    )
    explain: bool = Field(
        False, description=f"Whether each answer comes with its explanation; of up to {MOST_EXPLAINED} rows."
    )


class RowAnswer(Closed):
    id: str = Field(description="Name this prediction by it when its outcome is known.")
    score: float = Field(
        description=(
            "Probability of the positive class; of several classes, of the chosen one; of a number, the number "
            "itself in the model's unit."
        )
    )
    scores: dict[str, float] | None = Field(None, description="Of a model of several classes: the probability of each.")
    decision: bool | str | None = Field(
        description=(
            "Whether the score reaches the threshold; of several classes, the most probable one's name; null where "
            "a number is answered and nothing is decided."
        )
    )


class PredictAnswer(Closed):
    model: str
    version: str
    predictions: list[RowAnswer]


class Change(Closed):
    """One column at another value."""

    column: str
    now: bool | int | float | str | None = Field(description="What was sent; null where it is missing.")
    to: bool | int | float | str = Field(description="A value of the column, as a request writes it.")


class Reason(Closed):
    """A change after which the model decides otherwise. It was scored again before it was given."""

    changes: list[Change] = Field(description="Made together; each of a column that the model's config lets change.")
    decision: bool | str = Field(description="What is decided after them.")
    weight: float = Field(description="How much the first column's attribution speaks for the decision that was made.")
    says: str = Field(description="The same in a sentence.")


class Explanation(Closed):
    method: str = Field(description="How attributions were computed, and what of them is exact.")
    output: float = Field(description="What the attributions add up to from `base`, in the unit `of`.")
    base: float = Field(description="The mean output over the background that training recorded.")
    of: str = Field(description="What the output is, such as log-odds.")
    attributions: dict[str, float] = Field(
        description="By input column, the largest first: by how much its value moves the output."
    )
    standard_error: float | None = Field(
        description="The largest of an attribution, where some are means over random orders; null where all are exact."
    )
    towards: bool | str | None = Field(
        description="The other decision that reasons lead to; of several classes the next most probable one."
    )
    principal: list[str] = Field(
        description="Up to four columns that may change and speak for the decision, the weightiest first."
    )
    reasons: list[Reason] = Field(
        description="Up to four, in the order of weight, each led by another column: that of its first change."
    )
    says: str = Field(description="Why there are no reasons; empty where there are some.")


class ExplainedRow(RowAnswer):
    explanation: Explanation


class ExplainedAnswer(Closed):
    model: str
    version: str
    predictions: list[ExplainedRow]


class Outcome(Closed):
    id: str = Field(
        min_length=1,
        max_length=64,
        pattern="^[\\x20-\\x7e]+$",
        description="The id that the prediction was answered with.",
    )
    label: bool | float | str = Field(
        description="What became of it: true or false, a number, or a class's name, by the kind of the model."
    )


class OutcomesBody(Closed):
    outcomes: list[Outcome] = Field(min_length=1, max_length=MOST_ROWS)


class OutcomesAnswer(Closed):
    """Each outcome is counted once; the counts add up to what was sent."""

    accepted: int = Field(description="The first outcome of its prediction.")
    repeated: int = Field(description="Says what is known already.")
    changed: int = Field(
        description="Contradicts the outcome before it and counts from now on; the earlier one is kept."
    )
    unknown: int = Field(description="This model made no prediction of that id; not stored.")
