"""Studies: Optuna's, each in an SQLite file of the home, held by one run at a time.

SQLite, and not Optuna's journal file: a torn line of a journal could not be read any more. What a process that dies
has half written to SQLite is rolled back by the next reader. Every change is one transaction, on disk before it counts.
No heartbeat is needed: the kernel takes the lock of a run that died, so trials that run when a study is opened have no
process any more.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tasks.records.pages.study import study_table
from tasks.spec.base import digest_json
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.search import (
    FEATURES,
    KIND,
    Choice,
    Number,
    Search,
    StudyRecord,
    Subset,
    Trial,
    Whole,
    configuration_digest,
    configured,
    drawn,
    staying,
)
from tasks.spec.settings import Settings

optuna.logging.disable_default_handler()  # what happens is told by the trials' own tasks
STARTING, WARMING = 5, 1
"""Finished trials before any is pruned, and folds of each that are not looked at: one fold is mostly chance."""
TELLING = 10
"""Finished trials below which nothing is said of what sets the best tenth apart."""
ASKED, VALUES, RESULT, AGAIN = "asked", "values", "result", "again"
"""Attributes of a study and of its trials."""
LEFT = "the run that tried it died or was stopped"


def name_of(asked: StudyRecord) -> str:
    """What a study is called: a digest of what makes its trials comparable."""
    return digest_json([asked.model, asked.space, asked.data, asked.code])[7:19]


def folder_of(settings: Settings, model: str) -> Path:
    return settings.home / "searches" / model


@dataclass(frozen=True)
class Point:
    """A configuration that is to be tried."""

    number: int
    values: dict[str, Any]
    document: dict[str, Any]
    """What makes the model, as a mapping."""
    seed: int
    commit: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def result(self, state: Any, **found: Any) -> Trial:
        """What came of it, as it is written down."""
        return Trial(
            number=self.number,
            state=state,
            values=self.values,
            configuration=configuration_digest(configured(self.document)),
            began=self.began.isoformat(timespec="seconds"),
            seconds=round((datetime.now(UTC) - self.began).total_seconds(), 3),
            seed=self.seed,
            commit=self.commit,
            **found,
        )


class Study:
    """A study that is open. Threads may share it.

    Args:
        asked: what it asks, without trials.
        document: what makes the model whose values are drawn anew.
    """

    def __init__(self, storage: Any, asked: StudyRecord, search: Search, document: Mapping[str, Any], path: Path):
        self.asked, self.search, self.document, self.path = asked, search, document, path
        self._alone, self._open = threading.RLock(), dict[int, optuna.Trial]()
        directions = [_direction(asked.greater_is_better)]
        directions += [] if asked.fairness is None else [_direction(asked.fairness_greater)]
        pruner = optuna.pruners.MedianPruner(STARTING, WARMING) if self.prunes else optuna.pruners.NopPruner()
        self._study = optuna.create_study(
            storage=storage, study_name=asked.study, directions=directions, pruner=pruner, load_if_exists=True
        )
        if ASKED not in self._study.user_attrs:
            self._study.set_user_attr(ASKED, asked.model_dump(mode="json"))
        self._take_over()

    @property
    def prunes(self) -> bool:
        return self.search.pruning and self.asked.fairness is None

    def _take_over(self) -> None:
        """End what runs that died have left; a result that was written down counts, the rest is tried once more."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            if RESULT in trial.user_attrs:
                self._tell(trial.number, Trial.model_validate_json(json.dumps(trial.user_attrs[RESULT])))
                continue
            self._study.tell(trial.number, state=TrialState.FAIL)
            if VALUES in trial.user_attrs and AGAIN not in trial.user_attrs:
                self._study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})

    @property
    def tried(self) -> int:
        """Trials that have come to an end by themselves."""
        with self._alone:
            return sum(RESULT in t.user_attrs for t in self._study.get_trials(deepcopy=False))

    def ask(self) -> Point:
        """The next configuration to try."""
        with self._alone, warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # a sampler that is made again begins its numbers again: each trial gets its own
            count = len(self._study.get_trials(deepcopy=False))
            self._study.sampler = _sampler(self.search.sampler, self.document["seed"] + count)
            trial = self._study.ask()
            values = self._draw(trial)
            trial.set_user_attr(VALUES, values)
            self._open[trial.number] = trial
        return Point(trial.number, values, drawn(self.document, values), self.document["seed"], self.asked.commit)

    def _draw(self, trial: optuna.Trial) -> dict[str, Any]:
        own = self.document["estimator"]["kind"]
        kinds = next((d for d in self.search.space if d.place == KIND), None)
        kind = own if kinds is None else _drawn(trial, kinds)
        values = {} if kinds is None else {KIND: kind}
        for d in self.search.dimensions(kind):
            values[d.place] = _drawn(trial, d)
            if isinstance(d, Subset):
                values[FEATURES] = staying(d, values[FEATURES], self.document["features"])
        return values

    def hopeless(self, point: Point, folds: int, mean: float) -> bool:
        """Whether a trial may end early, by its mean over its first folds."""
        with self._alone:
            if not self.prunes:
                return False
            trial = self._open[point.number]
            trial.report(mean, folds - 1)
            return trial.should_prune()

    def same_as(self, point: Point) -> Trial | None:
        """A finished trial of the same values."""
        return next((t for t in self.record().finished if t.values == point.values), None)

    def finish(self, result: Trial) -> None:
        """Write down what came of a trial; on disk when this returns."""
        with self._alone:
            if result.state != "interrupted":  # else the next run tries it again
                self._open[result.number].set_user_attr(RESULT, result.model_dump(mode="json"))
                self._tell(result.number, result)
            self._open.pop(result.number, None)

    def _tell(self, number: int, result: Trial) -> None:
        if result.state == "complete":
            values = [result.metrics[self.asked.metric].value]
            values += [] if result.fairness is None else [result.fairness.value]
            self._study.tell(number, values)
        else:
            state = TrialState.PRUNED if result.state == "pruned" else TrialState.FAIL
            self._study.tell(number, state=state)

    def record(self) -> StudyRecord:
        """All of it as it stands."""
        with self._alone:
            found = [self._of(t) for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        return self.asked.model_copy(update={"trials": tuple(t for t in found if t is not None)})

    def _of(self, trial: FrozenTrial) -> Trial | None:
        if RESULT in trial.user_attrs:
            return Trial.model_validate_json(json.dumps(trial.user_attrs[RESULT]))
        if trial.state == TrialState.RUNNING:
            return None
        begun, ended = trial.datetime_start, trial.datetime_complete
        return Trial(
            number=trial.number,
            state="interrupted",
            values=trial.user_attrs.get(VALUES, {}),
            configuration="",
            began="" if begun is None else begun.astimezone(UTC).isoformat(timespec="seconds"),
            seconds=round((ended - begun).total_seconds(), 3) if begun and ended else 0.0,
            seed=self.document["seed"],
            commit=self.asked.commit,
            said=LEFT,
        )

    def importance(self) -> dict[str, float]:
        """Share of each dimension in how far trials of the best tenth stand out (PED-ANOVA, Watanabe et al. 2023).

        Empty where there are fewer than :data:`TELLING` finished trials.
        """
        if len(self.record().finished) < TELLING:
            return {}
        with self._alone, warnings.catch_warnings(), suppress(ValueError, RuntimeError):
            warnings.simplefilter("ignore")
            target = None if self.asked.fairness is None else (lambda trial: trial.values[0])
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(), target=target)
            total = sum(found.values())
            return {name: value / total for name, value in found.items()} if total > 0 else {}
        return {}

    def export(self) -> Path:
        """Write the trials as a table beside the study, a row each, as CSV and as Parquet; gives the CSV."""
        found = study_table(self.record())
        file = self.path.with_suffix(".csv")
        for path, write in ((file, found.to_csv), (file.with_suffix(".parquet"), found.to_parquet)):
            draft = path.with_name(f".{path.name}")
            write(draft, index=False)  # type: ignore[operator]
            draft.replace(path)
        return file


@contextmanager
def opened(settings: Settings, asked: StudyRecord, search: Search, document: Mapping[str, Any]) -> Iterator[Study]:
    """A study of the home, made where it is new.

    Raises:
        ConfigError: another run holds it.
        CorruptionError: its file is damaged.
    """
    path = folder_of(settings, asked.model) / f"{asked.study}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            with _readable(path):
                url = settings.sqlite(f"searches/{asked.model}/{path.name}")
                storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
            try:
                with _readable(path):
                    study = Study(storage, asked, search, document, path)
                yield study
            finally:
                storage.remove_session()
                storage.engine.dispose()
    except Timeout:
        raise ConfigError(
            f"study {asked.study} of {asked.model} is at work in another run. Wait for its end, or cancel that run."
        ) from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ValueError) as error:
        first = (str(error.__cause__ or error).splitlines() or [""])[0]
        raise CorruptionError(
            f"{path} is no study that can be read ({first}). Move it aside and search again; what was entered in the "
            "ledger is still there."
        ) from None


def refuse_other(settings: Settings, asked: StudyRecord, named: str) -> None:
    """Hold a search to the study that was named.

    Raises:
        ConfigError: there is none of that name, or it asks something else; the message says what differs.
    """
    if named == asked.study:
        return
    folder = folder_of(settings, asked.model)
    known = sorted(p.stem for p in folder.glob("*.db"))
    if named not in known:
        raise ConfigError(f"{asked.model} has no study {named!r}; it has {', '.join(known) or 'none yet'}.")
    with _readable(folder / f"{named}.db"):
        storage = optuna.storages.RDBStorage(settings.sqlite(f"searches/{asked.model}/{named}.db"))
        try:
            there = optuna.load_study(study_name=named, storage=storage).user_attrs.get(ASKED, {})
        finally:
            storage.remove_session()
            storage.engine.dispose()
    differs = {"space": "what is searched", "data": "the training rows", "code": "the code that trains"}
    other = [said for key, said in differs.items() if there.get(key) != getattr(asked, key)]
    raise ConfigError(
        f"study {named} of {asked.model} cannot go on: {' and '.join(other) or 'what it asks'} changed since. Search "
        f"without --study, which begins study {asked.study}; the trials of {named} stay."
    )


def _direction(greater: bool) -> Literal["maximize", "minimize"]:
    return "maximize" if greater else "minimize"


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's; the numbers of the space are drawn together, and those of each kind of estimator by themselves."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)


def _drawn(trial: optuna.Trial, dimension: Choice | Number | Whole | Subset) -> Any:
    """A value; what Optuna cannot hold as a choice, such as a list of layers, it holds as JSON."""
    match dimension:
        case Choice():
            return json.loads(trial.suggest_categorical(dimension.name, [json.dumps(v) for v in dimension.of]))
        case Number():
            return trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.log)
        case Whole():
            return trial.suggest_int(dimension.name, dimension.low, dimension.high, log=dimension.log)
        case Subset():
            names = dimension.of
            return [n for n in names if trial.suggest_categorical(f"{dimension.name}: {n}", [True, False])]
