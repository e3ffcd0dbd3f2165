"""Counts in sentences: a number and its noun agree."""

from __future__ import annotations


def plural(count: int | float, noun: str, nouns: str = "") -> str:
    """A count with its noun: ``1 window``, ``2 windows``, ``1,200 rows``, ``0 entries``, ``1.5 windows``.

    Args:
        count: a whole number, or a number such as a median.
        noun: what is counted, of one.
        nouns: the same of any other number, where it is not ``noun`` with an "s".
    """
    shown = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{shown} {noun if count == 1 else nouns or noun + 's'}"
