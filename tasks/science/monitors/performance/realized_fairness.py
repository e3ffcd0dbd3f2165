"""Fairness of the labelled rows: the numbers that the gates judge, held to the gates' limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import LABEL, label_array, score_array
from tasks.science.monitors.performance.groups import MEASURES
from tasks.science.monitors.performance.realized import labelled_part
from tasks.science.stats.disparity import Sample, disparity, disparity_interval, group_intervals, limit_p_value
from tasks.science.stats.group_counts import AMONG, Groups, count_errors, count_groups
from tasks.science.stats.group_counts import MEASURES as PARTS
from tasks.spec.evidence import Finding
from tasks.spec.gates import FairnessGate
from tasks.spec.model import ModelConfig

KIND = "realized_fairness"
LEAST = 30
"""Rows that a group needs where no gate says another number: positives for true-positive rates, and so on."""
SHOWN = 0.95
"""Confidence of the intervals that are shown, each simultaneous over its groups."""
LEFT_OUT = "not judged"
"""In the sentence of a finding that says nothing of some group."""
ERRORS = ("mean_error", "mean_absolute_error")


@dataclass(frozen=True)
class FairnessLook:
    """One disparity that is looked at."""

    among: tuple[str, ...]
    measure: str
    statistic: str
    limit: float | None
    class_name: str | None = None
    minimum: int = LEAST

    @property
    def subject(self) -> str:
        """As the estimate of the same is called."""
        of = f" of {self.class_name}" if self.class_name is not None else ""
        return f"{self.measure} {self.statistic}{of} by {' and '.join(self.among)}"


def fairness_looks(config: ModelConfig) -> list[FairnessLook]:
    """What the gates ask with their limits; and of a binary model the rates of each protected attribute, which have no
    limit where no gate names one."""
    asked = [
        look
        for gate in config.gates
        if isinstance(gate, FairnessGate) and gate.measure in gate.takes[config.kind]
        if (gate.class_name in config.classes) == (config.kind == "multiclass")
        for look in [
            FairnessLook(gate.among, gate.measure, gate.statistic, gate.limit, gate.class_name, gate.minimum_rows)
        ]
    ]
    looks: dict[str, FairnessLook] = {}
    for look in sorted(asked, key=lambda each: (each.limit or 0) * (1 if each.statistic == "difference" else -1)):
        looks.setdefault(look.subject, look)  # of several gates the strictest
    for attribute in config.protected if config.kind == "binary" else ():
        for measure in MEASURES:
            shown = FairnessLook((attribute,), measure, "difference", None)
            looks.setdefault(shown.subject, shown)
    return list(looks.values())


def realized_fairness(
    config: ModelConfig, window: pd.DataFrame, alpha: float, seed: int, recent: pd.DataFrame | None = None
) -> list[Finding]:
    """Disparities of the labelled rows; none until ``label_share`` of the window is labelled.

    An alarm needs a disparity beyond its gate's limit that refutes the limit itself
    (:func:`tasks.science.stats.disparity.limit_p_value`). The window alone shows a sudden break; together with the
    windows before it, it shows a lasting one of which each has few rows. Each gets half of the share of ``alpha`` that
    each limit has (Bonferroni). So a version just within its limits raises no more alarms in a window than ``alpha``
    says. A group under the gate's minimum of rows is named and left out. Rows are taken as independent.

    Args:
        window: (n, columns) scored rows with all protected columns.
        recent: (r, columns) scored, labelled rows of the same version's windows before.
    """
    judged = labelled_part(window)
    if not len(window) or len(judged) / len(window) < config.monitoring.label_share:
        return []
    if not np.isfinite(score_array(config, judged)).all() or _of_no_class(config, judged):
        return []  # the metrics say that no score may be missing, and no label of no class
    looks, findings = fairness_looks(config), []
    level = alpha / max(1, sum(look.limit is not None for look in looks)) / 2
    longer = None if recent is None or recent.empty else pd.concat([recent, judged], ignore_index=True)
    known = longer is not None and np.isfinite(score_array(config, longer)).all() and not _of_no_class(config, longer)
    groups = protected_groups(config, judged)
    all_groups = groups if longer is None else protected_groups(config, longer)
    for look in looks:
        found = _finding(look, _counted(config, look, judged, groups), level, seed)
        if longer is not None and known and look.limit is not None:
            said = _lasting(look, _counted(config, look, longer, all_groups), level, seed)
            text = {"alarm": True, "sentence": f"{found.sentence}; {said}"} if said else {}
            found = found.model_copy(update=text)
        findings.append(found)
    return findings


def _of_no_class(config: ModelConfig, rows: pd.DataFrame) -> bool:
    return config.kind == "multiclass" and bool((label_array(config, rows[LABEL]) < 0).any())


def _lasting(look: FairnessLook, found: Groups, level: float, seed: int) -> str:
    """What the windows together show that is surely beyond the limit, in words; empty where it is not."""
    judged = found.select(_large(look, found))
    if len(judged.names) < 2:
        return ""
    sample = judged.sample(look.measure)
    value = float(disparity(sample.values, look.statistic))
    if not np.isfinite(value) or not _surely_beyond(look, sample, value, level, seed):
        return ""
    return f"with the windows before it, {value:.3f} on {int(judged.rows.sum()):,} labelled rows"


def _large(look: FairnessLook, found: Groups) -> np.ndarray:
    """(g,) which groups have the rows to be judged."""
    return np.asarray(found.sample(look.measure).rows.min(axis=0) >= look.minimum if found.names else np.empty(0, bool))


def _surely_beyond(look: FairnessLook, sample: Sample, value: float, level: float, seed: int) -> bool:
    if look.limit is None or not (value > look.limit if look.statistic == "difference" else value < look.limit):
        return False
    if sample.spread is not None and not bool(np.all(sample.spread > 0)):
        return False
    return limit_p_value(sample, look.statistic, look.limit, seed, level) <= level


def _counted(config: ModelConfig, look: FairnessLook, rows: pd.DataFrame, groups: pd.DataFrame) -> Groups:
    label, score, wanted = label_array(config, rows[LABEL]), score_array(config, rows), groups[list(look.among)]
    if look.measure in ERRORS:
        return count_errors(label, score, wanted, look.measure == "mean_absolute_error").groups(*look.among)
    if config.kind == "multiclass":
        code = config.classes.index(str(look.class_name))
        label, decision, score = label == code, score.argmax(axis=1) == code, score[:, code]
    else:
        label, decision = label.astype(bool), score >= config.threshold
    scored = score if look.measure == "calibration" else None
    return count_groups(label, decision, wanted, scored).groups(*look.among)


def _finding(look: FairnessLook, found: Groups, level: float, seed: int) -> Finding:
    large = _large(look, found)
    judged, small = found.select(large), [name for name, n in zip(found.names, large, strict=True) if not n]
    aside = f"; {LEFT_OUT}, with under {look.minimum} {_among(look)}: {', '.join(small)}" if small else ""
    counted = int(found.rows.sum()) if found.names else 0
    if len(judged.names) < 2:
        return _unknown(look, counted, f"there are not two groups to compare{aside}")
    sample = judged.sample(look.measure)
    value = float(disparity(sample.values, look.statistic))
    if not np.isfinite(value) or (sample.spread is not None and not bool(np.all(sample.spread > 0))):
        return _unknown(look, counted, f"the measure has no value, or does not vary within a group{aside}")
    low = high = None
    beyond, asked, reach = False, "", ""
    if look.limit is not None:  # resampling costs, so what nobody judges has the groups' own intervals alone
        low, high = disparity_interval(sample, look.statistic, SHOWN, seed)
        beyond = _surely_beyond(look, sample, value, level, seed)
        reach = f" ({low:.3f} to {high:.3f})"
        asked = f"; {'at most' if look.statistic == 'difference' else 'at least'} {look.limit:g} is asked"
    measures = PARTS[look.measure]
    ends = group_intervals(sample, SHOWN)
    each = "; ".join(
        (f"{measure.replace('_', ' ')} " if len(measures) > 1 else "")
        + ", ".join(
            f"{name} {sample.values[m, g]:.3f} ({ends[0][m, g]:.3f} to {ends[1][m, g]:.3f}, "
            f"{int(sample.rows[m, g]):,} {AMONG.get(measure, 'rows')})"
            for g, name in enumerate(judged.names)
        )
        for m, measure in enumerate(measures)
    )
    text = f"{look.subject} is {value:.3f}{reach} by labels{asked}: {each}{aside}"
    return Finding(
        kind=KIND,
        subject=look.subject,
        value=value,
        low=low,
        high=high,
        limit=look.limit,
        rows=int(judged.rows.sum()),
        alarm=beyond,
        sentence=text,
    )


def _among(look: FairnessLook) -> str:
    return AMONG.get(look.measure, "positives or negatives" if look.measure == "equalized_odds" else "rows")


def _unknown(look: FairnessLook, rows: int, why: str) -> Finding:
    text = f"{look.subject} is not measured by labels: {why}"
    return Finding(kind=KIND, subject=look.subject, value=None, rows=rows, alarm=False, sentence=text)
