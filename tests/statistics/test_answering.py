"""A smaller version of docs/evidence/answering.md."""

from __future__ import annotations

import pytest

from tests.statistics.answering import compared


@pytest.mark.parametrize(
    ("estimator", "mix"), [("linear", "numbers"), ("hist_gradient_boosting", "all"), ("mlp", "names")]
)
def test_array_code_and_scikit_learn_agree_in_every_bit(estimator: str, mix: str) -> None:
    found = compared(estimator, "multiclass", mix, rows=1500, whole_rows=40)
    assert [found[name] for name in ("differing", "differing there", "own batch from own single")] == [0, 0, 0]


@pytest.mark.acceptance
@pytest.mark.parametrize("estimator", ["linear", "hist_gradient_boosting", "random_forest", "mlp"])
def test_a_hundred_thousand_rows_agree(estimator: str) -> None:
    assert compared(estimator, "binary", "all", rows=100_000, whole_rows=500)["differing"] == 0
