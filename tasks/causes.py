"""Which change moved a metric from one version to another: what each does, with and without the others.

Code, data, parameters and environment are mixed as far as the two versions differ in them. Each mix is trained by the
stages of its own code, with several seeds that all mixes share, and answers the same rows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tasks.apart import model_apart
from tasks.asked import sealed
from tasks.comparison import OWN, Side, declared, side_of
from tasks.holdout_rows import note_shown
from tasks.holdouts import refuse_shown
from tasks.rebuilding import Environments
from tasks.records.repository import dvc, lockfile, workspace
from tasks.records.repository.mixed import Mixing, Part
from tasks.records.repository.objects import Objects
from tasks.records.repository.temporary import own_folder
from tasks.science.data.tables import BENCHMARK, ENTITY, LABEL, ROW, label_array
from tasks.science.examination.causes import Attribution, World, attributed
from tasks.science.examination.side_by_side import DECIDED
from tasks.science.monitors.drift.tables import unseen
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.shapley import subsets
from tasks.spec.base import load_registered, read_yaml, registered_document
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import AssayError, ConfigError, StageError, UnreachableError
from tasks.spec.gates import ComparisonGate
from tasks.spec.line import flat
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.spec.training import NOT_OF_TRAINING, TrainingConfig
from tasks.spec.wording import plural
from tasks.stages.common import ModelPaths

SEEDS, MOST_SEEDS, HOLDOUT = 5, 50, "holdout"
TOGETHER: tuple[tuple[Part, Part], ...] = (
    ("code", "parameters"), ("code", "environment"), ("data", "parameters"), ("code", "data"),
    ("parameters", "environment"), ("data", "environment"),
)  # fmt: skip
"""Which two parts are taken as one where a mix of them cannot be trained, the likeliest first: newer code often asks
for newer parameters."""


@dataclass(frozen=True)
class Why:
    model: str
    old: Side
    new: Side
    changed: str
    """What differs, in one line."""
    metric: str
    attribution: Attribution | None
    """None where nothing that makes the model differs, or where nothing could be built."""
    recorded: tuple[float, float] | None
    """The metric as each version's own evaluation recorded it, on rows of its own."""
    remainder: float | None
    """What of the recorded difference the shares do not explain."""
    joined: tuple[str, ...]
    """Parts that could not be mixed, and why, a sentence each."""
    unknown: str
    """Why there is no attribution, a sentence; else empty."""


class _Unmixable(Exception):
    """A mix cannot be trained, or its model cannot answer the rows of the others."""

    def __init__(self, newer: frozenset[Part], why: str) -> None:
        super().__init__(why)
        self.newer = newer


def why(
    settings: Settings, model: str, old: str, new: str, metric: str | None = None, seeds: int = SEEDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Why:  # fmt: skip
    """Which change moved a metric from one version, candidate or commit to another.

    Args:
        metric: by default the one by which the newer is compared with its champion.
        seeds: how many each mix is trained with.
        tell: called with a line before each training.

    Raises:
        ConfigError: there is no such model, version or metric, or the two answer different questions.
        CheckoutError: there is no such commit.
        UnreachableError: the origin does not answer.
    """
    if not 2 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds is {seeds}; allowed are 2 to {MOST_SEEDS}, since one seed says nothing of chance.")
    sides = [side_of(settings, model, name) for name in (old, new)]
    git = workspace.ensure_clone(settings)
    objects = Objects(git)
    configs = [_readable(config, side) for config, side in zip(declared(objects, model, sides), sides, strict=True)]
    if any(sealed(config) for config in configs):
        raise ConfigError(
            f"the holdout of {model} is sealed, and what moved a metric is measured on it. Ask assay diff."
        )
    asked = _metric(configs[1], metric)
    if [configs[0].kind, configs[0].class_names] != [configs[1].kind, configs[1].class_names]:
        raise ConfigError(f"{sides[0].name} and {sides[1].name} predict different targets, so no metric of both moved.")
    mixing = Mixing(git, model, sides[0].commit, sides[1].commit)
    recorded = _recorded(objects, model, sides, asked)
    joined, found, unknown = list[str](), None, ""
    if mixing.parts:
        try:
            found = _shared_out(settings, mixing, asked, _seeds(configs, seeds), joined, tell)
        except UnreachableError:
            raise
        except (AssayError, ValueError) as error:
            unknown = flat(str(error)).rstrip(".")
    left = None
    if found is not None and recorded is not None:
        left = recorded[1] - recorded[0] - sum(share.value for share in found.shares)
    return Why(
        model, sides[0], sides[1], mixing.difference.sentence, asked, found, recorded, left, tuple(joined), unknown
    )


def _readable(config: ModelConfig | None, side: Side) -> ModelConfig:
    if config is None:
        raise ConfigError(f"model.yaml of {side.name} cannot be read, so it cannot be mixed with another.")
    return config


def _metric(config: ModelConfig, asked: str | None) -> str:
    """The metric that is asked for, or that of the comparison with the champion, or the first of this kind."""
    allowed = METRIC_NAMES[config.kind]
    if asked is not None and asked not in allowed:
        raise ConfigError(
            f"--metric is {asked!r}; a {config.kind} model is measured by {', '.join(allowed)}. Name one of them."
        )
    compared = [gate.metric for gate in config.gates if isinstance(gate, ComparisonGate)]
    return asked or (compared or allowed)[0]


def _recorded(objects: Objects, model: str, sides: Sequence[Side], metric: str) -> tuple[float, float] | None:
    """The metric of the holdout in ``metrics.json`` of both commits; None where one has none."""
    found = []
    for side in sides:
        text = objects.text(objects.tree(side.commit).get(f"data/{model}/metrics.json"))
        with suppress(ValueError, KeyError, TypeError):  # a file of whoever pushed it
            found.append(float(json.loads(text)[HOLDOUT][metric]))
    return (found[0], found[1]) if len(found) == len(sides) and np.isfinite(found).all() else None


def _seeds(configs: Sequence[ModelConfig], count: int) -> list[int]:
    """Seeds that all mixes share, and that the same question gets again."""
    drawn = np.random.SeedSequence([config.seed for config in configs]).generate_state(count)
    return [int(seed) for seed in drawn]


def _shared_out(
    settings: Settings, mixing: Mixing, metric: str, seeds: Sequence[int], joined: list[str],
    tell: Callable[[str], None],
) -> Attribution:  # fmt: skip
    """Train every mix with every seed, and share the difference out; parts that cannot be mixed become one."""
    groups = [frozenset({part}) for part in mixing.parts]
    with own_folder("why") as folder, Environments(settings, reuse=True) as environments:
        bench = _Bench(settings, mixing, folder, environments, tell)
        while True:
            try:
                worlds = [bench.world(groups, metric, seed, len(seeds)) for seed in seeds]
                break
            except _Unmixable as error:
                groups, said = _as_one(groups, error)
                joined.append(said)
        bench.note(len(groups) + 1)  # each share, and the difference
    return attributed([_name(group) for group in groups], worlds, metric, seeds[0])


def _name(group: Collection[Part]) -> str:
    return " and ".join(part for part in ("code", "data", "parameters", "environment") if part in group)


def _as_one(groups: list[frozenset[Part]], error: _Unmixable) -> tuple[list[frozenset[Part]], str]:
    """The same groups with the likeliest two put together of those that a mix had taken apart.

    Raises:
        StageError: it took none apart: one of the two versions cannot be trained.
    """
    for one, other in TOGETHER:
        if (one in error.newer) != (other in error.newer):
            found = [group for group in groups if one in group or other in group]
            if len(found) == 2:
                kept = [group for group in groups if group not in found]
                said = f"{_name(found[0])} and {_name(found[1])} are taken as one, since with {_name(error.newer)} " \
                       f"alone of the newer {error}"  # fmt: skip
                return [found[0] | found[1], *kept], said
    which = "newer" if error.newer else "older"
    raise StageError(f"the {which} one cannot be trained with another seed: {error}")


class _Bench:
    """Trains mixes, each once for a seed."""

    def __init__(
        self, settings: Settings, mixing: Mixing, folder: Path, environments: Environments, tell: Callable[[str], None]
    ) -> None:
        self.settings, self.mixing, self.folder = settings, mixing, folder
        self.environments, self.tell = environments, tell
        self._made: dict[tuple[frozenset[Part], int], Path] = {}
        self._asked: list[pd.DataFrame] = []
        """Rows that answered, by seed."""

    def note(self, answers: int) -> None:
        """Let the price of the holdout count what is shown of these rows."""
        newest = next(folder for (newer, _), folder in self._made.items() if newer == frozenset(self.mixing.parts))
        rows = pd.concat(self._asked, ignore_index=True).drop_duplicates(ROW, ignore_index=True)
        record = DataRecord.model_validate_json((newest / "record.json").read_text())
        files = [file.sha256 for file in record.files]
        note_shown(self.settings, self.mixing.model, _config(newest), rows, files, answers)

    def world(self, groups: Sequence[frozenset[Part]], metric: str, seed: int, seeds: int) -> World:
        """What all mixes of a seed answer on the rows that the newest holds out and none was trained on.

        Raises:
            _Unmixable: a mix cannot be trained, or cannot answer.
            StageError: too few rows are left.
        """
        named = {_name(group): group for group in groups}
        chosen = {some: frozenset[Part]().union(*(named[name] for name in some)) for some in subsets([*named])}
        ends = (frozenset[Part](), frozenset(self.mixing.parts))  # first, since nothing can be said without them
        every = sorted(chosen.values(), key=lambda newer: (newer not in ends, sorted(newer)))
        made = {newer: self._trained(newer, seed, len(chosen) * seeds) for newer in every}
        newest = made[frozenset(self.mixing.parts)]
        rows = pd.read_parquet(newest / "holdout.parquet")
        rows = rows[rows[BENCHMARK] == HOLDOUT]
        for folder in made.values():
            rows = rows[unseen(rows, pd.read_parquet(folder / "train.parquet"), ENTITY, OWN)]
        if len(rows) < MINIMUM:
            raise StageError(
                f"{plural(len(rows), 'row')} of the newer holdout were seen by none of the {len(chosen)} models in "
                f"training, and at least {MINIMUM} are needed"
            )
        rows = rows.reset_index(drop=True)
        self._asked.append(rows)
        config = _config(newest)
        answers = {names: self._answers(made[newer], newer, rows, metric) for names, newer in chosen.items()}
        owner = rows[ENTITY if ENTITY in rows else ROW]
        return World(label_array(config, rows[LABEL]), owner.to_numpy(object), answers)

    def _trained(self, newer: frozenset[Part], seed: int, all_of_them: int) -> Path:
        """The files of one mix."""
        if (newer, seed) in self._made:
            return self._made[newer, seed]
        model = self.mixing.model
        self.tell(f"{len(self._made) + 1} of {all_of_them}: {_name(newer) or 'nothing'} of the newer one, seed {seed}")
        kept = self.folder / f"{len(self._made)}"
        try:
            with workspace.worktree(self.settings, self.mixing.commit(newer, seed)) as tree:
                lockfile.claim_nothing(tree, model)
                environment = None
                if "environment" in self.mixing.parts:
                    environment = self.environments.of(tree / "requirements.lock")[0]
                dvc.reproduce(tree, f"train@{model}", environment=environment)
                paths = ModelPaths(tree, model)
                refuse_shown(
                    self.settings, paths, load_registered(model_folder(tree, model) / "model.yaml", ModelConfig)
                )
                shutil.copytree(tree / f"data/{model}/model", kept / "model")
                for name in ("train.parquet", "holdout.parquet", "record.json"):
                    shutil.copy(paths.prepared / name, kept)
                shutil.copytree(model_folder(tree, model), kept / "config")
        except UnreachableError:
            raise
        except AssayError as error:
            shutil.rmtree(kept, ignore_errors=True)
            raise _Unmixable(newer, flat(str(error)).rstrip(".")) from None
        self._made[newer, seed] = kept
        return kept

    def _answers(self, folder: Path, newer: frozenset[Part], rows: pd.DataFrame, metric: str) -> np.ndarray:
        """Scores, or of a metric of decisions what the mix decides by its own threshold."""
        with model_apart(folder / "model", folder / "config/code") as release:
            if not release.fits(rows):
                lacking = sorted(set(release.manifest.features) - set(rows))
                raise _Unmixable(newer, f"the model asks for {', '.join(lacking)}, which the newer rows do not have")
            scores = release.score(rows)
        limit = _config(folder).decision_threshold
        return (scores >= limit).astype(float) if metric in DECIDED and limit is not None else scores


def _config(folder: Path) -> TrainingConfig:
    """What a mix was made from."""
    made = {k: v for k, v in read_yaml(folder / "config/model.yaml").items() if k not in NOT_OF_TRAINING}
    return registered_document(made, TrainingConfig, "model.yaml of a mix")
