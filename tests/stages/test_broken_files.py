"""A stage by hand, with files that are not there, are damaged or old: one sentence and the fix, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tasks.stages.common import ModelPaths, run
from tasks.stages.evaluate import evaluate
from tasks.stages.ingest import ingest
from tasks.stages.prepare import prepare
from tasks.stages.train import train
from tests.stages.worlds import NAME, document, table, write

STAGES = (ingest, prepare, train, evaluate)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def renamed(path: Path) -> None:
    pd.read_parquet(path).rename(columns={"hours": "stunden"}).to_parquet(path)


def spoilt(path: Path) -> None:
    path.write_text('{"rows": "many"}')


BROKEN: list[tuple[str, str, str, int, Callable[[Path], None], str]] = [
    ("prepare", "ingested.parquet", "ingest", 3, cut, "cannot be read (ArrowInvalid: "),
    ("prepare", "ingested.parquet", "ingest", 3, renamed, "has no column hours, so it was written for another"),
    ("prepare", "ingested.json", "ingest", 3, spoilt, "cannot be read (ValidationError: "),
    ("prepare", "ingested.json", "ingest", 2, Path.unlink, "does not exist"),
    ("train", "prepared/train.parquet", "prepare", 3, cut, "cannot be read"),
    ("train", "prepared/train.parquet", "prepare", 3, renamed, "has no column hours"),
    ("train", "prepared/record.json", "prepare", 2, Path.unlink, "does not exist"),
    ("train", "prepared/record.json", "prepare", 3, cut, "cannot be read"),
    ("train", "source_rows.parquet", "ingest", 2, Path.unlink, "does not exist"),
    ("train", "source_rows.parquet", "ingest", 3, cut, "cannot be read"),
    ("evaluate", "model/model.skops", "train", 3, cut, "and its manifest says"),
    ("evaluate", "model/manifest.json", "train", 3, cut, "cannot be read as a manifest"),
    ("evaluate", "model/manifest.json", "train", 2, Path.unlink, "does not exist"),
    ("evaluate", "prepared/holdout.parquet", "prepare", 3, renamed, "has no column hours"),
    ("evaluate", "prepared/holdout.parquet", "prepare", 2, Path.unlink, "does not exist"),
]


def test_every_stage_says_what_it_lacks_and_which_stage_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write(tmp_path, document("binary"), table(300))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage", "--model", NAME])

    def refused(stage: Callable[..., None]) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            run(stage)
        return int(str(end.value.code)), capsys.readouterr().err

    for stage, absent, before in (
        (prepare, "ingested.parquet", "ingest"),
        (train, "prepared/train.parquet", "prepare"),
        (evaluate, "model/manifest.json", "train"),
    ):
        path = paths.data / absent
        assert refused(stage) == (
            2, f"error: {path} does not exist. Run the stages in order: dvc repro {before}@{NAME}.\n"
        )  # fmt: skip
    for stage in STAGES:
        run(stage)
    for name, file, before, code, damage, said in BROKEN:
        stage = next(s for s in STAGES if s.__name__ == name)
        kept = (paths.data / file).read_bytes()
        damage(paths.data / file)
        found, sentence = refused(stage)
        assert found == code and sentence.count("\n") == 1, (file, sentence)
        assert said in sentence and f"{before}@{NAME}.\n" in sentence, (file, sentence)
        (paths.data / file).write_bytes(kept)
    run(evaluate)


def test_rows_that_were_collected_name_their_pointer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: ModelPaths = write(tmp_path, document("binary"), table(300))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage", "--model", NAME])
    run(ingest)
    paths.collected.mkdir()
    (paths.collected / "rows-1-2.parquet").write_text("PAR1")
    with pytest.raises(SystemExit) as end:
        run(prepare)
    assert end.value.code == 3
