"""From findings to a decision: one policy, whose lines have names and are asked from first to last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.science.models.explanations import UNIMPORTANT
from tasks.science.stats.metrics import METRICS
from tasks.science.windows.monitors import kinds, kinds_about, ranks
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig
from tasks.spec.wording import plural

BEHAVIOUR = ("prediction_drift", "selection_rate")
"""Scores that moved may be the right answer to other people: each of these alone is reported, both together are acted
on."""
NAMED = 4
"""Alarms whose sentences a reason holds; the rest are counted."""


@dataclass(frozen=True)
class DecisionContext:
    """All that a decision on one window rests on."""

    config: ModelConfig
    findings: Sequence[Finding]
    """Of this window, alarms or not."""
    history: Sequence[WindowReport] = ()
    """Reports on other windows of the same version."""
    alternatives: Sequence[Alternative] = ()
    """Earlier versions scored on this window."""
    labelled_rows: int = 0
    """Labelled rows since the trouble began that no data version holds yet."""
    window: int | None = None
    """Its number; None where it is later than all of the history."""
    being_rolled_back: bool = False
    """A window just before this one called for a rollback: what its version did is no reason to retrain the next."""
    untaught: str = ""
    """Why no outcome may teach, where none may."""
    faulty: str = ""
    """Why this window's own outcomes look like a fault; what they show is then no reason to act."""

    @property
    def unlearnable(self) -> str:
        """Why nothing is learned without a person: nobody's outcomes may teach, or sources label like rows differently.

        Which of two sources is right, nobody can tell from their labels.
        """
        disputed = "sources of labels disagree, and nothing is learned from them without a person"
        return self.untaught or (disputed if "label_sources" in self.kinds else "")

    @property
    def alarms(self) -> list[Finding]:
        return [f for f in self.findings if f.alarm]

    @property
    def kinds(self) -> set[str]:
        return {f.kind for f in self.alarms}

    @property
    def performance_at_risk(self) -> bool:
        """Whether performance is, or what the model does has changed on both sides."""
        return performance_at_risk(self.config, self.findings)

    @property
    def broken(self) -> list[Finding]:
        """Realized performance that is surely beyond an absolute limit, whatever the relative one says."""
        return _broken(self.config, self.findings)

    @property
    def ranked(self) -> list[Finding]:
        """The alarms in the order in which a person should hear of them; kinds that no monitor gives come last."""
        rank = ranks()
        return sorted(
            [*self.alarms, *(f for f in self.broken if not f.alarm)],
            key=lambda f: (rank.get(f.kind, len(rank)), -(f.importance or 0.0)),
        )

    @property
    def reason(self) -> str:
        ranked = self.ranked
        more = f"; and {len(ranked) - NAMED} more" if len(ranked) > NAMED else ""
        return "; ".join(f.sentence for f in ranked[:NAMED]) + more

    @property
    def before(self) -> list[WindowReport]:
        """Reports on the windows before this one, newest first."""
        return sorted(
            (r for r in self.history if self.window is None or r.window < self.window), key=lambda r: -r.window
        )


def decide(context: DecisionContext) -> Decision:
    """One decision for one window, by the first line of the policy that applies.

    A retraining that must wait for labels is decided at once and says how many rows it waits for.
    """
    decision = next(decision for line in POLICY if (decision := line(context)) is not None)
    return decision.model_copy(update={"findings": tuple(f"{f.kind}: {f.subject}" for f in context.ranked)})


def _faulty(context: DecisionContext) -> Decision | None:
    """Outcomes of a program that broke say nothing of the model, however bad they make it look."""
    shown = [f for f in context.ranked if f.kind in ("realized_performance", "label_drift", "realized_fairness")]
    if not context.faulty or not shown:
        return None
    return Decision(
        action="alert",
        reason=f"{context.faulty}; {context.reason}",
        policy="alert where outcomes look like a fault; nothing is decided by them",
    )


def _stop(context: DecisionContext) -> Decision | None:
    """Realized performance beyond an absolute limit, interval included, and nothing better to return to."""
    if any(a.better for a in context.alternatives) or not _confirmed(context):
        return None
    broken = context.broken
    if not broken:
        return None
    absolute = context.config.monitoring.metric_limits
    limits = ", ".join(f"{f.subject} {absolute[f.subject]:g}" for f in broken)  # type: ignore[index]
    text = (
        f"beyond the absolute limit ({limits}) with its whole interval, and no earlier version does better; "
        f"{'; '.join(f.sentence for f in broken)}"
    )
    return Decision(
        action="stop",
        reason=text,
        policy="stop where realized performance is surely beyond its absolute limit and no earlier version does better",
    )


def _roll_back(context: DecisionContext) -> Decision | None:
    better = sorted((a for a in context.alternatives if a.better), key=lambda a: a.difference_high)
    measured = {f.kind for f in context.alarms if f.value is not None}
    if not better or not (measured & kinds_about("performance") or context.broken) or not _confirmed(context):
        return None
    a = better[0]
    text = (
        f"{a.version} would do better on {'this' if a.rows == 1 else 'these'} {plural(a.rows, 'row')} "
        f"({a.metric} {a.earlier:.3f} against {a.current:.3f}, {a.basis}); {context.reason}"
    )
    policy = "roll back where performance is at risk and an earlier version does better on the same labelled rows"
    return Decision(action="roll_back", reason=text, policy=policy, target=a.version)


def _being_rolled_back(context: DecisionContext) -> Decision | None:
    if context.being_rolled_back and context.performance_at_risk:
        return Decision(
            action="alert",
            reason=f"a rollback was decided already; {context.reason}",
            policy="a version that is being rolled back causes no retraining",
        )
    return None


def _feed(context: DecisionContext) -> Decision | None:
    """A broken feed is to be mended: what is learned from it would be its fault."""
    if context.kinds & kinds_about("feed"):
        return Decision(
            action="alert",
            reason=context.reason,
            policy="alert where the data in flight are broken; nothing is learned from them",
        )
    return None


def _confirm(context: DecisionContext) -> Decision | None:
    if context.performance_at_risk and not _confirmed(context):
        asked = context.config.monitoring.confirm_windows
        text = (
            f"seen in {_in_a_row(context)} of the {plural(asked, 'window')} in a row that confirm it; {context.reason}"
        )
        return Decision(
            action="alert", reason=text, policy="alert until performance was at risk in enough windows in a row"
        )
    return None


def _retrain(context: DecisionContext) -> Decision | None:
    if not context.performance_at_risk:
        return None
    refused = _asked_already(context)
    if refused:
        return Decision(
            action="alert", reason=f"{refused}; {context.reason}", policy="one retraining per cause and cool-down"
        )
    if context.unlearnable:
        return Decision(
            action="alert",
            reason=f"{context.unlearnable}; {context.reason}",
            policy="alert where a retraining is due and no outcomes may teach",
        )
    labelled = context.labelled_rows
    missing = max(context.config.monitoring.retrain_rows - labelled, 0)
    text = (
        f"it starts as soon as {missing:,} more labelled {'row is' if missing == 1 else 'rows are'} there"
        if missing
        else _learnable(labelled)
    )
    policy = "retrain where performance or behaviour has moved, once enough labelled rows are there"
    return Decision(
        action="retrain", reason=f"{text}; {context.reason}", policy=policy, waits_for=missing, learns_from=labelled
    )


def _learnable(rows: int) -> str:
    return f"{rows:,} labelled {'row is' if rows == 1 else 'rows are'} there to learn from"


def _foreseen(context: DecisionContext) -> Decision | None:
    """The established trigger: before it hurts, where there is something to learn from, and else a word ahead of time.

    Only performance is retrained for: a gap that is about to open is for a person to judge, as one that is open is.
    """
    foreseen = kinds_about("forecast")
    if not foreseen & context.kinds:
        return None
    performance = any(f.kind in foreseen and f.subject in context.config.watched for f in context.alarms)
    if (
        not performance
        or context.being_rolled_back
        or context.labelled_rows < context.config.monitoring.retrain_rows
        or context.unlearnable
        or _asked_already(context)
    ):
        return Decision(
            action="alert", reason=context.reason, policy="alert on a breach that is probable within the horizon"
        )
    text = f"{_learnable(context.labelled_rows)}; {context.reason}"
    return Decision(
        action="retrain",
        reason=text,
        policy="retrain ahead of a breach that is probable within the horizon",
        learns_from=context.labelled_rows,
    )


def _tell(context: DecisionContext) -> Decision | None:
    quiet = kinds_about("drift")
    drift = [f for f in context.alarms if f.kind in quiet]
    if len(drift) < len(context.alarms):
        return Decision(
            action="alert", reason=context.reason, policy=f"alert on what a person should look at: {_named(context)}"
        )
    if any((f.importance or 0.0) >= UNIMPORTANT for f in drift):
        return Decision(action="alert", reason=context.reason, policy="alert on drift of a feature that matters")
    if drift:
        text = f"only columns that carry under {UNIMPORTANT:.0%} of the attribution moved; {context.reason}"
        return Decision(action="nothing", reason=text, policy="drift that does not touch the predictions is quiet")
    return None


def _nothing(context: DecisionContext) -> Decision:
    silent = context.findings and all(f.value is None for f in context.findings)
    return Decision(
        action="nothing", reason=context.findings[0].sentence if silent else "no alarm", policy="nothing to do"
    )


POLICY: tuple[Callable[[DecisionContext], Decision | None], ...] = (
    _faulty,
    _stop,
    _roll_back,
    _being_rolled_back,
    _feed,
    _confirm,
    _retrain,
    _foreseen,
    _tell,
    _nothing,
)


def asks_for_retraining(report: WindowReport) -> bool:
    """Whether the report's decision starts a retraining now, and not only once labels are there."""
    return report.decision.action == "retrain" and report.decision.waits_for == 0


def performance_at_risk(config: ModelConfig, findings: Sequence[Finding]) -> bool:
    """Whether performance is, or what the model does has changed on both sides."""
    alarmed = {f.kind for f in findings if f.alarm}
    decayed = bool(alarmed & kinds_about("performance"))
    return decayed or alarmed >= set(BEHAVIOUR) or bool(_broken(config, findings))


def of_the_model(finding: Finding) -> bool:
    """Whether an alarm speaks of what the model does: its performance, or one side of its behaviour."""
    return finding.alarm and (finding.kind in BEHAVIOUR or finding.kind in kinds_about("performance"))


def foresees(findings: Sequence[Finding]) -> bool:
    """Whether any alarm is about a breach that is still to come."""
    foreseen = kinds_about("forecast")
    return any(f.alarm and f.kind in foreseen for f in findings)


def being_rolled_back(history: Sequence[WindowReport], number: int) -> bool:
    """Whether the unbroken run of this version's windows before this one called for a rollback."""
    by_number = {r.window: r for r in history}
    while (number := number - 1) in by_number:
        if by_number[number].decision.action == "roll_back":
            return True
    return False


def _broken(config: ModelConfig, findings: Sequence[Finding]) -> list[Finding]:
    return [f for f in findings if f.kind == "realized_performance" and _surely_beyond(config, f)]


def _quiet(config: ModelConfig, report: WindowReport) -> bool:
    """A window without a risk to performance, now or ahead: while a breach is foreseen, its cause is not over."""
    return not performance_at_risk(config, report.findings) and not foresees(report.findings)


def _in_a_row(context: DecisionContext) -> int:
    """Windows up to this one, without a gap, in which performance was at risk."""
    count = int(context.performance_at_risk)
    for report in context.before if count else ():
        if not performance_at_risk(context.config, report.findings):
            break
        count += 1
    return count


def _confirmed(context: DecisionContext) -> bool:
    return (
        context.config.monitoring.confirm_windows <= 1
        or _in_a_row(context) >= context.config.monitoring.confirm_windows
    )


def _named(context: DecisionContext) -> str:
    """The kinds of the alarms that are no drift, most urgent first."""
    return ", ".join(
        name.replace("_", " ") for name, kind in kinds().items() if name in context.kinds and kind.concern != "drift"
    )


def _surely_beyond(config: ModelConfig, finding: Finding) -> bool:
    limit = config.monitoring.metric_limits.get(finding.subject)  # type: ignore[call-overload]
    if limit is None or finding.low is None or finding.high is None:
        return False
    return bool(finding.high < limit if METRICS[finding.subject].greater_is_better else finding.low > limit)


def _asked_already(context: DecisionContext) -> str:
    """Why no other retraining is started; empty where one may be.

    A cause is over once ``clear_windows`` windows in a row were quiet. Until then another retraining needs the
    cool-down to have passed and as many new labelled rows as the first one had to have: else it would learn the same
    again.
    """
    limits = context.config.monitoring
    asked = max((r for r in context.history if asks_for_retraining(r)), key=_when, default=None)
    # Windows of predictions made since: a window judged again when its labels come is the same trouble, not a new one.
    if asked is None or _cleared_since(context, asked.window):
        return ""
    if sum(_made_since(r, asked) for r in context.history) < limits.cooldown_windows:
        return "a retraining was asked for already"
    more = asked.decision.learns_from + limits.retrain_rows - context.labelled_rows
    if more <= 0:
        return ""
    return (
        f"a retraining was asked for already on window {asked.window}, and {more:,} more labelled "
        f"{'row' if more == 1 else 'rows'} would teach another one something new"
    )


def _when(report: WindowReport) -> tuple[int, str, int]:
    """The order in which reports were made: by what the log held, which no clock changes; by their times before."""
    return (-1 if report.newest_seq is None else report.newest_seq, report.created, report.window)


def _made_since(report: WindowReport, asked: WindowReport) -> bool:
    """Whether a window's predictions were made after a report."""
    if asked.newest_seq is None:
        return report.first > asked.created
    return report.first_seq > asked.newest_seq


def _cleared_since(context: DecisionContext, window: int) -> bool:
    quiet = 0
    for report in reversed(context.before):
        if report.findings and all(f.value is None for f in report.findings):
            continue  # a window that could not be judged says neither that it is over nor that it goes on
        quiet = quiet + 1 if report.window > window and _quiet(context.config, report) else 0
        if quiet >= context.config.monitoring.clear_windows:
            return True
    return False
