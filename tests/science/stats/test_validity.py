"""Labels and scores that are not what a kind of target promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.science.stats.validity import label_fault, score_fault


@pytest.mark.parametrize(
    ("kind", "classes", "scores", "says"),
    [
        ("binary", 0, [0.2, 1.2], "1 of 2 scores are NaN or outside 0 to 1"),
        ("binary", 0, [0.2, np.nan], "1 of 2 scores are NaN or outside 0 to 1"),
        ("binary", 0, [[0.2], [0.3]], "scores have shape (2, 1); a binary model needs (2,)"),
        ("binary", 0, 0.5, "scores have shape (); a binary model needs (0,)"),
        ("binary", 0, [0.0, 1.0], ""),
        ("multiclass", 2, [[0.2, 0.2], [0.5, 0.5]], "1 of 2 rows have scores that do not sum to 1 over the classes"),
        ("multiclass", 3, [[0.5, 0.5]], "scores have shape (1, 2); a multiclass model needs (1, 3)"),
        ("multiclass", 2, [0.2, 0.8], "scores have shape (2,); a multiclass model needs (2, 2)"),
        ("multiclass", 2, [[np.nan, 1.0]], "1 of 2 scores are NaN or outside 0 to 1"),
        ("multiclass", 2, [[0.2, 0.8]], ""),
        ("regression", 0, [1.0, np.inf, np.nan], "2 of 3 scores are NaN or infinite"),
        ("regression", 0, [[1.0]], "scores have shape (1, 1); a regression model needs (1,)"),
        ("regression", 0, [-7.0, 1e9], ""),
    ],
)
def test_wrong_scores_are_counted_and_what_is_allowed_is_said(kind: Any, classes: int, scores: Any, says: str) -> None:
    assert score_fault(kind, np.array(scores), classes) == says


def test_as_many_scores_as_rows_are_asked_for() -> None:
    assert score_fault("binary", np.array([0.2, 0.4]), rows=3) == "scores have shape (2,); a binary model needs (3,)"


@pytest.mark.parametrize(
    ("kind", "classes", "label", "says"),
    [
        ("multiclass", 2, [0, 1, 2, -1], "2 of 4 labels are of no known class"),
        ("multiclass", 3, [0, 1, 2], ""),
        ("regression", 0, [1.5, np.nan, -np.inf], "2 of 3 labels are NaN or infinite"),
        ("binary", 0, [True, False], ""),
    ],
)
def test_wrong_labels_are_counted(kind: Any, classes: int, label: Any, says: str) -> None:
    assert label_fault(kind, np.array(label), classes) == says
