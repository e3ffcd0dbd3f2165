"""The gate that damages the rows: bounded loss of performance, no exception, no NaN among the scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.science.examination.examination import Examination
from tasks.science.examination.targets import few_entities, fewest, wrong_scores
from tasks.science.examination.verdicts import combine_states, judge, result
from tasks.science.gates.perturbations import perturb, touched
from tasks.science.stats.clusters import entities
from tasks.science.stats.comparison import paired_difference
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.metrics import METRICS
from tasks.spec.data import Column
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.gates import Perturbation, RobustnessGate

STRESSED = 200
"""Rows on which each perturbation hits every cell it can, to provoke exceptions and NaN."""


NOTHING = {
    "missing": "no feature may be missing",
    "unseen": "no feature takes a category that it does not declare",
    "noise": "no feature is a quantity",
    "out_of_range": "no feature is a quantity",
    "unit": "no feature is a number",
    "swapped": "there is no feature",
}
"""Why a kind of damage may have nothing to act on: what the service refuses, the model never sees."""


def robustness(config: RobustnessGate, examination: Examination) -> GateResult:
    """The metric on damaged rows minus the same on the rows as they are; paired bounds as for model comparison."""
    if examination.config is None:
        return result(
            config,
            "fail",
            "the model's columns are not known here (no config was given), so no damage within their bounds "
            "can be drawn",
        )
    columns = [c for c in examination.config.inputs if c.name in examination.features]
    chosen = np.random.default_rng(examination.seed).permutation(len(examination.label))[: config.rows]
    rows, label = examination.rows.iloc[chosen].reset_index(drop=True), examination.label[chosen]
    few, text = fewest(examination, label)
    if few < MINIMUM:
        return result(config, "insufficient_evidence", f"{text}; at least {MINIMUM} are needed")
    mask = np.zeros(len(examination.label), bool)
    mask[chosen] = True
    alone = few_entities(examination, mask, True, "the sample")
    if alone:
        return result(config, "insufficient_evidence", alone)
    owners = None if examination.owners is None else examination.owners[chosen]
    before = _scores(examination, rows)
    if isinstance(before, str):
        return result(config, "fail", f"on rows as they are, {before}")
    idle = {p.kind: NOTHING[p.kind] for p in config.perturbations if not touched(p.kind, columns)}
    left_out = "; ".join(f"{kind} is left out, since {why}" for kind, why in idle.items())
    measured = tuple(
        _withstood(p, i, config, examination, columns, rows, label, before, owners)
        for i, p in enumerate(config.perturbations)
        if p.kind not in idle
    )
    if not measured:
        return result(config, "insufficient_evidence", f"no damage reaches a feature of this model: {left_out}")
    state = combine_states([m.state for m in measured])
    moves = [
        m.label + ("" if m.value is None else f" by {m.value:+.4f} ({m.low:+.4f} to {m.high:+.4f})")
        for m in measured
        if state == "pass" or m.state != "pass"
    ]
    counted = "" if owners is None else f" on {examination.counted(len(rows), owners)}"
    reason = (
        "; ".join(moves) + f"{counted}; worse by {config.limit:g} is tolerated unless a perturbation says otherwise"
    )
    reason += f"; {left_out}" if left_out else ""
    return result(
        config,
        state,
        reason,
        measured,
        "difference of the metric on the same rows, damaged and as they are; paired DeLong 1988 or paired row losses"
        + ("" if owners is None else ", by entity"),
    )


def _withstood(
    damage: Perturbation,
    number: int,
    config: RobustnessGate,
    examination: Examination,
    columns: list[Column],
    rows: pd.DataFrame,
    label: np.ndarray,
    before: np.ndarray,
    owners: np.ndarray | None,
) -> Measurement:
    name, seed = f"{damage.kind} {damage.strength:g}", examination.seed + number
    limit = config.limit if damage.limit is None else damage.limit
    whole = damage if damage.kind == "noise" else damage.model_copy(update={"strength": 1.0})
    stressed = _scores(examination, perturb(rows[:STRESSED], columns, whole, seed))
    if isinstance(stressed, str):
        return Measurement(
            label=f"under {damage.kind} in every cell it reaches, {stressed}",
            value=None,
            limit=limit,
            rows=min(STRESSED, len(rows)),
            state="fail",
        )
    after = _scores(examination, perturb(rows, columns, damage, seed))
    if isinstance(after, str):
        return Measurement(label=f"under {name}, {after}", value=None, limit=limit, rows=len(rows), state="fail")
    better = METRICS[config.metric].greater_is_better
    text, people = f"under {name}, {config.metric} moves", entities(owners)
    if np.array_equal(after, before):  # the same answers: equal by identity, with nothing to estimate
        return Measurement(
            label=text,
            value=0.0,
            low=0.0,
            high=0.0,
            limit=-limit if better else limit,
            rows=len(rows),
            entities=people,
            state="pass",
        )
    found = paired_difference(
        config.metric, label, after, before, examination.decision_threshold, config.confidence, seed, owners
    )
    bound = -limit if better else limit
    state = judge(found.value, found.low if better else found.high, bound, better)
    if state == "pass" and not found.low < found.high:
        state = "insufficient_evidence"
    return Measurement(
        label=text,
        value=found.value,
        low=found.low,
        high=found.high,
        limit=bound,
        rows=len(rows),
        entities=people,
        state=state,
    )


def _scores(examination: Examination, rows: pd.DataFrame) -> np.ndarray | str:
    """Scores of the model's kind, or what went wrong in words."""
    try:
        found = np.asarray(examination.predict(rows), dtype=float)
    except Exception as error:  # a model may raise whatever it likes, and that is the finding
        return f"the model raises {type(error).__name__}: {error}"
    return wrong_scores(examination, found, len(rows)) or found
