"""What an expert knows, held against what the model does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import beta

from tasks.science.examination import Examination
from tasks.spec.evidence import Measurement, State
from tasks.spec.gates import Direction, ForbiddenDriver

SAMPLE = 500
REPLICATES = 500
INDIFFERENT = 1e-9


def check_rule(rule: ForbiddenDriver | Direction, examination: Examination, confidence: float) -> Measurement:
    """One rule; a column that the model does not have as input fails by name."""
    known = list(examination.rows.columns)
    if rule.column not in known:
        label = f"{rule.rule} names {rule.column!r}, which is no input column (allowed: {', '.join(known)})"
        return Measurement(label=label, value=None, rows=0, state="fail")
    if isinstance(rule, ForbiddenDriver):
        return _forbidden(rule, examination, confidence)
    return _direction(rule, examination, confidence)


def _forbidden(rule: ForbiddenDriver, examination: Examination, confidence: float) -> Measurement:
    """Share of the mean absolute attribution, with bounds from a row bootstrap of the explained sample."""
    label = f"{rule.column} may drive at most {rule.share:.0%} of the prediction: {rule.because}"
    size = examination.attributions.abs()
    rows = len(size)
    missing = set(examination.features) - set(size.columns)
    if rows == 0 or missing or not np.isfinite(size.to_numpy()).all():
        return Measurement(label=f"{label} (the attributions are incomplete)", value=None, limit=rule.share, rows=rows, state="insufficient_evidence")
    if rule.column not in size:  # the model does not see the column, so nothing is attributed to it
        return Measurement(label=label, value=0.0, low=0.0, high=0.0, limit=rule.share, rows=rows, state="pass")
    draws = np.random.default_rng(examination.seed).multinomial(rows, np.full(rows, 1 / rows), size=REPLICATES) @ size.to_numpy()
    total = draws.sum(axis=1)
    shares = np.divide(draws[:, size.columns.get_loc(rule.column)], total, out=np.zeros_like(total), where=total > 0)
    whole = float(size.to_numpy().sum())
    value = float(size[rule.column].sum()) / whole if whole > 0 else 0.0
    low, high = np.quantile(shares, [1 - confidence, confidence])
    state: State = "fail" if value > rule.share else "pass" if high <= rule.share else "insufficient_evidence"
    return Measurement(label=label, value=value, low=float(low), high=float(high), limit=rule.share, rows=rows, state=state)


def _direction(rule: Direction, examination: Examination, confidence: float) -> Measurement:
    """Share of sampled rows whose score moves the wrong way when the column alone is raised; Clopper-Pearson bounds."""
    label = f"the score {rule.sign} with {rule.column}: {rule.because}"
    if rule.column not in examination.features:  # nothing would move, and nothing would be shown by that
        text = f"the model does not use {rule.column}, so the rule has nothing to check ({label})"
        return Measurement(label=text, value=None, limit=rule.tolerance, rows=0, state="insufficient_evidence")
    values = pd.to_numeric(examination.rows[rule.column], errors="coerce")
    sample = examination.rows[values.notna()].sample(min(SAMPLE, int(values.notna().sum())), random_state=examination.seed)
    if len(sample) < 30:
        return Measurement(label=label, value=None, limit=rule.tolerance, rows=len(sample), state="insufficient_evidence")
    raised = sample.assign(**{rule.column: sample[rule.column] + _step(values.dropna())})
    moved = examination.predict(raised) - examination.predict(sample)
    if not np.isfinite(moved).all():
        return Measurement(label=f"{label} (the model gives scores that are no numbers)", value=None, limit=rule.tolerance, rows=len(sample), state="fail")
    wrong = int((moved < -INDIFFERENT if rule.sign == "rises" else moved > INDIFFERENT).sum())
    n = len(sample)
    low = float(beta.ppf(1 - confidence, wrong, n - wrong + 1)) if wrong else 0.0
    high = float(beta.ppf(confidence, wrong + 1, n - wrong)) if wrong < n else 1.0
    value = wrong / n
    state: State = "fail" if value > rule.tolerance else "pass" if high <= rule.tolerance else "insufficient_evidence"
    return Measurement(label=label, value=value, low=low, high=high, limit=rule.tolerance, rows=n, state=state)


def _step(values: pd.Series) -> float:
    """A quarter of the interquartile range; of the non-zero values where most are zero."""
    for part in (values, values[values != 0]):
        width = float(part.quantile(0.75) - part.quantile(0.25)) if len(part) else 0.0
        if width > 0:
            return width / 4
    return 1.0
