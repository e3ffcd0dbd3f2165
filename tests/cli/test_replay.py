"""``assay replay`` as a person meets it: a table, JSON, another config, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.records.log.predictions import PredictionLog
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests.cli.test_app import ROOT, assay
from tests.science.windows.test_replay import BAD, QUIET, played


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with four windows that were looked at."""
    home = tmp_path_factory.mktemp("home")
    config = load_model(ROOT, "income")
    log = PredictionLog(Settings(home=home).log_database)
    for report in played(config, [QUIET, BAD, BAD, BAD]):
        log.save_report(report)
    log.close()
    return home


def test_the_policy_of_now_is_told_beside_that_of_then(home: Path) -> None:
    done = assay(home, "replay", "income", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, [w["window"] for w in found], any(w["differs"] for w in found)) == (
        0,
        [1, 2, 3, 4],
        False,
    ), done.stderr


def test_another_config_marks_what_differs(home: Path, tmp_path: Path) -> None:
    text = (ROOT / "deployments/models/income/model.yaml").read_text()
    assert "monitoring:\n" in text
    trial = tmp_path / "trial.yaml"
    trial.write_text(text.replace("monitoring:\n", "monitoring:\n  confirm_windows: 3\n"))
    done = assay(home, "replay", "income", "--config", str(trial))
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "v1.0.0" in line]
    assert done.stdout.startswith("income: 3 of 4 windows would get another decision") and [
        "≠" in row for row in rows
    ] == [False, True, True, True]
    assert max(map(len, done.stdout.splitlines())) <= 80 and "once enough labelled" in done.stdout, (
        "the reason is readable in a small terminal"
    )
    found = json.loads(assay(home, "replay", "income", "--config", str(trial), "--json").stdout)
    assert [w["window"] for w in found if w["differs"]][0] == 2 and found[1]["now"]["action"] == "alert"


def test_what_cannot_be_replayed_is_one_sentence(home: Path, tmp_path: Path) -> None:
    empty = assay(home, "replay", "care")
    assert (empty.returncode, "no window of care has been looked at yet" in empty.stderr) == (2, True), empty.stderr
    assert "no window of income has been looked at yet" in assay(tmp_path, "replay", "income").stderr
    assert not (tmp_path / "predictions.db").exists(), "a question makes no log"
    other = assay(home, "replay", "income", "--config", str(ROOT / "deployments/models/care/model.yaml"))
    assert (other.returncode, "is the config of 'care', and the model is 'income'" in other.stderr) == (2, True)
    assert "does not exist" in assay(home, "replay", "income", "--config", str(tmp_path / "nothing.yaml")).stderr
