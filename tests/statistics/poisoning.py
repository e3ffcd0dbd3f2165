"""Twenty poisonings of a retraining by its labels, and twenty honest drifts of equal size, on the shipped models' rows.

Two sources label production rows that a third key asked about. A poisoning changes what one of them says; an honest
drift changes the world, and both sources report it. What is played is what the flow plays: the choice of outcomes that
may teach, the split of the collected rows, the candidate, the same trained without each source, and the gate.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.labels import CONTESTED, Sources, taught
from tasks.records.log.reading import Told
from tasks.science.data.splitting import split_collected
from tasks.science.data.tables import LABEL, SOURCE, label_array
from tasks.science.gates.sources import Labelled, label_sources, parties
from tasks.science.models.estimators import build
from tasks.science.stats.dependence import dependence
from tasks.spec.evidence import GateResult
from tasks.spec.training import TrainingConfig, load_training
from tasks.spec.watching import Labels
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tests.conftest import ROOT
from tests.statistics.studies import Study

MODELS = {"income": 4000, "care": 4000, "wages": 4000, "health": 4000}
"""Rows of production that a retraining takes in, where there are so many that did not train."""
POLICY = Labels(sources=("office", "survey"))
SOURCES = Sources({"k1": "office", "k2": "survey"}, {"k1": None, "k2": None}, {})
WORLDS = 300
CHANGED = 0.5
"""Chance of a row of the kind that drifts, or is attacked, to be labelled otherwise."""


@dataclass(frozen=True)
class World:
    """A model, the rows that it was made from, and rows of production with their true labels."""

    config: TrainingConfig
    train: pd.DataFrame
    served: pd.DataFrame
    kind: np.ndarray
    """(n,) bool: the kind of served rows that drifts or is attacked, about a third of them."""

    def other(self, label: pd.Series, rng: np.random.Generator) -> pd.Series:
        """A wrong label for each."""
        if self.config.kind == "binary":
            return 1.0 - label.astype(float)
        if self.config.kind == "regression":
            return label + 1.5 * float(self.train[LABEL].std())
        names = list(self.config.classes)
        return label.map(dict(zip(names, [*names[1:], names[0]], strict=True)))


@dataclass(frozen=True)
class Reported:
    """Outcomes: rows as they were served, and who reported what of which."""

    rows: pd.DataFrame
    at: np.ndarray
    """(m,) position of the row that an outcome is of."""
    sender: np.ndarray
    label: pd.Series
    asker: str = "k0"


Play = Callable[[World, np.random.Generator], Reported]


def world(
    config: TrainingConfig, train: pd.DataFrame, pool: pd.DataFrame, rows: int, rng: np.random.Generator
) -> World:
    """Serve rows of the pool, and choose a kind of them by one of the features."""
    served = pool.sample(min(rows, len(pool)), random_state=int(rng.integers(2**31))).reset_index(drop=True)
    for name in rng.permutation(list(config.features)):
        column = served[name]
        if config.column(name).kind.numeric:
            kind = (column >= column.quantile(0.7)).to_numpy(bool)
        else:
            names = column.dropna().unique()
            kind = column.isin(rng.choice(names, max(len(names) // 3, 1), replace=False)).to_numpy(bool)
        if 0.15 <= kind.mean() <= 0.5:
            return World(config, train, served, kind)
    raise AssertionError("no feature parts the rows")


def halves(world: World, rng: np.random.Generator, share: float = 0.5) -> np.ndarray:
    return np.where(rng.random(len(world.served)) < share, "k1", "k2")


def honest(rows: pd.DataFrame, sender: np.ndarray, label: pd.Series | None = None) -> Reported:
    return Reported(rows, np.arange(len(rows)), sender, rows[LABEL] if label is None else label)


# -- honest drifts: the world changes, and both sources report it -----------------------------------------------------


def other_people(world: World, rng: np.random.Generator) -> Reported:
    kept = world.kind | (rng.random(len(world.served)) < 0.5)
    rows = world.served[kept].reset_index(drop=True)
    return honest(rows, halves(world, rng)[: len(rows)])


def other_labels(world: World, rng: np.random.Generator) -> Reported:
    """Rows of a kind get other labels, whoever reports them."""
    hit = world.kind & (rng.random(len(world.served)) < CHANGED)
    label = world.served[LABEL].where(~hit, world.other(world.served[LABEL], rng))
    return honest(world.served, halves(world, rng), label)


def other_rates(world: World, rng: np.random.Generator) -> Reported:
    label = world.served[LABEL]
    high = label > label.median() if world.config.kind == "regression" else label == label.mode()[0]
    kept = ~high.to_numpy(bool) | (rng.random(len(label)) < 0.6)
    rows = world.served[kept].reset_index(drop=True)
    return honest(rows, halves(world, rng)[: len(rows)])


def uneven(world: World, rng: np.random.Generator) -> Reported:
    """One source reports seven of ten, of a world whose labels changed."""
    found = other_labels(world, rng)
    return honest(found.rows, halves(world, rng, 0.7), found.label)


def other_mixes(world: World, rng: np.random.Generator) -> Reported:
    """One source sees more of one kind of rows than the other."""
    sender = np.where(rng.random(len(world.served)) < np.where(world.kind, 0.7, 0.4), "k1", "k2")
    return honest(world.served, sender)


# -- poisonings: one source says otherwise ----------------------------------------------------------------------------


def flips(world: World, rng: np.random.Generator) -> Reported:
    """One source gives rows of a kind other labels."""
    sender = halves(world, rng)
    hit = world.kind & (sender == "k1") & (rng.random(len(sender)) < CHANGED)
    return honest(world.served, sender, world.served[LABEL].where(~hit, world.other(world.served[LABEL], rng)))


def made_up(world: World, rng: np.random.Generator) -> Reported:
    """Rows of a kind are asked about again and again with small changes, and one source labels them all one way."""
    count = max(int(0.4 * world.kind.sum()), 1)
    rows = world.served[world.kind].sample(count, replace=True, random_state=int(rng.integers(2**31))).copy()
    for name in world.config.numeric_features:
        column, whole = world.config.column(name), world.served[name].dropna()
        moved = rows[name] + np.round(rng.normal(scale=0.1 * float(whole.std()), size=count))
        rows[name] = moved.clip(whole.min(), whole.max()) if column.kind.numeric else rows[name]
    label = world.served[LABEL]
    rows[LABEL] = world.other(pd.Series([_usual(world, label[world.kind])] * count), rng).to_numpy()
    both = pd.concat([world.served, rows], ignore_index=True)
    return honest(both, np.concatenate([halves(world, rng), np.repeat("k1", count)]))


def drip(world: World, rng: np.random.Generator) -> Reported:
    """One source changes a few more labels with every hundred rows, until half of those of a kind are wrong."""
    sender = halves(world, rng)
    chance = CHANGED * 2 * np.arange(len(sender)) / len(sender)
    hit = world.kind & (sender == "k1") & (rng.random(len(sender)) < chance)
    return honest(world.served, sender, world.served[LABEL].where(~hit, world.other(world.served[LABEL], rng)))


def duplicates(world: World, rng: np.random.Generator) -> Reported:
    """Five rows of a kind are asked about hundreds of times, and one source labels them wrongly."""
    few = world.served[world.kind].sample(5, random_state=int(rng.integers(2**31)))
    rows = pd.concat([few] * max(int(0.4 * world.kind.sum()) // 5, 1), ignore_index=True)
    rows[LABEL] = world.other(rows[LABEL], rng).to_numpy()
    both = pd.concat([world.served, rows], ignore_index=True)
    return honest(both, np.concatenate([halves(world, rng), np.repeat("k1", len(rows))]))


def stolen(world: World, rng: np.random.Generator) -> Reported:
    """With a stolen key, rows of a kind that the other source labelled are labelled otherwise too."""
    own = flips(world, rng)
    others = np.flatnonzero((own.sender == "k2") & world.kind)
    label = pd.concat([own.label, world.other(world.served[LABEL].iloc[others], rng)], ignore_index=True)
    return Reported(
        own.rows, np.concatenate([own.at, others]), np.concatenate([own.sender, np.repeat("k1", len(others))]), label
    )


HONEST: dict[str, Play] = {
    "other people": other_people, "other labels": other_labels, "other rates": other_rates,
    "other labels, 70 to 30": uneven, "sources of other mixes": other_mixes,
}  # fmt: skip
POISON: dict[str, Play] = {
    "flips": flips, "made-up rows": made_up, "slow drip": drip, "duplicates": duplicates, "stolen key": stolen,
}  # fmt: skip


def _usual(world: World, label: pd.Series) -> Any:
    return label.mean() if world.config.kind == "regression" else label.mode()[0]


# -- what the flow does with them -------------------------------------------------------------------------------------


def judged(world: World, reported: Reported, seed: int) -> tuple[GateResult, float]:
    """The gate's answer, and the share of served rows of the kind whose score the retraining moved by 0.1."""
    config = world.config
    order = np.argsort(reported.at, kind="stable")
    native = {"binary": bool, "multiclass": str, "regression": float}[config.kind]
    told = [
        Told(int(reported.at[i]) + 1, str(reported.sender[i]), reported.asker, "2026", native(reported.label.iloc[i]))
        for i in order
    ]
    chosen = taught(told, SOURCES, POLICY.most_share, seed)
    at = sorted(chosen.labels)
    kind: Any = {"binary": bool, "multiclass": "str", "regression": float}[config.kind]
    rows = reported.rows.iloc[[n - 1 for n in at]][[c.name for c in config.inputs]].reset_index(drop=True)
    rows[LABEL] = pd.Series([chosen.labels[n][1] for n in at]).astype(kind)
    rows[SOURCE] = pd.Series([chosen.labels[n][0] for n in at], dtype="str")
    rows["_id"] = [f"{seed}-{n}" for n in at]
    sides = split_collected(config, rows, "recent")
    candidate = _fitted(config, pd.concat([world.train, sides["train"]], ignore_index=True))
    known = pd.concat([sides["train"], sides["holdout"]], ignore_index=True)
    unseen = sides["holdout"]
    found = Labelled(
        rows=known[[c.name for c in config.inputs]],
        label=label_array(config, known[LABEL]),
        source=known[SOURCE].to_numpy(str),
        held_out=np.arange(len(known)) >= len(sides["train"]),
        score=candidate(unseen),
        new=known[SOURCE].value_counts().to_dict(),
        contested=chosen.left_out[CONTESTED],
    )
    scores = {}
    for party in parties(found.source, POLICY):
        rest = sides["train"][~sides["train"][SOURCE].isin(party.members)]
        scores[party] = _fitted(config, pd.concat([world.train, rest], ignore_index=True))(unseen)
    gate = label_sources(config.kind, POLICY, found, scores, config.threshold, seed)
    before, target = _fitted(config, world.train), world.served[world.kind]
    gap = np.abs(candidate(target) - before(target))
    far = 0.1 if config.kind != "regression" else 0.1 * float(world.train[LABEL].std())
    return gate, float(np.mean((gap.max(axis=1) if gap.ndim == 2 else gap) >= far))


def _fitted(config: TrainingConfig, rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    features = list(config.features)
    pipeline = build(config, ROOT).fit(rows[features], label_array(config, rows[LABEL]))
    if config.kind == "regression":
        return lambda asked: np.asarray(pipeline.predict(asked[features]), float)
    if config.kind == "binary":
        return lambda asked: np.asarray(pipeline.predict_proba(asked[features])[:, 1])
    return lambda asked: np.asarray(pipeline.predict_proba(asked[features]))


def shipped(name: str, root: Path) -> tuple[TrainingConfig, pd.DataFrame, pd.DataFrame]:
    """A shipped model's training rows, and all others: those kept for replay, and the holdout."""
    paths, config = ModelPaths(root, name), load_training(root, name)
    for stage in (ingest, prepare):
        stage(paths, config)
    train, *rest = (pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "replay", "holdout"))
    return config, train, pd.concat(rest, ignore_index=True)


def row(model: str, what: str, play: Play, config: TrainingConfig, train: pd.DataFrame, pool: pd.DataFrame,
        rows: int, seed: int) -> dict[str, Any]:  # fmt: skip
    rng = np.random.default_rng(seed)
    made = world(config, train, pool, rows, rng)
    gate, moved = judged(made, play(made, rng), seed)
    worst = [m.label for m in gate.measurements if m.state != "pass"]
    return {
        "model": model, "what": what, "rows": gate.measurements[0].rows, "answers moved": moved,
        "promoted unattended": "yes" if gate.state == "pass" else "no", "state": gate.state,
        "by": "; ".join(dict.fromkeys(worst)),
    }  # fmt: skip


def all_of(plays: dict[str, Play]) -> list[dict[str, Any]]:
    found = []
    with tempfile.TemporaryDirectory(prefix="assay-labels-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = Path(folder)
        shutil.copytree(ROOT / "deployments", root / "deployments")
        for name, rows in MODELS.items():
            config, train, replay = shipped(name, root)
            for number, (what, play) in enumerate(plays.items()):
                found.append(row(name, what, play, config, train, replay, rows, 100 + number))
    return found


def agreeing() -> list[dict[str, Any]]:
    """How often the test of agreement accuses sources that agree, and its bounds hold the true difference of 0."""
    found = []
    for rows in (600, 2000):
        for mix in (0.0, 0.2):
            p, inside = [], 0
            for seed in range(WORLDS):
                rng = np.random.default_rng([rows, seed])
                table = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
                table["job"] = rng.choice(list("wxyz"), rows)
                logit = table["a"] + 0.5 * table["b"] ** 2 - 0.8 * (table["job"] == "w") - 1
                label = np.asarray(rng.random(rows) < 1 / (1 + np.exp(-logit)))
                source = rng.random(rows) < np.where(table["job"] == "w", 0.5 + mix, 0.5 - mix)
                seen = dependence(label, source, table, 0.95, seed)
                assert seen is not None
                p.append(seen.p)
                inside += seen.low < 0 < seen.high
            shares = {f"p under {level:g}": float(np.mean(np.array(p) < level)) for level in (0.05, 0.01)}
            found.append(
                {
                    "rows": rows,
                    "sees more of a kind": 2 * mix,
                    "worlds": WORLDS,
                    **shares,
                    "bounds at 90 % hold": inside / WORLDS,
                }
            )
    return found


STUDIES = (
    Study(
        "Sources that agree",
        "Two sources label rows of one world as they are; in half of the cases one of them sees more of one kind of "
        "rows. Counted is how often they are said to differ.",
        agreeing,
    ),
    Study(
        "Poisonings",
        "One of two sources lies about a kind of rows, about a third of what was served: half of its labels of that "
        "kind, in five ways. Counted is whether the retrained candidate would be promoted without a person.",
        lambda: all_of(POISON),
    ),
    Study(
        "Honest drifts of equal size",
        "The world changes by as much, and both sources report it as it is.",
        lambda: all_of(HONEST),
    ),
)
