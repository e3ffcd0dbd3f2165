"""Files with a few odd cells, names or answers, through the first look alone: what is guessed, asked and refused."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from tasks.scaffold.draft import Answers, Draft
from tasks.scaffold.model import draft_of
from tasks.scaffold.reading import look
from tasks.spec.errors import ConfigError
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
