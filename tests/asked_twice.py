"""A model whose holdout is any rows, and a real ledger of its candidates, for tests of what rows were asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.holdout_rows import rows_of
from tasks.holdouts import (
    asking,
)
from tasks.records.registry import ledger
from tasks.spec.data_record import DataRecord, SourceFile
from tasks.spec.evidence import HoldoutUse
from tasks.spec.ledger import EntryDraft, EntryKind, RejectedDetails, TrainedDetails
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.versions import Candidate
from tests.stages import worlds

FRESH = worlds.table(9000, seed=3)
NAMES = ("age", "hours", "job", "sex")


class Holdout:
    """A model in a checkout whose holdout is any rows, and a ledger that knows earlier candidates."""

    def __init__(self, settings: Settings, root: Path, **changes: Any) -> None:
        self.settings, self.tried = settings, 0
        config = worlds.document("binary") | {"holdout_budget": 4} | changes
        self.name = config["name"]
        self.paths: ModelPaths = worlds.write(root, config, worlds.table(20))
        self.paths.prepared.mkdir(parents=True)
        columns = self.config().data.columns
        self.source = pd.DataFrame({column.name: FRESH[column.original] for column in columns})
        self.source.to_parquet(self.paths.ingested, index=False)
        self.made_from("a" * 64)
        for side, rows in (("train", 0), ("replay", 0), ("holdout", 1000)):
            self.holds(range(rows), side=side)
        ledger.begin(settings)

    def holds(self, rows: Sequence[int], benchmark: str = "holdout", side: str = "holdout") -> None:
        known = [name for name in NAMES if name in self.source]
        table = self.source.iloc[list(rows)][known].assign(_label=True, _row=list(rows), _benchmark=benchmark)
        table.to_parquet(self.paths.prepared / f"{side}.parquet", index=False)

    def made_from(self, sha256: str) -> None:
        """What the stage ``prepare`` writes down of the source's file."""
        file = SourceFile(name="table.csv", sha256=sha256, size=1)
        self.paths.record.write_text(DataRecord(files=(file,), rows=9000, sides={}).model_dump_json())

    def candidate(self, model_digest: str = "sha256:new", commit: str = "f" * 40) -> Candidate:
        return Candidate(self.name, commit, "branch", self.paths.root, model_digest)

    def config(self) -> Any:
        return load_model(self.paths.root, self.name)

    def enter(self, kind: EntryKind, commit: str, actor: str, evidence: Any, details: Any = None) -> None:
        draft = EntryDraft(kind=kind, model=self.name, commit=commit, actor=actor, reason="push", sentence="told",
                           evidence=evidence, details=details)  # fmt: skip
        ledger.append(self.settings, draft)

    def trained(
        self, actor: str = "ann@example.org", told: bool = True, digest: str = "", fit: bool | None = None,
        commit: str = "",
    ) -> str:  # fmt: skip
        """Enter a candidate that was measured on the rows of now, and a verdict on it."""
        self.tried += 1
        commit = commit or hashlib.sha1(f"{self.name}{self.tried}".encode()).hexdigest()
        record = DataRecord.model_validate_json(self.paths.record.read_text()).model_dump(mode="json")
        evidence: dict[str, Any] = {"manifest": {"model_digest": digest or f"sha256:{self.tried}", "data": record}}
        if told:
            rows = rows_of(self.settings, self.paths, self.config())
            evidence["holdout"] = rows.model_dump(mode="json")
        self.enter("trained", commit, actor, evidence, TrainedDetails(base="a" * 40, branch="b"))
        if fit is True:
            self.enter("examined", commit, actor, {"verdict": self.tried})
        elif fit is False:
            self.enter("rejected", commit, actor, {"verdict": self.tried}, RejectedDetails(trained=True))
        return commit

    def use(self) -> HoldoutUse:
        return asking(self.settings, self.candidate()).use
