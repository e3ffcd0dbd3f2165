"""The documents beside a model file: its manifest, and the pointer to the version that serves.

They stand apart from verdicts and findings, so that a change there does not retrain any model.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from pydantic import Field

from tasks.spec.base import REGISTERED, Spec
from tasks.spec.data import Column
from tasks.spec.data_record import DataRecord
from tasks.spec.metrics import TargetKind
from tasks.spec.models import Name


class AnsweringProof(Spec):
    """How far training compared the model's array code with scikit-learn's pipeline, bit for bit."""

    compiled: bool
    """Whether array code may answer; it never differed."""
    why: str = ""
    """Why it may not, where it may not."""
    known: str = ""
    """sha256 of the pipeline's scores of the generated rows, which every service makes again."""
    recorded: int = 0
    """Rows of requests.json."""
    generated: int = 0
    """Rows drawn from the model's own thresholds, names and gaps, each asked alone."""
    edges: int = 0
    """Rows at the edges of every threshold of every tree."""


class ColumnBackground(Spec):
    """What a decision is compared with in one column: shares of all training rows, and no row of anybody."""

    values: tuple[float | str | None, ...]
    """Equally likely values in table form, None for missing: of quantities the quantiles."""
    steps: tuple[float | str, ...] = ()
    """To which values a reason may name a change: rounded quantiles, or names in the order of how many have them."""


class Manifest(Spec):
    """``manifest.json`` beside ``model.skops``: what the service must know to answer."""

    model: Name
    """Of whoever asks: it becomes part of paths."""
    title: str
    model_digest: str
    """sha256 of model.skops."""
    features: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...]
    """The input columns, each as a dumped ``Column``.

    ``missing`` holds the source's markers too, as a request writes them; before 2026-11-29 the column's own alone.
    """
    late: tuple[str, ...] = ()
    """Columns of the source that are ``available: after``; a request that holds one is told so."""
    kind: TargetKind = "binary"
    decision_threshold: float | None
    positive: str = ""
    negative: str = ""
    classes: tuple[str, ...] = ()
    """Multiclass: in the order of the scores."""
    unit: str = ""
    """Regression: of the score."""
    minimum: float | None = None
    maximum: float | None = None
    """Regression: what an outcome can be."""
    seed: int
    trained_rows: int
    libraries: dict[str, str]
    trusted: tuple[str, ...] = ()
    """Classes beyond the repository's list that the model file may hold, from the model's ``code/trusted.yaml``."""
    answering: AnsweringProof | None = None
    """Manifests of earlier releases have none; what training compares is then compared at each load."""
    background: dict[str, ColumnBackground] | None = None
    """By feature, what explanations compare a row with; manifests of earlier releases have none."""
    data: DataRecord | None = None
    """The files that the rows came from, and what became of the rows; manifests before 2026-11-29 have none."""

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """``inputs`` as declarations."""
        return tuple(Column.model_validate_json(json.dumps(column), context=REGISTERED) for column in self.inputs)


class Pointer(Spec):
    """``champion.json``: which version serves, and the digests of the files that were meant."""

    version: str = Field(pattern=r"^v[0-9][0-9A-Za-z.+-]*$")
    model_digest: str
    """sha256 of model.skops."""
    manifest_digest: str
    """sha256 of manifest.json, which holds the decision threshold."""
    assigned: str
    stopped: str = ""
    """Why it may not answer, in a sentence; empty while it may."""
    model: str = ""
    height: int = 0
    """Sequence of the ledger's entry that decided this; ``entry`` is its digest."""
    entry: str = ""
    signature: str = ""
    """Of an examiner, armoured; empty in pointers before 2026-11-29."""

    def signed(self) -> dict[str, Any]:
        """What the signature covers: everything but itself."""
        return self.model_dump(mode="json", exclude={"signature"})
