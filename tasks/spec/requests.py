"""The parameters of each flow: one model per flow, and so one form in the Prefect UI."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.spec.models import Name

RunReason = Literal["person", "push", "schedule", "retrain", "monitor"]


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=True)

    model: Name = Field(description="The model, as listed in deployments/models.yaml.")
    reason: RunReason = Field("person", description="What asked for this run.")
    actor: str = Field("prefect-ui", min_length=1, max_length=100, description="Who asked for this run.")


class TrainingRequest(Request):
    revision: str = Field(
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


class RollbackRequest(Request):
    version: str | None = Field(
        None,
        pattern=r"^v\d+\.\d+\.\d+$",
        description="Version to return to; empty: the champion before the present one.",
    )
    because: str = Field("asked by hand", min_length=3, max_length=500, description="Why; it goes into the ledger.")


class StopRequest(Request):
    because: str = Field(
        "asked by hand", min_length=3, max_length=500, description="Why; clients are told, and it goes into the ledger."
    )


class PromotionRequest(Request):
    version: str = Field(pattern=r"^v\d+\.\d+\.\d+$", description="A registered version whose verdict passed.")
    because: str = Field("asked by hand", min_length=3, max_length=500, description="Why; it goes into the ledger.")


class ApprovalRequest(Request):
    commit: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        description="The candidate that waits for a signature; the ledger and the verdict page name it.",
    )
    signer: str = Field(min_length=3, max_length=100, description="Who signs, as in deployments/signers.")
    signature: str = Field(
        min_length=1,
        max_length=10_000,
        description="OpenSSH signature over the statement; 'assay approve' makes it and starts this flow.",
    )
    because: str = Field(
        min_length=3, max_length=500, description="Why; it is part of what is signed, and goes into the ledger."
    )
