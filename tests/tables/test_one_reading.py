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
from tasks.spec.errors import ConfigError
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tests.serving import door
from tests.stages import worlds as stages
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

    with door.opened(ModelPaths(root, NAME)) as service:
        answers = [
            p for at in range(0, ROWS, 100)
            for p in service.post("predict", json.dumps({"rows": requests[at : at + 100]})).json()["predictions"]
        ]  # fmt: skip
        logged = to_table(config.inputs, service.log.frame(NAME, 0, 2**62)).reset_index(drop=True)
        pd.testing.assert_frame_equal(logged, right[inputs])
        kept = service.log.export(NAME, 0, 2**62, tmp_path / "window.parquet", config.inputs).path
        back = [row for part in read_rows(kept, config) for row in part]
        assert [{name: row[name] for name in inputs} for row in back] == requests
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


def refusal(root: Path) -> str:
    """What the stages say against the table, in this process."""
    paths, config = ModelPaths(root, NAME), load_model(root, NAME)
    with pytest.raises(ConfigError) as refused:
        stages.ingest(paths, config)
        stages.prepare(paths, config)
    return str(refused.value)


def changed(frame: pd.DataFrame, **values: tuple[int, str]) -> pd.DataFrame:
    """A table with one cell of some columns changed: ``column=(row counted from 1, text)``."""
    frame = frame.copy()
    for name, (row, text) in values.items():
        frame.loc[row - 1, name] = text
    return frame


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"hours": (3, "8888")},
            "column hours holds 8888 in row 3, and its maximum is 80. Mend the rows, change the maximum, list the "
            "value under the column's missing where it stands for a gap, or leave such rows out in data.rows.",
        ),
        ({"age": (7, "-1")}, "column age holds -1.0 in row 7, and its minimum is 0."),
        ({"hours": (9, "4.5")}, "row 9, column hours: '4.5' is no whole number up to 9007199254740991."),
        ({"hours": (9, "9007199254740993")}, "row 9, column hours: '9007199254740993' is no whole number up to"),
        ({"hours": (2, "")}, "column hours is missing in row 2, and requests may not lack it. Say nullable: true,"),
        ({"sex": (4, "Female")}, "column sex holds 'Female' in row 4; allowed: f, m. Mend the rows, add the category,"),
        ({"sex": (4, " f")}, "column sex holds ' f' in row 4; allowed: f, m. Say trim: true under data.source."),
        *[
            ({"age": (5, text)}, f"row 5, column age: {text!r} is no finite number.")
            for text in ("inf", "-Infinity", "1e308", "1e400", "nan", "NA", "0x10", "1_000", "1.234.5", "12 5", "True")
        ],
        ({"age": (5, "9" * 500)}, "row 5, column age: '" + "9" * 76 + "... is no finite number."),
        (
            {"job": (8, "j" * 1001)},
            "row 8, column job: '"
            + "j" * 76
            + "... has 1,001 characters, and a category that requests hold has at most "
            "1,000. Shorten it, or set input: false for the column.",
        ),
        (
            {"age": (5, "old"), "hours": (6, "many")},
            "row 5, column age: 'old' is no finite number. Mend the value, declare the column category, or list the "
            f"value under missing. data/{NAME}/source/table.csv, row 6, column hours: 'many' is no whole number",
        ),
    ],
)
def test_a_cell_against_its_declaration_is_named(tmp_path: Path, values: dict[str, Any], says: str) -> None:
    root = world(tmp_path)
    as_csv(changed(cells(60), **values), root / f"data/{NAME}/source/table.csv")
    assert says in refusal(root)


def test_a_feature_that_is_always_missing_is_named_before_training(tmp_path: Path) -> None:
    root = world(tmp_path, missing=["9.9"])
    as_csv(cells(60).assign(age="9.90"), root / f"data/{NAME}/source/table.csv")
    assert "age is missing in all 41 training rows of small, so nothing can be learned from it." in refusal(root)


LONG = 2**53 + 1
REFUSED: list[tuple[str, Any, str]] = [
    ("amount", -9, "it means missing in the model's files; send null"),
    ("plan", "?", "it means missing in the model's files; send null"),
    ("answer", "?", "it means missing in the model's files; a value is required"),
    ("amount", LONG, "a float would round this whole number; declare the column category"),
]


def test_a_marker_and_a_long_number_are_no_values_of_a_request(tmp_path: Path) -> None:
    """What the reader of the file does not take for a value, the service does not either, nor a file to score."""
    model = document("binary")
    model["data"]["source"]["missing"] = ["?"]
    model["data"]["columns"] += [
        {"name": "amount", "type": "number", "nullable": True, "missing": ["-9.0"]},
        {"name": "plan", "type": "category", "nullable": True},
        {"name": "answer", "type": "category"},
    ]
    model["features"] += ["amount", "plan", "answer"]
    frame = table(ROWS).assign(
        amount=[(-9, 2**53, "1e20", 5)[i % 4] for i in range(ROWS)], plan=["?", "a"] * 200, answer="x"
    )
    with door.opened(door.lay(tmp_path, model, frame)) as service:
        good = {"age": 30.0, "hours": 20, "job": "nurse", "sex": "f", "amount": 2**53, "plan": "a", "answer": "x"}
        fine = json.dumps({"rows": [good, good | {"amount": 1234567890123456800}]})
        assert service.post("predict", fine).status_code == 200
        rows = [good | {name: value} for name, value, _ in REFUSED]
        answer = service.post("predict", json.dumps({"rows": rows}))
        found = [(p["field"], p["value"], p["message"]) for p in answer.json()["problems"]]
        assert (answer.status_code, found) == (422, REFUSED)
        file = tmp_path / "asked.csv"
        pd.DataFrame([good, good | {"amount": LONG}]).to_csv(file, index=False)
        with pytest.raises(ConfigError, match=f"row 2, column amount: '{LONG}' is a whole number that a float would"):
            list(read_rows(file, service.config))
        for typed_file in ("asked.parquet", "asked.jsonl"):
            made = pd.DataFrame([good, good | {"amount": LONG}])
            path = tmp_path / typed_file
            made.to_parquet(path) if typed_file.endswith("t") else path.write_text(
                made.to_json(orient="records", lines=True)
            )
            with pytest.raises(ConfigError, match=f"column amount: {LONG} is a whole number that a float would round"):
                list(read_rows(path, service.config))
