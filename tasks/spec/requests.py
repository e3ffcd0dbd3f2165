"""The parameters of each flow, one model per flow and so one form in the Prefect UI; and how a run can end."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.spec.ledger import Warrant
from tasks.spec.line import Line, Who
from tasks.spec.models import Name

RunReason = Literal["person", "push", "schedule", "retrain", "monitor"]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=True)

    model: Name = Field(description="The model, as listed in deployments/models.yaml.")
    reason: RunReason = Field("person", description="What asked for this run.")
    actor: Who = Field("prefect-ui", description="Who asked for this run.")


class TrainingRequest(Request):
    revision: Line = Field(
        "main",
        min_length=1,
        max_length=200,
        description="Commit, tag or branch of the origin to train; never the working tree.",
    )
    collect: bool = Field(
        False, description="First take the labelled rows of the prediction log into a new data version."
    )
    promote: bool = Field(True, description="Promote the candidate where every mandatory gate passes.")


class MonitoringRequest(Request):
    act: bool = Field(True, description="Act on the decision (retrain, roll back); off: report only.")
    windows: int = Field(20, ge=1, le=1000, description="At most this many unseen windows in one run.")


class Order(Request):
    because: Line = Field("asked by hand", min_length=3, max_length=500, description="Why; it goes into the ledger.")
    warrant: Warrant | None = Field(
        None,
        description="The signed order, where the list names who may order; the command line makes it with --key.",
    )


class RollbackRequest(Order):
    version: str | None = Field(
        None,
        pattern=r"^v\d+\.\d+\.\d+$",
        description="Version to return to; empty: the champion before the present one.",
    )


class StopRequest(Order):
    because: Line = Field(
        "asked by hand", min_length=3, max_length=500, description="Why; clients are told, and it goes into the ledger."
    )


class PromotionRequest(Order):
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+$", description="A registered version whose verdict passed.")


class ApprovalRequest(Request):
    commit: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        description="The candidate that waits for a signature; the ledger and the verdict page name it.",
    )
    warrant: Warrant = Field(
        description="The signed statement; 'assay approve' makes it and starts this flow.",
    )


class RebuildRequest(Request):
    version: str | None = Field(
        None,
        pattern=r"^v\d+\.\d+\.\d+$",
        description="Version to make again; empty: the one for which it was longest ago.",
    )
    every: bool = Field(False, description="Make every version again, one after the other.")


class SearchRequest(Request):
    revision: Line = Field(
        "main",
        min_length=1,
        max_length=200,
        description="Commit, tag or branch of the origin whose search: part is tried; never the working tree.",
    )
    trials: int | None = Field(
        None, ge=1, le=2000, description="Trials that the study has at most; empty: what model.yaml says."
    )
    minutes: float | None = Field(None, gt=0, le=10_080, description="Time of this run; empty: what model.yaml says.")
    study: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{12}$",
        description="Go on with this study, or not at all where it asks something else; empty: whichever fits.",
    )


class FinalState(StrEnum):
    """Names of final states, for Prefect and the command line; whether a run did its work is the state's type."""

    PROMOTED = "Promoted"
    EXAMINED = "Examined"
    """Fit to serve, and not promoted, as asked."""
    AWAITING_SIGNATURE = "Awaiting signature"
    UNCHANGED = "Unchanged"
    """The candidate is the champion once more."""
    REJECTED = "Rejected"
    INSUFFICIENT_EVIDENCE = "Insufficient evidence"
    """Not promoted, and no mandatory gate failed outright."""
    OVERTAKEN = "Overtaken"
    SEARCHED = "Searched"
    """Everything that the budget allows was tried."""
    ROLLED_BACK = "Rolled back"
    STOPPED = "Stopped"
    NOTHING_NEW = "Nothing new"
    NOTHING_TO_WATCH = "Nothing to watch"
    REBUILT = "Rebuilt"
    """Made again, identical or by another processor."""
    DIFFERS = "Differs"
    """Made again, and another, or not to be made again."""
    NOTHING_TO_REBUILD = "Nothing to rebuild"
