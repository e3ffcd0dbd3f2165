"""A file whose decimal mark is the other one is told so, by the sentence that a person needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.spec.errors import ConfigError
from tests.tables.test_files import ingested, lay


@pytest.mark.parametrize(("cell", "decimal", "other"), [("26472.12", ",", "."), ("26472,12", ".", ",")])
def test_the_wrong_decimal_mark_is_named(cell: str, decimal: str, other: str, tmp_path: Path) -> None:
    text = f"alter;city;passed\n{cell};Köln;a\n1;Köln;b\n".encode()
    columns = [
        {"name": "age", "type": "number", "source": "alter"},
        {"name": "city", "type": "category"},
        {"name": "passed", "type": "category", "input": False},
    ]
    root = lay(tmp_path, {"a.csv": text}, {"separator": ";", "decimal": decimal}, columns)
    with pytest.raises(ConfigError) as refused:
        ingested(root)
    assert str(refused.value).endswith(
        f' Where {other!r} is the decimal mark, say decimal: "{other}" under data.source.'
    )
