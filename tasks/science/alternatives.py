"""Would an earlier version do better on the same rows?"""

from __future__ import annotations

import numpy as np

from tasks.science.comparison import paired_difference, row_losses
from tasks.spec.evidence import Alternative


def compare_versions(
    label: np.ndarray | None, current: np.ndarray, earlier: np.ndarray, version: str, threshold: float, seed: int
) -> Alternative:
    """Would an earlier version do better on these rows?

    With labels: paired difference of log-loss (earlier minus current), better where its upper 97.5 % bound is below 0.
    Without: each version's expected log-loss under the other's probabilities; every proper score prefers its own
    probabilities, so neither can win under both, and the answer without labels is never "better".

    Args:
        label: (n,) bool or None; current, earlier: (n,) scores of the same rows.
    """
    if label is not None:
        found = paired_difference("log_loss", label, earlier, current, threshold, 0.975, seed)
        losses = [row_losses("log_loss", label, s, threshold) for s in (current, earlier)]
        means = [float(np.mean(part)) for part in losses if part is not None]
        return Alternative(
            version=version, metric="log_loss", current=means[0], earlier=means[1], difference_low=found.low, difference_high=found.high, rows=len(current), better=found.high < 0, basis="realized"
        )
    from tasks.science.estimation import estimate

    own, other = estimate("log_loss", earlier, current, threshold), estimate("log_loss", current, earlier, threshold)
    return Alternative(
        version=version, metric="log_loss", current=own, earlier=other, difference_low=min(other - own, 0.0), difference_high=max(other - own, 0.0), rows=len(current), better=False, basis="estimated"
    )
