"""Numbers as people write them, from a file to the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.spec.errors import ConfigError
from tests.tables.test_files import COLUMNS, ingested, lay


@pytest.mark.parametrize(
    ("unit", "cells", "says"),
    [
        ("$", ["-$5", "$ 5", "- $5", "5 $"], 'Where $ is its unit, say unit: "$" of the column.'),
        ("USD", ["-USD 5", "USD 5", "USD -5", "5"], 'Where USD is its unit, say unit: "USD" of the column.'),
        ("kg", ["-5 kg", "5kg", "-5", "5"], 'Where kg is its unit, say unit: "kg" of the column.'),
        (None, ["(5.00)", "5", "-5", "5"], "Where brackets mean a negative number, let the source write a minus."),
    ],
)
def test_a_sign_stands_on_either_side_of_a_unit_and_a_refusal_says_what_to_declare(
    tmp_path: Path, unit: str | None, cells: list[str], says: str
) -> None:
    column = {"name": "age", "type": "number", "source": "x"}
    columns = [column, {"name": "city", "type": "category"}, COLUMNS[2] | {"source": "z"}]
    table = "\n".join(["x,city,z", *(f"{cell},a,{'ab'[at % 2]}" for at, cell in enumerate(cells)), ""]).encode()
    if unit is not None:
        declared = [column | {"unit": unit}, *columns[1:]]
        assert ingested(lay(tmp_path / "good", {"a.csv": table}, {}, declared))["age"].tolist() == [-5, 5, -5, 5]
    with pytest.raises(ConfigError) as refused:
        ingested(lay(tmp_path / "bare", {"a.csv": table}, {}, columns))
    assert f"row 1, column age ('x' in the file): {cells[0]!r} is no finite number" in str(refused.value)
    assert says in str(refused.value)
