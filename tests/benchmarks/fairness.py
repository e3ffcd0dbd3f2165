"""Fairness with 1,000 bootstrap replicates against fairlearn with none: ``python -m tests.benchmarks.fairness``.

The same million rows, two protected attributes and their intersections, five rates. Ours counts, and gives difference
and ratio of every rate with an interval; fairlearn's ``MetricFrame`` gives the rates by group, without intervals.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from fairlearn import metrics as fairlearn
from sklearn.metrics import accuracy_score, precision_score

from tasks.science.stats.disparity import disparity_interval
from tasks.science.stats.group_counts import count_groups

ROWS, REPLICATES, REPEATS = 1_000_000, 1000, 5
PEERS = {
    "selection_rate": fairlearn.selection_rate,
    "true_positive_rate": fairlearn.true_positive_rate,
    "false_positive_rate": fairlearn.false_positive_rate,
    "precision": precision_score,
    "accuracy": accuracy_score,
}
LOOKS = (("sex",), ("age",), ("sex", "age"))


def rows() -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(1)
    groups = pd.DataFrame(
        {"sex": rng.choice(["female", "male"], ROWS), "age": rng.choice(["18 to 35", "35 to 55", "55 to 121"], ROWS)}
    )
    label = rng.random(ROWS) < 0.3
    return label, rng.random(ROWS) < 0.1 + 0.5 * label, groups


def ours(label: np.ndarray, decision: np.ndarray, groups: pd.DataFrame) -> dict[str, float]:
    cube, found = count_groups(label, decision, groups), {}
    for look in LOOKS:
        counted = cube.groups(*look)
        for measure in PEERS:
            sample = counted.sample(measure)
            found |= {
                f"{measure} of {name}": value for name, value in zip(counted.names, sample.values[0], strict=True)
            }
            for statistic in ("difference", "ratio"):
                disparity_interval(sample, statistic, 0.95, 1, REPLICATES)
    return found


def theirs(label: np.ndarray, decision: np.ndarray, groups: pd.DataFrame) -> dict[str, float]:
    found = {}
    for look in LOOKS:
        frame = fairlearn.MetricFrame(
            metrics=PEERS, y_true=label, y_pred=decision, sensitive_features=groups[list(look)]
        )
        for measure, column in frame.by_group.items():
            found |= {
                f"{measure} of {' and '.join([name] if isinstance(name, str) else name)}": value
                for name, value in column.items()
            }
    return found


def main() -> None:
    data = rows()
    begun = time.perf_counter()
    expected = theirs(*data)
    peer = time.perf_counter() - begun
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = ours(*data)
        taken.append(time.perf_counter() - begun)
    assert found == expected, "the rates differ"
    mine = float(np.median(taken))
    print(f"{ROWS:,} rows, {' and '.join(data[2].columns)} and their intersections, {len(PEERS)} rates")
    print(f"fairlearn MetricFrame, no bootstrap                  {peer:8.3f} s")
    print(f"ours, {REPLICATES:,} replicates, difference and ratio       {mine:8.3f} s (median of {REPEATS})")
    print(f"fairlearn / ours                                     {peer / mine:8.1f}")


if __name__ == "__main__":
    main()
