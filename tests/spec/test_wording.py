from __future__ import annotations

import pytest

from tasks.spec.wording import plural


@pytest.mark.parametrize(
    ("count", "nouns", "text"),
    [
        (0, "", "0 windows"),
        (1, "", "1 window"),
        (2, "", "2 windows"),
        (12345, "", "12,345 windows"),
        (1.0, "", "1 window"),
        (1.5, "", "1.5 windows"),
        (3, "panes of glass", "3 panes of glass"),
    ],
)
def test_a_count_and_its_noun_agree_in_number(count: float, nouns: str, text: str) -> None:
    assert plural(count, "window", nouns) == text
