"""Tasks of a search: a study of one commit, its trials side by side, and what is written down of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from tasks.records.registry import ledger
from tasks.records.repository.git import Git
from tasks.science.models.space import refuse_unknown_parameters
from tasks.science.stats.metrics import METRICS
from tasks.spec.base import digest_file, digest_json
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.gates import FairnessGate
from tasks.spec.ledger import EntryDraft, SearchedDetails
from tasks.spec.line import flat
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.requests import SearchRequest
from tasks.spec.search import Search, StudyRecord, Trial, corners, drawn, making
from tasks.spec.settings import Settings
from tasks.spec.sources import sources
from tasks.spec.wording import plural
from tasks.stages.common import ModelPaths
from tasks.studies import Point, Study, name_of, opened, refuse_other
from tasks.trials import TrainingRows, Trials, disparity_of, measured, training_rows, trying

NO_SEARCH = (
    "model.yaml of {model} has no part search, so there is nothing to try. Write one; docs/search.md shows an example."
)
SHOWN_EVERY = 10.0
"""Seconds between two looks of others at a study while it runs."""


@dataclass
class Searching:
    """A study that is open, the rows of its trials, the processes that fit them, and the run's budget."""

    config: ModelConfig
    study: Study
    data: TrainingRows
    trials: Trials
    until: float
    """By the monotonic clock."""
    most: int
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set where processes end since the run does: what they were at counts as interrupted."""
    tried: int = 0
    """Trials of this run that came to an end by themselves."""
    progress: UUID | None = None
    """The artifact that shows how far it is."""

    @property
    def search(self) -> Search:
        assert self.config.search is not None
        return self.config.search

    @property
    def gate(self) -> FairnessGate | None:
        """The gate whose measure is the second objective."""
        named = (g for g in self.config.gates if isinstance(g, FairnessGate) and g.name == self.search.fairness)
        return next(named, None)

    @property
    def time_over(self) -> bool:
        return time.monotonic() >= self.until


def searchable(worktree: Path, model: str) -> tuple[ModelConfig, Search]:
    """The configuration of a model, and what of it is searched.

    Raises:
        ConfigError: there is no ``search`` in model.yaml, or its space names what the estimators do not know.
    """
    config = load_model(worktree, model)
    if config.search is None:
        raise ConfigError(NO_SEARCH.format(model=model))
    refuse_unknown_parameters(config)
    return config, config.search


@contextmanager
def opened_search(worktree: Path, request: SearchRequest) -> Iterator[Searching]:
    """A search of a clean checkout whose rows are prepared.

    Raises:
        ConfigError: there is no ``search`` in model.yaml, its space does not fit, or the study is not to be had.
        CorruptionError: the study's file is damaged.
    """
    settings, paths = Settings(), ModelPaths(worktree, request.model)
    config, search = searchable(worktree, request.model)
    data = training_rows(paths, config, search.folds)
    asked = question(worktree, config, data)
    if request.study is not None:
        refuse_other(settings, asked, request.study)
    minutes = search.minutes if request.minutes is None else request.minutes
    until, most = time.monotonic() + 60 * minutes, search.trials if request.trials is None else request.trials
    with opened(settings, asked, search, making(config)) as study, trying(paths, data, search.parallel) as trials:
        refuse_unbuildable(config, trials)
        found = Searching(config, study, data, trials, until, most)
        try:
            yield found
        finally:
            found.stopping.set()  # before the processes end


def question(worktree: Path, config: ModelConfig, data: TrainingRows) -> StudyRecord:
    """What a study of this checkout asks, without trials; its name follows from it."""
    search = config.search
    assert search is not None
    gate = next((g for g in config.gates if g.name == search.fairness), None)
    judged = None if gate is None else gate.model_dump(mode="json", exclude={"name", "mandatory", "limit"})
    groups = {name: p.model_dump(mode="json") for name, p in config.protected.items()} if gate else {}
    space = [d.model_dump(mode="json") for d in search.space]
    asked = StudyRecord(
        study="",
        model=config.name,
        commit=Git(worktree).rev_parse("HEAD"),
        data=digest_file(ModelPaths(worktree, config.name).prepared / "train.parquet"),
        code=_code(worktree, config.name),
        space=digest_json([space, search.metric, judged, groups, search.folds, making(config)]),
        metric=search.metric,
        greater_is_better=METRICS[search.metric].greater_is_better,
        fairness=search.fairness,
        fairness_greater=isinstance(gate, FairnessGate) and gate.statistic == "ratio",
        folds=len(data.folds),
        folded=data.folded,
        rows=len(data.rows),
        trials=(),
    )
    return asked.model_copy(update={"study": name_of(asked)})


def _code(worktree: Path, model: str) -> str:
    """A digest of all code that makes the model, as ``dvc.yaml`` lists it."""
    listed = sources((worktree / "dvc.yaml").read_text(), model)
    own = f"deployments/models/{model}/code"
    code = sorted({path for path in listed if path.endswith((".py", ".lock"))} | {own})
    return digest_json(Git(worktree).lines("ls-tree", "-r", "HEAD", "--", *code))


def refuse_unbuildable(config: ModelConfig, trials: Trials) -> None:
    """Let the estimator of each kind be built once, apart, before any is fitted: a factory is the model's own code.

    Raises:
        ConfigError: one does not take its parameters.
    """
    assert config.search is not None
    if "custom" not in config.search.kinds(config.estimator.kind):
        return
    document = making(config)
    _, values = next(corners(config.search, document))
    trials.build(drawn(document, values))


def try_configurations(found: Searching, show: Callable[[Searching], None]) -> None:
    """Run trials side by side, each as a task, until the budget is used.

    Args:
        show: lets others see how far it is; called every few seconds, and at the end.
    """
    places, runs = threading.Semaphore(found.search.parallel), list[PrefectFuture[None]]()
    before, shown = found.study.tried, 0.0
    begun = False
    while not begun or any(not run.state.is_final() for run in runs):
        if time.monotonic() - shown > SHOWN_EVERY:
            show(found)
            shown = time.monotonic()
        begun = found.time_over or before + len(runs) >= found.most
        if begun:
            time.sleep(0.1)
        elif places.acquire(timeout=1):
            runs.append(try_one.submit(found, found.study.ask(), places.release))
    for run in runs:
        run.result()  # a trial that fails says so in its record; what is raised here is a fault of ours
    found.tried = found.study.tried - before
    show(found)


@task(cache_policy=NO_CACHE, task_run_name="trial {point.number}")
def try_one(found: Searching, point: Point, done: Callable[[], Any]) -> None:
    """Fit and measure one configuration, fold by fold, and write down what came of it."""
    try:
        attempt(found, point)
    finally:
        done()


def attempt(found: Searching, point: Point) -> None:
    """The same, without a task around it."""
    result = tried(found, point)
    if found.stopping.is_set() and result.state == "failed":
        return  # its process was ended with the run, which says nothing about the configuration
    found.study.finish(result)
    found.study.export()
    print(f"trial {point.number}: {sentence(found.study.asked, result)}")


def tried(found: Searching, point: Point) -> Trial:
    """What comes of one configuration."""
    if (same := found.study.same_as(point)) is not None:
        kept = same.model_dump(include={"metrics", "folds", "fairness"})
        return point.result("complete", **kept, said=f"the values of trial {same.number} were drawn again")
    scores: list[np.ndarray] = []
    values: list[dict[str, float]] = []
    objective = found.study.asked.metric
    try:
        for number in range(len(found.data.folds)):
            if found.time_over and number:
                return point.result("interrupted", said="the time of the run was over")
            scores.append(found.trials.scores(point.document, number))
            values.append(measured(found.data, point.document, number, scores[-1]))
            if objective not in values[-1]:
                raise ConfigError(f"{objective} has no value on fold {number + 1}, whose rows or scores do not give it")
            mean = float(np.mean([v[objective] for v in values]))
            last = number + 1 == len(found.data.folds)
            if not last and found.study.hopeless(point, number + 1, mean):
                return point.result("pruned", **_summed(found, values))
        gate = found.gate
        gap = None if gate is None else disparity_of(found.data, point.document, gate, scores)
    except (ConfigError, CorruptionError, ValueError, ArithmeticError) as error:
        return point.result("failed", said=flat(str(error))[:500])
    return point.result("complete", fairness=gap, **_summed(found, values))


def _summed(found: Searching, values: list[dict[str, float]]) -> dict[str, Any]:
    """Means over the folds, of metrics that each fold gives, and the objective of each."""
    shared = [name for name in values[0] if all(name in one for one in values)]
    metrics = {name: found.data.interval([one[name] for one in values]) for name in shared}
    return {"metrics": metrics, "folds": tuple(one[found.study.asked.metric] for one in values)}


def sentence(asked: StudyRecord, trial: Trial) -> str:
    """What came of a trial, in words."""
    if trial.state in ("failed", "interrupted"):
        return f"{trial.state}: {trial.said}"
    best = trial.metrics[asked.metric]
    between = "" if best.low is None else f" ({best.low:.4f} to {best.high:.4f})"
    gap = "" if trial.fairness is None else f", {asked.fairness} {trial.fairness.value:.4f}"
    return f"{trial.state}: {asked.metric} {best.value:.4f}{between}{gap} on {plural(len(trial.folds), 'fold')}"


def outcome(found: Searching) -> str:
    """What a run of a search came to, without its full stop."""
    record = found.study.record()
    front, states = record.front(), [t.state for t in record.trials]
    counted = ", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "failed") if s in states)
    said = f"study {record.study} of {record.model} has {plural(found.study.tried, 'trial')} ({counted or 'none'})"
    if not front:
        return f"{said}; none was completed"
    if record.fairness is None:
        return f"{said}; trial {front[0].number} is first: {sentence(record, front[0])}"
    numbers = ", ".join(str(t.number) for t in front)
    return f"{said}; between {record.metric} and {record.fairness} no other dominates {numbers}"


@task(cache_policy=NO_CACHE, task_run_name="enter the study in the ledger")
def record_search(found: Searching, request: SearchRequest) -> None:
    """Write down every trial of a study under one digest, where this run added any."""
    record = found.study.record()
    if not found.tried:
        return
    draft = EntryDraft(
        kind="monitored",
        model=record.model,
        commit=record.commit,
        actor=request.actor,
        reason=request.reason,
        sentence=outcome(found),
        evidence={"search": record.model_dump(mode="json")},
        details=SearchedDetails(study=record.study, trials=found.study.tried),
    )
    ledger.append(Settings(), draft)


def show_progress(found: Searching, key: str) -> None:
    """How much of the budget is used, as an artifact of the run in Prefect."""
    share = min(100.0, 100.0 * found.study.tried / found.most)
    if found.progress is None:
        said = f"{found.most} trials of study {found.study.asked.study}"
        made = create_progress_artifact(share, key=key, description=said)
        assert isinstance(made, UUID)
        found.progress = made
    else:
        update_progress_artifact(found.progress, share)
