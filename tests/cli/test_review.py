"""The review queue as a person meets it: what is listed, what is gone, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.cli import review
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Decision, WindowReport
from tasks.spec.review import ReviewItem
from tasks.spec.settings import Settings
from tests.cli.test_app import assay
from tests.conftest import ROOT

ITEM = ReviewItem(
    id="p1", window=1, score=0.52, decision=True, reasons=("site holds a category that the reference has not",), alike=2
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A log with one row, and a report whose queue names it and one that is gone."""
    log = PredictionLog(f"sqlite:///{tmp_path / 'predictions.db'}")
    log.append(
        [
            Prediction(
                "p1",
                "care",
                "v1.0.0",
                "2026-01-01T00:00:00+00:00",
                {"site": "9", "xage": 40.0, "educdec": None},
                0.52,
                True,
            )
        ]
    )
    items = (ITEM, ITEM.model_copy(update={"id": "p0", "score": None, "decision": None}))
    decision = Decision(action="nothing", reason="quiet", policy="nothing")
    span = {"first": "2026-01-01", "last": "2026-01-01", "first_seq": 1, "last_seq": 9, "created": "2026-01-01"}
    log.save_report(
        WindowReport(
            model="care",
            version="v1.0.0",
            window=1,
            rows=1,
            labelled=0,
            findings=(),
            review=items,
            decision=decision,
            **span,
        )
    )
    log.close()
    return tmp_path


def test_the_queue_shows_inputs_reasons_and_what_is_gone(home: Path) -> None:
    first, second = review.queue(Settings(home=home), ROOT, "care")
    assert first["inputs"] == {"site": "9", "xage": 40.0, "educdec": None} and first["reasons"] == list(ITEM.reasons)
    assert second["inputs"] is None
    text = review.text([first, second], "care", width=300)
    for words in (
        "p1",
        "window 1: score 0.52, true",
        "site holds a category",
        "2 more rows are the same",
        "site 9, xage 40.0, educdec missing",
        "not in the log any more",
    ):
        assert words in text, text


def test_the_command_lists_as_json(home: Path) -> None:
    done = assay(home, "review", "care", "--json")
    assert done.returncode == 0, done.stderr
    assert [item["id"] for item in json.loads(done.stdout)] == ["p1", "p0"]


def test_nothing_logged_is_said_and_makes_no_log(tmp_path: Path) -> None:
    done = assay(tmp_path, "review", "care")
    assert (done.returncode, done.stdout.strip()) == (0, "no prediction of care waits to be looked at")
    assert not (tmp_path / "predictions.db").exists()


def test_an_answer_is_kept_and_shown_with_the_queue(home: Path) -> None:
    done = assay(
        home, "review", "care", "--answer", "p1", "disagree", "--because", "the site is new, the person is not"
    )
    assert done.returncode == 0 and "answers disagree for p1" in done.stdout, done.stdout + done.stderr
    first, second = review.queue(Settings(home=home), ROOT, "care")
    assert (first["answer"], second["answer"]) == ("disagree", None)
    assert "answered: disagree" in review.text([first], "care", width=300)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("p1", "perhaps"), "allowed: agree, disagree, unsure"),
        (("p7", "agree"), "no queue of care holds the prediction 'p7'"),
    ],
)
def test_a_wrong_answer_is_refused(home: Path, given: tuple[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        review.answer(Settings(home=home), ROOT, "care", given, "")
