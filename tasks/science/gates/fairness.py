"""The fairness gate: how far the groups of one protected attribute, or the intersections of several, are apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.science.data.protected import NAME_GROUPS, absent_groups, ungrouped
from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import wrong_scores
from tasks.science.examination.verdicts import judge, result
from tasks.science.stats.clusters import entities
from tasks.science.stats.comparison import OVER_EFFECT
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.disparity import Sample, disparity, disparity_interval, group_intervals, parity_p_value
from tasks.science.stats.group_counts import AMONG, MEASURES, Groups, count_errors, count_groups
from tasks.science.stats.validity import label_fault
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.gates import FairnessGate
from tasks.spec.wording import plural

ESTIMATOR = (
    "inverted test by resampling of group counts (Chuang & Lai 2000), two-sided; groups by Wilson's interval "
    "(Student's t for calibration and errors) with Šidák's correction; parity by the oddest group against all, "
    "simulated"
)
TOO_MANY = 100
"""Times the rows of a group beyond which asking for more is no advice."""


def fairness(config: FairnessGate, examination: Examination) -> GateResult:
    """Disparity between protected groups, on all rows.

    Fail: the estimate is on the wrong side of the limit and parity is refuted. Unbiased data then fail no more often
    than the confidence allows, however many groups there are. Pass: the interval's pessimistic end is on the right
    side. Insufficient evidence: everything between, small or undefined groups, and missing attributes.
    """
    wrong = wrong_scores(examination) or label_fault(examination.kind, examination.label, len(examination.classes))
    if wrong:
        return result(config, "fail", wrong)
    if config.class_name is not None:
        examination = examination.against_rest(config.class_name)
    score, label = examination.score, examination.label
    wanted = list(config.among)
    unknown = [a for a in wanted if a not in examination.groups]
    if unknown:
        known = ", ".join(map(str, examination.groups.columns)) or "none"
        raise ConfigError(
            f"gate {config.name} names the protected attribute {unknown[0]!r}, which has no groups; allowed: {known}."
        )
    decision = np.zeros(len(label), bool) if config.of_errors else examination.decision
    if config.of_errors:
        found = count_errors(
            label, score, examination.groups[wanted], config.measure == "mean_absolute_error", examination.owners
        ).groups(*wanted)
    else:
        label = np.asarray(label, bool)
        scored = score if config.measure == "calibration" else None
        found = count_groups(label, decision, examination.groups[wanted], scored, examination.owners).groups(*wanted)
    shown = _measurements(config, found)
    by = " and ".join(wanted)
    absent = "; ".join(t for a in wanted if (t := absent_groups(examination.config, a, examination.rows)))
    if absent:
        return result(config, "insufficient_evidence", absent, shown, remedy=NAME_GROUPS)
    if len(found.names) < 2:
        count = f"{len(found.names)} group" if len(wanted) == 1 else f"{len(found.names)} intersection"
        return result(config, "fail", f"{by} has {count} in the holdout; a comparison needs two", shown)
    outside = _outside(examination, wanted)
    unusable = _share_missing(config, found, outside) or _one_sided(config, label, decision)
    if unusable:
        return result(config, "insufficient_evidence", unusable, shown)
    judged = found.select(_large(config, found))
    small = _small(config, found)
    if small and (len(wanted) == 1 or len(judged.names) < 2 or _unjudged_share(config, found) > config.unjudged_share):
        return result(
            config,
            "insufficient_evidence",
            f"too few {_among(config)} to judge {small}, or put groups together in the config",
            shown,
        )
    return _judge_groups(config, judged, shown, examination, _aside(config, found, small, outside))


def _judge_groups(
    config: FairnessGate, judged: Groups, shown: tuple[Measurement, ...], examination: Examination, aside: str
) -> GateResult:
    """The judgement over groups that are large enough."""
    seed, owned = examination.seed, judged.owned
    sample, better = judged.sample(config.measure), config.statistic == "ratio"
    name = f"{config.measure.replace('_', ' ')} {config.statistic} by {' and '.join(config.among)}"
    value = float(disparity(sample.values, config.statistic))
    if np.isnan(value) or (sample.spread is not None and not bool(np.all(sample.spread > 0))):
        why = "is 0 in every group" if np.isnan(value) else "does not vary within a group"
        return result(config, "insufficient_evidence", f"{name} cannot be judged: the measure {why}{aside}", shown)
    low, high = disparity_interval(sample, config.statistic, config.confidence, seed)
    state = judge(value, low if better else high, config.limit, better)
    more, unlikely, chance = "", "", 1 - config.confidence
    if state == "fail" and parity_p_value(sample, seed) > chance:
        state = "insufficient_evidence"
        unlikely = f"; equal groups look like this in more than {chance:.1%} of samples"
        more = _more(config, judged, abs(value - (1 if better else 0)), high - low)
    elif state == "insufficient_evidence":
        more = _more(config, judged, abs(config.limit - value), 2 * abs(value - (low if better else high)))
    measured = Measurement(
        label=name,
        quantity=f"{config.measure} {config.statistic}",
        value=value,
        low=low,
        high=high,
        limit=config.limit,
        rows=int(judged.rows.sum()),
        entities=None if owned is None else entities(owned.owners),
        state=state,
    )
    side = "at least" if better else "at most"
    reason = (
        f"{name} is {value:.3f} ({low:.3f} to {high:.3f}); {side} {config.limit:g} is asked; furthest apart are "
        f"{_pair(config, judged)}{unlikely}{aside}"
    )
    method = ESTIMATOR
    if owned is not None:
        reason += f"; on {examination.counted(int(judged.rows.sum()), owned.owners)}"
        method += OVER_EFFECT
    return result(config, state, reason, (measured, *shown), method, remedy=f"{more} would decide" if more else "")


def _among(config: FairnessGate) -> str:
    if config.measure == "equalized_odds":
        return "positives or negatives"
    return AMONG.get(config.measure, "rows")


def _large(config: FairnessGate, found: Groups) -> np.ndarray:
    """(g,) which groups have the rows to be judged, and where entities are known, :data:`MINIMUM` of them."""
    sample = found.sample(config.measure)
    enough = sample.rows.min(axis=0) >= config.minimum_rows
    return np.asarray(enough if sample.entities is None else enough & (sample.entities.min(axis=0) >= MINIMUM))


def _small(config: FairnessGate, found: Groups) -> str:
    """The groups under the minimum, each with what it has and what it lacks; empty where there are none."""
    sample = found.sample(config.measure)
    least = sample.rows.min(axis=0)
    lacking = [(name, int(n)) for name, n in zip(found.names, least, strict=True) if n < config.minimum_rows]
    listed = ", ".join(f"{name} ({n}; {config.minimum_rows - n} more would do)" for name, n in lacking)
    text = f"{listed}; at least {config.minimum_rows} each are needed" if listed else ""
    if sample.entities is None:
        return text
    few = [(name, int(n)) for name, n in zip(found.names, sample.entities.min(axis=0), strict=True) if n < MINIMUM]
    if not few:
        return text
    listed = ", ".join(f"{name} (of {plural(n, 'entity', 'entities')})" for name, n in few)
    return f"{text}; {listed}"[2 * (not text) :] + f"; rows of at least {MINIMUM} entities each are needed"


def _unjudged_share(config: FairnessGate, found: Groups) -> float:
    return float(found.rows[~_large(config, found)].sum() / found.rows.sum())


def _outside(examination: Examination, wanted: Sequence[str]) -> str:
    """The values that no declared group names, with their rows, as an addition to a sentence."""
    config, named = examination.config, []
    if config is None:
        return ""
    for attribute in wanted:
        spec = config.protected.get(attribute)
        if spec is None or spec.column not in examination.rows:
            continue
        column = config.column(spec.column)
        values = ungrouped(examination.rows[spec.column], examination.groups[attribute], column.kind)
        named += [f"{column.name} {values}"] if values else []
    return f" (in no group: {'; '.join(named)})" if named else ""


def _share_missing(config: FairnessGate, found: Groups, outside: str) -> str:
    total = found.missing + int(found.rows.sum())
    if found.missing <= config.missing_share * total:
        return ""
    which = " or ".join(config.among)
    needed = int(np.ceil(found.missing - config.missing_share * total))
    return (
        f"{found.missing:,} of {total:,} rows ({found.missing / total:.1%}) have no {which}{outside}, and at most "
        f"{config.missing_share:.0%} may; knowing it for {needed:,} more rows would do"
    )


def _one_sided(config: FairnessGate, label: np.ndarray, decision: np.ndarray) -> str:
    """In words, where every label or every decision is the same and a comparison says nothing."""
    if config.of_errors:
        return ""
    if config.measure != "selection_rate" and label.all() == label.any():
        return (
            f"all {len(label):,} labels are {'positive' if label.all() else 'negative'}; "
            f"{config.measure.replace('_', ' ')} needs both classes"
        )
    if config.measure != "calibration" and decision.all() == decision.any():
        return (
            f"the model {'selects all' if decision.all() else 'selects none'} of {len(label):,} rows; equal "
            "treatment by a constant says nothing about its fairness"
        )
    return ""


def _aside(config: FairnessGate, found: Groups, small: str, outside: str) -> str:
    """What was left out of the judgement, and how much of it there is."""
    text = ""
    if small:
        text += f"; not judged, with {_unjudged_share(config, found):.1%} of rows: {small}"
    if found.missing:
        text += (
            f"; {found.missing:,} rows ({found.missing / (found.missing + found.rows.sum()):.1%}) without "
            f"{' or '.join(config.among)} are left out{outside}"
        )
    return text


def _extremes(config: FairnessGate, sample: Sample) -> tuple[int, int, int]:
    """The measure that decides, and the groups with its lowest and highest value."""
    apart = [float(disparity(sample.values[i : i + 1], config.statistic)) for i in range(len(sample.values))]
    m = int(np.argmin(apart) if config.statistic == "ratio" else np.argmax(apart))
    return m, int(sample.values[m].argmin()), int(sample.values[m].argmax())


def _pair(config: FairnessGate, judged: Groups) -> str:
    sample = judged.sample(config.measure)
    m, low, high = _extremes(config, sample)
    measure = MEASURES[config.measure][m]
    among = AMONG.get(measure, "rows")
    text = [f"{judged.names[g]} {sample.values[m, g]:.3f} of {int(sample.rows[m, g]):,} {among}" for g in (low, high)]
    prefix = f"in {measure.replace('_', ' ')} " if len(sample.values) > 1 else ""
    return f"{prefix}{text[0]} and {text[1]}"


def _more(config: FairnessGate, judged: Groups, margin: float, width: float) -> str:
    """About how many more rows of the two furthest groups narrow the interval's half width to ``margin``.

    ``width`` is the whole interval. The squared half width is taken as proportional to the sum of the two groups'
    squared standard errors.
    """
    sample = judged.sample(config.measure)
    m, low, high = _extremes(config, sample)
    centre = sample.centre
    error = sample.error(centre) / (centre if config.statistic == "ratio" else 1)
    variance, rows = error[m, [low, high]] ** 2, sample.rows[m, [low, high]]
    shrink = min((2 * margin / width) ** 2, 0.9) if width > 0 else 0.9
    worse = int(variance.argmax())
    left = variance.sum() * shrink - variance[1 - worse]
    among = AMONG.get(MEASURES[config.measure][m], "rows")
    names = [judged.names[low], judged.names[high]]
    if shrink * TOO_MANY < 1:
        return f"more than {TOO_MANY} times the {among}"
    if left > 0 and variance[worse] / left < 10:
        return f"about {_round(rows[worse] * (variance[worse] / left - 1))} more {among} of {names[worse]}"
    each = [_round(n * (1 / shrink - 1)) for n in rows]
    return f"about {each[0]} more {among} of {names[0]} and {each[1]} of {names[1]}"


def _round(count: float) -> str:
    """Rounded up to two figures, which is as exact as the estimate is."""
    unit = 10 ** max(int(np.floor(np.log10(max(count, 1)))) - 1, 0)
    return f"{int(np.ceil(max(count, 1) / unit)) * unit:,}"


def _measurements(config: FairnessGate, found: Groups) -> tuple[Measurement, ...]:
    """One entry for every group and measure, with its interval and rows."""
    if not found.names:
        return ()
    sample = found.sample(config.measure)
    low, high = group_intervals(sample, config.confidence)
    shown = []
    for m, measure in enumerate(MEASURES[config.measure]):
        for g, name in enumerate(found.names):
            rows = int(sample.rows[m, g])
            people = None if sample.entities is None else int(sample.entities[m, g])
            enough = rows >= config.minimum_rows and (people is None or people >= MINIMUM)
            state: State = "pass" if enough else "insufficient_evidence"
            numbers = [float(x) if np.isfinite(x) else None for x in (sample.values[m, g], low[m, g], high[m, g])]
            shown.append(
                Measurement(
                    label=f"{measure} of {name}",
                    quantity=measure,
                    value=numbers[0],
                    low=numbers[1],
                    high=numbers[2],
                    rows=rows,
                    entities=people,
                    state=state,
                )
            )
    return tuple(shown)
