"""A search through its own door: what it tries, what it writes down, and what it refuses."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tasks.science.models.estimators import build
from tasks.science.stats.folds import by_class, corrected_interval
from tasks.searching import NO_SEARCH
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.model import load_model
from tasks.spec.requests import SearchRequest
from tasks.stages.common import ModelPaths
from tests import searches
from tests.conftest import ROOT, git
from tests.stages import worlds

KILLS = 2


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def studied(home: Path) -> pd.DataFrame:
    """The table of the only study, which pandas reads."""
    (file,) = (home / "searches" / worlds.NAME).glob("*.csv")
    table = pd.read_csv(file, keep_default_na=False, na_values=[""])
    assert table.equals(pd.read_parquet(file.with_suffix(".parquet")).pipe(lambda t: pd.read_csv(file)[list(t)]))
    return table


def test_trials_are_what_their_configuration_gives_by_hand(tmp_path: Path, home: Path) -> None:
    """One fold of one trial, computed again with scikit-learn alone; intervals by the formula."""
    paths = searches.checkout(tmp_path / "co", search=searches.part(space=[searches.C], trials=1, folds=3))
    said = searches.run(tmp_path / "co")
    table = studied(home)
    assert list(table["trial"]) == [0] and set(table["state"]) == {"complete"}
    assert said.startswith(f"study {table['study'][0]} of small has 1 trial (1 complete); trial 0 is first: ")
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    label = rows["_label"].to_numpy(bool)
    folds, found = by_class(label, 3, 7), []
    config = paths.training()
    for fold in folds:
        c = float(table["estimator.parameters.C"][0])
        drawn = config.estimator.model_copy(update={"parameters": {"C": c}})
        pipeline = build(config.model_copy(update={"estimator": drawn}))
        assert isinstance(pipeline.named_steps["estimator"], LogisticRegression)
        features = rows[list(config.features)]
        pipeline.fit(features.iloc[fold.learned], label[fold.learned])
        score = pipeline.predict_proba(features.iloc[fold.predicted])[:, 1]
        found.append(roc_auc_score(label[fold.predicted], score))
    low, high = corrected_interval(np.array(found), folds)
    written = table.loc[0, ["roc_auc", "roc_auc_low", "roc_auc_high"]].astype(float)
    assert np.allclose(written, [np.mean(found), low, high])


def test_a_study_goes_on_and_finished_trials_are_kept(tmp_path: Path, home: Path) -> None:
    searches.checkout(tmp_path / "co", rows=400, search=searches.part(trials=1, folds=2))
    searches.run(tmp_path / "co")
    first = studied(home)
    searches.run(tmp_path / "co", trials=2, study=first["study"][0])
    then = studied(home)
    assert list(then["trial"]) == [0, 1]
    shared = [c for c in first.columns if first[c].notna().all()]
    pd.testing.assert_frame_equal(first[shared], then.iloc[:1][shared], check_dtype=False)


def kill_at_random(root: Path, home: Path, kills: int, seed: int, longest: float = 9.0) -> dict[str, int]:
    """Search in processes that are killed; gives how many trials each had finished."""
    draw, seen, counts = random.Random(seed), dict[int, tuple[Any, ...]](), {"kills": 0, "finished": 0}
    environment = os.environ | {"ASSAY_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.searches", str(root)], cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(draw.uniform(1.0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            counts["kills"] += 1
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said.decode()
        finished = results(home)
        assert {n: finished.get(n) for n in seen} == seen  # none is lost, none is changed
        seen = finished
    counts["finished"] = len(seen)
    return counts


def results(home: Path) -> dict[int, tuple[Any, ...]]:
    """What is on disk of finished trials, read past Optuna."""
    files = list((home / "searches" / worlds.NAME).glob("*.db"))
    if not files:
        return {}
    with sqlite3.connect(files[0]) as database:
        tables = {row[0] for row in database.execute("select name from sqlite_master")}
        if "trial_user_attributes" not in tables:
            return {}
        query = (
            "select trials.number, value_json from trial_user_attributes join trials using (trial_id) "
            "where key = 'result'"
        )
        return {number: (value,) for number, value in database.execute(query)}


def test_no_finished_trial_is_lost_when_the_search_is_killed(tmp_path: Path, home: Path) -> None:
    """Each time what is on disk is read past Optuna, and compared with what was there before."""
    searches.checkout(tmp_path / "co", rows=400, search=searches.part(trials=3, folds=2))
    kill_at_random(tmp_path / "co", home, KILLS, 5)
    before = results(home)
    searches.run(tmp_path / "co")
    table = studied(home)
    assert sum(table["state"] != "interrupted") == 3 and set(before) <= set(table["trial"])


def changed(root: Path, **changes: Any) -> None:
    path = root / f"deployments/models/{worlds.NAME}/model.yaml"
    document = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    git(root, "commit", "--quiet", "--all", "-m", "changed")


def test_what_cannot_be_searched_is_one_sentence(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "co"
    paths = searches.checkout(root, search=searches.part(trials=1, folds=2, space=[searches.C]))
    with pytest.raises(ConfigError, match=r"^small has no study '0123456789ab'; it has none yet\.$"):
        searches.run(root, study="0123456789ab")
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        SearchRequest(model="small", trials=0)
    searches.run(root)
    name = studied(home)["study"][0]

    unknown = {**searches.C, "place": "estimator.parameters.CC"}
    changed(root, search=searches.part(space=[unknown]))
    with pytest.raises(ConfigError) as error:
        searches.run(root)
    assert str(error.value).startswith(
        "search.space of small for logistic_regression: estimator.parameters names CC, unknown to logistic_regression; "
        "allowed: C, "
    )

    changed(root, search=searches.part(trials=1, folds=2, space=[{**searches.C, "high": 5}]))
    with pytest.raises(ConfigError) as error:
        searches.run(root, study=name)
    assert str(error.value).startswith(f"study {name} of small cannot go on: what is searched changed since. Search ")

    changed(root, search=searches.part(trials=1, folds=2, space=[searches.C]))
    table = pd.read_parquet(paths.prepared / "train.parquet")
    table.iloc[1:].to_parquet(paths.prepared / "train.parquet", index=False)
    with pytest.raises(ConfigError, match="cannot go on: the training rows changed since"):
        searches.run(root, study=name)

    table.to_parquet(paths.prepared / "train.parquet", index=False)
    file = home / "searches/small" / f"{name}.db"
    file.write_bytes(b"no database at all" * 400)
    with pytest.raises(CorruptionError, match=r"is no study that can be read \(.*not a database.*\)\. Move it aside"):
        searches.run(root)

    changed(root, search=None)
    with pytest.raises(ConfigError) as error:
        searches.run(root)
    assert str(error.value) == NO_SEARCH.format(model="small")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "mae"}, "search.metric names the metric 'mae'; allowed for a binary model: roc_auc, "),
        ({"fairness": "floor"}, "search.fairness names 'floor', which is no gate of kind fairness; allowed: fairness"),
        (
            {"space": [{"place": "data.rows", "draw": "choice", "of": ["a", "b"]}]},
            "search.space names 'data.rows'; allowed: estimator.kind, estimator.parameters.NAME, ",
        ),
        (
            {"space": [{"place": "features", "draw": "subset", "of": ["pay"]}]},
            "search.space names 'pay', which is no input column; allowed: age, hours, job, sex",
        ),
        (
            {"space": [{**searches.C, "kinds": ["ridge"]}]},
            "search.space draws estimator.parameters.C for ridge, which is never drawn; allowed: logistic_regression",
        ),
        (
            {"space": [{"place": "estimator.class_weight", "draw": "choice", "of": [None, "balance"]}]},
            "search draws what no model can be made of: estimator.class_weight",
        ),
        (
            {"space": [{**searches.C, "low": 20}]},
            "search.space.0.number: low is 20 and high 10; low has to be the smaller one",
        ),
    ],
)
def test_a_wrong_search_part_is_told_before_anything_starts(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    worlds.write(tmp_path, worlds.document("binary") | {"search": searches.part() | change}, worlds.table(20))
    with pytest.raises(ConfigError) as error:
        load_model(tmp_path, worlds.NAME)
    assert said in str(error.value)


def test_time_that_is_over_ends_a_trial_which_the_next_run_tries_again(tmp_path: Path, home: Path) -> None:
    searches.checkout(tmp_path / "co", search=searches.part(trials=3, folds=3, space=[searches.C]))
    searches.run(tmp_path / "co", minutes=0.02)
    began = time.monotonic()
    searches.run(tmp_path / "co", trials=1)
    assert time.monotonic() - began < 60
    table = studied(home)
    assert sum(table["state"] == "complete") == 1


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_other_targets_are_searched(tmp_path: Path, home: Path, kind: Any) -> None:
    searches.checkout(tmp_path / "co", kind, search=searches.part(kind, trials=1, folds=2))
    searches.run(tmp_path / "co")
    table = studied(home)
    assert list(table["state"]) == ["complete"] and table[worlds.METRICS[kind]].notna().all()


def test_a_trial_reads_the_training_rows_alone(tmp_path: Path, home: Path) -> None:
    """A factory of the model's own that looks for the holdout finds that nobody lets it."""
    root = tmp_path / "co"
    code = (
        "from pathlib import Path\nfrom sklearn.linear_model import LogisticRegression\n\n\n"
        "def build(C):\n"
        "    for name in ('holdout', 'replay'):\n"
        f"        (Path('{root}') / f'data/small/prepared/{{name}}.parquet').read_bytes()\n"
        "    return LogisticRegression(C=C)\n"
    )
    estimator = {"kind": "custom", "factory": "deployments.models.small.code.own:build", "parameters": {"C": 1.0}}
    paths: ModelPaths = searches.checkout(
        root, estimator=estimator, search=searches.part(trials=1, folds=2, space=[searches.C])
    )
    folder = paths.root / "deployments/models/small/code"
    folder.mkdir()
    (folder / "own.py").write_text(code)
    with pytest.raises(ConfigError, match=r"own:build' cannot be called with .*PermissionError.*holdout"):
        searches.run(root)
    (folder / "own.py").write_text(code.replace(".read_bytes()", ".name").replace("C=C", "C=C, max_iter=300"))
    searches.run(root)
    assert list(studied(home)["state"]) == ["complete"]


def test_fairness_is_a_second_objective(tmp_path: Path, home: Path) -> None:
    """The gate's measure of all predicted rows, by hand: the difference of true-positive rates by sex."""
    weights = {"place": "data.target.decision_threshold", "draw": "choice", "of": [0.4, 0.6]}
    part = searches.part(trials=1, folds=2, space=[weights], fairness="fairness")
    paths = searches.checkout(tmp_path / "co", search=part)
    said = searches.run(tmp_path / "co")
    assert "between roc_auc and fairness no other dominates 0" in said
    table, config = studied(home), paths.training()
    rows = pd.read_parquet(paths.prepared / "train.parquet")
    label, score = rows["_label"].to_numpy(bool), np.empty(len(rows))
    for fold in by_class(label, 2, 7):
        pipeline = build(config).fit(rows[list(config.features)].iloc[fold.learned], label[fold.learned])
        score[fold.predicted] = pipeline.predict_proba(rows[list(config.features)].iloc[fold.predicted])[:, 1]
    chosen = score >= float(table["data.target.decision_threshold"][0])
    rates = [chosen[label & (rows["sex"] == sex)].mean() for sex in ("f", "m")]
    assert table["fairness"][0] == pytest.approx(abs(rates[0] - rates[1]))
    assert table["fairness_low"][0] <= table["fairness"][0] <= table["fairness_high"][0]
