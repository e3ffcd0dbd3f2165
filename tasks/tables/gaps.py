"""Names that often stand for a value that is not there."""

from __future__ import annotations

# fmt: off
MISSING = frozenset({
    "?", "NA", "N/A", "n/a", "#N/A", "#NV", "NaN", "nan", "NULL", "null", "None", "none", "-", "--", "---", ".",
    "..", "\\N", "missing", "Missing", "MISSING", "k.A.", "(blank)", "*", "#", "k. A.", "keine Angabe",
    "no data", "not available", "sin dato", "n.d.",
})
# fmt: on
"""Cells that usually say that there is no value."""
