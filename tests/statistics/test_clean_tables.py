"""Honest tables through the stages to the leakage gate; in full: tests/statistics/clean_tables.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.statistics.clean_tables import accused, coarse, rare, seasonal


@pytest.mark.parametrize("make", [seasonal, rare, coarse])
def test_an_honest_table_is_not_accused(make: Callable[[np.random.Generator], pd.DataFrame]) -> None:
    """A dominating column, rare labels with heavy tails, and rows that mostly repeat others'; the seeds are fixed."""
    found = accused(make, 1000)
    assert found.state == "pass", found.reason
