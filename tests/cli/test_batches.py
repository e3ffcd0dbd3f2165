"""A file scored through a real service: in pieces, resumed, and with what is wrong named by row and column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tasks.cli import batches
from tasks.cli.rows_of_files import read_rows
from tasks.spec.errors import AssayError, ConfigError, UnreachableError
from tasks.spec.model import ModelConfig, load_model
from tasks.tables import formats
from tests import asking
from tests.serving.running import ROOT, Service, point, release, start


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model(ROOT, "care")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, config: ModelConfig) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config, {"ASSAY_MOST_BODY_BYTES": "60000"})
    yield running
    running.process.kill()
    running.process.wait(timeout=10)


def written(service: Service, folder: Path, n: int, kind: str) -> Path:
    path, table = folder / f"rows.{kind}", pd.DataFrame(service.rows(n))
    {
        "csv": lambda: table.to_csv(path, index=False),
        "parquet": lambda: table.to_parquet(path),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
    }[kind]()
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_every_row_is_answered_in_order_and_logged(
    service: Service, config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(formats, "ROWS", 700)  # read in several parts; most requests are too large for this service
    before = len(service.log())
    answers = list(
        batches.score_file(asking.client(service.url), "care", config, written(service, tmp_path, 1500, kind))
    )
    logged = service.log().iloc[before:]
    assert [a["id"] for a in answers] == logged["_id"].tolist() and [a["score"] for a in answers] == logged[
        "_score"
    ].tolist()
    assert [a["row"] for a in answers] == list(range(1, 1501))
    sent = pd.DataFrame(service.rows(1500))
    exact = {"csv": 0, "parquet": 0, "jsonl": 1e-9}[kind]  # pandas writes ten digits into JSON
    for name in sent.columns:
        if sent[name].dtype == "float64":
            assert (logged[name].reset_index(drop=True) - sent[name]).abs().max() <= exact
        else:
            assert logged[name].tolist() == sent[name].tolist()


def test_every_answer_can_come_with_its_reasons(
    service: Service, config: ModelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(service, tmp_path, 230, "csv")
    found = batches.score_file(asking.client(service.url), "care", config, file, explain=True)
    answers = list(found)
    assert [a["row"] for a in answers] == list(range(1, 231)) and all(a["explanation"] for a in answers)
    capsys.readouterr()
    batches.print_answers(iter(answers), as_json=False, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    told = [line.removeprefix("\t") for line in lines if line.startswith("\t")]
    assert told == [
        sentence
        for a in answers
        for sentence in [r["says"] for r in a["explanation"]["reasons"]] or [a["explanation"]["says"]]
    ]
    assert len(lines) == 230 + len(told)


def test_it_goes_on_where_it_stopped(service: Service, config: ModelConfig, tmp_path: Path) -> None:
    file, out, before = written(service, tmp_path, 1200, "csv"), tmp_path / "answers.jsonl", len(service.log())
    answers = batches.score_file(asking.client(service.url), "care", config, file, out)
    for _ in range(501):  # the second request is answered and written, and then the process ends
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    with out.open("a") as target:
        target.write('{"id": "ha')
    assert len(out.read_text().splitlines()) == 1001
    rest = list(batches.score_file(asking.client(service.url), "care", config, file, out))
    assert [a["row"] for a in rest] == list(range(1001, 1201))
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert [a["row"] for a in kept] == list(range(1, 1201)) and [a["id"] for a in kept] == service.log()[
        "_id"
    ].tolist()[before:]
    assert list(batches.score_file(asking.client(service.url), "care", config, file, out)) == []
    out.write_text("something\n")
    with pytest.raises(ConfigError, match="does not end with the answer to row 1"):
        list(batches.score_file(asking.client(service.url), "care", config, file, out))


def test_what_is_wrong_is_named_by_row_and_column(service: Service, config: ModelConfig, tmp_path: Path) -> None:
    table = pd.DataFrame(service.rows(1100))
    table["coins"] = table["coins"].astype(object)
    file, out = tmp_path / "rows.csv", tmp_path / "answers.jsonl"
    wrong = table.copy()
    wrong.loc[1049, "xage"] = 400.0
    wrong.loc[1060, "income"] = None
    wrong.to_csv(file, index=False)
    with pytest.raises(
        AssayError,
        match=(
            r"refused rows 1,001 to 1,100, and none of them was logged: row 1,050, column xage: .*less than or equal "
            r"to 120, and it is 400"
        ),
    ):
        list(batches.score_file(asking.client(service.url), "care", config, file, out))
    table.to_csv(file, index=False)  # mended: the answered rows are not scored again
    assert [a["row"] for a in batches.score_file(asking.client(service.url), "care", config, file, out)] == list(
        range(1001, 1101)
    )
    table.loc[1033, "coins"] = "much"
    table.to_csv(file, index=False)
    with pytest.raises(ConfigError, match=r"rows.csv, row 1,034, column coins: 'much' is no finite number"):
        list(read_rows(file, config))
    table.assign(colour="red", coins=1.0).to_csv(file, index=False)
    with pytest.raises(AssayError, match="row 1 and at least 19 more, column colour: unknown field.*and it is 'red'$"):
        list(batches.score_file(asking.client(service.url), "care", config, file))


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_a_file_may_part_its_cells_otherwise(service: Service, config: ModelConfig, tmp_path: Path, sign: str) -> None:
    table = pd.DataFrame(service.rows(7))
    table.to_csv(tmp_path / "comma.csv", index=False)
    table.to_csv(tmp_path / "other.csv", index=False, sep=sign)
    assert list(read_rows(tmp_path / "other.csv", config)) == list(read_rows(tmp_path / "comma.csv", config))


def test_files_that_are_none(config: ModelConfig, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "head.csv").write_text("xage,coins\n")
    (tmp_path / "no.parquet").write_text("this is no parquet")
    (tmp_path / "no.jsonl").write_text("{nothing\n")
    (tmp_path / "blank.csv").write_text("\n\n  \n")
    (tmp_path / "empty.jsonl").write_text("\n")
    pd.DataFrame({"xage": pd.Series(dtype=float)}).to_parquet(tmp_path / "empty.parquet")
    for name, says in (
        *(
            (f, f"{f} holds no row, so there is nothing to score")
            for f in ("empty.csv", "head.csv", "blank.csv", "empty.jsonl", "empty.parquet")
        ),
        ("no.parquet", "no.parquet cannot be read as Parquet"),
        ("no.jsonl", "no.jsonl, line 1 is no row"),
    ):
        with pytest.raises(ConfigError, match=says):
            list(read_rows(tmp_path / name, config))
    (tmp_path / "one.csv").write_text("xage\n30\n")
    with pytest.raises(UnreachableError, match="rows before 1 are scored"):
        list(batches.score_file(asking.client("http://127.0.0.1:9"), "care", config, tmp_path / "one.csv"))
