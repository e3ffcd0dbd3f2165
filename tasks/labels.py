"""Tasks around labels: whose outcomes may teach, and the rows of the log that they make a data version of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.asked import main_config
from tasks.records.log.predictions import PredictionLog
from tasks.records.log.reading import Told
from tasks.records.log.values import Label, same
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc
from tasks.records.repository.changes import collected_until
from tasks.records.repository.git import Git
from tasks.science.data.tables import LABEL, SOURCE
from tasks.serving.keys import KeyFile
from tasks.spec.columns import to_table
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings
from tasks.spec.training import load_training
from tasks.spec.watching import NO_KEY, Labels
from tasks.spec.wording import plural
from tasks.stages.common import ModelPaths

METADATA = b"assay"
"""Of the Parquet file of collected rows: the key of its counts."""
CONTESTED = "labelled differently by two sources"
OWN_ASKER = "asked about and labelled with one key"
STRANGE = "labelled by nobody whom labels.sources names"
BEYOND = "of {source} beyond its share of {share:.0%}"
NOBODY = (
    "labels.sources of model.yaml names nobody, so no outcome may teach. Name there the keys whose outcomes may, as "
    "assay keys list names them, on the main branch"
)


@dataclass(frozen=True)
class Sources:
    """Whose outcomes may teach a model: each sender's source, and since when a stolen key is not believed."""

    names: Mapping[str | None, str]
    until: Mapping[str | None, str | None]
    known: Mapping[str, str]
    """Names of all keys by their ids, to speak of those that may not."""

    @classmethod
    def of(cls, settings: Settings, policy: Labels) -> Sources:
        """By the model's config and the keys of this home.

        Raises:
            ConfigError: the list of keys cannot be read.
        """
        keys = KeyFile(settings.access_folder).keys()
        names: dict[str | None, str] = {key.id: key.name for key in keys.values() if key.name in policy.sources}
        if NO_KEY in policy.sources:
            names[None] = NO_KEY
        until = {sender: keys[sender].stolen if sender is not None else None for sender in names}
        return cls(names, until, {key.id: key.name for key in keys.values()})

    def source(self, told: Told) -> str | None:
        """Who labelled, where it may teach."""
        end = self.until.get(told.sender)
        return self.names.get(told.sender) if end is None or told.time < end else None

    def called(self, sender: str | None) -> str:
        """A sender in words."""
        return NO_KEY if sender is None else self.known.get(sender, f"key {sender}")


@dataclass(frozen=True)
class Taught:
    """The labels that may teach, and how many rows are left out by reason."""

    labels: dict[int, tuple[str, Label]]
    """Source and label by the prediction's position."""
    left_out: Counter[str]


@dataclass(frozen=True)
class Collected:
    """What was taken into a data version."""

    rows: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.rows > 0

    @property
    def sentence(self) -> str:
        """Who labelled how many, and what was left out."""
        by = ", ".join(
            f"{name} {n:,}" for name, n in sorted(self.sources.items(), key=lambda item: (-item[1], item[0]))
        )
        out = "; ".join(f"{n:,} {why}" for why, n in self.left_out.items())
        return f"labelled by {by}" + (f"; left out: {out}" if out else "")


def labels_policy(own: ModelConfig) -> Labels:
    """Whose outcomes may teach a model, as the main branch says it."""
    return (main_config(own.name) or own).labels


def count_taught(log: PredictionLog, settings: Settings, own: ModelConfig, after_seq: int) -> int:
    """How many predictions after a position have an outcome that may teach."""
    sources = Sources.of(settings, labels_policy(own))
    return log.count_taught(own.name, after_seq, sources.until)


def taught(told: Iterable[Told], sources: Sources, most_share: float, seed: int) -> Taught:
    """Choose among outcomes what may teach.

    Of a source, what it said last counts. Where two sources contradict each other about a row, neither is believed.
    Whoever asked about a row with the key that labels it could have made both up. A source that has more than its share
    beside others keeps as many rows as the share allows, drawn by a hash of the row's position and the seed.

    Args:
        told: by prediction, and of one in the order in which they came.
    """
    found: dict[int, tuple[str, Label]] = {}
    out = Counter[str]()
    for prediction, group in groupby(told, key=lambda each: each.prediction):
        outcomes = list(group)
        named = [(name, each) for each in outcomes if (name := sources.source(each)) is not None]
        kept = [(name, each) for name, each in named if each.asker is None or each.asker != each.sender]
        if not kept:
            out[OWN_ASKER if named else STRANGE] += 1
            continue
        last = {name: each.label for name, each in kept}
        first = kept[0][0]
        if any(not same(last[first], label) for label in last.values()):
            out[CONTESTED] += 1
        else:
            found[prediction] = first, last[first]
    _cap(found, out, most_share, seed)
    return Taught(found, out)


def _cap(found: dict[int, tuple[str, Label]], out: Counter[str], most_share: float, seed: int) -> None:
    counts = Counter(source for source, _ in found.values())
    if len(counts) < 2:  # beside nobody there is no share, and a person has to sign for what is learned
        return
    (largest, rows), others = counts.most_common(1)[0], sum(counts.values()) - counts.most_common(1)[0][1]
    allowed = int(others * most_share / (1 - most_share) + 1e-9)
    if rows <= allowed:
        return
    mine = sorted((p for p, (source, _) in found.items() if source == largest), key=lambda p: _place(p, seed))
    for prediction in mine[allowed:]:
        del found[prediction]
    out[BEYOND.format(source=largest, share=most_share)] += rows - allowed


def _place(position: int, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{position}".encode()).digest()


@task(cache_policy=NO_CACHE, task_run_name="collect labelled rows")
def collect_rows(worktree: Path, model: str) -> Collected:
    """Write the labelled rows of the prediction log that no data version holds yet as a new DVC-tracked file.

    Returns:
        What was taken in; nothing where a run before this one took in what is there, and no champion knows it yet.

    Raises:
        ConfigError: there is no new labelled row that may teach, or nobody's may.
    """
    paths, settings = ModelPaths(worktree, model), Settings()
    config = load_training(worktree, model)
    policy = (main_config(model) or load_model(worktree, model)).labels
    if not policy.sources:
        raise ConfigError(f"{NOBODY}.")
    sources = Sources.of(settings, policy)
    known = {path.name.removesuffix(".parquet.dvc") for path in paths.collected.glob("*.parquet.dvc")}
    after = max((int(name.split("-")[-1]) for name in known), default=0)
    with closing(PredictionLog(settings.log_database)) as log:
        told = log.told(model, after)
        chosen = taught(told, sources, policy.most_share, config.seed)
        rows = log.at(model, sorted(chosen.labels))
    if not chosen.labels:
        champion = Registry(settings).champion(model)
        if champion is not None and collected_until(Git(worktree), champion.commit, model) < after:
            return Collected()
        raise ConfigError(_nothing(model, after, told, sources, policy, chosen))
    last = int(rows["_seq"].max())
    label: Any = {"binary": bool, "multiclass": "str", "regression": float}[config.kind]
    of = [chosen.labels[seq] for seq in rows["_seq"]]
    table = to_table(config.inputs, rows).assign(
        **{
            LABEL: pd.Series([value for _, value in of], index=rows.index).astype(label),
            SOURCE: pd.Series([source for source, _ in of], index=rows.index, dtype="str"),
            "_id": rows["_id"].astype(str),
        }
    )
    path = paths.collected / f"rows-{after + 1:09d}-{last:09d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    done = Collected(len(table), dict(Counter(source for source, _ in of)), dict(chosen.left_out))
    _write(path, table, done)
    dvc.add(worktree, path)
    return done


def _write(path: Path, table: pd.DataFrame, done: Collected) -> None:
    """The rows, with the counts of what was left out beside them: that sources contradict each other is evidence."""
    whole = pa.Table.from_pandas(table, preserve_index=False)
    counts = {METADATA: json.dumps({"sources": done.sources, "left_out": done.left_out})}
    pq.write_table(whole.replace_schema_metadata({**(whole.schema.metadata or {}), **counts}), path)


def recorded(paths: ModelPaths, after: int = 0) -> Collected:
    """What a checkout's collected files say of who labelled their rows, and of what was left out.

    Args:
        after: a position of the log; files that end there or before are passed over.
    """
    sources, left_out = Counter[str](), Counter[str]()
    for path in paths.collected.glob("rows-*.parquet"):
        counts = (pq.read_schema(path).metadata or {}).get(METADATA)
        if counts and int(path.stem.split("-")[-1]) > after:
            found = json.loads(counts)
            sources.update(found["sources"])
            left_out.update(found["left_out"])
    return Collected(sources.total(), dict(sources), dict(left_out))


def _nothing(model: str, after: int, told: list[Told], sources: Sources, policy: Labels, chosen: Taught) -> str:
    """Why there is nothing to learn from, in words."""
    start = f"no labelled row of {model} came after row {after} of the log"
    if not told:
        return f"{start}; send outcomes to /models/{model}/outcomes first."
    by = Counter(sources.called(each.sender) for each in told)
    why = "; ".join(f"{plural(n, 'row')} {reason}" for reason, n in chosen.left_out.items())
    return (
        f"{start} that may teach: {why}. Outcomes came from {', '.join(f'{name} ({n:,})' for name, n in by.items())}; "
        f"labels.sources allows: {', '.join(policy.sources)}."
    )
