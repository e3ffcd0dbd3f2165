"""A fast version of what ``tests/statistics/labelling.py`` shows, with room for the noise of few runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.statistics.labelling import ERRORS, TRUTHS, binary, coverage, numbers

RUNS, ROOM = 150, 3.5


@pytest.mark.parametrize("name", list(TRUTHS))
def test_log_loss_lies_inside_as_often_as_said(name: str) -> None:
    found = coverage(binary, name, 500, RUNS)
    assert found["holds at the last look"] >= 0.94 - ROOM * np.sqrt(0.06 * 0.94 / RUNS), found
    assert found["width by the bound"] < 1.2 or name != "as the score says", found


@pytest.mark.parametrize("name", list(ERRORS))
def test_mean_absolute_error_lies_inside_as_often_as_said(name: str) -> None:
    found = coverage(numbers, name, 500, RUNS)
    assert found["holds at the last look"] >= 0.94 - ROOM * np.sqrt(0.06 * 0.94 / RUNS), found
    assert found["width by the bound"] < 1.2 or name != "as the reference says", found
