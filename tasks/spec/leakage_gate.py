"""The leakage gate's schema, which is one of :data:`tasks.spec.gates.GateConfig`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.spec.base import Spec
from tasks.spec.gate import Gate


class ExcusedJump(Spec):
    """A stretch of the table whose label rate is known to be odd: it is left out where jumps are looked for."""

    first: str | float
    """Where it begins: a value of ``data.period``, or without one per cent of the file."""
    last: str | float
    """Where it ends, inclusive."""
    because: str = Field(min_length=1)
    """Why that is no leak."""


class LeakageGate(Gate):
    """Leaks: information in the training data that will not be there when a prediction is made.

    Looked at are the two sides of the split, single columns, the order of the table, and what was served.
    AUCs are those of one column alone on the holdout. Multiclass: the largest over each class against the rest.
    Regression: the largest over being above each quartile of the labels.
    """

    needed_from = "high"

    kind: Literal["leakage"]
    single_column_auc: float = Field(0.95, gt=0.5, le=1)
    """AUC from which one column alone is a leak."""
    dominant_auc: float = Field(0.85, gt=0.5, le=1)
    """AUC above which a column is a leak too if it also reaches ``dominant_share``.

    Not asked of a regression, where one column that explains most of a number is usual.
    """
    dominant_share: float = Field(0.9, gt=0, le=1)
    """Share of the whole model's AUC over 0.5 that the column gives alone."""
    lift: float = Field(0.1, gt=0, lt=0.5)
    """AUC by which one column may lift a model that surely reaches ``lifted_auc``, or two one of ``single_column_auc``.

    Not asked of a regression.
    """
    lifted_auc: float = Field(0.9, gt=0.5, le=1)
    """AUC that the model, or a small learner in its place, surely has to reach for the lift by one column to be asked.

    Two honest columns often give a model nearly all that it knows, so of two ``single_column_auc`` is asked.
    """
    missingness_auc: float = Field(0.7, gt=0.5, le=1)
    """AUC from which a value's being missing is a leak; 0.7 is 40 points between the classes' missing shares."""
    duplicates: float = Field(0.02, gt=0, lt=1)
    """Row patterns on both sides beyond what a random split gives, as a share of the holdout's rows."""
    label_jump: float = Field(0.2, gt=0, le=3)
    """Cohen's h between neighbouring stretches of the table, less what the scores explain; regression: Cohen's d.

    0.2 is 30 % against 40 %, or 1 % against none.
    """
    neighbours: float = Field(0.1, gt=0, lt=1)
    """Share of the label's variance that a random split may seem to explain, and blocks of time do not.

    Excuse it in ``excused`` by the name of the period's column.
    """
    skew: float = Field(0.85, gt=0, le=1)
    """Jensen-Shannon distance between training and served rows above which they hardly share a value.

    Another unit or code looks like this. A change of the world can reach 0.8, so smaller distances never fail.
    """
    minimum_rows: int = Field(50, ge=10)
    """Training rows that each class and each protected group needs."""
    excused: dict[str, str] = {}
    """Columns that are known to predict this well, each with the reason why it is no leak."""
    excused_values: dict[str, str] = {}
    """Columns with repeated numbers far outside the others, each with what these numbers mean."""
    excused_jumps: tuple[ExcusedJump, ...] = ()
    """Stretches of time, or of the file, whose label rate is known to be odd."""
