"""Studies of configurations, as the ledger knows them."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.records.registry import ledger
from tasks.spec.ledger import SearchedDetails
from tasks.spec.search import SearchOrigin, StudyRecord, configuration_digest
from tasks.spec.settings import Settings
from tasks.spec.training import TrainingConfig


def studies(settings: Settings, model: str) -> Iterator[StudyRecord]:
    """The studies of a model in the ledger, each as it stood last; those of the newest runs first."""
    seen = set[str]()
    entries, _ = ledger.counting(settings)
    for entry in reversed([e for e in entries if e.model == model]):
        if isinstance(entry.read, SearchedDetails) and entry.read.study not in seen and entry.evidence:
            seen.add(entry.read.study)
            document = ledger.evidence(settings, entry.evidence).get("search")
            yield StudyRecord.model_validate(document, strict=False)


def origin_of(settings: Settings, config: TrainingConfig) -> SearchOrigin | None:
    """The trial that tried a configuration first, where the ledger knows one; of several studies the newest."""
    digest = configuration_digest(config)
    for study in studies(settings, config.name):
        for trial in study.finished:
            if trial.configuration == digest:
                found = trial.metrics[study.metric]
                return SearchOrigin(
                    study=study.study, trial=trial.number, trials=len(study.trials), metric=study.metric, estimate=found
                )
    return None
