"""Files with a few odd cells, names or answers, through the first look alone: what is guessed, asked and refused."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from tasks.scaffold.draft import Answers, Draft
from tasks.scaffold.model import draft_of
from tasks.scaffold.reading import look
from tasks.spec.data import Column
from tasks.spec.data_source import Reading
from tasks.spec.errors import ConfigError
from tasks.tables.formats import read_file
from tasks.tables.typed import column_values
from tests.scaffold.test_cells import table

ROWS = 1200


def drafted(path: Path, target: str, **said: Any) -> Draft:
    seen = look(path)
    return draft_of("odd", path.name, seen, seen.source, target, Answers(**said), lambda text: None)


def amounts(draw: Random, **at: str) -> list[str]:
    """Numbers with two decimals, and odd cells at the rows that their names tell: ``r7="O.5"``."""
    cells = [f"{draw.gauss(100, 20):.2f}" for _ in range(ROWS)]
    for row, cell in at.items():
        cells[int(row[1:])] = cell
    return cells


ODD: dict[str, tuple[dict[str, str], str]] = {
    "a letter for a nought": ({"r7": "O.5"}, "'O.5' (row 8) is no number; taken as missing"),
    "below a limit": ({"r7": "<5", "r900": "<5"}, "'<5' (2 rows, the first is 8) is no number; taken as missing"),
    "a decimal comma": ({"r7": "1,5"}, "'1,5' (row 8) is no number; taken as missing"),
    "a German amount": ({"r700": "1.000,00"}, "'1.000,00' (row 701) is no number; taken as missing"),
    "a spreadsheet's error": ({"r7": "#DIV/0!", "r8": "12.5*"}, "'#DIV/0!' (row 8), '12.5*' (row 9) are no numbers; "),
    "beyond every float": ({"r7": "1e400"}, "'1e400' (row 8) is no number; taken as missing"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_few_odd_cells_leave_a_column_of_numbers_and_are_asked(case: str, tmp_path: Path) -> None:
    at, question = ODD[case]
    draw = Random(5)
    columns = {"amount": amounts(draw, **at), "other": amounts(draw), "y": [draw.choice("pq") for _ in range(ROWS)]}
    draft = drafted(table(tmp_path / "a.csv", columns), "y")
    amount, other, _ = draft.columns
    assert (amount.type, other.type, set(amount.missing)) == ("number", "number", set(at.values()))
    assert amount.questions[0].startswith(question) and not draft.source.get("decimal")
    marked = [cell for cell in at.values() if "," in cell]
    assert (
        (f"1 cell such as {marked[0]} has ',' as decimal mark" in str(draft.written)) if marked else not draft.written
    )


def test_codes_stay_names_half_numbers_are_asked_and_truths_have_whole_bounds(tmp_path: Path) -> None:
    draw = Random(6)
    span = range(ROWS)
    columns = {
        "diagnosis": ["V57" if i % 50 == 0 else str(draw.randint(100, 999)) for i in span],
        "postcode": ["D-01" if i == 3 else f"0{draw.randint(1000, 9000)}" for i in span],
        "level": [draw.choice(["<5", "1.5", "2", "3.5", "7.25"]) for _ in span],
        "treated": [draw.choice(["0.0", "1.0", ""]) for _ in span],
        "y": [draw.choice("pq") for _ in span],
    }
    draft = drafted(table(tmp_path / "a.csv", columns), "y")
    found = {c.original: c for c in draft.columns}
    assert [found[n].type for n in columns] == ["category", "category", "category", "integer", "category"]
    assert not found["diagnosis"].missing and not found["postcode"].missing
    (asked,) = found["level"].questions
    assert asked.startswith("'<5' (") and "so the column is taken for names; where it is one of numbers, list" in asked
    assert (found["treated"].minimum, found["treated"].maximum) == (0, 2)


def test_most_cells_of_all_columns_say_which_mark_is_decimal(tmp_path: Path) -> None:
    draw = Random(7)
    columns = {
        "note": ["1.234,5" if i % 3 == 0 else draw.choice(["ok", "bad"]) for i in range(ROWS)],
        "size": amounts(draw), "y": [draw.choice("pq") for _ in range(ROWS)],
    }  # fmt: skip
    draft = drafted(table(tmp_path / "a.csv", columns), "y")
    assert draft.features == ["note", "size"] and not draft.source.get("decimal")
    (question,) = draft.written
    assert question.startswith("400 cells such as 1.234,5 have ',' as decimal mark, and 1,200 such as ")
    assert question.endswith("say --decimal ','")


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "text beside a number": (
        'age > "50"', {},
        "--target is 'age > \"50\"': column age is a number and '50' is text, which has another order; write the "
        "number without quotes.",
    ),
    "a number beside text, turned round": ('("9" <= age) and flag', {}, "column age is a number and '9' is text"),
    "a split by time without a date": (
        "y", {"split": "time"}, "--split is time, and no column of people.csv is seen to say when a row is from; name",
    ),
    "the target left out": ("y", {"leave_out": ("y",)}, "--leave-out names 'y', which --target is made from; "),
    "the target as whose row it is": ("y == 'p'", {"entity": "y"}, "--entity names 'y', which --target is made from"),
    "the target as a date": ("y", {"period": " y "}, "--period names ' y ', which --target is made from; name another"),
    "left out, and whose row it is": (
        "y", {"entity": "age", "leave_out": ("age",)}, "--leave-out names 'age', which --entity names too; take one",
    ),
    "two classes": (
        "y", {"kind": "multiclass"}, "--kind is multiclass, and 'y' has 2 values; allowed: three or more. Leave --kind",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = Random(8)
    columns = {
        "age": [str(draw.randint(1, 99)) for _ in range(ROWS)],
        "flag": [draw.choice(["true", "false"]) for _ in range(ROWS)],
        "y": [draw.choice("pq") for _ in range(ROWS)],
    }
    return table(tmp_path_factory.mktemp("people") / "people.csv", columns)


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_cannot_be_meant_is_refused(case: str, people: Path) -> None:
    target, said, sentence = WRONG[case]
    with pytest.raises(ConfigError) as refused:
        drafted(people, target, **said)
    assert sentence in str(refused.value)


def test_blanks_around_names_are_no_part_of_them_and_flags_take_either(tmp_path: Path) -> None:
    draw = Random(9)
    path = tmp_path / "a.csv"
    rows = [
        f"{draw.randint(18, 90)}, {draw.choice('ab')}, {draw.choice('pq')}, {draw.randint(1, 9)}" for _ in range(ROWS)
    ]
    path.write_text("\n".join(["age, Job Title, y, age", *rows]) + "\n")
    for target, left in (("y", "Job Title"), ("` y`", " Job Title"), (" `y` ", "job_title")):
        draft = drafted(path, target, leave_out=(left,))
        data = draft.document()["data"]
        assert data["source"]["trim"] and draft.features == ["age", "age_1"]
        assert [(c["name"], c.get("source")) for c in data["columns"]] == [
            ("age", None), ("job_title", "Job Title"), ("y_", "y"), ("age_1", "age.1"),
        ]  # fmt: skip
    parts = read_file(path, "a.csv", "csv", draft_reading(draft), list)
    assert [list(part.columns) for part in parts] == [["age", "Job Title", "y", "age.1"]]


def draft_reading(draft: Draft) -> Reading:
    return Reading.model_validate({k: v for k, v in draft.source.items() if k in Reading.model_fields})


def test_json_lines_hold_late_keys_and_truths_beside_text_as_training_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, object]] = [{"m": [True, False, "unknown"][i % 3]} for i in range(20_000)]
    rows += [{"m": True, "y": "pq"[i % 2], "t": i % 2 == 0} for i in range(500)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    draft = drafted(path, "y")
    assert {c.original: (c.type, c.categories) for c in draft.columns if c.original != "y"} == {
        "m": ("category", ("False", "True", "unknown")), "t": ("boolean", ()),
    }  # fmt: skip
    declared = Column.model_validate_json(json.dumps(draft.column(draft.columns[0])))
    values, wrong = column_values(declared, pd.Series([True, False, "unknown"], dtype=object), Reading())
    assert list(values) == ["True", "False", "unknown"] and not wrong.any()


OWNED: dict[str, tuple[list[object], bool]] = {
    "account_balance": (list(range(300)), False),
    "household": ([v * 500 for v in range(100)], False),
    "store_distance_m": (list(range(250)), False),
    "customer": (list(range(1001, 1301)), True),
    "patient_nbr": (list(range(300)), True),
    "user_ref": ([f"U{v:04}" for v in range(300)], True),
    "customer_segment": ([chr(65 + v % 26) + chr(97 + v // 26) for v in range(60)], False),
}


@pytest.mark.parametrize("name", OWNED)
def test_whose_row_it_is_takes_identifiers_that_repeat(name: str, tmp_path: Path) -> None:
    values, owner = OWNED[name]
    draw = Random(10)
    columns = {
        name: [str(draw.choice(values)) for _ in range(ROWS)], "x": amounts(draw),
        "y": [draw.choice("pq") for _ in range(ROWS)],
    }  # fmt: skip
    draft = drafted(table(tmp_path / "a.csv", columns), "y")
    assert (draft.roles.entity, name in draft.features) == ((name, False) if owner else (None, True))


UNREADABLE: dict[str, tuple[str, dict[str, str], str]] = {
    "a note of a spreadsheet": ("sep=;\na;b;y\n1;2;p\n", {}, "a.csv begins with the line 'sep=;', a note of a spread"),
    "a comment": (
        "# made by X, 2024\na,b,y\n1,2,p\n",
        {},
        "begins with the line '# made by X, 2024', a comment and no",
    ),
    "a long separator": (
        "a,b\n1,2\n",
        {"separator": "abc"},
        "--separator is 'abc'; allowed: one character such as ';'",
    ),
    "a long quote": ("a,b\n1,2\n", {"quote": "ab"}, "--quote is 'ab'; allowed: one character such as "),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_says_what_to_take_out(case: str, tmp_path: Path) -> None:
    text, said, sentence = UNREADABLE[case]
    (tmp_path / "a.csv").write_text(text * (1 if "#" in text or "sep" in text else 30))
    with pytest.raises(ConfigError) as refused:
        look(tmp_path / "a.csv", said)
    assert sentence in str(refused.value)
    (tmp_path / "b.csv").write_text("# id,b\n" + "1,2\n3,4\n" * 30)
    assert list(look(tmp_path / "b.csv").cells.columns) == ["# id", "b"]


DATES: dict[str, tuple[str, str, str]] = {
    "short years": ("%d.%m.%y", "%d.%m.%y", "years have two digits; 68 is taken for 2068 and 69 for 1969"),
    "dashes": ("%d-%m-%Y", "%d-%m-%Y", ""),
    "names of months": ("%d-%b-%Y", "%d-%b-%Y", ""),
    "American": ("%m/%d/%Y", "%m/%d/%Y", ""),
    "American, by seconds": ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "which zone are these local times of?"),
    "American, half a day": ("%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M %p", "which zone are these local times of?"),
    "digits alone": (
        "%Y%m%d",
        "%Y%m%d",
        "and the like are taken for dates; where they are numbers, write type: integer",
    ),
}


@pytest.mark.parametrize("case", DATES)
def test_dates_are_seen_however_they_are_written_and_read_back(case: str, tmp_path: Path) -> None:
    written, form, question = DATES[case]
    draw = Random(12)
    days = pd.Timestamp("2019-01-01") + pd.to_timedelta([i * 1_500 for i in range(ROWS)], unit="min")
    columns = {
        "stamp": list(days.strftime(written)), "x": amounts(draw), "y": [draw.choice("pq") for _ in range(ROWS)],
    }  # fmt: skip
    draft = drafted(table(tmp_path / "a.csv", columns), "y")
    stamp = draft.columns[0]
    assert (stamp.format, draft.roles.period, draft.split["by"]) == (form, "stamp", "time")
    assert question in "; ".join(stamp.questions)
    declared = Column.model_validate_json(json.dumps(draft.column(stamp)))
    values, wrong = column_values(declared, pd.Series(columns["stamp"], dtype="str"), draft_reading(draft))
    assert not wrong.any() and values.is_monotonic_increasing
    if form == "%Y%m%d":  # the target may still compare it as a number
        compared = drafted(tmp_path / "a.csv", "stamp > 20200601").columns[0]
        assert (compared.type, compared.format, compared.questions) == ("integer", "", [])


def test_eight_digits_that_are_no_dates_stay_numbers(tmp_path: Path) -> None:
    draw = Random(13)
    columns = {
        "area": [str(draw.randint(19_000_000, 20_999_999)) for _ in range(ROWS)], "x": amounts(draw),
        "y": [draw.choice("pq") for _ in range(ROWS)],
    }  # fmt: skip
    assert drafted(table(tmp_path / "a.csv", columns), "y").columns[0].type == "integer"
