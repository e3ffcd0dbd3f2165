"""Sources of labels that label like rows differently: the test of the gate ``label-sources``, on a window."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL, SOURCE, label_array
from tasks.science.monitors.performance.realized import labelled_part
from tasks.science.stats.dependence import Dependence, dependence
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import p_value

KIND = "label_sources"
LEAST, MOST = 100, 5000
"""Labelled rows that a source needs to be compared, and rows that a test takes, drawn at random where there are more.

The limit distribution of the test is too far from exact, at levels as small as a window's, with fewer than that."""
SHOWN = 0.975
"""Confidence of each bound that is shown."""


def source_findings(
    config: ModelConfig, window: pd.DataFrame, alpha: float, seed: int, recent: pd.DataFrame | None = None
) -> list[Finding]:
    """Each large source against the others; nothing until ``label_share`` of the window is labelled by two of them.

    Given all inputs, a label must not depend on who gave it: :func:`tasks.science.stats.dependence.dependence`, as the
    gate asks it. The window alone shows a sudden break; with the windows before it, a lasting one. Each gets half of
    ``alpha``, shared among the sources (Bonferroni). With two sources one test says all. It cannot know which is right.

    Args:
        window: (n, columns) raw inputs and labels, and in :data:`SOURCE` who labelled a row, of those who may teach.
        recent: the same of the labelled rows of the windows before.
    """
    judged = labelled_part(window)
    if SOURCE not in window or not len(window) or len(judged) / len(window) < config.monitoring.label_share:
        return []
    inputs = [c.name for c in config.inputs if c.name in judged and judged[c.name].notna().any()]
    counts = judged[SOURCE].value_counts()
    names = sorted(str(name) for name in counts.index[counts >= LEAST])
    if len(names) < 2 or not inputs:
        return []
    asked = names[:1] if len(counts) == 2 else names
    level = alpha / 2 / len(asked)
    longer = None
    if recent is not None and SOURCE in recent and len(recent):
        longer = pd.concat([labelled_part(recent), judged], ignore_index=True)
    return [_finding(config, name, judged, longer, inputs, level, seed) for name in asked]


def _finding(
    config: ModelConfig,
    name: str,
    judged: pd.DataFrame,
    longer: pd.DataFrame | None,
    inputs: list[str],
    level: float,
    seed: int,
) -> Finding:
    seen = _compared(config, name, judged, inputs, seed)
    if seen is None:
        text = f"whether {name} and the others label like rows alike is not measured: nothing varies"
        return Finding(kind=KIND, subject=name, value=None, rows=len(judged), alarm=False, sentence=text)
    alarm, words = seen.p <= level, _words(name, seen)
    before = None if longer is None else _compared(config, name, longer, inputs, seed)
    if before is not None and before.p <= level:
        alarm, words = True, f"{words}; with the windows before it, {_words(name, before)}"
    return Finding(
        kind=KIND,
        subject=name,
        value=seen.value,
        low=seen.low,
        high=seen.high,
        reference=0.0,
        rows=seen.rows,
        alarm=bool(alarm),
        sentence=words,
    )


def _compared(config: ModelConfig, name: str, rows: pd.DataFrame, inputs: list[str], seed: int) -> Dependence | None:
    known = rows[rows[SOURCE].notna()]
    if len(known) > MOST:
        known = known.iloc[np.sort(np.random.default_rng(seed).choice(len(known), MOST, replace=False))]
    mine = (known[SOURCE] == name).to_numpy(bool)
    return dependence(label_array(config, known[LABEL]), mine, known[inputs].reset_index(drop=True), SHOWN, seed)


def _words(name: str, seen: Dependence) -> str:
    return (
        f"labels of {name} are {seen.value:+.2f} ({seen.low:+.2f} to {seen.high:+.2f}) standard deviations off those "
        f"of others on like rows, in {seen.rows:,} different rows ({p_value(seen.p)})"
    )
