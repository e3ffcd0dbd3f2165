"""Labels and scores of all three kinds of models, and back from the tables they are kept in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.data.tables import label_array, labels, score_array, with_scores
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.targets import MulticlassTarget, RegressionTarget
from tests.conftest import ROOT

TABLE = pd.DataFrame({"grade": ["a", "b", "c", "a"], "price": [1.0, 2.0, 3.0, 4.0], "area": [2.0, 2.0, 2.0, 0.5]})


def config(target: dict[str, Any]) -> ModelConfig:
    care = load_model(ROOT, "care")
    made = MulticlassTarget(**target) if target["kind"] == "multiclass" else RegressionTarget(**target)
    return care.model_copy(update={"data": care.data.model_copy(update={"target": made})})


GRADES = {"kind": "multiclass", "expression": "grade", "classes": ("c", "a", "b")}
PRICES = {"kind": "regression", "expression": "price / area", "unit": "euro", "minimum": 0.0, "maximum": 10.0}


def test_classes_become_codes_in_the_configured_order() -> None:
    found = labels(config(GRADES), TABLE)
    assert list(found) == ["a", "b", "c", "a"]
    assert list(label_array(config(GRADES), found)) == [1, 2, 0, 1]
    assert list(label_array(config(GRADES), pd.Series(["a", None], dtype=object))) == [1, -1]


def test_numbers_come_from_arithmetic_over_columns() -> None:
    assert list(labels(config(PRICES), TABLE)) == [0.5, 1.0, 1.5, 8.0]


@pytest.mark.parametrize(
    ("target", "table", "expected"),
    [
        ({**GRADES, "classes": ("a", "b", "d")}, TABLE, "gives 'c' in 1 of 4 rows; allowed: a, b, d"),
        ({**PRICES, "maximum": 5.0}, TABLE, "gives '8.0' in 1 of 4 rows; allowed are numbers from 0 to 5"),
        (PRICES, TABLE.assign(area=0.0), "gives 'inf' in 4 of 4 rows"),
        ({**PRICES, "expression": "grade"}, TABLE, "gives 'a' in 4 of 4 rows"),
        ({**PRICES, "expression": "prize"}, TABLE, "allowed columns: grade, price, area"),
        ({**PRICES, "expression": "1 + 1"}, TABLE, "which is one value and no column"),
    ],
)
def test_a_label_that_is_not_allowed_is_named(target: dict[str, Any], table: pd.DataFrame, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        labels(config(target), table)
    assert expected in str(caught.value)


def test_scores_come_back_as_they_were_kept() -> None:
    many = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    kept = with_scores(config(GRADES), TABLE[:2], many)
    assert list(kept["_score"]) == [0.5, 0.6]
    assert list(kept.columns[-3:]) == ["_score:c", "_score:a", "_score:b"]
    assert np.array_equal(score_array(config(GRADES), kept), many)
    assert np.array_equal(
        score_array(config(PRICES), with_scores(config(PRICES), TABLE[:2], np.array([1.0, 7.5]), "_other"), "_other"),
        [1.0, 7.5],
    )


def test_binary_labels_with_unknown_ones_are_floats() -> None:
    care = load_model(ROOT, "care")
    assert label_array(care, pd.Series([True, False])).dtype == bool
    found = label_array(care, pd.Series([1.0, np.nan]))
    assert found.dtype == float and np.isnan(found[1])
