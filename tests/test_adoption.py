"""The way of a trial into model.yaml: by a commit that says so, on a branch of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import adoption
from tasks.spec.errors import CheckoutError, ConfigError
from tasks.spec.model import load_model
from tasks.spec.search import Estimate, StudyRecord, Trial, configuration_digest, configured, drawn, making
from tasks.spec.settings import Settings
from tests.conftest import ROOT, git

CARE = (ROOT / "deployments/models/care/model.yaml").read_text()


def changed_lines(after: str, before: str = CARE) -> list[str]:
    old, new = before.splitlines(), after.splitlines()
    return [line for line in new if line not in old]


def test_just_what_was_drawn_changes_and_comments_stay() -> None:
    after = adoption.with_values(CARE, {"estimator.parameters.max_iter": 33, "data.target.decision_threshold": 0.4})
    assert changed_lines(after) == [
        "  target: {kind: binary, expression: mdvis > 0, positive: at least one visit, negative: no visit, "
        "decision_threshold: 0.4}",
        "  parameters: {max_iter: 33, max_leaf_nodes: 8, learning_rate: 0.06, min_samples_leaf: 40}",
    ]
    assert len(after.splitlines()) == len(CARE.splitlines())


def test_another_layout_stays() -> None:
    flat = yaml.safe_dump(yaml.safe_load(CARE), sort_keys=False, width=1000)
    (line,) = changed_lines(adoption.with_values(flat, {"estimator.parameters.max_iter": 33}), flat)
    assert line == "    max_iter: 33"


def test_another_kind_takes_its_parameters_alone() -> None:
    values = {
        "estimator.kind": "logistic_regression",
        "estimator.parameters.C": 0.5,
        "estimator.class_weight": "balanced",
    }
    after = yaml.safe_load(adoption.with_values(CARE, values))
    assert after["estimator"] == {"kind": "logistic_regression", "parameters": {"C": 0.5}, "class_weight": "balanced"}


def test_features_go_and_come_back() -> None:
    without = [f for f in yaml.safe_load(CARE)["features"] if f not in ("pioff", "hlthp")]
    after = adoption.with_values(CARE, {"features": without})
    assert yaml.safe_load(after)["features"] == without
    back = adoption.with_values(after, {"features": [*without, "pioff"]})
    assert yaml.safe_load(back)["features"] == [*without, "pioff"]


def study_of(config: Any, *drawings: dict[str, Any], values: tuple[float, ...], **changes: Any) -> StudyRecord:
    """A study whose trials drew these values and came to these results."""
    document = making(config)
    trials = tuple(
        Trial(
            number=number, state="complete", values=drawing, metrics={"roc_auc": Estimate(value=value)},
            configuration=configuration_digest(configured(drawn(document, drawing))), folds=(value,) * 2,
            began="2026-11-30T08:00:00+00:00", seconds=1.0, seed=1974, commit="a" * 40,
        )
        for number, (drawing, value) in enumerate(zip(drawings, values, strict=True))
    )  # fmt: skip
    asked = {
        "study": "0123456789ab",
        "model": "care",
        "commit": "a" * 40,
        "data": "sha256:d",
        "code": "c",
        "space": "s",
    }
    told = {"metric": "roc_auc", "greater_is_better": True, "folds": 2, "folded": "entities", "rows": 100}
    return StudyRecord(**(asked | told | {"trials": trials} | changes))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "co"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(root)], check=True)
    for key, value in (("user.name", "Dana"), ("user.email", "dana@example.org")):
        git(root, "config", key, value)
    (root / "deployments/models/care/model.yaml").write_text(CARE)
    git(root, "commit", "--quiet", "--all", "--allow-empty", "-m", "as it is")
    return root


def test_a_trial_becomes_a_commit_on_a_branch_of_its_own(checkout: Path) -> None:
    config, draw = load_model(checkout, "care"), [{"estimator.parameters.max_iter": n} for n in (30, 50)]
    study = study_of(config, *draw, values=(0.7, 0.72))
    head = git(checkout, "rev-parse", "HEAD")
    done = adoption.adopt(checkout, "care", study, study.front()[0])
    assert (done.trial, done.branch) == (1, "search/care-0123456789ab-1")
    assert git(checkout, "rev-parse", "HEAD") == head and git(checkout, "status", "--porcelain") == ""
    files = git(checkout, "diff", "--name-only", "HEAD", done.branch).split()
    assert files == ["deployments/models/care/model.yaml", "deployments/models/care/searches/0123456789ab.csv"]
    told = git(checkout, "log", "-1", "--format=%ae%n%(trailers)", done.branch).split("\n")
    assert told[:3] == ["dana@example.org", "Assay-Search-Study: 0123456789ab", "Assay-Search-Trial: 1"]
    git(checkout, "checkout", "--quiet", done.branch)
    assert configuration_digest(load_model(checkout, "care")) == study.trials[1].configuration
    git(checkout, "checkout", "--quiet", head)
    assert adoption.adopt(checkout, "care", study, study.trials[1]) == done  # once more is the same


def test_another_base_is_refused(checkout: Path) -> None:
    study = study_of(load_model(checkout, "care"), {"estimator.parameters.max_iter": 30}, values=(0.7,))
    path = checkout / "deployments/models/care/model.yaml"
    path.write_text(CARE.replace("max_leaf_nodes: 8", "max_leaf_nodes: 9"))
    git(checkout, "commit", "--quiet", "--all", "-m", "other leaves")
    with pytest.raises(ConfigError) as error:
        adoption.adopt(checkout, "care", study, study.trials[0])
    assert str(error.value) == (
        "deployments/models/care/model.yaml of HEAD is another than the one that trial 0 of study 0123456789ab was "
        "drawn from (aaaaaaaaaaaa), so its values would make another model. Check that commit out, or search again."
    )


def test_git_that_knows_nobody_is_refused(checkout: Path) -> None:
    study = study_of(load_model(checkout, "care"), {"estimator.parameters.max_iter": 30}, values=(0.7,))
    git(checkout, "config", "--unset", "user.email")
    with pytest.raises(CheckoutError, match="git does not know who commits in .* git config user.name NAME"):
        adoption.adopt(checkout, "care", study, study.trials[0])


def test_what_cannot_be_chosen_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config, settings = load_model(ROOT, "care"), Settings(home=tmp_path)
    two = [{"estimator.parameters.max_iter": n} for n in (30, 50)]
    study = study_of(config, *two, values=(0.7, 0.72))
    told: list[StudyRecord] = []
    monkeypatch.setattr(adoption, "studies", lambda *_: iter(told))
    for known, number, said in (
        ([], None, "the ledger knows no study of care. Search first: assay search care"),
        ([study], 9, "study 0123456789ab of care has no finished trial 9; it has 0, 1."),
        (
            [study.model_copy(update={"trials": ()})], None,
            "study 0123456789ab of care has 0 trials that no other dominates, since none was completed.",
        ),
    ):  # fmt: skip
        told[:] = known
        with pytest.raises(ConfigError) as error:
            adoption.chosen(settings, "care", None, number)
        assert str(error.value) == said
    gaps = [Estimate(value=0.1), Estimate(value=0.2)]
    trials = tuple(t.model_copy(update={"fairness": g}) for t, g in zip(study.trials, gaps, strict=True))
    told[:] = [study.model_copy(update={"trials": trials, "fairness": "opportunity-by-sex"})]
    with pytest.raises(ConfigError) as error:
        adoption.chosen(settings, "care", None, None)
    assert str(error.value) == (
        "study 0123456789ab of care has 2 trials that no other dominates (1, 0). Choose one by --trial."
    )
    assert adoption.chosen(settings, "care", None, 0)[1].number == 0
