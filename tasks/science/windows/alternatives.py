"""Would an earlier version do better on the same rows?"""

from __future__ import annotations

import numpy as np

from tasks.science.monitors.performance.confidence_based import estimate
from tasks.science.stats.comparison import paired_difference
from tasks.science.stats.intervals import BOUND
from tasks.science.stats.metrics import METRICS
from tasks.spec.evidence import Alternative
from tasks.spec.metrics import MetricName, TargetKind

JUDGED_BY: dict[TargetKind, MetricName] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "mae"}


def compare_versions(
    kind: TargetKind,
    label: np.ndarray | None,
    current: np.ndarray,
    earlier: np.ndarray,
    version: str,
    threshold: float,
    seed: int,
) -> Alternative | None:
    """Hold an earlier version against the one that serves, by log-loss, or of a regression by the mean absolute error.

    With labels: the paired difference (earlier minus current), better where its upper 97.5 % bound is below 0. Without
    labels, of a binary model: each version's expected log-loss under the other's probabilities. Every proper score
    prefers its own probabilities, so neither can win under both, and the answer is never "better". Of other kinds
    nothing can be said without labels.

    Args:
        label: (n,) as :func:`tasks.science.data.tables.label_array` gives them, or None; current, earlier: scores of
            the same rows.

    Returns:
        None where nothing can be said.
    """
    metric = JUDGED_BY[kind]
    if label is not None:
        compute = METRICS[metric].compute
        found = paired_difference(metric, label, earlier, current, threshold, BOUND, seed)
        values = {
            "current": float(compute(label, current, threshold)),
            "earlier": float(compute(label, earlier, threshold)),
        }
        return Alternative(
            version=version,
            metric=metric,
            **values,
            difference_low=found.low,
            difference_high=found.high,
            rows=len(current),
            better=found.high < 0,
            basis="realized",
        )
    if kind != "binary":
        return None
    own, other = estimate(metric, earlier, current, threshold), estimate(metric, current, earlier, threshold)
    return Alternative(
        version=version,
        metric=metric,
        current=own,
        earlier=other,
        difference_low=min(other - own, 0.0),
        difference_high=max(other - own, 0.0),
        rows=len(current),
        better=False,
        basis="estimated",
    )
