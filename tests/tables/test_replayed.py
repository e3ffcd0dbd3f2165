"""Readiness sends rows of the file as a client would: a table that was altered on its way does not get past it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.serving.readiness import measure
from tasks.spec.data import Column
from tasks.spec.data_source import Reading
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.tables.replayed import SourceRows, kept_rows, source_requests
from tests.stages import worlds
from tests.stages.worlds import NAME, document, table, write


@pytest.mark.parametrize("altered", [False, True])
def test_a_table_that_is_not_the_file_is_seen(tmp_path: Path, altered: bool) -> None:
    paths = write(tmp_path, document("binary"), table(600))
    config = load_model(tmp_path, NAME)
    worlds.ingest(paths, config)
    if altered:  # as a reader that guesses would: half the smiths become drivers
        rows = pd.read_parquet(paths.ingested)
        rows.loc[rows.index % 2 == 0, "job"] = rows["job"].replace({"smith": "driver"})
        rows.to_parquet(paths.ingested, index=False)
    worlds.prepare(paths, config)
    worlds.train(paths, config)
    found = measure(paths.model)
    assert found["rows"] == 200 and found["refused"] == []
    assert (found["differing"] > 10) is altered and (found["differing"] == 0) is not altered


def test_rows_collected_in_production_fill_up(tmp_path: Path) -> None:
    paths = write(tmp_path, document("binary"), table(600))
    config = load_model(tmp_path, NAME)
    for stage in (worlds.ingest, worlds.prepare):
        stage(paths, config)
    few = pd.read_parquet(paths.source_rows).head(100)  # as of a table so large that few of its rows are kept
    rows = SourceRows()
    rows.add(few.drop(columns="_row"))
    rows.write(paths.source_rows, config.data.source.reading)
    worlds.train(paths, config)
    found = measure(ModelPaths(tmp_path, NAME).model)
    assert found["rows"] == 200 and found["differing"] == 0
    assert len(json.loads((paths.model / "requests.json").read_text())["rows"]) == 200


def test_of_many_rows_some_are_kept_under_their_numbers(tmp_path: Path) -> None:
    columns = (Column(name="code", type="category"), Column(name="size", type="integer"))
    kept = SourceRows(most=50)
    for begin in range(0, 1000, 30):
        numbers = range(begin, min(begin + 30, 1000))
        kept.add(pd.DataFrame({"code": [f"0{n}" for n in numbers], "size": [f"{n},0" for n in numbers]}, dtype="str"))
    kept.write(tmp_path / "rows.parquet", Reading(decimal=","))
    numbers = kept_rows(tmp_path / "rows.parquet").tolist()
    assert len(numbers) == 50 and numbers == sorted(set(numbers)) and 300 < sum(numbers) / 50 < 700
    assert source_requests(tmp_path / "rows.parquet", columns, numbers[::-1]) == [
        {"code": f"0{n}", "size": n} for n in numbers[::-1]
    ]
