"""What is known of the performance of one window, with labels and without, and how far the estimator was off so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import LABEL, SCORE, label_array
from tasks.science.monitors.performance.direct_loss import LossModel
from tasks.science.monitors.performance.estimators import EstimatorChoice, choose_estimator
from tasks.science.monitors.performance.groups import (
    MEASURES,
    CalibratedGroup,
    Disparity,
    estimated_disparity,
    fitted_group,
)
from tasks.science.monitors.performance.label_drift import label_findings
from tasks.science.monitors.performance.presence import presence_findings
from tasks.science.monitors.performance.realized import (
    beyond,
    greater_is_better,
    labelled_part,
    limit_of,
    measured,
    realized_findings,
)
from tasks.science.monitors.performance.realized_fairness import LEFT_OUT, realized_fairness
from tasks.science.monitors.performance.sampled import representative, sampled_findings, settled
from tasks.science.monitors.performance.source_disagreement import source_findings
from tasks.science.monitors.performance.track_record import estimator_findings
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.gates import FairnessGate
from tasks.spec.model import ModelConfig

KINDS = (
    "realized_performance",
    "sampled_performance",
    "label_sources",
    "label_drift",
    "estimated_performance",
    "realized_fairness",
    "estimated_fairness",
    "protected_groups",
    "estimator",
)
SELF_CHECK = 0.5
"""Part of the tolerated worsening by which a stand-in may be off on the reference."""
ODDS = ("true_positive_rate", "false_positive_rate")


def performance_findings(
    config: ModelConfig,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    attention: dict[str, float],
    alpha: float | Mapping[str, float],
    seed: int,
    history: Sequence[WindowReport] = (),
    recent: pd.DataFrame | None = None,
    losses: LossModel | None = None,
    number: int | None = None,
    unsure: frozenset[str] = frozenset(),
) -> list[Finding]:
    """Findings of all :data:`KINDS`. Where labels are in, what was estimated of the same is told and alarms no more.

    Args:
        reference: (m, columns) raw inputs, scores and labels. window: (n, columns) the same; a label is missing where
            it is not known.
        attention: share of attribution by feature.
        alpha: chance of any false alarm of each kind, or by kind.
        history: reports on the same version, this window's earlier ones included.
        recent: labelled rows of the last windows, which may contradict the estimator; losses: as of
            :func:`choose_estimator`.
        number: of the window, by which its own earlier reports are known, and what was asked for in them.
        unsure: ids of rows that were asked for and whose outcome nobody can say.
    """
    absent = {c.name for c in config.inputs if c.name not in window or (len(window) and window[c.name].isna().all())}
    window = window.assign(**{c.name: np.nan for c in config.inputs if c.name not in window})
    choice = choose_estimator(config, reference, window, attention, seed, recent, losses)
    levels = dict.fromkeys(KINDS, alpha) if isinstance(alpha, float) else alpha
    estimates = estimated_findings(config, reference, window, choice, levels["estimated_performance"])
    request = next((r.label_request for r in history if r.window == number), None)
    asked, window = window, representative(window, request)
    labels = label_findings(config, reference, window, levels["label_drift"])
    realized = realized_findings(config, reference, window, levels["realized_performance"], seed)
    if any(f.alarm for f in labels):  # so that no metric escapes by having no value
        realized = [f.model_copy(update={"alarm": True}) if f.value is None else f for f in realized]
    fairness = fairness_findings(config, reference, window, choice, levels["estimated_fairness"], seed)
    then, now = protected_groups(config, labelled_part(reference)), protected_groups(config, window)
    shown = realized_fairness(config, window, levels["realized_fairness"], seed, recent)
    presence = presence_findings(config, then, now, absent, levels["protected_groups"])
    errors = estimator_findings(config, [*estimates, *realized], history, levels["estimator"], number)
    sampled = sampled_findings(config, reference, asked, request, unsure, levels["sampled_performance"], losses)
    known = {f.subject for f in realized if f.value is not None}
    sampled = [f for f in sampled if f.subject not in known]
    estimates, fairness = outranked(estimates, [*realized, *filter(settled, sampled)]), outranked(fairness, shown)
    apart = source_findings(config, window, levels["label_sources"], seed, recent)
    return [*estimates, *fairness, *realized, *sampled, *apart, *shown, *presence, *labels, *errors]


def outranked(estimated: list[Finding], realized: list[Finding]) -> list[Finding]:
    """The estimates, of which none alarms whose subject labels have shown; where they left a group out, it does."""
    known = {f.subject for f in realized if f.value is not None and LEFT_OUT not in f.sentence}
    return [
        f.model_copy(update={"alarm": False, "sentence": f"{f.sentence}; its labels are in, and they decide"})
        if f.alarm and f.subject in known
        else f
        for f in estimated
    ]


def estimated_findings(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, choice: EstimatorChoice, alpha: float
) -> list[Finding]:
    """Watched metrics without labels; an alarm needs a value beyond the tolerated one and a significant change, at a
    share of ``alpha`` a metric.

    Where the other inputs stand in for the score, they first have to say of the reference what its labels show, within
    :data:`SELF_CHECK` of the tolerated worsening. So reference and limit are always of the metric itself.
    """
    known, findings = labelled_part(reference), []
    for metric, tolerated in config.watched.items():
        found = choice.estimate(metric) if choice.estimate is not None else None
        if found is None or not np.isfinite([found.value, found.low, found.high]).all():
            why = choice.why if found is None else "the scores of the window leave no two classes to tell apart"
            findings.append(_not_estimated(metric, len(window), f"{metric} is not estimated: {why}"))
            continue
        before = measured(config, metric, known).value
        limit = limit_of(metric, before, tolerated)
        if not choice.score_believed and abs(found.reference - before) > SELF_CHECK * abs(limit - before):
            text = (
                f"{metric} is not estimated: {choice.why}; but of the reference they say {found.reference:.3f}, where "
                f"labels show {before:.3f}, so they cannot judge this model"
            )
            findings.append(_not_estimated(metric, len(window), text))
            continue
        worse_p = 1 - found.greater_p if greater_is_better(metric) else found.greater_p
        alarm = beyond(metric, found.value, limit) and worse_p <= alpha / len(config.watched)
        text = (
            f"{metric} is estimated without labels at {found.value:.3f} (labels will show {found.low:.3f} to "
            f"{found.high:.3f}), {before:.3f} in the reference; {choice.why}"
        )
        findings.append(
            Finding(
                kind="estimated_performance",
                subject=metric,
                value=found.value,
                low=found.low,
                high=found.high,
                reference=before,
                limit=limit,
                rows=len(window),
                alarm=bool(alarm),
                sentence=text,
            )
        )
    return findings


def _not_estimated(metric: str, rows: int, text: str) -> Finding:
    return Finding(kind="estimated_performance", subject=metric, value=None, rows=rows, alarm=False, sentence=text)


def _looks(config: ModelConfig, attribute: str) -> dict[tuple[str, str], float | None]:
    """Measure and statistic of every disparity of one attribute, with the limit of the gate that asks for it."""
    found: dict[tuple[str, str], float | None] = {(m, "difference"): None for m in MEASURES}
    for gate in config.gates:
        if (
            isinstance(gate, FairnessGate)
            and gate.attribute == attribute
            and gate.measure in (*MEASURES, "accuracy", "equalized_odds")
        ):
            before = found.get((gate.measure, gate.statistic))
            strictest = min if gate.statistic == "difference" else max
            found[gate.measure, gate.statistic] = gate.limit if before is None else strictest(before, gate.limit)
    return found


def fairness_findings(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, choice: EstimatorChoice, alpha: float, seed: int
) -> list[Finding]:
    """Disparities of every protected attribute without labels, for a binary model.

    The limits are those of the fairness gates: one machinery for gate and monitor. An alarm needs a disparity beyond
    its limit, worse than the reference's, and a significant change, at a share of ``alpha`` (Bonferroni) for each that
    has a limit.
    """
    if config.kind != "binary" or not len(window):
        return []
    known = labelled_part(reference)
    then, now = protected_groups(config, known), protected_groups(config, window)
    looks = {attribute: _looks(config, attribute) for attribute in config.protected}
    level = alpha / max(1, sum(limit is not None for asked in looks.values() for limit in asked.values()))
    findings = []
    for attribute, asked in looks.items():
        groups, missing = _groups(config, known, window, then[attribute], now[attribute], choice)
        if len(groups) < 2:
            text = f"fairness by {attribute} is not estimated: {'; '.join(missing) or 'there are not two groups'}"
            findings.append(
                Finding(
                    kind="estimated_fairness",
                    subject=attribute,
                    value=None,
                    rows=len(window),
                    alarm=False,
                    sentence=text,
                )
            )
            continue
        for (measure, statistic), limit in asked.items():
            found = estimated_disparity(
                groups, ODDS if measure == "equalized_odds" else (measure,), statistic, config.threshold, seed
            )
            findings.append(
                _fairness_finding(
                    f"{measure} {statistic} by {attribute}",
                    found,
                    statistic,
                    limit,
                    level,
                    sum(len(g.window) for g in groups),
                    missing,
                )
            )
    return findings


def _groups(
    config: ModelConfig,
    known: pd.DataFrame,
    window: pd.DataFrame,
    then: pd.Series,
    now: pd.Series,
    choice: EstimatorChoice,
) -> tuple[list[CalibratedGroup], list[str]]:
    if not choice.score_believed:
        return [], [choice.why]
    groups, missing = [], []
    label, score, served = (
        np.asarray(label_array(config, known[LABEL]), dtype=bool),
        known[SCORE].to_numpy(float),
        window[SCORE].to_numpy(float),
    )
    for name in sorted({*then.dropna(), *now.dropna()}):
        inside = (then == name).to_numpy()
        found = fitted_group(name, score[inside], label[inside], served[(now == name).to_numpy()])
        if isinstance(found, CalibratedGroup):
            groups.append(found)
        else:
            missing.append(found)
    return groups, missing


def _fairness_finding(
    subject: str, found: Disparity, statistic: str, limit: float | None, level: float, rows: int, missing: list[str]
) -> Finding:
    left_out = f"; not judged: {'; '.join(missing)}" if missing else ""
    if not np.isfinite(found.value):
        text = f"{subject} is not estimated: no group's labels give it a value{left_out}"
        return Finding(kind="estimated_fairness", subject=subject, value=None, rows=rows, alarm=False, sentence=text)
    worse = found.value > found.reference if statistic == "difference" else found.value < found.reference
    broken = limit is not None and (found.value > limit if statistic == "difference" else found.value < limit)
    each = ", ".join(f"{name} {rate:.1%}" for name, rate in found.rates.items())
    size = (
        f"estimated without labels at {found.value:.3f} (labels will show {found.low:.3f} to {found.high:.3f})"
        if found.low < found.high
        else f"{found.value:.3f}, which needs no labels"
    )
    text = f"{subject} is {size}, {found.reference:.3f} in the reference: {each}{left_out}"
    return Finding(
        kind="estimated_fairness",
        subject=subject,
        value=found.value,
        low=found.low,
        high=found.high,
        reference=found.reference if np.isfinite(found.reference) else None,
        limit=limit,
        rows=rows,
        alarm=bool(worse and broken and found.p_value <= level),
        sentence=text,
    )
