"""Files as spreadsheets and old programs write them, through the command: what is guessed, and what is asked."""

from __future__ import annotations

import csv
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tasks.cli.app import app
from tasks.cli.rows_of_files import read_rows
from tasks.scaffold.draft import Answers
from tasks.scaffold.model import draft_of
from tasks.scaffold.reading import look
from tasks.spec.errors import AssayError
from tasks.spec.model import load_model

ROWS = 600


@pytest.fixture
def here(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The checkout in which the command runs, within this process."""
    monkeypatch.setattr("tasks.cli.new.ROOT", checkout)
    handlers = {ending: signal.getsignal(ending) for ending in (signal.SIGTERM, signal.SIGHUP)}
    yield checkout
    for ending, handler in handlers.items():
        signal.signal(ending, handler)


def new(name: str, path: Path, *options: str) -> str:
    """``assay new`` without a terminal, and what it prints."""
    done = CliRunner().invoke(app, ["new", name, str(path), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def written(root: Path, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """``model.yaml``, and the line of each column."""
    text = (root / f"deployments/models/{name}/model.yaml").read_text()
    lines = {
        line.split("{name: ")[1].split(",")[0]: line for line in text.splitlines() if line.startswith("    - {name: ")
    }
    return yaml.safe_load(text), lines


def table(path: Path, columns: dict[str, list[str]], separator: str = ",", header: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator)
        writer.writerow(header if header is not None else list(columns))
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def test_codes_marks_units_and_gaps_are_seen_and_asked(here: Path, tmp_path: Path) -> None:
    draw = Random(7)
    span = range(ROWS)
    wealth = [draw.uniform(1000, 9_000_000) for _ in span]
    share = [draw.uniform(0, 100) for _ in span]
    age = [str(draw.randint(18, 90)) for _ in span]
    columns = {
        "income": [f"{v:,.2f}" for v in wealth],
        "rate": [f"{v:.1f}%" for v in share],
        "age": ["99" if i % 40 == 0 else a for i, a in enumerate(age)],
        "debt": ["-999" if i % 50 == 0 else str(draw.randint(0, 5000)) for i in span],
        "score": ["9999" if i % 60 == 0 else str(draw.randint(300, 8000)) for i in span],
        "rooms": ["zwölf" if i == 5 else "-1" if i % 30 == 0 else str(draw.randint(1, 14)) for i in span],
        "when": ["" if i == 17 else f"{2019 + i * 3 // ROWS}-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in span],
        "advice": [draw.choice(["null", "NA", "None", "n/a", "good", "bad"]) for _ in span],
        "repaid": ["yes" if draw.random() < 0.2 + s / 200 else "no" for s in share],
    }
    path = table(tmp_path / "loans.csv", columns)
    said = new("loans", path, "--target", "repaid == 'yes'")
    document, lines = written(here, "loans")
    data = document["data"]
    assert (data["source"]["thousands"], data["source"].get("decimal")) == (",", None)
    found = {c["name"]: c for c in data["columns"]}
    assert [found[n]["type"] for n in ("income", "rate", "age", "debt", "score", "rooms", "when", "advice")] == [
        "number", "number", "integer", "integer", "integer", "integer", "date", "category"
    ]  # fmt: skip
    assert found["rate"]["unit"] == "%"
    assert [found[n].get("missing") for n in ("age", "debt", "score", "rooms", "advice")] == [
        ["99"], ["-999"], ["9999"], ["zwölf", "-1"], None
    ]  # fmt: skip
    assert [found[n].get("minimum") for n in ("age", "debt", "score", "rooms")] == [0, 0, 0, 0]
    rooms = "question: 'zwölf' (row 6) is no number; taken as missing; -1 stands apart from all others in "
    assert rooms in lines["rooms"] and f"rooms: {rooms.removeprefix('question: ')}" in said
    assert "does 'NA' or 'None' or 'n/a' or 'null' mean that nothing is known?" in lines["advice"]
    for name, code in (("age", "99"), ("debt", "-999"), ("score", "9999")):
        assert f"  ? {name}: {code} stands apart from all others in " in said

    undated = "1 row has no date and cannot be placed in time, so it is left out"
    assert (data["period"], data["rows"], data["split"]["by"]) == ("when", "when.notna()", "time")
    assert "when" not in document["features"] and undated in said
    assert "1 of 600 rows" in said

    (first, *_), *_ = read_rows(path, load_model(here, "loans"))
    assert (first["income"], first["rate"]) == (float(f"{wealth[0]:.2f}"), float(f"{share[0]:.1f}"))
    assert (first["age"], first["debt"], first["rooms"]) == (None, None, None)


def look_of(path: Path, **said: Any) -> tuple[dict[str, Any], list[str], tuple[str, ...]]:
    """The options of the source, its column names and what is asked, of the first look alone."""
    seen = look(path, said)
    return {k: v for k, v in seen.source.items() if k != "format"}, list(seen.cells.columns), seen.questions


GROUPED: dict[str, tuple[list[str], str, dict[str, str], bool]] = {
    "a comma beside points": (["1,234.50", "12.00", "9,876,543.10"], ";", {"thousands": ","}, False),
    "a point beside commas": (["1.234,50", "12,00", "9.876.543,10"], ";", {"decimal": ",", "thousands": "."}, False),
    "apostrophes": (["1'234", "12", "9'876'543"], ";", {"thousands": "'"}, False),
    "curved apostrophes": (["1’234.5", "12", "9’876"], ",", {"thousands": "'"}, False),
    "narrow blanks": (["1\u202f234,5", "12", "98\u202f765"], ";", {"decimal": ",", "thousands": " "}, False),
    "twice": (["1,234,567", "12", "7,654,321"], ";", {"thousands": ","}, False),
    "threes, cut at commas": (["1,234", "12", "765,432"], ",", {"thousands": ","}, True),
    "threes, cut at semicolons": (["1,234", "12", "765,432"], ";", {"decimal": ","}, True),
    "three decimals": (["1.234", "0.125", "765.432"], ",", {}, False),
    "decimal commas": (["1,5", "12,25", "0,125"], ",", {"decimal": ","}, False),
    "euros before": (["€ 1,234.50", "€ 12", "€ 9,876"], ";", {"thousands": ","}, False),
}


@pytest.mark.parametrize("case", GROUPED)
def test_marks_inside_numbers_are_told_apart_or_asked(case: str, tmp_path: Path) -> None:
    cells, separator, marks, asked = GROUPED[case]
    path = table(tmp_path / "a.csv", {"amount": cells * 40, "kind": ["a", "b", "c"] * 40}, separator)
    options, _, questions = look_of(path)
    assert {k: v for k, v in options.items() if k != "separator"} == marks
    assert bool(questions) == asked, questions


def test_a_person_says_how_the_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("naïf|größe|1,234\nx'1|y|5,678\n".encode("cp1252") * 30)
    said = {"header": False, "separator": "|", "encoding": "cp1252", "decimal": ",", "quote": ""}
    options, names, questions = look_of(path, **said)
    assert options == said and names == ["column_1", "column_2", "column_3"] and not questions
    assert look_of(path, separator="|", thousands=",", encoding="cp1252")[0]["thousands"] == ","
    for wrong, says in (
        ({"separator": ";;"}, "separator"),
        ({"encoding": "utf8x"}, "'utf8x' is no encoding of text that Python knows"),
        ({"encoding": "utf-8"}, "a.csv is not written in utf-8: 'utf-8' codec can't decode byte 0xef"),
        ({"decimal": ",", "thousands": ","}, "thousands is ',', which is also the decimal mark"),
    ):
        with pytest.raises(AssayError, match=says):
            look_of(path, **wrong)


HEADERS: dict[str, tuple[list[str], list[list[str]], bool, bool]] = {
    "years": (["land", "1990", "1995", "2000"], [["A", "3.4", "1.2", "5"], ["B", "4.4", "0.2", "7"]], True, True),
    "nothing but years": (["1990", "1995", "2000"], [["3.4", "1.2", "812"], ["4.4", "0.2", "711"]], True, True),
    "empty names": (["", "age", "", "sex"], [["1", "34", "2.5", "f"], ["2", "43", "3.5", "m"]], True, False),
    "words": (["age", "sex"], [["34", "f"], ["43", "m"]], True, False),
    "words above words": (["colour", "size"], [["red", "big"], ["blue", "small"]], True, False),
    "data": (["34", "f", "2.5"], [["43", "m", "1.5"], ["34", "f", "0.5"]], False, True),
    "data of years": (["1990", "3.5"], [["1991", "2.5"], ["1990", "1.5"]], False, True),
    "data of words": (["f", "red", "no"], [["m", "blue", "yes"], ["f", "red", "no"]], False, True),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_first_line_is_names_or_data(case: str, tmp_path: Path) -> None:
    first, rows, header, asked = HEADERS[case]
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([first, *rows * 30])
    options, names, questions = look_of(path)
    assert options.get("header", True) == header and bool(questions) == asked, (options, questions)
    assert names == ([name or f"Unnamed: {at}" for at, name in enumerate(first)] if header else names)
    other = look_of(path, header=not header)
    assert other[0].get("header", True) != header and not other[2]


def test_a_sorted_file_small_groups_and_protected_features_are_asked(here: Path, tmp_path: Path) -> None:
    draw = Random(11)
    span = range(1200)
    race = ["White"] * 600 + ["Black"] * 400 + ["Asian"] * 150 + ["Other"] * 50
    draw.shuffle(race)
    hours = [draw.randint(1, 60) for _ in span]
    label = [int(draw.random() < h / 80) for h in hours]
    order = sorted(span, key=lambda i: label[i])
    columns = {
        "class": [f"{hours[i]}" for i in order],
        "\u00b2": [f"{draw.randint(1, 3) / 5:.1f}" for _ in span],
        "Area m\u00b2": [str(draw.randint(1_200_000, 9_000_000)) for _ in span],
        "age": [str(draw.randint(18, 80)) for _ in span],
        "race": [race[i] for i in order],
        "null": [draw.choice("ab") for _ in span],
        "ill": [str(label[i]) for i in order],
    }
    said = new("ordered", table(tmp_path / "a.csv", columns), "--target", "ill", "--split", "hash")
    assert re.search(
        r"^  \? leakage: label rate along the training rows: \d[.\d]* in rows \d+ % to \d+ % of the training rows "
        r"against .* it may be a file ordered by its outcome, or .*: name the column that says when a row is from in "
        r"data\.period, mend the file, or excuse the place in excused_jumps",
        said, re.MULTILINE,
    ), said  # fmt: skip
    document, lines = written(here, "ordered")
    assert document["protected"]["race"]["groups"] == {"White": ["White"], "Black": ["Black"]}
    assert "  ? race: 'Asian' (150 rows), 'Other' (50 rows) are in no group, since fewer than 200 rows tell" in said
    assert "  ? features: age is protected and among them; may age decide?" in said
    text = (here / "deployments/models/ordered/model.yaml").read_text()
    assert "not protected" not in text
    assert {"class_", "column_2", "area_m2", "null"} <= set(document["features"])
    assert "holds 1,2" in lines["area_m2"] and re.search("to 8,9..,...", lines["area_m2"])
    assert not re.search(r"\d(e\+|\.\d*(0000|9999))", "".join(lines.values()))


CLASSES: dict[str, tuple[list[int], str | None, str]] = {
    "three classes": ([0, 1, 2], None, "multiclass"),
    "grades": ([5, 4, 3, 2, 1], None, "multiclass"),
    "grades that are amounts": ([5, 4, 3, 2, 1], "regression", "regression"),
    "counts with few of the largest": ([*([0, 1, 2] * 40), 17], None, "regression"),
    "amounts": (list(range(40)), None, "regression"),
    "amounts with marks": ([1000, 2000, 3000], None, "regression"),
    "a code": ([*([1, 2, 3] * 10), 999], None, "multiclass"),
}


@pytest.mark.parametrize("case", CLASSES)
def test_whole_numbers_are_classes_or_amounts_and_asked(case: str, tmp_path: Path) -> None:
    values, said, kind = CLASSES[case]
    cells = (values * 600)[:600]
    years = [f"{2010 + i % 7}.0" for i in range(600)]
    path = table(
        tmp_path / "a.csv", {"x": [str(i % 37) for i in range(600)], "year": years, "grade": [f"{c:,}" for c in cells]}
    )
    seen = look(path)
    draft = draft_of("a", "a.csv", seen, seen.source, "grade", Answers(kind=said), lambda text: None)
    if min(values) >= 1000:
        one = draft_of("a", "a.csv", seen, seen.source, "grade", Answers(positive="2,000"), lambda text: None)
        assert one.target.document["expression"] == "grade == 2000"
    target = draft.target
    assert target.document["kind"] == kind
    assert draft.roles.notes["period"] == "2010 to 2016, the file's rows stand not in order of it"
    if kind == "multiclass":
        assert target.document["classes"] == sorted({str(v) for v in values if v != 999}, key=int)
        assert (
            "whole numbers are taken as classes; where they are amounts, say --kind regression" in target.notes["kind"]
        )


def test_short_scales_and_prices_are_no_codes_and_a_blank_can_be_an_answer(tmp_path: Path) -> None:
    scales = {
        "change": [-1, 0, 1], "price": [9, 19, 29, 49, 99], "agreed": [1, 2, 3, 4, 5, -9],
        "graded": [1, 2, 3, 4, 5, 99], "two": [-98, -99, *range(14)],
    }  # fmt: skip
    columns = {name: [str((values * 400)[i]) for i in range(400)] for name, values in scales.items()}
    columns["mark"] = ["x" if i % 3 else "" for i in range(400)]
    seen = look(table(tmp_path / "a.csv", columns))
    draft = draft_of("a", "a.csv", seen, seen.source, "mark.notna()", Answers(), lambda text: None)
    assert {c.name: set(c.missing) for c in draft.columns} == {
        "change": set(), "price": set(), "agreed": {"-9"}, "graded": {"99"}, "two": {"-98", "-99"}, "mark": set(),
    }  # fmt: skip
    assert draft.target.document["kind"] == "binary" and "missing" not in draft.target.document


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "one value": (
        ("one",),
        "--target names 'one', which holds 'x' in every row of a.csv, so there is nothing to learn.",
    ),
    "no value": (("none",), "--target names 'none', which holds no value of a.csv, so there is nothing to learn."),
    "one number": (("seven",), "--target names 'seven', which holds '7' in every row of a.csv, so there is nothing"),
    "one value or a blank": (
        ("mark",),
        "holds 'x' or nothing in every row of a.csv, so there is nothing to learn. Where a blank is an answer "
        'too, say "mark.notna()".',
    ),
    "three positives": (
        ("rare == 'yes'",),
        "training rows; at least 15 of each answer are needed. Mend the condition, or give more rows",
    ),
    "three positives of a column": (("rare",), "--target 'rare' gives 'False' in "),
    "a decimal comma": (("x > 0,05",), "which is no expression. Where 0,05 is a number, write 0.05: its"),
    "a mark of the unit": (("Area m\u00b2 > 3",), "A name with blanks or the like stands in backticks."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_target_that_teaches_nothing_is_one_sentence(case: str, here: Path, tmp_path: Path) -> None:
    arguments, sentence = REFUSED[case]
    span = range(600)
    path = table(tmp_path / "a.csv", {
        "x": [f"0.{i % 37:02d}" for i in span], "one": ["x"] * 600, "none": ["?"] * 600, "seven": ["7"] * 600,
        "mark": ["x" if i % 3 else "" for i in span],
        "Area m\u00b2": [str(i) for i in span], "rare": ["yes" if i in (5, 300, 500) else "no" for i in span],
    })  # fmt: skip
    with pytest.raises(AssayError) as refused:
        CliRunner().invoke(app, ["new", "loans", str(path), "--target", *arguments], catch_exceptions=False)
    assert sentence in str(refused.value)
    assert not (here / "data/loans").exists() and not (here / "deployments/models/loans").exists()


def test_options_of_text_are_refused_where_there_is_no_text(here: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1, "b": 2}\n')
    for place, options, sentence in (
        (f"sqlite:///{tmp_path}/a.db", ("--query", "select 1"), "--decimal says how a text is written, and 'sqlite:"),
        (str(tmp_path / "a.jsonl"), (), "--decimal says how a text is written, and a.jsonl is no CSV."),
    ):
        asked = ["new", "loans", place, "--target", "a", "--decimal", ",", *options]
        with pytest.raises(AssayError) as refused:
            CliRunner().invoke(app, asked, catch_exceptions=False)
        assert sentence in str(refused.value)
