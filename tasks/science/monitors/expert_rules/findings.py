"""The expert rules of an examination on a window that is served: the same code, asked of other rows.

No kind of rule looks at labels, so a window without any is judged as well as one with all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import LABEL, label_array, score_array, score_columns
from tasks.science.examination.examination import Examination
from tasks.science.monitors.expert_rules.comparison import refuted, worse
from tasks.science.monitors.protocol import RuleBreak
from tasks.science.rules.attribution import driver_share
from tasks.science.rules.check import check_rule, claim, spoken_of
from tasks.science.rules.plots import drivers, rule_plot
from tasks.science.rules.tools import ROW_RULES, RuleFault, Unchecked, broken_rows
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.intervals import BOUND
from tasks.science.stats.permutation import unusable
from tasks.spec.columns import to_table
from tasks.spec.evidence import Finding, Measurement, Plot
from tasks.spec.model import ModelConfig
from tasks.spec.rules import (
    Direction,
    ExpertRules,
    ForbiddenDriver,
    Invariance,
    Monotone,
    Proxy,
    RequiredDriver,
    Rule,
    Vignette,
)
from tasks.spec.wording import plural

REPLAYED = 2000
REFERENCE_ROWS = 5000
"""Rows of the reference that are looked at; more are sampled."""
SAME_SCORE = 1e-6
"""Difference between a logged score and the version's own that float arithmetic explains."""
MOST_BREAKS = 200
"""Rows of one rule that are named: those that break it most."""
ASKS_THE_MODEL = (Direction, Monotone, Invariance, Vignette)
"""Rules that ask the model about changed rows."""
Predict = Callable[[pd.DataFrame], np.ndarray]


def live_rule_findings(
    config: ModelConfig,
    rules: ExpertRules,
    predict: Predict,
    window: pd.DataFrame,
    reference: pd.DataFrame,
    window_attributions: pd.DataFrame,
    reference_attributions: pd.DataFrame,
    alpha: float,
    seed: int,
    pictures: Literal["broken", "all"] = "broken",
) -> tuple[list[Finding], list[Plot], list[RuleBreak]]:
    """Every rule of the version on a window.

    A rule raises an alarm where two tests agree, both at ``alpha / rules`` (an intersection-union test, Berger 1982).
    The window refutes the rule: its pessimistic bound is on the wrong side of the limit. And the window is worse than
    the reference. So the chance of any alarm where nothing changed is at most ``alpha``, also for a rule that held
    narrowly, or was waived, when the version was promoted. A rule whose sample is too small is reported, and is no
    alarm. Worse is tested by the sort of rule:

    - shares of rows by Fisher's exact test (1935);
    - shares of the attribution by a permutation test over rows;
    - vignettes by Fisher's exact test over blocks of rows, each with its own typical person.

    Args:
        config, rules, predict: of the version; its scores of raw rows.
        window: (n, columns) raw inputs and scores; ``_label`` and ``_id`` where they are known.
        reference: (m, columns) raw inputs and scores.
        window_attributions: (r, features) of rows drawn from the window; some 500 do.
        reference_attributions: (s, features) of rows drawn from the reference.
        alpha: chance of any alarm where nothing changed.
        seed: of the samples.
        pictures: of the rules that do not hold, or of all.

    Returns:
        A finding for each rule, and one for whether the log holds the scores that this version gives. Pictures, with
            that of global importance first. The rows of the window that break a rule, as far as they were looked at.
    """
    if not rules.rules:
        return [_plain("rules", len(window), "rules.yaml holds no rule, so no rule is checked")], [], []
    odd = _unfit(config, window, reference)
    if odd:
        return [_plain("rules", len(window), f"{odd}, so none of the {len(rules.rules)} rules is checked")], [], []
    window = window.reset_index(drop=True)
    replay = _replay(config, predict, window, seed)
    if replay.value is None:
        told = (
            f"the version gives no scores for the rows of the window, so none of the {len(rules.rules)} rules is "
            "checked"
        )
        return [replay, _plain("rules", len(window), told)], [], []
    config = _with_categories(config, window, reference)
    now = _laid_out(config, rules, predict, window, window_attributions, seed)
    known_rows = (
        reference if len(reference) <= REFERENCE_ROWS else reference.sample(REFERENCE_ROWS, random_state=seed)
    ).reset_index(drop=True)
    then = _laid_out(config, rules, predict, known_rows, reference_attributions, seed)
    examined = _examined(config, predict, then.rows, known_rows, seed)
    level, plots, breaks = alpha / len(rules.rules), [drivers(rules.rules, now, BOUND)], []
    findings = [replay, *examined]
    for rule in rules.rules:
        measured = _measured(rule, now)
        known = None if examined and isinstance(rule, ASKS_THE_MODEL) else _measured(rule, then)
        findings.append(_finding(rule, measured, known, now, then, level))
        if pictures == "all" or measured.state == "fail":
            plots.append(rule_plot(rule, claim(rule), measured, now, BOUND))
        breaks += _breaks(rule, now, window)
    return findings, [p for p in plots if p is not None], breaks


def _unfit(config: ModelConfig, window: pd.DataFrame, reference: pd.DataFrame) -> str:
    if len(window) < MINIMUM:
        return f"the window has {plural(len(window), 'row')} and {MINIMUM} are needed"
    if len(reference) < MINIMUM:
        return f"the reference has {plural(len(reference), 'row')} and {MINIMUM} are needed"
    for name, side in (("window", window), ("reference", reference)):
        absent = [c for c in score_columns(config) if c not in side]
        if absent:
            return f"the {name} has no column {', '.join(absent)}"
    return ""


def _with_categories(config: ModelConfig, *sides: pd.DataFrame) -> ModelConfig:
    """The config with every category that either side knows: a rule may name one that no row of a small window
    holds."""

    def known(name: str) -> tuple[str, ...]:
        return tuple(sorted({str(v) for side in sides if name in side for v in side[name].dropna().unique()}))

    columns = tuple(
        c.model_copy(update={"categories": known(c.name)}) if c.kind.accepts_unseen(c) else c
        for c in config.data.columns
    )
    return config.model_copy(update={"data": config.data.model_copy(update={"columns": columns})})


def _laid_out(
    config: ModelConfig, rules: ExpertRules, predict: Predict, rows: pd.DataFrame, attributions: pd.DataFrame, seed: int
) -> Examination:
    """The rows as an examination has them; an input that did not come is missing in every row."""
    inputs = to_table(config.inputs, rows)
    label = rows[LABEL] if LABEL in rows else pd.Series(np.nan, index=rows.index)
    return Examination(
        rows=inputs,
        label=label_array(config, label),
        score=score_array(config, rows),
        champion_score=None,
        benchmark=np.full(len(rows), "window"),
        groups=protected_groups(config, inputs),
        attributions=attributions,
        predict=predict,
        features=config.features,
        decision_threshold=config.threshold,
        seed=seed,
        rules=rules,
        data_check=None,
        kind=config.kind,
        classes=config.classes,
        config=config,
    )


def _replay(config: ModelConfig, predict: Predict, window: pd.DataFrame, seed: int) -> Finding:
    """Does the version give the logged scores for the logged inputs? Nothing is left to chance here."""
    part = window if len(window) <= REPLAYED else window.sample(REPLAYED, random_state=seed)
    limit = SAME_SCORE
    try:
        found = np.asarray(predict(to_table(config.inputs, part)), float)
    except (ValueError, TypeError, KeyError) as error:  # what pipelines raise on rows that they cannot take
        return _plain(
            "logged scores",
            len(part),
            f"the version cannot score the rows of the window: {str(error).splitlines()[0][:200]}",
            True,
            limit,
        )
    logged = score_array(config, part)
    if found.shape != logged.shape or not np.isfinite(found).all():
        return _plain(
            "logged scores",
            len(part),
            "the version gives scores that are NaN or infinite, or not one for each row of the window",
            True,
            limit,
        )
    with np.errstate(invalid="ignore"):
        off = np.abs(found - logged) / np.maximum(1.0, np.abs(found))
    off = np.where(np.isfinite(off), off, np.inf).reshape(len(part), -1).max(axis=1)
    other = int((off > limit).sum())
    sentence = f"the version gives the logged score for {len(part) - other:,} of {len(part):,} logged rows"
    if other:
        worst = float(off.max())
        sentence += (
            f"; others are off by up to {worst:.3g}" if math.isfinite(worst) else "; some logged scores are not finite"
        ) + ": something else than this version answered, or the inputs were changed on the way into the log"
    return Finding(
        kind="expert_rule",
        subject="logged scores",
        value=other / len(part),
        limit=0.0,
        rows=len(part),
        alarm=other > 0,
        sentence=sentence,
    )


def _examined(
    config: ModelConfig, predict: Predict, inputs: pd.DataFrame, reference: pd.DataFrame, seed: int
) -> list[Finding]:
    """An alarm where what answers now does not give the reference the scores with which the version was examined; else
    nothing."""
    found = _replay(config, predict, inputs.assign(**{c: reference[c] for c in score_columns(config)}), seed)
    if found.value == 0:
        return []
    told = (
        "what answers now gives the reference other scores than the version did when it was examined, so rules on "
        "how the score moves are held against the window alone"
    )
    return [found.model_copy(update={"subject": "examined scores", "sentence": told, "alarm": True})]


def _measured(rule: Rule, side: Examination) -> Measurement:
    """The rule as an examination checks it.

    A required driver that carries nothing in these rows is no fault of the file here: it carries 0 %.
    """
    if (
        isinstance(rule, RequiredDriver)
        and rule.column in side.features
        and not unusable(side.attributions, side.attributions, side.features)
    ):
        value, low, high, rows = driver_share([rule.column], side, BOUND)
        if value == 0:
            return Measurement(
                label=claim(rule), value=value, low=low, high=high, limit=rule.share, rows=rows, state="fail"
            )
    return check_rule(rule, side, BOUND)


def _plain(subject: str, rows: int, sentence: str, alarm: bool = False, limit: float | None = None) -> Finding:
    return Finding(
        kind="expert_rule", subject=subject, value=None, limit=limit, rows=rows, alarm=alarm, sentence=sentence
    )


def _finding(
    rule: Rule, found: Measurement, known: Measurement | None, now: Examination, then: Examination, level: float
) -> Finding:
    if found.value is None:
        why = found.why if isinstance(found, Unchecked) else "it cannot be asked of this window"
        return Finding(
            kind="expert_rule",
            subject=claim(rule),
            value=None,
            limit=found.limit,
            rows=found.rows,
            alarm=False,
            sentence=f"{claim(rule)}: not checked ({why})",
        )
    before = None if known is None else known.value
    is_refuted = found.state == "fail" and refuted(rule, found, now, level)
    alarm = is_refuted and worse(rule, found, known, now, then, level)
    there = (
        f", {_number(rule, before)} in the reference"
        if before is not None
        else ", and cannot be asked of the reference"
    )
    told = _verdict(found, is_refuted, alarm, known is not None and known.state == "fail")
    sentence = f"{claim(rule)}: {told}; {_what(rule)} {_number(rule, found.value)}{there}. {rule.because}"
    low, high = (
        (found.low, found.high)
        if found.low is not None and found.high is not None and found.low <= found.value <= found.high
        else (None, None)
    )
    return Finding(
        kind="expert_rule",
        subject=claim(rule),
        value=found.value,
        low=low,
        high=high,
        reference=before,
        limit=found.limit,
        rows=found.rows,
        alarm=alarm,
        sentence=sentence,
    )


def _verdict(found: Measurement, is_refuted: bool, alarm: bool, before: bool) -> str:
    if alarm:
        return "is refuted"
    if found.state == "pass":
        return "holds"
    if found.state == "insufficient_evidence":
        return "seems to hold, and there are too few rows to be sure"
    if is_refuted and before:
        return "is refuted, as it is in the reference: that is for the next examination, not for this window"
    return (
        "is broken, and not surely more than in the reference"
        if is_refuted
        else "is broken, and by no more than chance may do"
    )


def _what(rule: Rule) -> str:
    if isinstance(rule, ROW_RULES):
        return "rows that break it:"
    if isinstance(rule, ForbiddenDriver | RequiredDriver | Proxy):
        return "share of the attribution:"
    return "the case's score:" if rule.between is not None else "the case lies above the other by"


def _number(rule: Rule, value: float | None) -> str:
    return f"{value:.1%}" if value is not None and rule.rule != "vignette" else f"{value:.3f}"


# -- rows -----------------------------------------------------------------------------------------------------------


def _breaks(rule: Rule, now: Examination, window: pd.DataFrame) -> list[RuleBreak]:
    """The looked-at rows that break the rule, the worst first."""
    try:
        found = (
            broken_rows(rule, spoken_of(rule, now))
            .fillna(np.inf)
            .sort_values(ascending=False, kind="stable")
            .head(MOST_BREAKS)
        )
    except RuleFault:
        return []  # the finding tells what is wrong with it
    ids = window["_id"].astype(str) if "_id" in window else pd.Series("", index=window.index)
    return [
        RuleBreak(int(row), ids[row], claim(rule), float(excess))
        for row, excess in zip(found.index, found, strict=True)
    ]
