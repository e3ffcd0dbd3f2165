"""A smaller version of docs/evidence/causes.md, on the kinds that train fastest."""

from __future__ import annotations

import pytest

from tests.statistics.causes import told


@pytest.mark.parametrize("part", ["data", "parameters", "code", "environment"])
def test_the_planted_cause_is_named_first(part: str) -> None:
    found = told("ridge", sorted({"data", "code", part}), part, 5)
    assert found.shares[0].cause == part and found.shares[0].moved


def test_changes_that_only_reseed_are_not_accused() -> None:
    assert not [
        share for n in range(4) for share in told("ridge", ["code", "parameters"], None, n).shares if share.moved
    ]
