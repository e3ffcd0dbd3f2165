"""A small world with a real model: rows of a known truth, a trained pipeline, its reference, and windows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.pipeline import Pipeline

from tasks.science.models.embeddings import representing
from tasks.science.models.estimators import build
from tasks.science.models.explanations import attributions
from tasks.science.monitors.drift.findings import window_p_values
from tasks.science.monitors.drift.monitor import DRIFT
from tasks.science.monitors.feed.findings import duplicate_share
from tasks.science.monitors.profiles.profile import profile
from tasks.science.monitors.protocol import Reference, WindowInput
from tasks.science.windows.reference import fit_reference
from tasks.serving.release import save_model
from tasks.spec.arrivals import FeedFacts
from tasks.spec.base import digest_file, load_yaml
from tasks.spec.evidence import WindowReport
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.rules import ExpertRules
from tasks.versions import VersionFiles

ROOT = Path(__file__).resolve().parents[1]
TAIL = 1 / np.arange(1, 31) ** 2
TAIL /= TAIL.sum()
VERSION = "v1.0.0"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class World:
    """The care model's columns, a truth in four of them, and a logistic regression that learned it."""

    config: ModelConfig
    seed: int = 0
    reference_rows: int = 4000
    rules: ExpertRules | None = None

    def people(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """Raw rows without change: a category of a long tail, numbers of which most are zero, rare groups."""
        frame = pd.DataFrame(
            {
                c.name: rng.choice(["0", "1"], n) if c.type == "category" else rng.normal(50, 10, n).clip(0, 100)
                for c in self.config.inputs
            }
        )
        frame["site"] = rng.choice(np.arange(30).astype(str), n, p=TAIL)
        frame["mdeoff"] = np.where(rng.random(n) < 0.8, 0.0, rng.exponential(100, n))
        return frame.assign(xage=rng.uniform(0, 90, n), black=rng.choice([0.0, 1.0], n, p=[0.85, 0.15]))

    def truth(self, rows: pd.DataFrame) -> np.ndarray:
        return expit(
            0.05 * (rows["xage"] - 45) + 0.08 * (rows["income"] - 50) - 1 + 0.5 * (rows["mdeoff"] > 0)
        ).to_numpy(float)

    @cached_property
    def pipeline(self) -> Pipeline:
        rng = np.random.default_rng([self.seed, 1])
        rows = self.people(self.reference_rows, rng)
        label = rng.random(len(rows)) < self.truth(rows)
        return build(self.config).fit(rows[list(self.config.features)], label)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return (
            np.asarray(self.pipeline.predict_proba(rows[list(self.config.features)])[:, 1])
            if len(rows)
            else np.zeros(0)
        )

    def explain(self, rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        features = list(self.config.features)
        return attributions(self.pipeline, rows[features], self._background[features], seed)

    @cached_property
    def _background(self) -> pd.DataFrame:
        return self.people(500, np.random.default_rng([self.seed, 3]))

    def answered(self, rows: pd.DataFrame, rng: np.random.Generator, truth: np.ndarray | None = None) -> pd.DataFrame:
        """The rows with scores, decisions, ids, and labels that follow the truth."""
        score = self.predict(rows)
        label = (rng.random(len(rows)) < (self.truth(rows) if truth is None else truth)).astype(float)
        ids = [f"p{i}" for i in range(len(rows))]
        return rows.assign(
            _id=ids,
            _score=score,
            _decision=score >= self.config.threshold,
            _label=label,
            _seq=np.arange(len(rows)),
            _time=NOW.isoformat(),
            _version="v1.0.0",
        ).reset_index(drop=True)

    @cached_property
    def reference(self) -> Reference:
        rng = np.random.default_rng([self.seed, 2])
        return fit_reference(
            self.config,
            representing(self.pipeline, self.config),
            self.answered(self.people(self.reference_rows, rng), rng),
            self.explain,
        )

    def window_input(
        self,
        window: pd.DataFrame,
        number: int = 1,
        history: Sequence[WindowReport] = (),
        past: Sequence[dict[str, float]] = (),
        facts: FeedFacts | None = None,
    ) -> WindowInput:
        return WindowInput(
            number=number, rows=window, profile=profile(self.reference.layout, window), facts=facts or came(window),
            facts_before=(), checks=[], rules=self.rules, represent=representing(self.pipeline, self.config),
            predict=self.predict, explain=self.explain, history=history, past=past, recent=window.iloc[:0], now=NOW,
        )  # fmt: skip

    def p_values(self, window_input: WindowInput) -> dict[str, float]:
        drift = self.reference.fitted[DRIFT.name]
        return window_p_values(self.config, drift, window_input.profile, self.reference.importance)


def came(window: pd.DataFrame) -> FeedFacts:
    inputs = [c for c in window.columns if not str(c).startswith("_")]
    moment = NOW.isoformat()
    return FeedFacts(
        rows=len(window), first_time=moment, last_time=moment, rows_per_hour=None,
        duplicate_share=duplicate_share(window[inputs]), label_delay_median=None, label_delay_p90=None,
        newest_prediction=moment, newest_outcome=moment, clock_back_steps=0, clock_largest_back_seconds=0.0,
        columns=tuple(inputs), versions=("v1.0.0",), rows_missing=0,
    )  # fmt: skip


def world(seed: int = 0, with_rules: bool = False, **monitoring: object) -> World:
    config = load_model(ROOT, "care")
    config = config.model_copy(update={"monitoring": config.monitoring.model_copy(update=monitoring)})
    return World(
        config, seed, rules=load_yaml(ROOT / "deployments/models/care/rules.yaml", ExpertRules) if with_rules else None
    )


def on_disk(care: World, home: Path) -> VersionFiles:
    """The version as monitoring finds it on disk."""
    folder = home / VERSION
    (folder / "model").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    save_model(care.pipeline, folder / "model/model.skops")
    config = care.config
    manifest = Manifest(
        model=config.name, title=config.title, model_digest=digest_file(folder / "model/model.skops"),
        features=config.features, inputs=tuple(c.model_dump(mode="json") for c in config.inputs),
        decision_threshold=config.decision_threshold, positive="yes", negative="no", seed=config.seed,
        trained_rows=care.reference_rows, libraries={},
    )  # fmt: skip
    (folder / "model/manifest.json").write_text(json.dumps(manifest.model_dump(mode="json")))
    source = ROOT / "deployments/models/care"
    for name in ("model.yaml", "rules.yaml", "expectations.yaml"):
        (folder / name).write_text((source / name).read_text())
    rng = np.random.default_rng(1)
    care.answered(care.people(care.reference_rows, rng), rng).assign(_benchmark="holdout").to_parquet(
        folder / "evaluation/holdout_scored.parquet"
    )
    return VersionFiles(VERSION, folder)
