"""Tasks around evaluation: what a version left behind, and champion and challenger on the same rows."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.apart import ModelApart, answering, command_apart, model_apart
from tasks.asked import gates_of, has_main, rules_of
from tasks.card import asked_of
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.registry import Registry, Version
from tasks.records.repository import process
from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import (
    BENCHMARK,
    ENTITY,
    LABEL,
    ROW,
    label_array,
    score_array,
    score_columns,
    with_scores,
)
from tasks.science.examination.examination import Examination
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.line import flat
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules
from tasks.spec.settings import Settings
from tasks.stages.common import ModelPaths
from tasks.versions import Candidate, materiality, version_files

CHAMPION = "_champion_score"
EXPLAINED_ROWS = 1000
READY_SECONDS = 300
_READING = threading.Lock()
KEPT_EVIDENCE = 20
"""Scored holdouts of examined candidates that are kept of one model: more than are examined at a time."""


def evidence_path(settings: Settings, candidate: Candidate, champion: str | None) -> Path:
    """One file for a candidate and the champion it is compared with; another champion makes another file."""
    return settings.home / "evidence" / candidate.model / f"{candidate.commit}-{champion or 'first'}.parquet"


@task(cache_policy=NO_CACHE, task_run_name="score champion and challenger on the same rows")
def score_champion_and_challenger(candidate: Candidate) -> tuple[Path, str | None]:
    """Write the candidate's holdout with both scores.

    Returns:
        The file, and the champion's version (None before the first).

    Raises:
        ConfigError: the champion cannot answer these rows.
    """
    settings = Settings()
    rows = scored_here(candidate.paths, candidate.config)
    champion = Registry(settings).champion(candidate.model)
    if champion is not None:
        files = version_files(settings, candidate.model, champion)
        with model_apart(files.model) as release:
            rows = _beside(candidate, champion, release, rows)
    path = evidence_path(settings, candidate, champion.tag if champion else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path, index=False)
    for old in sorted(path.parent.glob("*.parquet"), key=lambda p: p.stat().st_mtime, reverse=True)[KEPT_EVIDENCE:]:
        old.unlink(missing_ok=True)
    return path, champion.tag if champion else None


def _beside(candidate: Candidate, champion: Version, release: ModelApart, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the champion's scores, where it answers the same question about them."""
    if not release.fits(rows):
        raise ConfigError(
            f"{candidate.model} {champion.tag} asks for columns that these data do not have, so nothing can be "
            "compared with it. Keep its columns until it is replaced."
        )
    config, manifest = candidate.config, release.manifest
    if (manifest.kind, manifest.classes) != (config.kind, config.classes):
        raise ConfigError(
            f"{candidate.model} {champion.tag} answers {_answers(manifest.kind, manifest.classes)}, and the candidate "
            f"{_answers(config.kind, config.classes)}, so they cannot be compared. Another question is another model: "
            "give it a name and a folder of its own."
        )
    return with_scores(config, rows, release.score(rows), CHAMPION)


def scored_here(paths: ModelPaths, config: ModelConfig) -> pd.DataFrame:
    """The candidate's holdout with the scores that its model file gives here, to the features alone.

    What a candidate's own evaluation wrote is what it says of itself: no gate reads its scores.

    Raises:
        CorruptionError: the model file is not the one that its manifest names.
    """
    holdout = pd.read_parquet(paths.prepared / "holdout.parquet")
    return with_scores(config, holdout, answering(paths.model).score(holdout))


def _answers(kind: str, classes: tuple[str, ...]) -> str:
    return f"{kind} questions" + (f" over {', '.join(classes)}" if classes else "")


@lru_cache(maxsize=1)
def _evidence(candidate: Candidate, evidence: Path) -> Examination:
    """What all gates of one examination share, read once; the check of the data is laid beside it later."""
    config = candidate.config
    rules, _ = rules_of(candidate.worktree, candidate.model)
    found = laid_out(candidate.paths, config, pd.read_parquet(evidence), rules)
    return replace(
        found, served=_served(candidate.model, config), readiness=_readiness(candidate), card=_card(candidate)
    )


def laid_out(paths: ModelPaths, config: ModelConfig, rows: pd.DataFrame, rules: ExpertRules | None) -> Examination:
    """An examination from what the stages left behind and the scored rows of the holdout."""
    train = pd.read_parquet(paths.prepared / "train.parquet")
    inputs, features = [c.name for c in config.inputs], list(config.features)
    release = answering(paths.model)
    background = train[features].sample(min(EXPLAINED_ROWS, len(train)), random_state=config.seed)
    return Examination(
        rows=rows[inputs],
        label=label_array(config, rows[LABEL]),
        score=score_array(config, rows),
        champion_score=score_array(config, rows, CHAMPION)
        if set(score_columns(config, CHAMPION)) <= set(rows)
        else None,
        kind=config.kind,
        classes=config.classes,
        benchmark=rows[BENCHMARK].to_numpy(str),
        groups=protected_groups(config, rows),
        attributions=pd.read_parquet(paths.evaluation / "attributions.parquet"),
        predict=release.score,
        features=config.features,
        decision_threshold=config.threshold,
        seed=config.seed,
        rules=rules,
        config=config,
        train=train[inputs],
        train_label=label_array(config, train[LABEL]),
        train_collected=train[ROW].to_numpy() < 0,
        entity=rows[ENTITY].to_numpy(object) if ENTITY in rows else None,
        train_entity=train[ENTITY].to_numpy(object) if ENTITY in train else None,
        period=_period(config, rows),
        train_period=_period(config, train),
        explain=release.explainer(background),
        data_check=None,
    )


def _period(config: ModelConfig, rows: pd.DataFrame) -> np.ndarray | None:
    """When each row is from, (n,); None where the data have no period."""
    return rows[config.data.period].to_numpy(object) if config.data.period in rows else None


def _readiness(candidate: Candidate) -> dict[str, Any] | None:
    """What a fresh process without network finds when it loads and asks the candidate; None without such a gate."""
    if not any(g.kind == "readiness" for g in gates_of(candidate.config)[0]):
        return None
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "readiness.json"
        words = ["--model", str(candidate.paths.model.resolve()), "--out", str(out)]
        with command_apart("tasks.serving.readiness", words, [candidate.paths.model], [Path(folder)]) as command:
            try:
                _, _, said = process.run(command, Path(folder), {}, READY_SECONDS)
            except subprocess.TimeoutExpired:
                return {"error": f"it was not loaded and did not answer within {READY_SECONDS} s"}
        try:
            found: dict[str, Any] = json.loads(out.read_text())
        except (OSError, ValueError):
            lines = said.decode(errors="replace").strip().splitlines()
            return {"error": flat((lines or ["the process ended without an answer"])[-1])}
    return found


def _card(candidate: Candidate) -> dict[str, Any] | None:
    """What the model card lacks, and whether a committed one follows from the records; None without such a gate."""
    config = candidate.config
    if not any(g.kind == "transparency" for g in gates_of(config)[0]):
        return None
    # without a main branch there is no champion that could ask for more
    return asked_of(candidate.worktree, config, materiality(candidate) if has_main() else config.materiality)


def base_rates(paths: ModelPaths, config: ModelConfig, closed: bool = False) -> list[dict[str, Any]]:
    """Labels by side of the split, of all rows and of each protected group: what a rate of the model is held against.

    Args:
        closed: the holdout is sealed, so that its labels are told to nobody; the training rows' are.

    Returns:
        For each, ``side``, ``attribute`` and ``group`` (both None for all rows), ``rows``, and ``counts`` of the labels
        by class, or of a number ``mean`` and ``sd``.
    """
    found: list[dict[str, Any]] = []
    for side in ("train",) if closed else ("train", "holdout"):
        rows = pd.read_parquet(paths.prepared / f"{side}.parquet")
        label, groups = label_array(config, rows[LABEL]), protected_groups(config, rows)
        found.append({"side": side, "attribute": None, "group": None} | _rate(label, config))
        for attribute in groups:
            values = groups[attribute]
            for group in sorted(values.dropna().unique(), key=str):
                of_it = (values == group).fillna(False).to_numpy(bool)
                found.append(
                    {"side": side, "attribute": str(attribute), "group": str(group)} | _rate(label[of_it], config)
                )
    return found


def _rate(label: np.ndarray, config: ModelConfig) -> dict[str, Any]:
    if config.kind == "regression":
        known = len(label) > 0
        mean, spread = (float(f(label)) if known else None for f in (np.mean, np.std))
        return {"rows": len(label), "counts": None, "mean": mean, "sd": spread}
    codes = label.astype(int)
    return {
        "rows": len(label),
        "counts": {name: int((codes == at).sum()) for at, name in enumerate(config.class_names)},
    }


def _served(model: str, config: ModelConfig) -> pd.DataFrame:
    """The newest logged rows as the model's inputs; none where nothing was served yet."""
    log = PredictionLog(Settings().log_database)
    try:
        rows = log.newest(model, config.monitoring.window_rows)
    finally:
        log.close()
    return rows.reindex(columns=[c.name for c in config.inputs])


def examination(candidate: Candidate, evidence: Path, data: GateResult) -> Examination:
    """Everything the gates look at."""
    with _READING:  # gates run side by side, and one of them reads for all
        return _evidence(candidate, evidence).beside(data)
