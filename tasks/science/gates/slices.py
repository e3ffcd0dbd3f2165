"""The slices gate: the metric in every configured slice, and no weak slice that a search finds and confirms."""

from __future__ import annotations

import numpy as np

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import fewest, judge_each_class, wrong_scores
from tasks.science.examination.verdicts import combine_states, judge, result
from tasks.science.gates.excess_loss import (
    Gain,
    correction,
    excess_loss,
    halves,
    judged,
    law,
    losses,
    scaled,
    standard_error,
)
from tasks.science.gates.slice_search import Weakness, weak_slices
from tasks.science.stats.clusters import entities
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.intervals import normal_quantile
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.gates import NamedSlice, SlicesGate

METHOD = (
    "cross-fitted loss against a Cox recalibration of the slice, cluster-robust t; score-test beam search on one "
    "half, Holm-adjusted confirmation on the other"
)


def slices(config: SlicesGate, examination: Examination) -> GateResult:
    """Excess loss by slice, as a share of the mean loss of all rows.

    Excess loss is what :func:`tasks.science.gates.excess_loss.excess_loss` says. Each configured slice is reported with
    its plain mean loss and rows. It fails where the estimate is over the limit, and passes where the upper bound is
    not. The search fails the gate by confirmed slices only. Multiclass: each class against the rest, which share the
    gate's error.
    """
    wrong = wrong_scores(examination)
    if wrong:
        return result(config, "fail", wrong)
    if examination.kind == "multiclass":
        return judge_each_class(slices, config, examination, shared_error=True)
    label, score = examination.label, examination.score
    if not config.slices and not config.search:
        return result(config, "fail", "this gate names no slices and does not search; give slices, or search: true")
    if config.search and not _searchable(config, examination):
        return result(
            config,
            "fail",
            f"there is no column to search among the {config.columns}; name slices, or set search: false",
        )
    few, _ = fewest(examination, label)
    units = entities(examination.owners) or len(label)
    if few < MINIMUM or units < 4 * config.minimum_rows:
        counted = "with labels that vary" if examination.kind == "regression" else "of the smaller class"
        reason = (
            f"there are {examination.counted(len(label), examination.owners)}, {few} {counted}; at least "
            f"{4 * config.minimum_rows} and {MINIMUM} are needed to judge slices"
        )
        return result(config, "insufficient_evidence", reason)
    row = losses(config.metric, label, score, examination.decision_threshold)
    if not row.mean() > 0:
        return result(
            config,
            "insufficient_evidence",
            "the model has no loss at all on these rows, so no share of it can be judged",
            (),
            METHOD,
        )
    try:
        named = [m for spec in config.slices for m in _named(config, spec, examination, row)]
    except ConfigError as error:
        return result(config, "fail", str(error))
    measured = (*named, *(_searched(config, examination) if config.search else ()))
    state = combine_states([m.state for m in measured])
    if state == "pass":
        return result(
            config,
            "pass",
            f"no weak slice: {len(config.slices)} "
            f"configured{', and none confirmed by the search' if config.search else ''}",
            measured,
            METHOD,
        )
    text = "; ".join(
        f"{m.label} is {m.value:.3f} on {m.rows:,} rows" if m.value is not None else m.label
        for m in measured
        if m.state == state
    )
    begin = f"excess loss is over {config.limit:g} of the mean loss" if state == "fail" else "too few rows"
    return result(config, state, f"{begin}: {text}", measured, METHOD)


def _named(config: SlicesGate, spec: NamedSlice, examination: Examination, row: np.ndarray) -> list[Measurement]:
    """One configured slice: its plain mean loss, and its excess loss."""
    inside = examination.fulfilled(spec.rows, f"the slice {spec.name!r} of gate {config.name}")
    n, z = int(inside.sum()), normal_quantile(config.confidence)
    owners = None if examination.owners is None else examination.owners[inside]
    if (n if owners is None else entities(owners) or 0) < config.minimum_rows:
        text = f"{spec.name} has {examination.counted(n, owners)}; at least {config.minimum_rows} are needed"
        return [Measurement(label=text, value=None, limit=config.limit, rows=n, state="insufficient_evidence")]
    mean, error = float(row[inside].mean()), standard_error(row[inside], owners)
    plain = Measurement(
        label=f"{config.metric} of {spec.name} (all rows {row.mean():.4f})",
        quantity=config.metric,
        value=mean,
        low=mean - z * error,
        high=mean + z * error,
        rows=n,
        entities=entities(owners),
        state="pass",
    )
    label, raw, size = scaled(config.metric, examination.label, examination.score)
    entity = examination.entity
    a, b = correction(label, raw, law(config.metric))
    first = halves(len(label), entity, examination.seed)
    parts = [(inside & first, inside & ~first), (inside & ~first, inside & first)]
    if min(int(side.sum()) for side, _ in parts) < MINIMUM:
        return [
            plain,
            Measurement(
                label=f"{spec.name} has too few rows in one half",
                value=None,
                limit=config.limit,
                rows=n,
                state="insufficient_evidence",
            ),
        ]
    gains = [
        excess_loss(config.metric, label, a + b * raw, fit, unseen, examination.decision_threshold)
        for fit, unseen in parts
    ]
    gain = Gain(*(np.concatenate([getattr(g, field) for g in gains]) for field in ("loss", "push", "variance")))
    owner = None if entity is None else np.concatenate([entity[unseen] for _, unseen in parts])
    found = judged(gain, float(row.mean()) * size, owner)
    high = found.value + z * found.error
    state = judge(found.value, high, config.limit, False)
    text = f"excess {config.metric} of {spec.name}, as a share of the mean of all rows"
    return [
        plain,
        Measurement(
            label=text,
            quantity="excess loss",
            value=found.value,
            low=found.value - z * found.error,
            high=high,
            limit=config.limit,
            rows=n,
            entities=entities(owners),
            state=state,
        ),
    ]


def _searchable(config: SlicesGate, examination: Examination) -> list[str]:
    return [c for c in examination.rows.columns if config.columns == "inputs" or c in examination.features]


def _searched(config: SlicesGate, examination: Examination) -> list[Measurement]:
    found = weak_slices(
        examination.rows[_searchable(config, examination)],
        examination.label,
        examination.score,
        examination.entity,
        config.metric,
        examination.decision_threshold,
        config.limit,
        config.minimum_rows,
        config.confidence,
        examination.seed,
        {c.name: c.kind for c in examination.config.inputs} if examination.config else {},
    )
    if not found:
        return [
            Measurement(
                label="slices that the search found worth a second look",
                value=0.0,
                rows=len(examination.label),
                state="pass",
            )
        ]
    return [_searched_slice(config, w) for w in found]


def _searched_slice(config: SlicesGate, weak: Weakness) -> Measurement:
    z, loss = normal_quantile(config.confidence), weak.loss
    # a slice that was found and not confirmed is what noise looks like; the halves, not its estimate, speak
    label = (
        f"excess {config.metric} where {weak.sentence} ({'confirmed' if weak.confirmed else 'not confirmed'}, p "
        f"{weak.p_value:.2g})"
    )
    low, high = (loss.value + k * z * loss.error for k in (-1, 1))
    return Measurement(
        label=label,
        quantity="excess loss",
        value=loss.value,
        low=low,
        high=high,
        limit=config.limit,
        rows=loss.rows,
        state="fail" if weak.confirmed else "pass",
    )
