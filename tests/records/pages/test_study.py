"""The page of a study and its picture in Prefect."""

from __future__ import annotations

import io
import re

import pandas as pd

from tasks.records.pages.study import study_markdown, study_page, study_table
from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.spec.model import load_model
from tasks.spec.search import Estimate, SearchOrigin, StudyRecord
from tests.conftest import ROOT
from tests.records.pages.test_pages import HOSTILE, VERDICT
from tests.test_adoption import study_of


def study(fairness: bool = False) -> StudyRecord:
    kinds = ["hist_gradient_boosting", "logistic_regression"]
    draws = [{"estimator.kind": kinds[n % 2], "features": ["site", "xage"][: 1 + n % 2]} for n in range(12)]
    found = study_of(load_model(ROOT, "care"), *draws, values=tuple(0.7 + 0.001 * (n % 7) for n in range(12)))
    failed = found.trials[3].model_copy(update={"state": "failed", "said": HOSTILE, "metrics": {}, "folds": ()})
    trials = [*found.trials[:3], failed, *found.trials[4:]]
    if fairness:
        gaps = [Estimate(value=0.1 + 0.01 * (t.number % 5), low=0.0, high=0.2) for t in trials]
        trials = [t.model_copy(update={"fairness": g}) for t, g in zip(trials, gaps, strict=True)]
    return found.model_copy(update={"trials": tuple(trials), "fairness": "opportunity-by-sex" if fairness else None})


def test_the_page_says_and_draws_every_trial() -> None:
    page = study_page(study(), "Care", {"estimator.kind": 0.75, "features: site": 0.25})
    assert "12 trials: 11 complete, 1 failed. Trial 6 is first: AUC 0.7060." in page
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert len(re.findall(r"<polyline ", page)) == 11 and "without xage" in page and "all 2" in page
    assert page.count("<svg ") == 3 and "src=" not in page


def test_two_objectives_have_a_front() -> None:
    page = study_page(study(fairness=True), "Care", {})
    front = [t.number for t in study(fairness=True).front()]
    assert f"no other dominates {', '.join(map(str, front))}." in page and "AUC against opportunity-by-sex" in page
    values = [(t.metrics["roc_auc"].value, t.fairness.value) for t in study(fairness=True).finished if t.fairness]
    by_hand = {v for v in values if not any(o[0] >= v[0] and o[1] <= v[1] and o != v for o in values)}
    chosen = {(t.metrics["roc_auc"].value, t.fairness.value) for t in study(fairness=True).front() if t.fairness}
    assert chosen == by_hand and len(front) == len(by_hand)


def test_an_empty_study_is_a_page_too() -> None:
    empty = study().model_copy(update={"trials": ()})
    assert "No trial has ended yet. None was completed." in study_page(empty, "Care", {})
    assert "No trial has ended yet." in study_markdown(empty, {})


def test_markdown_is_text_and_the_table_is_read_by_pandas() -> None:
    told = study_markdown(study(), {}, "http://x/reports/care/search.html")
    assert "| **6** | complete | 0.7060 |" in told and "<script>" not in told
    table = pd.read_csv(io.StringIO(study_table(study()).to_csv(index=False)))
    assert list(table["trial"]) == list(range(12)) and table["estimator.kind"][1] == "logistic_regression"
    assert table["roc_auc"][6] == 0.706 and set(table["study"]) == {"0123456789ab"}


def test_the_verdict_names_the_study() -> None:
    told = {"study": "0123456789ab", "trial": 6, "trials": 12, "metric": "roc_auc"}
    origin = SearchOrigin(**told, estimate=Estimate(value=0.706, low=0.69, high=0.722))
    searched = VERDICT.model_copy(update={"search": origin})
    evaluation = {"metrics": {}, "curves": {}, "importance": {}}
    said = (
        "Its configuration is that of trial 6 of study 0123456789ab, one of 12 trials; AUC was 0.706 (0.69 to 0.722) "
        "over folds of training rows."
    )
    assert said in verdict_page(searched, "Care", evaluation) and said in verdict_markdown(searched, evaluation)
    assert "trial" not in verdict_page(VERDICT, "Care", evaluation)
