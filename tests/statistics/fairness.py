"""What the fairness intervals and the fairness gate do, by simulation: ``python -m tests.statistics.fairness``."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.examination.examination import Examination
from tasks.science.gates.fairness import fairness
from tasks.science.stats.disparity import disparity, disparity_interval
from tasks.science.stats.group_counts import Groups
from tasks.spec.evidence import GateResult
from tasks.spec.gates import FairnessGate
from tests.statistics.studies import Study

SEED = 20261125
RUNS = 400
PROCESSES = 2


@dataclass(frozen=True)
class Case:
    """Groups by share of rows, P(label), and P(selected) by group among positives and negatives."""

    name: str
    measure: str
    shares: tuple[float, ...]
    positives: float
    among_positives: tuple[float, ...]
    among_negatives: tuple[float, ...]

    def truth(self, statistic: str) -> float:
        tpr, fpr = np.array(self.among_positives), np.array(self.among_negatives)
        rates = {
            "true_positive_rate": [tpr],
            "equalized_odds": [tpr, fpr],
            "selection_rate": [self.positives * tpr + (1 - self.positives) * fpr],
        }
        return float(disparity(np.array(rates[self.measure]), statistic))

    def draw(self, rows: int, rng: np.random.Generator) -> Groups:
        """Counts of ``rows`` rows."""
        p, tpr, fpr = self.positives, np.array(self.among_positives), np.array(self.among_negatives)
        shares = np.array([(1 - p) * (1 - fpr), (1 - p) * fpr, p * (1 - tpr), p * tpr]) * np.array(self.shares)
        counts = rng.multinomial(rows, shares.ravel()).reshape(4, -1).T.astype(float)
        nothing = np.zeros(len(counts))
        return Groups(tuple(map(str, range(len(counts)))), counts, nothing, nothing, 0)


TWO, THREE, SIX = (0.6, 0.4), (0.5, 0.3, 0.2), (0.25, 0.25, 0.15, 0.15, 0.1, 0.1)
CASES = (
    Case("selection rate, 2 groups, parity", "selection_rate", TWO, 0.4, (0.5, 0.5), (0.2, 0.2)),
    Case("selection rate, 2 groups, apart", "selection_rate", TWO, 0.4, (0.5, 0.7), (0.2, 0.3)),
    Case("selection rate, 3 groups, parity", "selection_rate", THREE, 0.4, (0.5,) * 3, (0.2,) * 3),
    Case("selection rate, 3 groups, one apart", "selection_rate", THREE, 0.4, (0.5, 0.5, 0.75), (0.2, 0.2, 0.35)),
    Case("true-positive rate, 2 groups, parity", "true_positive_rate", TWO, 0.4, (0.7, 0.7), (0.2, 0.2)),
    Case("true-positive rate, 3 groups, one apart", "true_positive_rate", THREE, 0.4, (0.7, 0.7, 0.5), (0.2, 0.2, 0.2)),
    Case("equalized odds, 2 groups, parity", "equalized_odds", TWO, 0.4, (0.7, 0.7), (0.2, 0.2)),
    Case("equalized odds, 2 groups, both apart", "equalized_odds", TWO, 0.4, (0.7, 0.55), (0.2, 0.3)),
    Case("equalized odds, 3 groups, one apart", "equalized_odds", THREE, 0.4, (0.7, 0.7, 0.5), (0.2, 0.2, 0.2)),
    Case("selection rate, 6 intersections, parity", "selection_rate", SIX, 0.4, (0.5,) * 6, (0.2,) * 6),
    Case(
        "selection rate, 6 intersections, one apart",
        "selection_rate",
        SIX,
        0.4,
        (0.5,) * 5 + (0.8,),
        (0.2,) * 5 + (0.4,),
    ),
    Case("equalized odds, 6 intersections, parity", "equalized_odds", SIX, 0.4, (0.6,) * 6, (0.3,) * 6),
    Case("equalized odds, 6 intersections, one apart", "equalized_odds", SIX, 0.4, (0.6,) * 5 + (0.3,), (0.3,) * 6),
)


def coverage(
    case: Case, statistic: str, rows: int, runs: int, seed: int, replicates: int = 1000
) -> list[dict[str, Any]]:
    """How often the two-sided 95 % interval holds the truth; every run must hold its own estimate."""
    rng, truth, above, below = np.random.default_rng(seed), case.truth(statistic), 0, 0
    for _ in range(runs):
        sample = case.draw(rows, rng).sample(case.measure)
        low, high = disparity_interval(sample, statistic, 0.95, int(rng.integers(2**31)), replicates)
        assert low <= disparity(sample.values, statistic) <= high
        above += low > truth + 1e-9
        below += high < truth - 1e-9
    return [
        _row(
            f"coverage: {statistic}, {case.name}",
            rows,
            runs - above - below,
            runs,
            "93 to 97 %",
            truth_below=above / runs,
            truth_above=below / runs,
        )
    ]


def planted(
    measure: str, bias: float, size: int, runs: int, seed: int, rows: int = 5000, limit: float = 0.1
) -> list[dict[str, Any]]:
    """Six intersections of two attributes, one of ``size`` rows treated differently by ``bias``; the gate asks for at
    most ``limit``.

    *fails*: the gate says so; *does not pass*: it fails or asks for more evidence.
    """
    rng, gate = (
        np.random.default_rng(seed),
        FairnessGate.model_validate(
            {
                "name": "fair",
                "kind": "fairness",
                "attributes": ("sex", "age"),
                "measure": measure,
                "statistic": "difference",
                "limit": limit,
            }
        ),
    )
    states = [_judge(gate, bias, size, rows, rng).state for _ in range(runs)]
    name, should = (
        f"{measure}, {size} rows of {rows:,} apart by {bias:g}, limit {limit:g}",
        "at least 90 %" if bias else "at most 5 %",
    )
    failed, passed = states.count("fail"), states.count("pass")
    return [
        _row(f"fails: {name}", rows, failed, runs, should),
        _row(f"does not pass: {name}", rows, runs - passed, runs, "at least 90 %" if bias else ""),
    ]


def _judge(gate: FairnessGate, bias: float, size: int, rows: int, rng: np.random.Generator) -> GateResult:
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], rows), "age": rng.choice(["middle", "young"], rows)})
    groups.loc[: 2 * size - 1, "age"], groups.loc[: size - 1, "sex"], groups.loc[size : 2 * size - 1, "sex"] = (
        "old",
        "f",
        "m",
    )
    label = rng.random(rows) < 0.5
    decision = rng.random(rows) < np.where(label, 0.6, 0.3) - bias * (np.arange(rows) < size)
    label_free = np.where(decision, 0.9, 0.1)
    none: Any = None
    return fairness(
        gate,
        Examination(
            groups,
            label,
            label_free,
            None,
            np.full(rows, "holdout"),
            groups,
            pd.DataFrame(),
            none,
            (),
            0.5,
            int(rng.integers(2**31)),
            None,
            None,
        ),
    )


def _row(case: str, rows: int, happened: int, runs: int, should: str, **more: float) -> dict[str, Any]:
    rate = happened / runs
    return {
        "case": case,
        "rows": rows,
        "should": should,
        "was": rate,
        "error": float(np.sqrt(rate * (1 - rate) / runs)),
        "runs": runs,
        **more,
    }


PLANTED = tuple(
    (measure, bias, size)
    for measure in ("selection_rate", "equalized_odds")
    for bias, size in ((0.0, 100), (0.2, 100), (0.25, 100), (0.2, 200), (0.0, 400))
)


def rows(runs: int = RUNS) -> list[dict[str, Any]]:
    """One row for every case: ``case``, ``rows``, ``should``, ``was`` (a share), its standard ``error``, ``runs``."""
    with ProcessPoolExecutor(PROCESSES) as pool:
        covered = [
            pool.submit(coverage, case, statistic, n, runs, SEED + i)
            for i, case in enumerate(CASES)
            for statistic in ("difference", "ratio")
            for n in (500, 5000)
        ]
        found = [pool.submit(planted, *case, runs, SEED + i) for i, case in enumerate(PLANTED)]
        return [row for future in covered + found for row in future.result()]


STUDIES = (
    Study(
        "The fairness gate",
        "Two-sided 95 % intervals, simultaneous over groups and measures; then planted intersections and unbiased "
        "data through the whole gate.",
        rows,
    ),
)
