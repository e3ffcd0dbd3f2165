"""Gates by materiality, with limits that a baseline on training rows suggests; every limit is a guess to be confirmed.

A limit leaves room for what a holdout of its size cannot tell: the bounds have to pass, not the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from tasks.scaffold.baseline import Baseline
from tasks.scaffold.quantities import figure
from tasks.science.data.protected import group_names
from tasks.science.gates.perturbations import touched
from tasks.science.stats.calibration import calibration_error, intercept, mean_calibration, slope
from tasks.science.stats.comparison import Interval, metric_interval
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.metrics import METRICS
from tasks.spec.gate import Materiality
from tasks.spec.gates import DAMAGES, needed_kinds
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.model import Protected
from tasks.spec.training import TrainingConfig

ROOM = 4.0
"""Standard errors of the holdout between what the baseline reaches and the limit: 1.64 for the bound, the rest for
luck."""
MORE_ROOM = 5.5
"""Where three numbers, of every class, have to pass together."""
CONFIDENCE = 0.95
FIGURES = 3
"""Of floors: two would round some of them up to knowing nothing."""
JUDGED = 60
"""Rows that each group of the holdout needs; a fairness gate asks for half as many."""
SCANNED = 8.0
"""Cohen's h between halves of the holdout that the scan for jumps can tell, in standard errors of a half's rate.

Twice the normal quantile after its adjustment for some 40 places and the gate's other checks.
"""
GAP = 0.2
"""Limit of differences between groups; nothing in the data may set it."""


@dataclass(frozen=True)
class GateGuess:
    """One gate, and why its numbers are what they are."""

    document: dict[str, Any]
    why: str
    question: bool = False


class Limits:
    """Limits for one model, from its baseline and the size of its holdout."""

    def __init__(self, config: TrainingConfig, baseline: Baseline, holdout: int, materiality: Materiality) -> None:
        self.config, self.baseline, self.materiality = config, baseline, materiality
        self.kind, self.needed = config.kind, needed_kinds(materiality)
        # rows of one entity tell less than as many rows of others
        self.inflate = math.sqrt(len(baseline.label) / max(holdout, 1)) * math.sqrt(baseline.per_owner)
        self.inflated_error = math.sqrt(baseline.per_owner / max(holdout, 1))
        self.holdout = holdout

    def gates(self, protected: dict[str, Protected]) -> list[GateGuess]:
        """All gates, what the materiality asks for first."""
        found = [
            GateGuess({"name": "data-expectations", "kind": "data"}, ""),
            *self._floors(),
            *self._comparison(),
            *self._fairness(protected),
            GateGuess({"name": "expert-rules", "kind": "rules"}, ""),
            GateGuess({"name": "ready-to-serve", "kind": "readiness"}, ""),
            GateGuess({"name": "transparency", "kind": "transparency"}, ""),
            self._calibration(),
            self._robustness(),
            self._leakage(),
            self._slices(),
            GateGuess({"name": "explanations-stable", "kind": "stability", **self._stable()}, ""),
            GateGuess({"name": "explanations-faithful", "kind": "faithfulness"}, ""),
        ]
        return [self._weighed(gate) for gate in found]

    def _weighed(self, gate: GateGuess) -> GateGuess:
        if gate.document["kind"] in self.needed or "mandatory" in gate.document:
            return gate
        return GateGuess(gate.document | {"mandatory": False}, gate.why, gate.question)

    def _interval(self, metric: str) -> tuple[float, float]:
        """The baseline's value, and the standard error that a holdout of this size gives it."""
        b = self.baseline
        found = metric_interval(metric, b.label, b.score, self.config.threshold, CONFIDENCE, self.config.seed)
        return found.value, self._error(found)

    def _error(self, found: Interval) -> float:
        error = (found.high - found.low) / 2 / normal_quantile(CONFIDENCE) * self.inflate
        return error if math.isfinite(error) else 0.0

    def _leakage(self) -> GateGuess:
        """Mandatory whatever the materiality: in a table that nobody has judged yet, a leak is the likeliest fault."""
        seen = SCANNED * self.inflated_error
        usual = float(LeakageGate.model_fields["label_jump"].default)
        document: dict[str, Any] = {"name": "leakage", "kind": "leakage", "mandatory": True}
        why = "; ".join(self.baseline.jumps)
        if seen > usual:
            document["label_jump"] = min(_up(seen), 3.0)
            small = f"{self.holdout:,} holdout rows show no smaller jump than this; may the label rate jump so far?"
            why = "; ".join(part for part in (why, small) if part)
        return GateGuess(document, why, question=bool(why))

    def _floors(self) -> Iterator[GateGuess]:
        if self.kind == "regression":
            yield self._floor("r2", 0.0)
            yield self._floor("mae", self.baseline.metric("mae", self.config.threshold, trivial=True))
            return
        yield self._floor("roc_auc", 0.5)
        yield self._floor("log_loss", self.baseline.metric("log_loss", self.config.threshold, trivial=True))

    def _floor(self, metric: str, trivial: float) -> GateGuess:
        value, error = self._interval(metric)
        better = METRICS[metric].greater_is_better
        sign = 1 if better else -1
        limit = value - sign * (ROOM * error + 0.1 * abs(value - trivial))
        knows = sign * (limit - trivial) > 0
        limit = _down(limit if knows else trivial + sign * 0.1 * abs(value - trivial), sign, FIGURES)
        why = f"the baseline reaches {figure(value, 3)} on training rows, knowing nothing gives {figure(trivial, 3)}"
        if not knows:
            why += f"; {self.holdout:,} holdout rows hardly tell them apart"
        name = {"roc_auc": "auc", "log_loss": "log-loss", "r2": "r2", "mae": "mae"}[metric]
        document = {"name": f"{name}-floor", "kind": "floor", "metric": metric, "limit": limit}
        if not knows and metric in ("log_loss", "mae"):
            document["mandatory"] = False
        return GateGuess(document, why, not knows)

    def _comparison(self) -> Iterator[GateGuess]:
        if self.kind == "regression":
            metric, margin = "mae", _up(0.03 * self.baseline.metric("mae", self.config.threshold))
        else:
            metric, margin = "log_loss", 0.02
        name = metric.replace("_", "-")
        yield GateGuess(
            {"name": f"{name}-against-champion", "kind": "comparison", "metric": metric, "margin": margin},
            "a later version may be worse by so much",
        )

    def _fairness(self, protected: dict[str, Protected]) -> Iterator[GateGuess]:
        judged = [self._gap(name, spec) for name, spec in protected.items()]
        decidable = any(gate.document.get("mandatory", True) for gate in judged)
        for gate in judged:
            document = {k: v for k, v in gate.document.items() if decidable or k != "mandatory"}
            yield GateGuess(document, gate.why, gate.question)

    def _gap(self, attribute: str, spec: Protected) -> GateGuess:
        b = self.baseline
        groups = group_names(spec, b.rows[spec.column]).to_numpy()
        known = np.array([isinstance(g, str) for g in groups])
        measures = self._measures()
        found = []
        for measure, values, among in measures:
            inside = known & among
            by_group = pd.Series(values[inside]).groupby(groups[inside])
            means, sizes = by_group.mean(), by_group.size()
            spread = by_group.var().fillna(0) / sizes.clip(lower=1) * self.inflate**2
            gap = max((abs(means[a] - means[c]) for a, c in combinations(means.index, 2)), default=math.nan)
            error = math.sqrt(float(spread.nlargest(2).sum()))
            found.append((measure, gap, error, int(sizes.min()) if len(sizes) else 0))
        limit = GAP if self.kind != "regression" else _up(0.25 * b.metric("mae", self.config.threshold))
        told = [f for f in found if 3 * f[2] < limit and f[3] * self.holdout / len(b.label) >= JUDGED]
        measure, gap, error, _ = (told or found)[0]
        document: dict[str, Any] = {
            "name": f"{measure.replace('_', '-')}-by-{attribute.replace('_', '-')}",
            "kind": "fairness",
            "attribute": attribute,
            "measure": measure,
            "statistic": "difference",
            "limit": limit,
        }
        if self.kind == "multiclass":
            document["class_name"] = self.config.classes[0]
        why = f"no data set this limit; the baseline's groups differ by {figure(gap, 2)} on training rows"
        wrong = ""
        if not told:
            wrong = f"give or take {figure(3 * error, 1)}, so the holdout is too small to judge it"
        elif gap + 2 * error >= limit:
            wrong = "which may be too much, so it will hardly pass"
        if wrong:
            document["mandatory"] = False
            why += f", {wrong}; what may the difference be, and what is to be done about it?"
        if known.mean() < 0.96:
            document["missing_share"] = _up(1.2 * (1 - known.mean()) + 0.02)
            why += f"; {1 - known.mean():.0%} of the rows are in no group"
        return GateGuess(document, why, bool(wrong))

    def _measures(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """What can be asked, the most telling first: the measure, its value of every row, and the rows it is of."""
        b = self.baseline
        everyone = np.ones(len(b.label), bool)
        if self.kind == "regression":
            return [("mean_absolute_error", np.abs(b.label - b.score), everyone)]
        if self.kind == "multiclass":
            chosen, positive = b.score.argmax(axis=1) == 0, b.label == 0
        else:
            chosen, positive = b.score >= self.config.threshold, b.label.astype(bool)
        return [
            ("true_positive_rate", chosen.astype(float), positive),
            ("selection_rate", chosen.astype(float), everyone),
        ]

    def _calibration(self) -> GateGuess:
        found = [self._calibrated(label, score) for label, score in self._questions()]
        error = max(max(e.value, 0.0) + MORE_ROOM * self._error(e) for e, _, _ in found)
        low = min(s.value - MORE_ROOM * self._error(s) for _, s, _ in found)
        high = max(s.value + MORE_ROOM * self._error(s) for _, s, _ in found)
        shift = max(abs(i.value) + MORE_ROOM * self._error(i) for _, _, i in found)
        slopes = [max(min(0.8, _down(low, 1)), 0.05), min(max(1.25, _up(high)), 10.0)]
        limits = {"error": min(max(0.05, _up(error)), 0.3), "slope": slopes, "intercept": max(0.2, _up(shift))}
        if not all(math.isfinite(v) for v in (error, low, high, shift)):
            return GateGuess({"name": "calibration", "kind": "calibration"}, "the baseline does not tell", True)
        wide = slopes[0] < 0.5 or error > 0.1
        why = f"{self.holdout:,} holdout rows can tell no more" + (
            "; are such wide limits good enough?" if wide else ""
        )
        return GateGuess({"name": "calibration", "kind": "calibration", **limits}, why, wide)

    def _questions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        b = self.baseline
        if self.kind != "multiclass":
            return [(b.label, b.score)]
        return [(b.label == i, b.score[:, i]) for i in range(b.score.shape[1])]

    def _calibrated(self, label: np.ndarray, score: np.ndarray) -> tuple[Interval, Interval, Interval]:
        seed = self.config.seed
        if self.kind == "regression":
            found = mean_calibration(label, score, float(label.std()), 10, CONFIDENCE, seed)
            return found.error, found.slope, found.intercept
        label = label.astype(bool)
        return (
            calibration_error(label, score, 10, CONFIDENCE, seed),
            slope(label, score, CONFIDENCE),
            intercept(label, score, CONFIDENCE),
        )

    def _robustness(self) -> GateGuess:
        """Of probabilities by AUC: one damaged cell can cost any amount of log-loss."""
        threshold = self.config.threshold
        if self.kind == "regression":
            metric = "mae"
            gain = self.baseline.metric(metric, threshold, trivial=True) - self.baseline.metric(metric, threshold)
        else:
            metric, gain = "roc_auc", self.baseline.metric("roc_auc", threshold) - 0.5
        document: dict[str, Any] = {"name": "robustness", "kind": "robustness", "metric": metric}
        document["limit"] = _up(max(gain / 4, 0.01))
        columns = [self.config.column(name) for name in self.config.features]
        damages = [d for d in DAMAGES if touched(d.kind, columns)]
        if len(damages) < len(DAMAGES):
            found = [{"kind": d.kind, "strength": d.strength} for d in damages]
            document["perturbations"] = found or [{"kind": "swapped", "strength": 0.05}]  # all columns are closed
        return GateGuess(document, "damaged cells may cost a quarter of what the baseline gains over knowing nothing")

    def _slices(self) -> GateGuess:
        metric = "squared_error" if self.kind == "regression" else "log_loss"
        return GateGuess({"name": "slices", "kind": "slices", "metric": metric, "limit": 0.2}, "")

    def _stable(self) -> dict[str, Any]:
        return {"top": min(5, max(1, len(self.config.features) // 2))}


def _rounded(value: float, turn: Callable[[float], float], figures: int = 2) -> float:
    if not value or not math.isfinite(value):
        return value
    places = figures - 1 - math.floor(math.log10(abs(value)))
    step = 10.0**-places
    return round(turn(value / step) * step, max(places, 0))


def _up(value: float) -> float:
    return _rounded(value, math.ceil)


def _down(value: float, sign: int, figures: int = 2) -> float:
    """Towards the lenient side: down where more is better."""
    return _rounded(value, math.floor if sign > 0 else math.ceil, figures)
