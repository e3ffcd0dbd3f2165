"""What differs between kinds of targets where a gate looks at labels and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import combine_states, result
from tasks.science.stats.counts import MINIMUM
from tasks.science.stats.validity import score_fault
from tasks.spec.evidence import GateResult


def wrong_scores(examination: Examination, scores: np.ndarray | None = None, rows: int | None = None) -> str:
    """What is wrong with scores, as :func:`tasks.science.stats.validity.score_fault` says it.

    Args:
        scores: of the examined model; without them, its scores of the holdout.
        rows: that were scored, where that is known.
    """
    found = examination.score if scores is None else scores
    return score_fault(examination.kind, found, len(examination.classes), rows)


def fewest(examination: Examination, label: np.ndarray) -> tuple[int, str]:
    """Rows of the rarest class among the labels, and a sentence that says so.

    Of a regression these are all rows, or none where the labels do not vary.
    """
    if examination.kind == "regression":
        few, text = (len(label) if len(np.unique(label)) > 1 else 0), "there are labels that vary in"
    elif examination.kind == "multiclass":
        few, text = (
            int(np.bincount(label[label >= 0], minlength=len(examination.classes)).min()),
            "the rarest class has",
        )
    else:
        few, text = min(int(label.sum()), int((~label).sum())), "the smaller class has"
    return few, f"{text} {few} of {len(label)} rows"


def few_entities(examination: Examination, mask: np.ndarray, by_class: bool, where: str) -> str:
    """Why the rows are of too few entities to judge by, in words; empty where there are enough, or no entities.

    The variance of sums by entity is itself estimated from that many of them.

    Args:
        mask: (n,) bool, the rows in question.
        by_class: whether each class needs its own.
    """
    if examination.owners is None:
        return ""
    label, owners, found = examination.label[mask], examination.owners[mask], {"": examination.owners[mask]}
    if by_class and examination.kind != "regression":
        names = examination.classes or ("negative", "positive")
        found |= {
            f"of class {name} " if examination.classes else f"{name} ": owners[label == c]
            for c, name in enumerate(names)
        }
    which, few = min(((name, len(np.unique(of))) for name, of in found.items()), key=lambda pair: pair[1])
    if few >= MINIMUM:
        return ""
    rows = len(found[which])
    return (
        f"the {rows:,} {which}rows of {where} are of {few} {examination.entity_name}, and rows of one are not "
        f"independent; at least {MINIMUM} are needed"
    )


def judge_each_class(
    gate: Callable[[Any, Examination], GateResult], config: Any, examination: Examination, shared_error: bool = False
) -> GateResult:
    """Ask a gate on binary targets about each class against the rest; the whole is as good as its worst class.

    Args:
        gate: the gate's function.
        shared_error: the classes share the gate's error (Bonferroni). A search needs it, since it may fail by chance
            in each class. A gate that each class has to pass needs no correction: it is an intersection-union test
            (Berger 1982).
    """
    wrong = wrong_scores(examination)
    if wrong:
        return result(config, "fail", wrong)
    k = len(examination.classes)
    asked = config.model_copy(update={"confidence": 1 - (1 - config.confidence) / k}) if shared_error else config
    found = {name: gate(asked, examination.against_rest(name)) for name in examination.classes}
    state = combine_states([r.state for r in found.values()])
    text = "; ".join(f"{name} against the rest: {r.reason}" for name, r in found.items() if r.state == state)
    measured = tuple(
        m.model_copy(update={"label": f"{name}: {m.label}"}) for name, r in found.items() for m in r.measurements
    )
    plots = tuple(
        p.model_copy(update={"title": f"{name}: {p.title}"[:300]}) for name, r in found.items() for p in r.plots
    )
    method = next((r.estimator for r in found.values() if r.estimator), "")
    return result(config, state, text, measured, f"{method}; each class against the rest" if method else "", plots[:60])
