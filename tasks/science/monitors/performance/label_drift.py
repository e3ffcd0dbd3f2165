"""Outcomes against those of the reference: their rate, their classes, or the distribution of their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import fisher_exact, ks_2samp

from tasks.science.data.tables import LABEL, label_array
from tasks.science.monitors.performance.realized import labelled_part
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig
from tasks.spec.wording import p_value

BINS = 10
"""Parts of equal size into which the reference's numbers are cut, for the distance between two distributions."""
KIND = "label_drift"


@dataclass(frozen=True)
class LabelChange:
    """How far the outcomes of a window are from the reference's."""

    p_value: float
    """Of "both are drawn from one distribution"."""
    distance: float
    """Jensen-Shannon distance, from 0 to 1."""
    value: float
    """The share of the class that moved most, or the mean of numbers, in the window."""
    reference: float
    words: str
    """What moved, from where to where."""


def label_findings(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, alpha: float) -> list[Finding]:
    """Whether outcomes are others than in the reference; none until ``label_share`` of the window is labelled.

    An alarm needs a change that is significant at ``alpha``, and a Jensen-Shannon distance of at least
    ``monitoring.drift_distance``. It says that people differ, or that the outcomes are wrong, and not which.
    """
    judged, known = labelled_part(window), labelled_part(reference)
    if not len(window) or len(judged) / len(window) < config.monitoring.label_share:
        return []
    change = label_change(config, known, judged)
    subject = "mean outcome" if config.kind == "regression" else "outcomes"
    if change is None:
        text = (
            f"outcomes are not compared: {len(judged):,} labelled rows in the window, {len(known):,} in the reference"
        )
        return [Finding(kind=KIND, subject=subject, value=None, rows=len(judged), alarm=False, sentence=text)]
    return [
        Finding(
            kind=KIND,
            subject=subject,
            value=change.value,
            reference=change.reference,
            rows=len(judged),
            alarm=change.p_value <= alpha and change.distance >= config.monitoring.drift_distance,
            sentence=f"{change.words} ({p_value(change.p_value)}, Jensen-Shannon distance {change.distance:.3f})",
        )
    ]


def label_change(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame) -> LabelChange | None:
    """Compare the outcomes of labelled rows; None where either side has fewer than two.

    Classes: Fisher's exact test (1922) of each against the others, Bonferroni over them. Numbers: the two-sample test
    of Kolmogorov and Smirnov, which is conservative where values tie. Rows are taken as independent.

    Args:
        reference, window: labelled rows.
    """
    if min(len(reference), len(window)) < 2:
        return None
    then, now = label_array(config, reference[LABEL]), label_array(config, window[LABEL])
    if config.kind == "regression":
        return _of_numbers(then, now)
    return _of_classes(config.class_names, then.astype(np.intp), now.astype(np.intp))


def _of_numbers(then: np.ndarray, now: np.ndarray) -> LabelChange:
    edges = np.unique(np.quantile(then, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = [np.bincount(np.searchsorted(edges, part, side="right"), minlength=len(edges) + 1) for part in (then, now)]
    middle = [float(part.mean()) for part in (then, now)]
    words = f"outcomes are {middle[1]:.4g} on average in {len(now):,} labelled rows, {middle[0]:.4g} in the reference"
    return LabelChange(float(ks_2samp(then, now).pvalue), _distance(*shares), middle[1], middle[0], words)


def _of_classes(names: tuple[str, ...], then: np.ndarray, now: np.ndarray) -> LabelChange:
    """Codes below 0 are of no class; they count as one that the reference never has."""
    counts = [np.bincount(np.where(part < 0, len(names), part), minlength=len(names) + 1) for part in (then, now)]
    asked = range(1, 2) if len(names) == 2 and not counts[1][2] else range(len(names) + 1)
    values = [
        float(fisher_exact([[before[c], before.sum() - before[c]], [after[c], after.sum() - after[c]]]).pvalue)
        for before, after in [counts]
        for c in asked
    ]
    shares = [part / part.sum() for part in counts]
    moved = 1 if len(asked) == 1 else int(np.abs(shares[1] - shares[0]).argmax())
    name = [*names, "no class that the config names"][moved]
    words = (
        f"outcomes are {name!r} in {shares[1][moved]:.1%} of {len(now):,} labelled rows, {shares[0][moved]:.1%} in the "
        "reference"
    )
    return LabelChange(
        min(1.0, len(values) * min(values)), _distance(*counts), float(shares[1][moved]), float(shares[0][moved]), words
    )


def _distance(then: np.ndarray, now: np.ndarray) -> float:
    """Jensen-Shannon distance in base 2 (Endres & Schindelin 2003) of two counts."""
    return float(jensenshannon(then, now, base=2))
