"""Predictions that an expert should look at, and what became of them."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from tasks.spec.base import Spec

Answer = Literal["agree", "disagree", "unsure"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


class ReviewItem(Spec):
    """One prediction to look at.

    Its inputs are not kept here: they are looked up in the log when it is shown, and are gone when they are gone there.
    """

    id: Annotated[str, Field(min_length=1, max_length=64)]
    """Of the prediction."""
    window: int
    score: float | None
    decision: bool | str | None = None
    """Selected or not; of a multiclass model the class; None where nothing is decided."""
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]
    """Why, in sentences that hold no value of an input."""
    alike: int = 0
    """Further rows of the window with the same inputs; their answer is the same."""


class ReviewAnswer(Spec):
    """What one expert said about one prediction."""

    id: str
    verdict: Answer
    who: str
    note: str = ""
    time: str = ""
    """ISO 8601; of several answers of one person, the newest counts."""


class Share(Spec):
    """A share of rows with its 95 % interval (Clopper & Pearson 1934); None over no rows."""

    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int


class ReviewSummary(Spec):
    """A review queue and its answers in numbers."""

    queued: int
    answered: Share
    """Of the queue."""
    agreement: Share
    """Of the predictions on which the experts are sure: the share in which they agree with the model."""
    unsure: int
    contested: int
    """Predictions on which two experts say opposite things; they count in no agreement."""
    model_right: Share
    """Of the predictions with a sure answer and an outcome: the share that the model got right."""
    expert_right: Share
    """Of the same: the share in which the expert said rightly that it was right, or wrong."""
    unknown: int
    """Answers to predictions that are not in the queue."""
    sentence: str


class AskedRow(Spec):
    """One prediction whose outcome is asked for."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    stratum: Annotated[int, Field(ge=0)]
    turn: Annotated[int, Field(ge=0)]
    """The round that it is asked in; each round holds one row of every stratum."""


class LabelRequest(Spec):
    """A probability sample of a window whose outcomes would settle what an estimate leaves open.

    It is drawn once, before any of its answers is known, and is part of the window's report. A row's inclusion chance
    is the number of rounds over the rows of its stratum.
    """

    why: str
    """What is open, as a sentence."""
    rows: tuple[AskedRow, ...]
    """In the order of asking."""
    strata: tuple[int, ...]
    """Rows of the window in each stratum."""

    @property
    def rounds(self) -> int:
        return len(self.rows) // len(self.strata)

    def chance(self, row: AskedRow) -> float:
        """With which the row came into the sample."""
        return self.rounds / self.strata[row.stratum]
