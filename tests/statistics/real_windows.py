"""All monitors together on windows of real rows that nothing happened to: which of them raise an alarm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tasks.science.data.splitting import split_base
from tasks.science.data.tables import LABEL
from tasks.science.models.embeddings import representing
from tasks.science.models.estimators import build
from tasks.science.monitors.protocol import Reference
from tasks.science.windows.decisions import DecisionContext, decide
from tasks.science.windows.look import examine_window
from tasks.science.windows.reference import fit_reference
from tasks.spec.base import load_yaml
from tasks.spec.data_source import PackageSource
from tasks.spec.model import load_model
from tasks.spec.rules import ExpertRules
from tasks.stages.ingest import package_chunks
from tasks.tables.typed import typed
from tests.statistics.studies import Study
from tests.worlds import NOW, ROOT, VERSION, World

MODELS, SIZES, WINDOWS = ("income", "care"), (500, 2000), 250
PLENTY = 10**6
"""Labelled rows, so that a retraining never waits."""


@dataclass
class Shipped(World):
    """A shipped model: its base holdout is the reference, and rows of the base that nobody learned from are asked."""

    def __hash__(self) -> int:
        return hash(self.config.name)

    @cached_property
    def parts(self) -> dict[str, pd.DataFrame]:
        config, source = self.config, self.config.data.source
        assert isinstance(source, PackageSource)
        columns = config.data.columns
        tables = [typed(columns, c.cells, source.reading, c.file, c.before) for c in package_chunks(source, columns)]
        return split_base(config, pd.concat(tables, ignore_index=True)).frames

    @cached_property
    def pipeline(self) -> Pipeline:
        train = self.parts["train"]
        return build(self.config).fit(train[list(self.config.features)], train[LABEL].to_numpy())

    @cached_property
    def _background(self) -> pd.DataFrame:
        return self.parts["train"].sample(500, random_state=self.config.seed)

    @cached_property
    def pool(self) -> pd.DataFrame:
        """Rows of the base that were kept for a replay: like those of the holdout, and of nobody who is in it."""
        replay, period = self.parts["replay"], self.config.data.period
        base = set() if period is None else set(self.parts["holdout"][period])
        return replay if period is None else replay[replay[period].isin(base)]

    @cached_property
    def reference(self) -> Reference:
        return fit_reference(
            self.config, representing(self.pipeline, self.config), self.told(self.parts["holdout"]), self.explain
        )

    def told(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows as the log has them, with the labels that they had."""
        score = self.predict(rows)
        inputs = [c.name for c in self.config.inputs]
        return (
            rows[inputs]
            .assign(
                _id=[f"p{i}" for i in range(len(rows))],
                _score=score,
                _decision=score >= self.config.threshold,
                _label=rows[LABEL].to_numpy(float),
                _seq=np.arange(len(rows)),
                _time=NOW.isoformat(),
                _version=VERSION,
            )
            .reset_index(drop=True)
        )


@cache
def shipped(name: str) -> Shipped:
    rules = load_yaml(ROOT / f"deployments/models/{name}/rules.yaml", ExpertRules)
    return Shipped(load_model(ROOT, name), rules=rules)


def looked(name: str, n: int, windows: int, seed: int) -> Counter[str]:
    """How many windows of so many rows raised which alarm; a permutation of the rows is used up before the next."""
    world, seen, rng = shipped(name), Counter[str](), np.random.default_rng([seed, n])
    past: list[dict[str, float]] = []
    order: np.ndarray = np.array([], int)
    for _ in range(windows):
        if len(order) < n:
            order = rng.permutation(len(world.pool))
        rows, order = world.told(world.pool.iloc[order[:n]]), order[n:]
        window = world.window_input(rows, past=past)
        past.append(world.p_values(window))
        findings = examine_window(world.config, world.reference, window).findings
        seen.update({f"{f.kind}: {f.subject}" for f in findings if f.alarm})
        seen["any alarm"] += any(f.alarm for f in findings)
        action = decide(DecisionContext(world.config, findings, labelled_rows=PLENTY)).action
        seen["retraining"] += action == "retrain"
    return seen


def false_alarms(windows: int = WINDOWS, seed: int = 1) -> list[dict[str, Any]]:
    told = []
    for name in MODELS:
        for n in SIZES:
            if len(shipped(name).pool) < n:
                continue
            seen = looked(name, n, windows, seed)
            which = "; ".join(f"{w} {c}" for w, c in seen.most_common() if w not in ("any alarm", "retraining") and c)
            told.append(
                {
                    "model": name,
                    "rows": f"{n:,}",
                    "should": "at most 1.0%",
                    "any alarm": f"{seen['any alarm'] / windows:.1%}",
                    "retraining": f"{seen['retraining'] / windows:.1%}",
                    "which": which or "none",
                    "windows": windows,
                }
            )
    return told


STUDIES = (
    Study(
        "Real rows that nothing happened to",
        "Shipped models as they serve: the base holdout is the reference, and labelled windows are drawn from rows of "
        "the base period that neither training nor holdout has, each row once before any comes again. All monitors "
        "together; *which*: windows with that alarm.",
        false_alarms,
    ),
)
