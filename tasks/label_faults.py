"""Tasks of labels that nothing should learn from: looked at before a retraining that nobody asked for."""

from __future__ import annotations

from contextlib import closing

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.labels import Sources, labels_policy, taught
from tasks.records.log.predictions import PredictionLog
from tasks.records.registry.registry import Registry
from tasks.records.repository.changes import collected_until
from tasks.records.repository.git import Git
from tasks.science.data.tables import LABEL, label_array
from tasks.science.windows.label_faults import LabelsToLearn, label_fault
from tasks.spec.errors import ConfigError
from tasks.spec.requests import TrainingRequest
from tasks.spec.settings import Settings
from tasks.versions import VersionFiles, version_files

BY_HAND = "A person who knows better starts it: assay train {} --collect"


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
        raise ConfigError(f"nothing is learned from these labels: {fault}. {BY_HAND.format(model)}.")


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
    asked = log.frame(config.name, after_seq + 1, max(chosen), columns=["_seq", "_time", *([entity] if entity else [])])
    rows = asked[asked["_seq"].isin(chosen)]
    came = {each.prediction: each.time for each in told}  # what came last counts
    delay = pd.to_datetime(rows["_seq"].map(came), format="ISO8601", utc=True) - pd.to_datetime(
        rows["_time"], format="ISO8601", utc=True
    )
    own = rows[entity].astype(str).to_numpy() if entity and rows[entity].notna().all() else None
    label = {"binary": float, "regression": float, "multiclass": str}[config.kind]
    values = pd.Series([label(chosen[seq][1]) for seq in rows["_seq"]])
    reference = files.reference()[LABEL].dropna()
    found = LabelsToLearn(label_array(config, values), delay.dt.total_seconds().to_numpy(), len(asked), own)
    return label_fault(config, label_array(config, reference), found)
