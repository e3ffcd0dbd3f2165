"""Configurations that are fitted and scored apart, on training rows alone, and measured here.

A trial runs what a candidate brings, as training does, so it runs where training runs
(:mod:`tasks.records.repository.sandbox`), by the code of the same commit. It is let to the training rows, and to no
others. What comes back are scores: what they are worth, our own code says.
"""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.apart import ProcessApart
from tasks.records.repository import sandbox
from tasks.records.repository.modules import importable
from tasks.science.data.protected import protected_groups
from tasks.science.data.splitting import period_order
from tasks.science.data.tables import ENTITY, LABEL, label_array
from tasks.science.examination.examination import Examination
from tasks.science.gates.fairness import fairness
from tasks.science.stats.clusters import numbered
from tasks.science.stats.folds import Fold, by_chance, by_class, by_owner, corrected_interval, forward
from tasks.science.stats.metrics import METRICS
from tasks.spec.errors import ConfigError
from tasks.spec.gates import FairnessGate
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.model import ModelConfig
from tasks.spec.search import Estimate, Folded, configured
from tasks.spec.settings import Settings
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths

SECONDS = 3600
"""For one fit, as for a stage."""
WORKER = "tasks/stages/trial.py"


@dataclass(frozen=True)
class TrainingRows:
    """The rows that a study sees, parted into folds."""

    config: ModelConfig
    rows: pd.DataFrame
    label: np.ndarray
    folds: list[Fold]
    folded: Folded

    def interval(self, values: list[float]) -> Estimate:
        """The mean over the first folds, with Nadeau and Bengio's interval where there are two or more."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return Estimate(value=mean)
        low, high = corrected_interval(np.array(values), self.folds[: len(values)])
        return Estimate(value=mean, low=low, high=high)


def training_rows(paths: ModelPaths, config: ModelConfig, count: int) -> TrainingRows:
    """Part the training rows as ``data.split`` parts all rows: in order of time, by entity, or at random.

    Raises:
        ConfigError: there are too few rows, entities or moments for a fold.
    """
    rows = paths.table(paths.prepared / "train.parquet", "prepare", (*config.features, LABEL))
    label = label_array(config, rows[LABEL])
    owner = numbered(rows[ENTITY].to_numpy()) if ENTITY in rows else None
    seed, by_time = config.seed, config.data.split.by == "time"
    if by_time:
        when = period_order(config, rows[str(config.data.period)]).to_numpy(float)
        if np.isnan(when).any():
            raise ConfigError(
                f"data.period is missing in {int(np.isnan(when).sum()):,} training rows of {config.name}, so they have "
                "no place in time. Fill the column, or leave such rows out in data.rows."
            )
        if folds := forward(when, count, owner):
            return TrainingRows(config, rows, label, _usable(config, folds), "time")
        raise ConfigError(
            f"the training rows of {config.name} are of fewer than three moments, so that no later one can be "
            "predicted twice. Give data.period finer values, or split by hash."
        )
    folded: Folded = "entities" if owner is not None else "chance" if config.kind == "regression" else "classes"
    smallest = len(np.unique(owner)) if owner is not None else _smallest(config, label)
    if smallest < count:
        what = {"entities": "entities", "chance": "rows"}.get(folded, "rows of the rarest class")
        raise ConfigError(
            f"the training rows of {config.name} hold {smallest} {what}, and search.folds asks for {count} folds. Ask "
            "for fewer, or bring more."
        )
    if owner is not None:
        return TrainingRows(config, rows, label, by_owner(owner, count, seed), folded)
    folds = by_chance(len(rows), count, seed) if folded == "chance" else by_class(label, count, seed)
    return TrainingRows(config, rows, label, folds, folded)


def _smallest(config: TrainingConfig, label: np.ndarray) -> int:
    if config.kind == "regression":
        return len(label)
    return int(np.unique(label, return_counts=True)[1].min())


def _usable(config: ModelConfig, folds: list[Fold]) -> list[Fold]:
    """Folds of time, each of which has to leave something to learn from."""
    if any(not len(fold.learned) for fold in folds):
        raise ConfigError(
            f"every entity of {config.name} is there at every time, so that nothing is left to learn from before a "
            "later part. Split by hash, which parts entities."
        )
    return folds


class Trials:
    """Processes that fit and score, side by side.

    Args:
        paths: of a clean checkout whose rows are prepared.
        count: of processes.
    """

    def __init__(self, paths: ModelPaths, data: TrainingRows, count: int) -> None:
        self.paths, self.data = paths, data
        self._free: queue.Queue[ProcessApart | None] = queue.Queue()
        self._all = set[ProcessApart]()
        for _ in range(count):
            self._free.put(None)  # started when first needed
        self._threads = max(1, (os.cpu_count() or 1) // count)

    def build(self, document: Mapping[str, Any]) -> None:
        """Let the estimator of a configuration be built, not fitted.

        Raises:
            ConfigError: it does not take its parameters.
        """
        with self._lane() as process:
            process.asked("build", [], 0, config=dict(document))

    def scores(self, document: Mapping[str, Any], number: int) -> np.ndarray:
        """Scores of the rows of one fold by a model of those that the fold may learn from.

        Raises:
            ConfigError: it cannot be fitted.
            CorruptionError: the process ended, or gave what are no scores.
        """
        fold = self.data.folds[number]
        parts = [np.ascontiguousarray(a, "<i8").tobytes() for a in (fold.learned, fold.predicted)]
        classes, rows = self.data.config.classes, len(fold.predicted)
        with self._lane() as process:
            _, (found,) = process.asked("fit", parts, 1, config=dict(document))
            return process.shaped(found, (rows, len(classes)) if classes else (rows,))

    @contextmanager
    def _lane(self) -> Iterator[ProcessApart]:
        process = self._free.get()
        try:
            if process is None or process.ended:
                process = self._started()
            yield process
        finally:
            self._free.put(process)

    def _started(self) -> ProcessApart:
        process = ProcessApart(f"a trial of {self.paths.name}", self._command(), SECONDS)
        self._all.add(process)
        return process

    @contextmanager
    def _command(self) -> Iterator[list[str]]:
        root, name = self.paths.root, self.paths.name
        if not (root / WORKER).exists():
            raise ConfigError(
                f"the commit holds no {WORKER}, so its code is older than searches. Name a newer one by --revision."
            )
        seen = [root / "tasks", root / "deployments", self.paths.prepared / "train.parquet"]
        with importable(root) as (modules, path):
            own = path | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(self._threads))}
            with sandbox.apart([], [modules, *seen], environment=own) as words:
                yield [*words, sys.executable, "-P", "-m", "tasks.stages.trial", str(root), name, str(SECONDS)]

    def close(self) -> None:
        for process in self._all:
            with suppress(OSError):
                process.close()


@contextmanager
def trying(paths: ModelPaths, data: TrainingRows, count: int) -> Iterator[Trials]:
    """Processes for the time of a block.

    Raises:
        ConfigError: the installation asks for more isolation than this machine gives.
    """
    sandbox.require(Settings())
    trials = Trials(paths, data, count)
    try:
        yield trials
    finally:
        trials.close()


def measured(data: TrainingRows, document: Mapping[str, Any], number: int, scores: np.ndarray) -> dict[str, float]:
    """Every metric of a kind of model on one fold; those that its rows do not give are left out."""
    config, rows = configured(document), data.folds[number].predicted
    label = data.label[rows]
    found = {m: METRICS[m].compute(label, scores, config.threshold) for m in METRIC_NAMES[config.kind]}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def disparity_of(
    data: TrainingRows, document: Mapping[str, Any], gate: FairnessGate, scores: list[np.ndarray]
) -> Estimate:
    """The measure of a fairness gate on all rows that were predicted, each by a model that never saw it.

    Raises:
        ConfigError: the gate does not judge these rows; the message is the gate's reason.
    """
    config = configured(document)
    at = np.concatenate([fold.predicted for fold in data.folds])
    rows, score = data.rows.iloc[at].reset_index(drop=True), np.concatenate(scores)
    examined = Examination(
        rows=rows, label=data.label[at], score=score, champion_score=None, benchmark=np.full(len(at), "train"),
        groups=protected_groups(data.config, rows), attributions=pd.DataFrame(), predict=_nobody_asks,
        features=config.features, decision_threshold=config.threshold, seed=config.seed, rules=None, data_check=None,
        kind=config.kind, classes=config.classes, config=data.config,
        entity=rows[ENTITY].to_numpy() if ENTITY in rows else None,
    )  # fmt: skip
    found = fairness(gate, examined)
    told = next((m for m in found.measurements if m.quantity == f"{gate.measure} {gate.statistic}"), None)
    if told is None or told.value is None:
        raise ConfigError(f"gate {gate.name} does not judge the training rows: {found.reason}.")
    return Estimate(value=told.value, low=told.low, high=told.high)


def _nobody_asks(rows: pd.DataFrame) -> np.ndarray:
    raise NotImplementedError  # fairness looks at scores that are there
