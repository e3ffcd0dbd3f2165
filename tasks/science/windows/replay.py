"""What the policy as it is now would have decided in every past window, beside what was decided then."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import norm

from tasks.science.stats.metrics import METRICS
from tasks.science.windows.decisions import DecisionContext, being_rolled_back, decide, foresees, performance_at_risk
from tasks.science.windows.monitors import levels
from tasks.spec.base import Spec
from tasks.spec.evidence import Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig

DISTANCES = ("data_drift", "prediction_drift")
TWO_SIDED_95 = 2 * 1.959963984540054
SAME = 1e-9
OF_METRICS = ("realized_performance", "estimated_performance")
"""Kinds of findings whose subject is a metric with a tolerated worsening."""


class ReplayedWindow(Spec):
    """One past window: what was decided then, and what would be now."""

    window: int
    version: str
    time: str
    """When it was looked at: UTC, ISO 8601."""
    then: Decision
    now: Decision
    labelled: int
    """Labelled rows that the replay took to be there to learn from."""
    changed: tuple[str, ...] = ()
    """Alarms that other limits raise or lift, each in a sentence."""
    unknown: tuple[str, ...] = ()
    """What the report does not keep enough of to judge again, each in a sentence; it is left as it was."""

    @property
    def differs(self) -> bool:
        return (self.then.action, self.then.target, self.then.waits_for > 0) != (
            self.now.action,
            self.now.target,
            self.now.waits_for > 0,
        )


def replay(config: ModelConfig, reports: Sequence[WindowReport]) -> list[ReplayedWindow]:
    """Decide every past window again by ``config``, in order, each from the findings that its report keeps.

    What a window's decision rests on is taken as it was, with four exceptions:

    - *Alarms* whose limit is another one now are judged again where the finding carries enough (:func:`judged_again`).
    - *Decisions before it* are the replayed ones: one retraining per cause counts the retrainings of this policy. What
      these would have done to later windows (another version would have answered) nobody can replay.
    - *Labelled rows to learn from* are ``learns_from`` where a retraining was decided then. Otherwise they are the
      labelled rows of the unbroken run of windows with trouble up to this one. A report keeps the labels of its last
      look, so this is at most too many, for a window whose labels came late.
    - *Later windows* are not known, though they were where a window was looked at again.

    Args:
        config: the policy to try.
        reports: of one model, every version, in any order.
    """
    found: list[ReplayedWindow] = []
    replayed: dict[str, list[WindowReport]] = {}
    for report in sorted(reports, key=lambda r: r.window):
        history = replayed.setdefault(report.version, [])
        findings, changed, unknown = judged_again(config, report.findings)
        labelled = _labelled(config, report, findings, history)
        context = DecisionContext(
            config,
            findings,
            history,
            report.alternatives,
            labelled,
            report.window,
            being_rolled_back(history, report.window),
        )
        now = decide(context)
        found.append(
            ReplayedWindow(
                window=report.window,
                version=report.version,
                time=report.created,
                then=report.decision,
                now=now,
                labelled=labelled,
                changed=tuple(changed),
                unknown=tuple(unknown),
            )
        )
        history.append(report.model_copy(update={"findings": tuple(findings), "decision": now}))
    return found


def _labelled(
    config: ModelConfig, report: WindowReport, findings: Sequence[Finding], history: Sequence[WindowReport]
) -> int:
    if report.decision.learns_from:
        return report.decision.learns_from
    rows = report.labelled
    for before in reversed(history):
        if not performance_at_risk(config, before.findings) and not foresees(before.findings):
            break
        rows += before.labelled
    return rows


def judged_again(config: ModelConfig, findings: Sequence[Finding]) -> tuple[list[Finding], list[str], list[str]]:
    """The findings with the alarms that the limits of ``config`` make of them.

    Returns:
        The findings; which alarms are others than then; and what cannot be judged again. ``monitoring.alpha`` and
        the horizon of the forecast are in what was computed then, so another value of these has no effect here.
    """
    again, changed, unknown = [], [], []
    for f in findings:
        new, why = _again(config, f)
        again.append(new)
        if why:
            unknown.append(f"{f.kind.replace('_', ' ')} of {f.subject}: {why}")
        elif new.alarm != f.alarm:
            limit = "" if new.limit is None else f" at the limit {new.limit:.4g}"
            changed.append(f"{f.kind.replace('_', ' ')} of {f.subject} is {'an' if new.alarm else 'no'} alarm{limit}")
    seen = {f.subject for f in findings if f.kind in OF_METRICS}
    unknown += [
        f"{metric}: it was not watched then, so nothing is known of it"
        for metric in config.watched
        if findings and metric not in seen
    ]
    return again, changed, unknown


def _again(config: ModelConfig, f: Finding) -> tuple[Finding, str]:
    """A finding under the limits of now, and why it cannot be judged again where it cannot."""
    if f.value is None:
        return f, ""
    if f.kind in OF_METRICS:
        return _performance(config, f)
    if f.kind == "forecast":
        limit = config.monitoring.forecast.probability
        return (f if _same(limit, f.limit) else f.model_copy(update={"limit": limit, "alarm": f.value > limit})), ""
    if f.kind in DISTANCES:
        return _distance(f, config.monitoring.drift_distance)
    if f.kind == "attribution_drift":
        return _distance(f, config.monitoring.attribution_change)
    if f.kind == "selection_rate":
        return _selection(config, f)
    return f, ""


def _same(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= SAME * max(abs(a), abs(b), 1.0)


def _performance(config: ModelConfig, f: Finding) -> tuple[Finding, str]:
    tolerated = config.watched.get(f.subject)  # type: ignore[call-overload]
    if tolerated is None:
        return f.model_copy(update={"alarm": False}), ""
    if f.reference is None or f.limit is None or f.value is None:
        return f, "the report does not keep its reference and limit"
    greater = METRICS[f.subject].greater_is_better if f.subject in METRICS else f.limit < f.reference
    limit = f.reference * (1 - tolerated if greater else 1 + tolerated)
    if _same(limit, f.limit):
        return f, ""
    over, was_over = ((f.value < x if greater else f.value > x) for x in (limit, f.limit))
    new = f.model_copy(update={"limit": limit})
    if f.alarm or not over:
        return new.model_copy(update={"alarm": f.alarm and over}), ""
    if was_over:
        return new, ""  # beyond both limits and no alarm: it was not significant, and no limit changes that
    if f.low is None or f.high is None or f.high <= f.low:
        return f, "it is beyond the new limit, and without an interval nobody can say whether surely"
    # The interval that is kept is of 95 %; the test was of the share of alpha among all kinds and metrics.
    z = abs(f.value - f.reference) / ((f.high - f.low) / TWO_SIDED_95)
    level = levels(config)[f.kind] / len(config.watched)
    return new.model_copy(update={"alarm": bool(z > norm.isf(level))}), ""


def _distance(f: Finding, limit: float) -> tuple[Finding, str]:
    """An alarm that asks for a size and for significance: the size is kept, the significance only of what was an
    alarm."""
    if f.limit is None or f.value is None:
        return (
            f,
            "the report does not keep its limit" if f.alarm else "",
        )  # what is reported without a limit is never an alarm
    if _same(limit, f.limit):
        return f, ""
    if f.alarm or f.value <= limit:
        return f.model_copy(update={"limit": limit, "alarm": f.alarm and f.value > limit}), ""
    if f.value > f.limit:
        return f.model_copy(update={"limit": limit}), ""  # large enough then as well, and not significant
    return f, f"it is beyond the new limit of {limit:g}, and whether significantly was not kept"


def _selection(config: ModelConfig, f: Finding) -> tuple[Finding, str]:
    """A selection rate is judged by its ratio to the reference's; the tolerance of then is not kept, the alarm is."""
    if f.reference is None or not f.reference or f.value is None:
        return f, ""
    ratio, tolerated = f.value / f.reference, 1 + config.monitoring.selection_change
    over = ratio > tolerated or ratio < 1 / tolerated
    if f.alarm:
        return f.model_copy(update={"alarm": over}), ""
    apart = f.low is not None and f.high is not None and not f.low <= f.reference <= f.high
    return (
        f,
        "its change is beyond what is tolerated now, and whether significantly was not kept" if over and apart else "",
    )
