"""What the expectations of the data say of a window that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.stats import binom

from tasks.science.stats.intervals import exact_share
from tasks.spec.evidence import Finding

"""One-sided, so that both bounds together make a 95 % interval."""


def quality_findings(checks: Sequence[dict[str, Any]], rows: int, alpha: float) -> list[Finding]:
    """One finding for each expectation that was asked of the window, and one that names those that were not.

    An expectation without ``mostly`` holds for every row or is broken. One with it allows ``1 - mostly`` of the rows to
    break it, and a small window may hold more by chance. So it is broken where the exact binomial test (Clopper &
    Pearson 1934) says so, at an equal part of ``alpha`` for each of them (Bonferroni).

    Args:
        checks: what ``tasks.data.check_window`` gives: column, mostly, asked (rows that it speaks of), unexpected (rows
            that break it; None where it was not asked), claim (the expectation in words), sentence.
        rows: of the window.
        alpha: chance of an alarm where nothing changed.
    """
    if rows == 0:
        return [_nothing(rows, "the window has no rows, so no expectation is checked")]
    asked = [c for c in checks if c["unexpected"] is not None]
    if not asked:
        return [_nothing(rows, _left_out(checks) or "expectations.yaml holds no expectation, so nothing is checked")]
    loose = sum(c["mostly"] < 1 for c in asked)
    findings = [_finding(c, rows, alpha / max(loose, 1)) for c in asked]
    left = _left_out(checks)
    return [*findings, _nothing(rows, left)] if left else findings


def _finding(check: dict[str, Any], rows: int, level: float) -> Finding:
    broken, asked, mostly = int(check["unexpected"]), int(check["asked"]), float(check["mostly"])
    subject, claim = str(check["column"]), str(check["claim"])
    if asked == 0:
        return Finding(
            kind="data_quality",
            subject=subject,
            value=None,
            rows=rows,
            alarm=False,
            sentence=f"{claim}: no row of the window has a value, so it is not checked",
        )
    limit, value = 1 - mostly, broken / asked
    sure = binom.sf(broken - 1, asked, limit) <= level if mostly < 1 else broken > 0
    low, high = exact_share(broken, asked)
    state = "broken" if sure else "holds" if value <= limit else "is missed by no more than chance may do"
    allowed = f", and {limit:.1%} may" if mostly < 1 else ""
    sentence = f"{claim}: {state}; {broken:,} of {asked:,} rows ({value:.1%}) are against it{allowed}"
    return Finding(
        kind="data_quality",
        subject=subject,
        value=value,
        low=low,
        high=high,
        limit=limit,
        rows=asked,
        alarm=bool(sure),
        sentence=sentence,
    )


def _left_out(checks: Sequence[dict[str, Any]]) -> str:
    left = [str(c["sentence"]) for c in checks if c["unexpected"] is None]
    return f"not asked of a window: {'; '.join(left)}" if left else ""


def _nothing(rows: int, sentence: str) -> Finding:
    return Finding(kind="data_quality", subject="expectations", value=None, rows=rows, alarm=False, sentence=sentence)
