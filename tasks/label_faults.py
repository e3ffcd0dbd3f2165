"""Tasks of labels that nothing should learn from: looked at before a retraining that nobody asked for."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.labels import Sources, labels_policy, taught
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.registry import Registry
from tasks.records.repository.changes import collected_until
from tasks.records.repository.git import Git
from tasks.science.data.tables import LABEL, SCORE, label_array
from tasks.science.windows.label_faults import LabelsToLearn, label_fault, still_waiting
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig
from tasks.spec.requests import TrainingRequest
from tasks.spec.settings import Settings
from tasks.versions import VersionFiles, version_files

WAY_OUT = "send the right outcomes again, or start it if they are right: assay train {} --collect"


@task(cache_policy=NO_CACHE, task_run_name="look at the labels to learn")
def refuse_faulty_labels(request: TrainingRequest) -> None:
    """Look at what a retraining that nobody asked for would learn.

    Raises:
        ConfigError: the outcomes since the champion's data look like a fault and not like the world.
    """
    settings, model = Settings(), request.model
    champion = Registry(settings).champion(model) if request.reason == "retrain" else None
    if champion is None:
        return
    files = version_files(settings, model, champion)
    with closing(PredictionLog(settings.log_database)) as log:
        fault = fault_of_labels(log, settings, files, collected_until(Git(settings.clone), champion.commit, model))
    if fault:
        raise ConfigError(f"{fault}.")


def fault_of_labels(log: PredictionLog, settings: Settings, files: VersionFiles, after_seq: int) -> str:
    """Why nothing should learn from the outcomes of predictions after a position, in words; empty where it may.

    They are compared with the labels of the version's reference; see
    :func:`tasks.science.windows.label_faults.label_fault`.
    """
    config = files.config
    told = log.told(config.name, after_seq)
    policy = labels_policy(config)
    chosen = taught(told, Sources.of(settings, policy), policy.most_share, config.seed).labels
    if not chosen:
        return ""
    entity = config.data.entity
    asked = log.frame(
        config.name, after_seq + 1, max(chosen), columns=["_seq", "_time", "_score", *([entity] if entity else [])]
    )
    rows = asked[asked["_seq"].isin(chosen)]
    came = {each.prediction: each.time for each in told}  # what came last counts, of whomever
    made, outcome = _moments(rows["_time"]), _moments(rows["_seq"].map(came))
    delay = (outcome - made).dt.total_seconds().to_numpy()
    silent = _moments(asked[~asked["_seq"].isin(came)]["_time"])
    age = (max(outcome.max(), _moments(asked["_time"]).max()) - silent).dt.total_seconds().to_numpy()
    own = rows[entity].astype(str).to_numpy() if entity and rows[entity].notna().all() else None
    label = {"binary": float, "regression": float, "multiclass": str}[config.kind]
    values = pd.Series([label(chosen[seq][1]) for seq in rows["_seq"]])
    reference = files.reference()[LABEL].dropna()
    score = rows["_score"].to_numpy(float)
    found = LabelsToLearn(label_array(config, values), delay, still_waiting(delay, age), own, score)
    fault = label_fault(config, label_array(config, reference), found)
    return f"nothing is learned from these labels: {fault}; {WAY_OUT.format(config.name)}" if fault else ""


def fault_of_window(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> str:
    """Why a window's own outcomes look like a fault, in words; empty where nothing speaks against them.

    Args:
        reference, window: rows with labels, or without where none is known; the window's also with scores.
    """
    known, then = window[window[LABEL].notna()], reference[LABEL].dropna()
    label = label_array(config, known[LABEL])
    found = LabelsToLearn(label, np.full(len(label), np.nan), score=known[SCORE].to_numpy(float))
    fault = label_fault(config, label_array(config, then), found)
    return f"what this window's outcomes show is not believed: {fault}" if fault else ""


def _moments(times: pd.Series) -> pd.Series:
    return pd.to_datetime(times, format="ISO8601", utc=True)
