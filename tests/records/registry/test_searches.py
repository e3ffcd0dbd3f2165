"""Studies in the ledger: what a verdict says of a candidate's configuration."""

from __future__ import annotations

from tasks.records.registry import ledger
from tasks.records.registry.searches import origin_of, studies
from tasks.spec.ledger import EntryDraft, SearchedDetails
from tasks.spec.model import load_model
from tasks.spec.search import StudyRecord, configured, drawn, making
from tasks.spec.settings import Settings
from tests.conftest import ROOT
from tests.test_adoption import study_of


def enter(settings: Settings, study: StudyRecord) -> None:
    draft = EntryDraft(
        kind="monitored", model=study.model, actor="test", reason="person", sentence="searched",
        evidence={"search": study.model_dump(mode="json")},
        details=SearchedDetails(study=study.study, trials=len(study.trials)),
    )  # fmt: skip
    ledger.append(settings, draft)


def test_a_configuration_is_known_by_what_it_is(settings: Settings) -> None:
    """Also where nobody says in a commit that it was searched; a study that went on counts as it stood last."""
    config = load_model(ROOT, "care")
    draws = [{"estimator.parameters.max_iter": n} for n in (30, 50)]
    assert origin_of(settings, config) is None
    enter(settings, study_of(config, draws[0], values=(0.7,)))
    enter(settings, whole := study_of(config, *draws, values=(0.7, 0.72)))
    assert list(studies(settings, "care")) == [whole] and list(studies(settings, "income")) == []
    second = configured(drawn(making(config), draws[1]))
    found = origin_of(settings, second)
    assert found is not None
    assert (found.study, found.trial, found.trials, found.estimate.value) == ("0123456789ab", 1, 2, 0.72)
    assert origin_of(settings, config) is None  # the one that nobody tried
