"""From findings to a decision, by a policy whose lines have names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.science.comparison import paired_difference, row_losses
from tasks.spec.evidence import Alternative, Decision, Finding, WindowReport
from tasks.spec.model import ModelConfig

PERFORMANCE = ("realized_performance", "estimated_performance")
BEHAVIOUR = ("prediction_drift", "selection_rate")
"""Scores that moved may be the right answer to other people: each of these alone is told, both together are acted on."""
UNIMPORTANT = 0.01
TOLD = 4


def decide(
    config: ModelConfig,
    findings: Sequence[Finding],
    history: Sequence[WindowReport],
    alternatives: Sequence[Alternative],
    labelled_rows: int,
    leaving: bool = False,
) -> Decision:
    """One decision for one window.

    Args:
        config: the model's config; its ``monitoring`` holds the limits.
        findings: of this window.
        history: other reports on the same version.
        alternatives: earlier versions scored on this window.
        labelled_rows: labelled rows, since the trouble began, that no data version holds yet.
        leaving: a window just before this one called for a rollback; what its version did is no reason to retrain the next.

    Returns:
        The decision; a retraining that must wait for labels is decided at once and says how many rows it waits for.
    """
    alarms = [f for f in findings if f.alarm]
    kinds = {f.kind for f in alarms}
    at_stake = bool(kinds & set(PERFORMANCE))
    reason = _reason(alarms)
    better = sorted((a for a in alternatives if a.better), key=lambda a: a.difference_high)
    if at_stake and better:
        a = better[0]
        text = f"{a.version} would do better on these {a.rows:,} rows ({a.metric} {a.earlier:.3f} against {a.current:.3f}, {a.basis}); {reason}"
        return Decision(action="roll_back", reason=text, policy="roll back where performance is at stake and an earlier version does better on the same labelled rows", target=a.version)
    if leaving and (at_stake or kinds >= set(BEHAVIOUR)):
        return Decision(action="alert", reason=f"a rollback was decided already; {reason}", policy="a version that is leaving causes no retraining")
    if at_stake or kinds >= set(BEHAVIOUR):
        return _retrain(config, history, labelled_rows, reason)
    if kinds & set(BEHAVIOUR):
        return Decision(action="alert", reason=reason, policy="alert on scores or selection that moved without the other")
    drift = [f for f in alarms if (f.importance or 0.0) >= UNIMPORTANT]
    if drift:
        return Decision(action="alert", reason=reason, policy="alert on drift of a feature that matters")
    if alarms:
        text = f"only columns that carry under {UNIMPORTANT:.0%} of the attribution moved; {reason}"
        return Decision(action="nothing", reason=text, policy="drift that does not touch the predictions is quiet")
    silent = findings and all(f.value is None for f in findings)
    return Decision(action="nothing", reason=findings[0].sentence if silent else "no alarm", policy="nothing to do")


def asks_for_retraining(report: WindowReport) -> bool:
    """Whether the report's decision starts a retraining now, and not only once labels are there."""
    return report.decision.action == "retrain" and report.decision.waits_for == 0


def _retrain(config: ModelConfig, history: Sequence[WindowReport], labelled: int, reason: str) -> Decision:
    limits = config.monitoring
    asked = max((r.created for r in history if asks_for_retraining(r)), default=None)
    # Windows of predictions made since: a window judged again when its labels come is the same trouble, not a new one.
    if asked is not None and sum(r.first > asked for r in history) < limits.cooldown_windows:
        return Decision(action="alert", reason=f"a retraining was asked for already; {reason}", policy="one retraining per cause and cool-down")
    missing = max(limits.retrain_rows - labelled, 0)
    text = f"it starts as soon as {missing:,} more labelled rows are there; {reason}" if missing else f"{labelled:,} labelled rows are there to learn from; {reason}"
    policy = "retrain where performance or behaviour has moved, once enough labelled rows are there"
    return Decision(action="retrain", reason=text, policy=policy, waits_for=missing)


def _reason(alarms: Sequence[Finding]) -> str:
    order = {kind: i for i, kind in enumerate((*PERFORMANCE, *BEHAVIOUR, "missingness", "data_drift"))}
    told = sorted(alarms, key=lambda f: (order[f.kind], -(f.importance or 0.0)))
    more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
    return "; ".join(f.sentence for f in told[:TOLD]) + more


def compare_versions(
    label: np.ndarray | None, current: np.ndarray, earlier: np.ndarray, version: str, threshold: float, seed: int
) -> Alternative:
    """Would an earlier version do better on these rows?

    With labels: paired difference of log-loss (earlier minus current), better where its upper 97.5 % bound is below 0.
    Without: each version's expected log-loss under the other's probabilities; every proper score prefers its own
    probabilities, so neither can win under both, and the answer without labels is never "better".

    Args:
        label: (n,) bool or None; current, earlier: (n,) scores of the same rows.
    """
    if label is not None:
        found = paired_difference("log_loss", label, earlier, current, threshold, 0.975, seed)
        losses = [row_losses("log_loss", label, s, threshold) for s in (current, earlier)]
        means = [float(np.mean(part)) for part in losses if part is not None]
        return Alternative(
            version=version, metric="log_loss", current=means[0], earlier=means[1], difference_low=found.low, difference_high=found.high, rows=len(current), better=found.high < 0, basis="realized"
        )
    from tasks.science.estimation import estimate

    own, other = estimate("log_loss", earlier, current, threshold), estimate("log_loss", current, earlier, threshold)
    return Alternative(
        version=version, metric="log_loss", current=own, earlier=other, difference_low=min(other - own, 0.0), difference_high=max(other - own, 0.0), rows=len(current), better=False, basis="estimated"
    )
