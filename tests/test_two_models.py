"""A pushed branch that lists a second model over the rows of a first one, by the training flow and a real ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
import yaml

from flows.training import train
from tasks.data import prepare_data
from tasks.holdouts import asking
from tasks.records.registry import ledger
from tasks.science.stats.reuse import level_share
from tasks.spec.requests import TrainingRequest
from tasks.training import checkout, commit_candidate, refuse_sealed_elsewhere, train_and_evaluate
from tests.conftest import git
from tests.stages.worlds import NAME, document, table
from tests.told import CONFIG, SOURCE, Past, home_of, model_yaml


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """One model on main whose holdout is sealed, and one candidate of it."""
    with home_of(tmp_path_factory.mktemp("two")) as made:
        made.write(CONFIG, model_yaml(lambda found: found["data"].update(holdout="sealed")))
        made.write(SOURCE, lambda _: table(900).to_csv(index=False))
        made.push("sealed")
        made.train("first", end="examined")
        yield made


def push_other(made: Past, change: dict[str, object]) -> None:
    """A branch with another model: a column fewer and one of another name, in a file of another order."""
    folder = made.developer / "deployments/models/other"
    folder.mkdir(parents=True, exist_ok=True)
    found = document("binary") | {"name": "other", "features": ["age", "hours"]}
    columns = [c for c in found["data"]["columns"] if c["name"] in ("age", "hours", "sex")]
    found["data"] |= {
        "columns": [*columns, {"name": "lohn", "source": "pay", "type": "number", "input": False}],
        "target": found["data"]["target"] | {"expression": "lohn > 28"},
        "source": {"kind": "file", "path": "data/other/source/people.csv", "format": "csv"},
        **change,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(found))
    count = {"type": "expect_table_row_count_to_be_between", "min_value": 500, "max_value": 2000}
    (folder / "expectations.yaml").write_text(yaml.safe_dump({"ingested": [count], "prepared": []}))
    source = made.developer / "data/other/source/people.csv"
    source.parent.mkdir(parents=True, exist_ok=True)
    pd.read_csv(made.developer / SOURCE)[["pay", "sex", "hours", "age"]].to_csv(source, index=False)
    (made.developer / "deployments/models.yaml").write_text(f"models: [{NAME}, other]\n")
    git(made.developer, "add", ".")
    git(made.developer, "commit", "--quiet", "-m", "another model")
    git(made.developer, "push", "--quiet", "origin", "HEAD:refs/heads/other")


def test_open_it_is_refused_before_training_and_sealed_it_counts(sealed: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(sealed.folder))
    monkeypatch.setenv("ASSAY_HOME", str(sealed.settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", sealed.settings.origin)
    trained = ledger.evidence(sealed.settings, ledger.entries(sealed.settings, NAME)[0].evidence)
    rows = trained["holdout"]["rows"]
    request = TrainingRequest(model="other", revision="other", reason="push", actor="eve@example.org", promote=False)
    monkeypatch.setattr("flows.training.prepare_data", prepare_data.fn)  # the flow without a server
    push_other(sealed, {})
    assert train.fn(request).message == (
        f"about {rows} of the {rows} rows of the sealed holdout of small are in the source of other, whose answers "
        "about them would be read. Write holdout: sealed under data of other, and give it the source, seed and split "
        "of small, so that they are in its holdout alone; or bring other rows."
    )
    assert not ledger.entries(sealed.settings, "other")
    push_other(sealed, {"holdout": "sealed"})
    with checkout(request) as tree:
        train_and_evaluate.fn(tree, "other")
        refuse_sealed_elsewhere(tree, "other")
        use = asking(sealed.settings, commit_candidate.fn(tree, request)).use
    assert (use.asked, use.elsewhere, use.level) == (2, 1, level_share(2, 1))
