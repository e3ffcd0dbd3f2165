"""What a file holds is what is trained on, sent, answered and logged: one reading, asked through every door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.cli.rows_of_files import read_rows
from tasks.spec.columns import to_table
from tasks.spec.model import load_model
from tests.serving import door
from tests.stages.worlds import NAME, document, table

ROWS = 400
CODES = {
    "plan": ["1234561", "1234562", ""],
    "answer": ["NA", "None", "null", "nan", "x"],
    "zip": ["01234", "1234", "1.0", "1"],
    "smoker": ["True", "False", ""],
}
"""Categories that readers who guess take for numbers, truths or gaps; by the files' own cells."""


def world(root: Path, **source: Any) -> Path:
    """A checkout whose table holds all of CODES; ``source`` are options of ``data.source``."""
    model = document("binary")
    columns = [{"name": name, "type": "category", "nullable": True} for name in CODES]
    model["data"]["columns"] += columns
    model["data"]["source"] |= source
    model["features"] += list(CODES)
    folder = root / "deployments/models" / NAME
    folder.mkdir(parents=True)
    (root / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (folder / "model.yaml").write_text(yaml.safe_dump(model))
    return root


def cells(rows: int = ROWS) -> pd.DataFrame:
    """The table as text, cell by cell, as it stands in a CSV."""
    made = table(rows).astype({"hours": "int64"}).astype(object)
    made = made.where(made.notna(), "").map(str)
    return made.assign(**{name: [texts[i % len(texts)] for i in range(rows)] for name, texts in CODES.items()})


def as_csv(frame: pd.DataFrame, path: Path, separator: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(frame.columns)] + [separator.join(row) for row in frame.itertuples(index=False)]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def ingest(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tasks.stages.ingest", "--model", NAME], cwd=root, capture_output=True, text=True
    )


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    """The table form, made here without the reader."""
    numbers = ["age", "hours", "pay"]
    texts = {n: [None if v == "" else v for v in frame[n]] for n in frame.columns.difference(numbers)}
    numeric = {n: [float(v) if v else np.nan for v in frame[n]] for n in numbers}
    return pd.DataFrame(texts | numeric)[list(frame.columns)].astype(dict.fromkeys(texts, "str"))


def test_every_door_gives_the_files_values(tmp_path: Path) -> None:
    root, frame = world(tmp_path), cells()
    as_csv(frame, root / f"data/{NAME}/source/table.csv")
    done = ingest(root)
    assert done.returncode == 0, done.stderr
    right = expected(frame)
    pd.testing.assert_frame_equal(pd.read_parquet(root / f"data/{NAME}/ingested.parquet"), right)

    config = load_model(root, NAME)
    requests = [row for part in read_rows(root / f"data/{NAME}/source/table.csv", config) for row in part]
    inputs = [c.name for c in config.inputs]
    assert [r["plan"] for r in requests[:4]] == ["1234561", "1234562", None, "1234561"]
    assert [r["answer"] for r in requests[:5]] == CODES["answer"]
    assert [r["zip"] for r in requests[:4]] == CODES["zip"]
    assert [r["smoker"] for r in requests[:3]] == ["True", "False", None]
    assert {type(r["hours"]) for r in requests} == {int} and set(requests[0]) == set(inputs)

    with door.opened(door.ModelPaths(root, NAME)) as service:
        answers = [
            p for at in range(0, ROWS, 100)
            for p in service.post("predict", json.dumps({"rows": requests[at : at + 100]})).json()["predictions"]
        ]  # fmt: skip
        logged = to_table(config.inputs, service.log.frame(NAME, 0, 2**62)).reset_index(drop=True)
        pd.testing.assert_frame_equal(logged, right[inputs])
        recorded = json.loads((service.paths.model / "requests.json").read_text())
        by_row = {json.dumps(r, sort_keys=True): a["score"] for r, a in zip(requests, answers, strict=True)}
        assert len(recorded["rows"]) == len(recorded["scores"]) > 100
        # rows as they stand in the file get the score of the training table's same rows, bit by bit
        again = service.post("predict", json.dumps({"rows": recorded["rows"]})).json()["predictions"]
        assert [p["score"] for p in again] == recorded["scores"]
        assert all(json.dumps(r, sort_keys=True) in by_row for r in recorded["rows"])


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_typed_files_give_what_the_text_gives(tmp_path: Path, form: str) -> None:
    """The same rows as a tool that knows types writes them: codes as numbers with gaps, truths as truths."""
    root, frame = world(tmp_path, format=form, path=f"data/{NAME}/source/table.{form}"), cells(60)
    right = expected(frame)
    typed = right.assign(
        plan=pd.array([None if v == "" else int(v) for v in frame["plan"]], dtype="Int64"),
        smoker=pd.array([{"True": True, "False": False}.get(v) for v in frame["smoker"]], dtype="boolean"),
        hours=right["hours"].astype("int32"),
    )
    path = root / f"data/{NAME}/source/table.{form}"
    path.parent.mkdir(parents=True)
    if form == "parquet":
        typed.to_parquet(path)
    else:
        records = typed.astype(object).where(typed.notna(), None).to_dict("records")
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    done = ingest(root)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(root / f"data/{NAME}/ingested.parquet"), right)
    requests = [row for part in read_rows(path, load_model(root, NAME)) for row in part]
    assert [r["plan"] for r in requests[:3]] == ["1234561", "1234562", None]
    assert [r["smoker"] for r in requests[:3]] == ["True", "False", None]


def test_whole_floats_are_codes_with_all_their_digits(tmp_path: Path) -> None:
    root = world(tmp_path, format="parquet", path=f"data/{NAME}/source/table.parquet")
    path = root / f"data/{NAME}/source/table.parquet"
    path.parent.mkdir(parents=True)
    made = expected(cells(40)).assign(plan=[1234561.0, 1234562.0, np.nan, 0.125] * 10)
    made.to_parquet(path)
    assert ingest(root).returncode == 0
    plans = pd.read_parquet(root / f"data/{NAME}/ingested.parquet")["plan"]
    assert plans.head(4).tolist()[:2] == ["1234561", "1234562"] and plans.isna().sum() == 10 and plans[3] == "0.125"
