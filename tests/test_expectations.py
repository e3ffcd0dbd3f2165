"""Expectations run with a flow's rights: none is asked that reads more than the table."""

from __future__ import annotations

import socket
from pathlib import Path

import pandas as pd
import pytest

from tasks.checking import check
from tasks.data import run_suite
from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tests.test_checking import CLEAN, lay_out


@pytest.mark.parametrize(
    "item",
    [
        'expect_column_values_to_match_json_schema, column: town, json_schema: {"$ref": "ADDRESS"}',
        'unexpected_rows_expectation, unexpected_rows_query: "select * from {batch}"',
        "expect_table_row_count_to_equal_other_table, other_table_name: other",
        "expect_query_results_to_match_comparison, base_query: select 1, comparison_query: select 1",
    ],
)
def test_an_expectation_that_reads_more_than_the_table_is_refused_and_asks_nobody(tmp_path: Path, item: str) -> None:
    """A flow asks with its own rights, and a JSON schema may name any address or file."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/asked"
        text = f"ingested:\n  - {{type: {item.replace('ADDRESS', address)}}}\n"
        lay_out(tmp_path, **CLEAN | {"expectations": text})
        (said,) = [f.message for f in check(tmp_path, "loans").wrong if f.file.endswith("expectations.yaml")]
        with pytest.raises(BlockingIOError):
            listening.accept()
    name = item.partition(",")[0]
    assert said.startswith(
        f"expectations.yaml, ingested: {name!r} is no expectation that a table alone answers. Allowed are these of "
        "Great Expectations: expect_column_distinct_values_to_be_in_set, "
    )
    suite = load_yaml(tmp_path / "deployments/models/loans/expectations.yaml", Expectations).ingested
    with pytest.raises(ConfigError, match=f"^expectations.yaml, ingested: '{name}' is no expectation that a table alo"):
        run_suite("ingested", pd.DataFrame({"town": ["Bonn"]}), suite)
