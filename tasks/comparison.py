"""Two versions, candidates or commits of a model side by side: what changed, and what it did on the same rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tasks.answering.outline import Layer, layer_changes, layers, outline
from tasks.apart import model_apart
from tasks.asked import sealed
from tasks.holdout_rows import note_shown
from tasks.holdouts import refuse_shown
from tasks.records.registry import ledger
from tasks.records.registry.candidates import candidates
from tasks.records.registry.state import state
from tasks.records.repository import dvc, workspace
from tasks.records.repository.declared import differing, stage
from tasks.records.repository.differences import STAGES, Difference, differences
from tasks.records.repository.objects import Objects
from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import BENCHMARK, ENTITY, LABEL, ROW, WEIGHT, label_array
from tasks.science.examination.side_by_side import (
    Effect,
    Flips,
    GroupEffects,
    Sides,
    flips,
    group_effects,
    metric_effects,
)
from tasks.science.monitors.drift.tables import ColumnChange, Rows, column_changes, row_changes, unseen
from tasks.science.stats.counts import MINIMUM
from tasks.spec.base import load_registered, parse_yaml, registered_document
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import CheckoutError, ConfigError, CorruptionError, StageError
from tasks.spec.ledger import ForgottenDetails
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_file, model_folder
from tasks.spec.settings import ROOT, Settings
from tasks.spec.wording import plural
from tasks.stages.common import ModelPaths

VERSION = re.compile(r"v\d+\.\d+\.\d+")
SIDES = ("train", "holdout", "replay")
SIDE, OWN = "_side", (ROW, BENCHMARK, ENTITY, WEIGHT, "_side")
"""Columns of prepared tables that the stages add beside inputs and label."""

OF_LAYERS = ("estimator.hidden_layer_sizes", "estimator.activation")
"""Parameters of two networks that are told layer by layer."""


@dataclass(frozen=True)
class Side:
    """One of the two."""

    asked: str
    commit: str
    version: str | None
    trained: bool
    """Whether the commit holds what a training made."""

    @property
    def name(self) -> str:
        return self.version or self.commit[:12]


@dataclass(frozen=True)
class Data:
    rows: Rows
    columns: tuple[ColumnChange, ...]
    entity: str = ""
    """How the config calls the column by which rows are matched."""


@dataclass(frozen=True)
class Effects:
    """What the newer one does otherwise, on rows of its holdout that neither was trained on."""

    rows: int
    left_out: int
    """Rows of that holdout on which the older one was trained."""
    kind: str
    unit: str
    thresholds: tuple[float | None, float | None]
    metrics: tuple[Effect, ...]
    groups: tuple[GroupEffects, ...]
    flips: Flips | None


@dataclass(frozen=True)
class Networks:
    """Layers and losses of both; empty or None of one that has none."""

    layers: tuple[list[Layer], list[Layer]]
    changes: tuple[str, ...]
    """Of the layers, a line each; none where one of the two is no network."""
    epochs: tuple[dict[str, Any] | None, dict[str, Any] | None]
    """Fields of :class:`tasks.spec.estimator.Epochs`."""


@dataclass(frozen=True)
class Comparison:
    model: str
    title: str
    old: Side
    new: Side
    changed: Difference
    pipeline: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Steps and their parameters, as the two model files say them."""
    features: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Added and removed."""
    seeds: tuple[int | None, int | None] = (None, None)
    data: Data | None = None
    effects: Effects | None = None
    network: Networks | None = None
    """Where one of them is a network at least."""
    importance: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By feature, the share of the attribution that each gives it."""
    unknown: tuple[str, ...] = ()
    """What could not be compared, and why, a sentence each."""


def compare(settings: Settings, model: str, old: str, new: str) -> Comparison:
    """Compare two of a model's versions (``v1.0.0``), candidates or commits.

    Raises:
        ConfigError: there is no such model or version.
        CheckoutError: there is no such commit, or the clone lacks it.
        CorruptionError: the ledger proves nothing.
        UnreachableError: the origin does not answer.
    """
    sides = [side_of(settings, model, name) for name in (old, new)]
    objects = Objects(workspace.ensure_clone(settings, tags=False))
    lost = objects.lacking(side.commit for side in sides)
    if lost:
        raise CheckoutError(
            f"the clone has no commit {min(lost)[:12]}, so the origin was truncated or has lost it. Complete the "
            "origin: git fetch --unshallow"
        )
    pair = (sides[0].commit, sides[1].commit)
    found = differences(objects, model, [pair])[pair]
    base = Comparison(model, model, sides[0], sides[1], found)
    untrained = [side.name for side in sides if not side.trained]
    if untrained:
        said = f"nothing was trained from {' and '.join(untrained)}, so what it did cannot be shown; train it with: " \
               f"assay train {model} --revision {untrained[0]}"  # fmt: skip
        return _with(base, declared(objects, model, sides), unknown=(said,))
    try:
        with _restored(settings, model, sides[0]) as one, _restored(settings, model, sides[1]) as other:
            strange = _uncounted(settings, model, sides)
            for side, paths in zip(sides, (one, other), strict=True):
                if side in strange:
                    refuse_shown(settings, paths, _config(paths))
            told = _laid_open(base, one, other)
            if strange and told.effects is not None:
                files = [file.sha256 for file in DataRecord.model_validate_json(other.record.read_text()).files]
                holdout = pd.read_parquet(other.prepared / "holdout.parquet")
                note_shown(settings, model, _config(other), holdout, files, len(strange))
            return told
    except (CorruptionError, StageError, OSError) as error:
        return _with(base, declared(objects, model, sides), unknown=(_why(settings, model, sides, error),))


def _uncounted(settings: Settings, model: str, sides: Sequence[Side]) -> list[Side]:
    """Those that no entry tells of: somebody wrote the lock file that says they were trained."""
    entries, _ = ledger.counting(settings)
    known = {told.commit for told in candidates(entries, model)}
    return [side for side in sides if side.commit not in known]


def side_of(settings: Settings, model: str, name: str) -> Side:
    """What a name stands for: a version, a candidate's commit, or a commit or branch; of a pushed commit the candidate
    that was trained from it last.

    Raises:
        ConfigError: there is no such model or version.
        CheckoutError: there is no such commit.
    """
    git = workspace.ensure_clone(settings)
    now = state(settings)
    tags = {known.commit: tag for tag, known in now.of(model).versions.items()}
    if VERSION.fullmatch(name):
        if name not in now.of(model).versions:
            if not now.of(model).versions:
                model_file(ROOT, model)
            known = ", ".join(now.of(model).versions) or "no version"
            raise ConfigError(f"the ledger knows no {model} {name}; it knows {known}.")
        commit = now.of(model).versions[name].commit
    else:
        commit = workspace.resolve(git, name)
    objects = Objects(git)
    if objects.lacking([commit]):
        return Side(name, commit, tags.get(commit), True)
    if f"deployments/models/{model}/model.yaml" not in objects.tree(commit):
        raise ConfigError(f"commit {commit[:12]} has no model {model!r}; name a commit that has its model.yaml.")
    if not _trained(objects, model, commit):
        entries, _ = ledger.counting(settings)
        of_it = [told.commit for told in candidates(entries, model) if told.base == commit and told.trained_evidence]
        commit = of_it[-1] if of_it and not objects.lacking(of_it[-1:]) else commit
    return Side(name, commit, tags.get(commit), _trained(objects, model, commit))


def _trained(objects: Objects, model: str, commit: str) -> bool:
    return bool(stage(objects.text(objects.tree(commit).get(STAGES)), f"evaluate@{model}"))


@contextmanager
def _restored(settings: Settings, model: str, side: Side) -> Iterator[ModelPaths]:
    """The files of one side, from the cache, its remote, or made anew."""
    with workspace.worktree(settings, side.commit) as tree:
        dvc.restore(tree, f"prepare@{model}", f"train@{model}", f"evaluate@{model}")
        yield ModelPaths(tree, model)


def _why(settings: Settings, model: str, sides: Sequence[Side], error: Exception) -> str:
    """Why files could not be had; where forgotten rows are the cause, that comes first."""
    entries, _ = ledger.counting(settings)
    gone = [
        f"{side.version} learned from rows that were forgotten (entry {entry.sequence} of the ledger), and is not "
        "rebuilt from what remains"
        for side in sides
        for entry in entries
        if entry.model == model and isinstance(entry.read, ForgottenDetails) and side.version in entry.read.learned
    ]
    said = "what it did cannot be shown, since the files of both could not be had"
    return f"{said}: {'; '.join([*dict.fromkeys(gone), str(error).rstrip('.')])}"


def declared(objects: Objects, model: str, sides: Sequence[Side]) -> list[ModelConfig | None]:
    """Both configurations as their commits have them; None of one that cannot be read."""
    found: list[ModelConfig | None] = []
    for side in sides:
        blob = objects.tree(side.commit).get(f"deployments/models/{model}/model.yaml")
        found.append(_parsed(objects.text(blob), f"model.yaml of {side.name}"))
    return found


def _parsed(text: str, source: str) -> ModelConfig | None:
    try:
        return registered_document(parse_yaml(text, source), ModelConfig, source)
    except ConfigError:
        return None


def _with(base: Comparison, configs: Sequence[ModelConfig | None], **more: Any) -> Comparison:
    """The same comparison with what the configurations say."""
    old, new = configs
    before, after = (set(c.features) if c else set() for c in (old, new))
    features = (
        tuple(f for f in (new.features if new else ()) if f not in before),
        tuple(f for f in (old.features if old else ()) if f not in after),
    )
    known: dict[str, Any] = base.__dict__ | {
        "title": new.title if new else base.title,
        "features": features if old and new else ((), ()),
        "seeds": (old.seed if old else None, new.seed if new else None),
    }
    return Comparison(**{**known, **more})


def _laid_open(base: Comparison, old: ModelPaths, new: ModelPaths) -> Comparison:
    """What the files of both say."""
    configs = [_config(paths) for paths in (old, new)]
    tables = [_tables(paths) for paths in (old, new)]
    pipeline = differing(*(outline(paths.model / "model.skops") for paths in (old, new)))
    network = _networks(old, new)
    if network is not None and all(network.layers):
        pipeline = {key: values for key, values in pipeline.items() if key not in OF_LAYERS}
    effects, unknown = _effects(old, new, configs, tables)
    found = {"data": _data(configs, tables), "network": network, "importance": _importance(old, new)}
    return _with(base, configs, pipeline=pipeline, effects=effects, unknown=unknown, **found)


def _config(paths: ModelPaths) -> ModelConfig:
    return load_registered(model_folder(paths.root, paths.name) / "model.yaml", ModelConfig)


def _networks(old: ModelPaths, new: ModelPaths) -> Networks | None:
    """By the arrays of both model files, so that the layers of one from before the losses were kept are there too."""
    one, other = (layers(paths.model / "model.skops") for paths in (old, new))
    if not one and not other:
        return None
    runs = [None if epochs is None else epochs.model_dump(mode="json") for epochs in (old.epochs(), new.epochs())]
    return Networks((one, other), tuple(layer_changes(one, other)), (runs[0], runs[1]))


def _tables(paths: ModelPaths) -> dict[str, pd.DataFrame]:
    return {side: pd.read_parquet(paths.prepared / f"{side}.parquet") for side in SIDES}


def _data(configs: Sequence[ModelConfig], tables: Sequence[dict[str, pd.DataFrame]]) -> Data:
    old, new = (pd.concat([t.assign(**{SIDE: side}) for side, t in found.items()]) for found in tables)
    config = configs[1]
    keys = [ENTITY] * (config.data.entity is not None) + [config.data.period] * (config.data.period is not None)
    rows = row_changes(old, new, [str(key) for key in keys] if config.data.entity else [], SIDE, OWN)
    old, new = (table.rename(columns={LABEL: "label"}) if "label" not in table else table for table in (old, new))
    names = list(dict.fromkeys(str(c) for table in (old, new) for c in table if c not in OWN))
    return Data(rows, tuple(column_changes(old, new, names)), config.data.entity or "")


def _importance(old: ModelPaths, new: ModelPaths) -> dict[str, tuple[float, float]]:
    one, other = (json.loads((p.evaluation / "evaluation.json").read_text())["importance"] for p in (old, new))
    names = dict.fromkeys([*other, *one])
    return {name: (one.get(name, 0.0), other.get(name, 0.0)) for name in names}


def _effects(
    old: ModelPaths, new: ModelPaths, configs: Sequence[ModelConfig], tables: Sequence[dict[str, pd.DataFrame]]
) -> tuple[Effects | None, tuple[str, ...]]:
    """Both on the same rows; or why they cannot be compared."""
    config, holdout = configs[1], tables[1]["holdout"]
    other = _other_question(configs)
    if other:
        return None, (f"they cannot be compared on the same rows: {other}",)
    if any(sealed(one) for one in configs):  # the newer rows may be those that the older one keeps to itself
        return None, ("the holdout is sealed, so nothing that is measured on it is shown",)
    fresh = unseen(holdout, tables[0]["train"], ENTITY, OWN)
    rows = holdout[fresh].reset_index(drop=True)
    if len(rows) < MINIMUM:
        were = "was" if len(rows) == 1 else "were"
        said = (
            f"{plural(len(rows), 'row')} of the newer holdout {were} seen by neither in training, and at least "
            f"{MINIMUM} are needed to compare what they do"
        )
        return None, (said,)
    scores = []
    for paths in (old, new):
        with model_apart(paths.model, model_folder(paths.root, paths.name) / "code") as release:
            if not release.fits(rows):
                lacking = sorted(set(release.manifest.features) - set(rows))
                return None, (f"the older one asks for columns that the newer data do not have: {', '.join(lacking)}",)
            scores.append(release.score(rows))
    limits = tuple(c.data.target.decision_threshold for c in configs)
    sides = Sides(
        kind=config.kind,
        classes=config.classes,
        label=label_array(config, rows[LABEL]),
        old=scores[0],
        new=scores[1],
        old_threshold=limits[0],
        new_threshold=limits[1],
        groups=protected_groups(config, rows),
        entity=rows[ENTITY].to_numpy(object) if ENTITY in rows else None,
        seed=config.seed,
    )
    found = Effects(
        rows=len(rows),
        left_out=len(holdout) - len(rows),
        kind=config.kind,
        unit=getattr(config.data.target, "unit", ""),
        thresholds=(limits[0], limits[1]),
        metrics=tuple(metric_effects(sides)),
        groups=tuple(group_effects(sides)),
        flips=flips(sides),
    )
    return found, ()


def _other_question(configs: Sequence[ModelConfig]) -> str:
    """Whether the two predict something else, in words; the threshold is the model's choice."""
    plain = [c.data.target.model_copy(update={"decision_threshold": None}) for c in configs]
    if plain[0] != plain[1]:
        return "data.target is another one, so each answers a question of its own"
    return ""
