"""The gate that asks whether a score of 0.2 means two in ten, and a predicted number the mean, for all rows or for each
group.
"""

from __future__ import annotations

import numpy as np

from tasks.science.data.protected import NAME_GROUPS, absent_groups
from tasks.science.examination.benchmarks import BenchmarkFault, benchmark_rows
from tasks.science.examination.examination import Examination
from tasks.science.examination.plots import reliability_plots
from tasks.science.examination.targets import few_entities, judge_each_class, wrong_scores
from tasks.science.examination.verdicts import combine_states, judge, result
from tasks.science.stats.calibration import (
    calibration_error,
    intercept,
    mean_calibration,
    mean_reliability,
    reliability,
    slope,
)
from tasks.science.stats.clusters import entities
from tasks.science.stats.comparison import Interval, metric_interval
from tasks.science.stats.counts import MINIMUM
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.gates import CalibrationGate

METHOD = (
    "Cox 1958 with robust Wald bounds; debiased error by bins (Bröcker 2011; Kumar et al. 2019) with bootstrap; "
    "Wilson bounds of rates"
)
BY_ENTITY = "; variances of sums by entity (Liang & Zeger 1986)"
METHOD_OF_MEANS = (
    "least squares of labels on scores (Mincer & Zarnowitz 1969) with robust Wald bounds; debiased error of means "
    "by bins"
)


def calibration(config: CalibrationGate, examination: Examination) -> GateResult:
    """Calibration error, slope and intercept against their limits, interval included; rates by bin are shown beside.

    Multiclass: each class against the rest. Regression: what is asked of rates is asked of means.
    """
    if examination.kind == "multiclass":
        return judge_each_class(calibration, config, examination)
    try:
        inside = benchmark_rows(config.benchmark, examination)
    except BenchmarkFault as fault:
        return result(config, "fail", str(fault))
    wrong = wrong_scores(examination, examination.score[inside])
    if wrong:
        return result(config, "fail", wrong)
    parts = {"all rows": inside}
    if config.by is not None:
        if config.by not in examination.groups:
            return result(
                config, "fail", f"by names {config.by!r}; allowed: {', '.join(map(str, examination.groups.columns))}"
            )
        if absent := absent_groups(examination.config, config.by, examination.rows[inside]):
            return result(config, "insufficient_evidence", absent, remedy=NAME_GROUPS)
        groups = examination.groups[config.by].to_numpy()
        parts = {
            name: inside & (groups == name) for name in sorted({str(g) for g in groups[inside] if isinstance(g, str)})
        }
        if len(parts) < 2:
            return result(config, "fail", f"{config.by} has {len(parts)} group in the holdout; a comparison needs two")
    numbers = examination.kind == "regression"
    scale = float(examination.label[inside].std()) if numbers else 1.0
    by_part = {
        name: _judged_means(config, name, mask, examination, scale)
        if numbers
        else _judged(config, name, mask, examination)
        for name, mask in parts.items()
    }
    judged = [m for found in by_part.values() for m in found]
    state = combine_states([m.state for m in judged])
    text = "; ".join(_sentence(m, examination) for m in judged if state == "pass" or m.state != "pass")
    shown = tuple(m for name, mask in parts.items() for m in _shown(config, name, mask, examination))
    states = {name: combine_states([m.state for m in found]) for name, found in by_part.items()}
    plots = reliability_plots(parts, examination, config.bins, config.confidence, states)
    method = (METHOD_OF_MEANS if numbers else METHOD) + ("" if examination.owners is None else BY_ENTITY)
    return result(config, state, text, (*judged, *shown), method, plots)


def _judged(config: CalibrationGate, name: str, mask: np.ndarray, examination: Examination) -> list[Measurement]:
    label, score = examination.label[mask], examination.score[mask]
    few = min(int(label.sum()), int((~label).sum()))
    if few < MINIMUM:
        text = f"the smaller class of {name} has {few} of {len(label)} rows; at least {MINIMUM} are needed"
        return [Measurement(label=text, value=None, rows=len(label), state="insufficient_evidence")]
    alone, owners = few_entities(examination, mask, True, name), _owners(examination, mask)
    if alone:
        return [Measurement(label=alone, value=None, rows=len(label), state="insufficient_evidence")]
    error = calibration_error(label, score, config.bins, config.confidence, examination.seed, owners)
    state = judge(error.value, error.high, config.error, greater_is_better=False)
    found = [
        Measurement(
            label=f"calibration error of {name}",
            quantity="calibration error",
            value=error.value,
            low=error.low,
            high=error.high,
            limit=config.error,
            rows=len(label),
            entities=entities(owners),
            state=state,
        )
    ]
    ranges = {"slope": (slope, config.slope), "intercept": (intercept, (-config.intercept, config.intercept))}
    for what, (estimate, (low, high)) in ranges.items():
        found.append(
            _within(
                f"calibration {what} of {name}",
                f"calibration {what}",
                estimate(label, score, config.confidence, owners),
                low,
                high,
                len(label),
                entities(owners),
            )
        )
    return found


def _judged_means(
    config: CalibrationGate, name: str, mask: np.ndarray, examination: Examination, scale: float
) -> list[Measurement]:
    label, score = examination.label[mask], examination.score[mask]
    if len(label) < MINIMUM or not scale > 0:
        text = (
            f"{name} has {len(label)} rows, and the labels of all vary by {scale:.3g}; at least {MINIMUM} rows of "
            "labels that vary are needed"
        )
        return [Measurement(label=text, value=None, rows=len(label), state="insufficient_evidence")]
    alone, owners = few_entities(examination, mask, False, name), _owners(examination, mask)
    if alone:
        return [Measurement(label=alone, value=None, rows=len(label), state="insufficient_evidence")]
    found = mean_calibration(label, score, scale, config.bins, config.confidence, examination.seed, owners)
    error, rows, people = found.error, len(label), entities(owners)
    measured = [
        Measurement(
            label=f"calibration error of {name}, in standard deviations of the labels",
            quantity="calibration error",
            value=error.value,
            low=error.low,
            high=error.high,
            limit=config.error,
            rows=rows,
            entities=people,
            state=judge(error.value, error.high, config.error, greater_is_better=False),
        )
    ]
    measured.append(
        _within(f"calibration slope of {name}", "calibration slope", found.slope, *config.slope, rows, people)
    )
    return [
        *measured,
        _within(
            f"calibration intercept of {name}, in standard deviations of the labels",
            "calibration intercept",
            found.intercept,
            -config.intercept,
            config.intercept,
            rows,
            people,
        ),
    ]


def _owners(examination: Examination, mask: np.ndarray) -> np.ndarray | None:
    return None if examination.owners is None else examination.owners[mask]


def _within(
    label: str, quantity: str, found: Interval, low: float, high: float, rows: int, people: int | None
) -> Measurement:
    """Two one-sided tests: the interval lies inside the limits; the limit shown is the nearer one."""
    if not np.isfinite([found.value, found.low, found.high]).all():
        text = f"{label} does not exist (the scores are all alike, or separate the classes)"
        return Measurement(label=text, value=None, rows=rows, state="fail")
    states: list[State] = [judge(found.value, found.low, low, True), judge(found.value, found.high, high, False)]
    limit = low if abs(found.value - low) < abs(found.value - high) else high
    return Measurement(
        label=label,
        quantity=quantity,
        value=found.value,
        low=found.low,
        high=found.high,
        limit=limit,
        rows=rows,
        entities=people,
        state=combine_states(states),
    )


def _sentence(found: Measurement, examination: Examination) -> str:
    if found.value is None:
        return found.label
    limit = "" if found.limit is None else f", limit {found.limit:g}"
    return f"{found.label} is {found.value:.3f} ({found.low:.3f} to {found.high:.3f}{limit}) on {found.rows:,} rows" + (
        "" if found.entities is None else f" of {found.entities:,} {examination.entity_name}"
    )


def _shown(config: CalibrationGate, name: str, mask: np.ndarray, examination: Examination) -> list[Measurement]:
    """Brier score, log-loss and observed rates by bin, of numbers their errors and means: to be read, not judged."""
    label, score = examination.label[mask], examination.score[mask]
    if len(label) < MINIMUM:
        return []
    shown, numbers, owners = [], examination.kind == "regression", _owners(examination, mask)
    for metric in ("mae", "rmse") if numbers else ("brier", "log_loss"):
        found = metric_interval(
            metric, label, score, examination.decision_threshold, config.confidence, examination.seed, owners
        )
        shown.append(
            Measurement(
                label=f"{metric} of {name}",
                quantity=metric,
                value=found.value,
                low=found.low,
                high=found.high,
                rows=len(label),
                entities=entities(owners),
                state="pass",
            )
        )
    for b in (mean_reliability if numbers else reliability)(label, score, config.bins, config.confidence, owners):
        text = f"{'mean' if numbers else 'rate'} of {name} scored {b.low:.3f} to {b.high:.3f}, {b.score:.3f} on average"
        state: State = "pass" if b.rows >= MINIMUM else "insufficient_evidence"
        shown.append(
            Measurement(
                label=text,
                quantity="observed mean" if numbers else "observed rate",
                value=b.rate,
                low=b.rate_low,
                high=b.rate_high,
                rows=b.rows,
                state=state,
            )
        )
    return shown
