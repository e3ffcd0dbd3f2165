"""Which rows train, examine and are replayed: from ``model.yaml`` and a file to the prepared tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tests.conftest import ROOT
from tests.stages.worlds import NAME, document, table, write

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug")
SHARES = {"by": "time", "train": 0.5, "holdout": 0.25, "replay": 0.25}


def config(period: dict[str, Any] | None, **data: Any) -> dict[str, Any]:
    raw = document("binary")
    raw["data"]["columns"] += [
        *([period | {"input": False}] if period else []),
        {"name": "person", "type": "category", "input": False},
    ]
    raw["data"] |= {"split": SHARES, **({"period": period["name"]} if period else {}), **data}
    return raw


def prepared(root: Path, raw: dict[str, Any], frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The three sides, each with the source's columns beside it."""
    paths = write(root, raw, frame)
    for stage in (ingest, prepare):
        stage(paths, load_model(root, NAME))
    sides = {side: pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "holdout", "replay")}
    return {
        side: rows.drop(columns=[c for c in rows if c in frame]).join(frame, on="_row") for side, rows in sides.items()
    }


def dated(rows: int = 4000) -> pd.DataFrame:
    """Days in no order, 200 of them, and who visited; a person comes on up to five neighbouring days."""
    rng = np.random.default_rng(3)
    person = rng.integers(0, rows // 3, rows)
    day = np.clip(person * 600 // rows + rng.integers(0, 5, rows), 0, 199)
    return table(rows).assign(day=day, person=[f"p{p}" for p in person]).sample(frac=1, random_state=1)


def test_the_earlier_rows_train_the_later_examine_and_the_latest_are_replayed_in_order(tmp_path: Path) -> None:
    frame = dated().reset_index(drop=True)
    sides = prepared(tmp_path, config({"name": "day", "type": "integer"}), frame)
    train, holdout, replay = (sides[side]["day"] for side in ("train", "holdout", "replay"))
    assert train.max() < holdout.min() <= holdout.max() < replay.min()
    assert sum(map(len, (train, holdout, replay))) == 4000
    assert len(train) / 4000 == pytest.approx(0.5, abs=0.01)
    assert len(holdout) / 4000 == pytest.approx(0.25, abs=0.01)
    assert replay.is_monotonic_increasing
    assert sides["train"]["_label"].equals(sides["train"]["pay"] > 30)


def test_categories_are_in_the_order_in_which_they_are_declared(tmp_path: Path) -> None:
    """Eight months of 500 rows: by their names, April would come first."""
    frame = table(4000).assign(month=np.repeat(MONTHS[::-1], 500), person="p")
    raw = config({"name": "month", "type": "category", "categories": list(MONTHS)})
    sides = prepared(tmp_path, raw, frame)
    assert [sorted(set(sides[s]["month"])) for s in ("train", "holdout", "replay")] == [
        ["apr", "feb", "jan", "mar"],
        ["jun", "may"],
        ["aug", "jul"],
    ]


def test_an_entity_is_on_one_side_and_what_that_costs_is_counted(tmp_path: Path) -> None:
    frame = dated().reset_index(drop=True)
    sides = prepared(tmp_path, config({"name": "day", "type": "integer"}, entity="person"), frame)
    people = [set(rows["person"]) for rows in sides.values()]
    assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
    assert sides["train"]["day"].max() < sides["holdout"]["day"].min()
    assert sides["holdout"]["day"].max() < sides["replay"]["day"].min()
    kept = sum(map(len, sides.values()))
    assert 3900 < kept < 4000  # only who came on both days around a cut loses rows


def test_entities_that_are_always_there_leave_no_side_empty(tmp_path: Path) -> None:
    """A panel: 500 people in each of 8 years. By time alone each would be on all three sides."""
    frame = table(4000).assign(year=np.tile(np.arange(2001, 2009), 500), person=np.repeat(np.arange(500), 8))
    sides = prepared(tmp_path, config({"name": "year", "type": "integer"}, entity="person"), frame)
    assert {s: sorted(set(rows["year"])) for s, rows in sides.items()} == {
        "train": [2001, 2002, 2003, 2004],
        "holdout": [2005, 2006],
        "replay": [2007, 2008],
    }
    people = {s: set(rows["person"]) for s, rows in sides.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == 500
    assert [len(people[s]) / 500 for s in people] == pytest.approx([0.5, 0.25, 0.25], abs=0.06)
    assert [len(sides[s]) for s in sides] == [
        4 * len(people["train"]),
        2 * len(people["holdout"]),
        2 * len(people["replay"]),
    ]


def test_who_trains_or_examines_is_never_replayed_and_rows_of_nobody_known_are_no_one_person(tmp_path: Path) -> None:
    """The default split: each of 500 people came in 8 years, the base is the first 4, and some rows name nobody."""
    frame = table(4000).assign(
        year=np.tile(np.arange(2001, 2009), 500), person=np.repeat([f"p{n}" for n in range(500)], 8).astype(object)
    )
    frame.loc[::10, "person"] = None
    raw = config({"name": "year", "type": "integer"}, entity="person", base="year < 2005")
    raw["data"]["split"] = {"train": 0.5, "holdout": 0.3, "replay": 0.2}
    raw["data"]["columns"][-1]["nullable"] = True
    sides = prepared(tmp_path, raw, frame)
    people = {s: set(rows["person"].dropna()) for s, rows in sides.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == 500
    assert [len(people[s]) / 500 for s in people] == pytest.approx([0.5, 0.3, 0.2], abs=0.06)
    assert all(rows["person"].isna().sum() > 20 for rows in sides.values())
    assert set(sides["replay"]["year"]) == set(range(2001, 2009))


def test_rows_outside_the_base_are_replayed(tmp_path: Path) -> None:
    frame = table(4000).assign(day=np.arange(4000) // 20, person="p")
    sides = prepared(tmp_path, config({"name": "day", "type": "integer"}, base="day < 100"), frame)
    assert [sides[s]["day"].max() for s in ("train", "holdout", "replay")] == [49, 74, 199]
    assert set(frame.loc[frame["day"] >= 75, "day"]) == set(sides["replay"]["day"])


@pytest.mark.parametrize(
    ("period", "values", "says"),
    [
        (
            {"name": "day", "type": "integer", "nullable": True},
            [1, 2, 3, None],
            "data.period day has no value in 1000 of 4000 rows, so a split by time cannot place them. Leave such rows "
            "out in data.rows, or fill the column.",
        ),
        (
            {"name": "day", "type": "integer"},
            [7],
            "the train side of small has no row; look at data.rows, data.base and data.split, and at how many values "
            "day has: rows of one are never divided.",
        ),
    ],
)
def test_what_no_split_by_time_can_place_is_said(
    tmp_path: Path, period: dict[str, Any], values: list[Any], says: str
) -> None:
    frame = table(4000).assign(day=pd.array(values * (4000 // len(values)), dtype="Int64"), person="p")
    write(tmp_path, config(period), frame)
    for stage in ("ingest", "prepare"):
        done = subprocess.run(
            [sys.executable, "-m", f"tasks.stages.{stage}", "--model", NAME],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode != 0, done.stderr.strip()) == (True, f"error: {says}")


def test_rows_collected_in_production_join_a_model_that_is_split_by_time(tmp_path: Path) -> None:
    paths = write(tmp_path, config({"name": "day", "type": "integer"}), dated())
    rows = table(600, seed=9)
    paths.collected.mkdir(parents=True)
    made = rows[["age", "hours", "job", "sex"]].assign(
        hours=rows["hours"].astype(float), _label=rows["pay"] > 30, _id=[f"r{i}" for i in range(600)]
    )
    made.to_parquet(paths.collected / "rows-000000001-000000600.parquet", index=False)
    for stage in (ingest, prepare):
        stage(paths, load_model(tmp_path, NAME))
    train, holdout = (
        pd.read_parquet(ModelPaths(tmp_path, NAME).prepared / f"{s}.parquet") for s in ("train", "holdout")
    )
    assert (train["_row"] < 0).sum() + (holdout["_benchmark"] == "recent").sum() == 600
    assert (train["_row"] < 0).sum() / 600 == pytest.approx(2 / 3, abs=0.06)
