"""What the manifest says of a model by its config and its training rows."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import pandas as pd

from tasks.answering.background import recorded
from tasks.spec.data_record import DataRecord
from tasks.spec.manifest import Manifest
from tasks.spec.targets import BinaryTarget, RegressionTarget
from tasks.spec.training import TrainingConfig
from tasks.tables.typed import markers

LIBRARIES = ("scikit-learn", "numpy", "pandas", "scipy", "skops")
FOUND = ("libraries", "answering")
"""What only the process that trained knows: its libraries, and how far array code answers as its pipeline does."""


def described(
    config: TrainingConfig, rows: pd.DataFrame, record: DataRecord, trusted: tuple[str, ...], digest: str
) -> Manifest:
    """The manifest of a model, but for ``answering``.

    Args:
        rows: (n, columns) the training rows.
        record: what became of the source's rows.
        trusted: types that the model file may hold beside the repository's list.
        digest: of the model file.
    """
    return Manifest(
        model=config.name,
        title=config.title,
        model_digest=digest,
        features=config.features,
        inputs=tuple(
            c.model_copy(update={"missing": markers(c, config.data.source.reading)}).model_dump(mode="json")
            for c in config.inputs
        ),
        late=tuple(c.name for c in config.data.columns if c.available == "after"),
        kind=config.kind,
        decision_threshold=config.decision_threshold,
        classes=config.classes,
        **_of_target(config),
        seed=config.seed,
        trusted=trusted,
        trained_rows=len(rows),
        libraries={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        background=recorded([config.column(name) for name in config.features], rows),
        data=record,
    )


def other_than(manifest: Manifest, asked: Manifest) -> list[str]:
    """Fields of a manifest that are not as they are asked for, each in words."""
    found, wanted = (one.model_dump(mode="json", exclude=set(FOUND)) for one in (manifest, asked))
    return [
        f"{name} is {_said(found[name])} and not {_said(wanted[name])}"
        for name in wanted
        if found[name] != wanted[name]
    ]


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _of_target(config: TrainingConfig) -> dict[str, Any]:
    """The manifest's fields of the target: the names of the two classes, or the number's unit and bounds."""
    target = config.data.target
    if isinstance(target, BinaryTarget):
        return {"positive": target.positive, "negative": target.negative}
    return (
        {"unit": target.unit, "minimum": target.minimum, "maximum": target.maximum}
        if isinstance(target, RegressionTarget)
        else {}
    )
