"""Whether the protected groups still come: their rows by group against the reference, whatever the model does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import fisher_exact

from tasks.science.data.protected import group_titles
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import p_value, plural

KIND, NONE = "protected_groups", "no group"


def presence_findings(
    config: ModelConfig, then: pd.DataFrame, now: pd.DataFrame, absent: set[str], alpha: float
) -> list[Finding]:
    """One finding for each protected attribute: its groups and what falls into none, against the reference.

    Fisher's exact test of each group against all other rows, Bonferroni over groups and attributes. An alarm needs a
    significant change, and a Jensen-Shannon distance of at least ``monitoring.drift_distance`` or a declared group that
    has no row any more. Without this, fairness would only
    fall silent, since a column may be protected and matter nothing to the model.

    Args:
        then, now: (m, attributes) and (n, attributes) names of groups, missing where a row is in none.
        absent: protected columns that no row of the window has.
    """
    findings = []
    for attribute, spec in config.protected.items():
        names = [*group_titles(spec), NONE]
        before, after = (
            part[attribute].fillna(NONE).value_counts().reindex(names, fill_value=0).to_numpy() for part in (then, now)
        )
        if not before[:-1].sum() or not after.sum():
            text = f"the groups of {attribute} are not compared, since none has a row on one side"
            findings.append(
                Finding(kind=KIND, subject=attribute, value=None, rows=len(now), alarm=False, sentence=text)
            )
            continue
        found = _compared(attribute, names, before, after, alpha / len(config.protected), config)
        if spec.column in absent and found.alarm:
            text = f"{spec.column} does not come any more, so fairness by {attribute} cannot be watched"
            found = found.model_copy(update={"sentence": text})
        findings.append(found)
    return findings


def _compared(
    attribute: str, names: list[str], before: np.ndarray, after: np.ndarray, alpha: float, config: ModelConfig
) -> Finding:
    p_values = [
        float(fisher_exact([[b, before.sum() - b], [a, after.sum() - a]]).pvalue)
        for b, a in zip(before, after, strict=True)
    ]
    significant = np.array(p_values) * len(names) <= alpha
    gone = [name for name, b, a, odd in zip(names, before, after, significant, strict=True) if b and not a and odd]
    gone = [name for name in gone if name != NONE]
    distance = float(jensenshannon(before, after, base=2))
    shares = [part / part.sum() for part in (before, after)]
    moved = int(np.abs(shares[1] - shares[0]).argmax())
    text = (
        f"{names[moved]} of {attribute} is {shares[1][moved]:.1%} of {plural(int(after.sum()), 'row')}, "
        f"{shares[0][moved]:.1%} in the reference"
    )
    if gone:
        text = f"no row is in {' or '.join(gone)} of {attribute} any more; {text}"
    alarm = bool(gone) or bool(significant.any() and distance >= config.monitoring.drift_distance)
    return Finding(
        kind=KIND,
        subject=attribute,
        value=distance,
        limit=config.monitoring.drift_distance,
        rows=int(after.sum()),
        alarm=alarm,
        sentence=f"{text} ({p_value(min(1.0, len(names) * min(p_values)))}, Jensen-Shannon distance {distance:.3f})",
    )
