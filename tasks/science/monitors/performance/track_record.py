"""The estimator's own record: what it said without labels against what labels showed."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binom

from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

COVERED = 0.95
WHOLE = 0.9
"""Share of the estimated rows that must be labelled for the interval to be held against them: it is about these
rows."""


def pairs(
    metric: str, current: Sequence[Finding], history: Sequence[WindowReport], number: int | None = None
) -> list[tuple[Finding, Finding]]:
    """Estimated and realized finding of every window that has both, the current one last.

    Of several looks at a window the first estimate counts, for it was made without labels, and the last realized
    value. So an estimate that labels contradicted, which the second look no longer makes, stays on the record.

    Args:
        number: of the current window, which the history may hold already.
    """
    estimated: dict[tuple[str, int], Finding] = {}
    realized: dict[tuple[str, int], Finding] = {}
    for report in sorted(history, key=lambda r: r.created):
        key = report.version, report.window
        for f in (*report.first_estimates, *report.findings):
            if f.subject == metric and f.value is not None:
                if f.kind == "estimated_performance" and f.low is not None:
                    estimated.setdefault(key, f)
                elif f.kind == "realized_performance":
                    realized[key] = f
    found = [(estimated[key], realized[key]) for key in estimated if key in realized and key[1] != number]
    own = [
        next((f for f in current if f.kind == kind and f.subject == metric and f.value is not None), None)
        for kind in ("estimated_performance", "realized_performance")
    ]
    own[0] = next((f for key, f in estimated.items() if key[1] == number), own[0])
    return [*found, (own[0], own[1])] if own[0] is not None and own[1] is not None else found


def estimator_findings(
    config: ModelConfig,
    current: Sequence[Finding],
    history: Sequence[WindowReport],
    alpha: float,
    number: int | None = None,
) -> list[Finding]:
    """Mean absolute error and coverage of the estimates so far, one finding per metric.

    An alarm is raised where labels fell outside the interval more often than chance explains: one-sided binomial test
    against 5 %, at a share of ``alpha`` a metric. ``value`` is the mean absolute error, ``rows`` the rows of all
    windows compared.
    """
    findings = []
    for metric in config.watched:
        both = pairs(metric, current, history, number)
        if not both:
            text = (
                f"no window has both an estimate of {metric} and enough labels, so the estimator's error is not "
                "known yet"
            )
            findings.append(Finding(kind="estimator", subject=metric, value=None, rows=0, alarm=False, sentence=text))
            continue
        error = sum(abs((e.value or 0.0) - (r.value or 0.0)) for e, r in both) / len(both)
        judged = [(e, r) for e, r in both if r.rows >= WHOLE * e.rows]
        missed = sum(not _inside(e, r) for e, r in judged)
        p_value = float(binom.sf(missed - 1, len(judged), 1 - COVERED)) if judged else 1.0
        alarm = p_value <= alpha / len(config.watched)
        inside = (
            f"{len(judged) - missed} of {len(judged)} lay inside their interval"
            if judged
            else "none had labels enough to be held against its interval"
        )
        text = (
            f"estimates of {metric} were off by {error:.3f} on average in {plural(len(both), 'window')}, of which "
            f"{inside}{': the estimator is not to be trusted here' if alarm else ''}"
        )
        findings.append(
            Finding(
                kind="estimator",
                subject=metric,
                value=error,
                rows=sum(r.rows for _, r in both),
                alarm=alarm,
                sentence=text,
            )
        )
    return findings


def _inside(estimated: Finding, realized: Finding) -> bool:
    return (
        estimated.low is not None
        and estimated.high is not None
        and realized.value is not None
        and estimated.low <= realized.value <= estimated.high
    )
