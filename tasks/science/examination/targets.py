"""What differs between kinds of targets where a gate looks at labels and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import combine_states, result
from tasks.spec.evidence import GateResult
from tasks.spec.metrics import TargetKind

SUM = 1e-6
"""How far the probabilities of a row's classes may sum from 1."""


def faulty(kind: TargetKind, scores: np.ndarray) -> str:
    """What is wrong with scores of this kind, in a sentence; empty where nothing is.

    Args:
        scores: binary (n,), multiclass (n, k), regression (n,).
    """
    scores = np.asarray(scores)
    if kind == "regression":
        return "" if scores.ndim == 1 and bool(np.isfinite(scores).all()) else "some scores are no finite numbers"
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        return "some scores are no numbers between 0 and 1"
    if kind == "multiclass" and (scores.ndim != 2 or not bool((np.abs(scores.sum(axis=1) - 1) <= SUM).all())):
        return "some rows have scores that are no probabilities of all classes, since they do not sum to 1"
    return ""


def shape(examination: Examination, rows: int) -> tuple[int, ...]:
    """Of the scores of so many rows."""
    return (rows, len(examination.classes)) if examination.kind == "multiclass" else (rows,)


def fewest(examination: Examination, label: np.ndarray) -> tuple[int, str]:
    """Rows of the rarest class among the labels (of numbers, all, or none where they do not vary), and a sentence that says so."""
    if examination.kind == "regression":
        few, told = (len(label) if len(np.unique(label)) > 1 else 0), "there are labels that vary in"
    elif examination.kind == "multiclass":
        few, told = (
            int(np.bincount(label[label >= 0], minlength=len(examination.classes)).min()),
            "the rarest class has",
        )
    else:
        few, told = min(int(label.sum()), int((~label).sum())), "the smaller class has"
    return few, f"{told} {few} of {len(label)} rows"


def of_each_class(
    gate: Callable[[Any, Examination], GateResult], config: Any, examination: Examination, shared_error: bool = False
) -> GateResult:
    """A gate of yes-or-no questions asked of each class against the rest; the whole is as good as its worst class.

    Args:
        shared_error: the classes share the gate's error (Bonferroni), as a search needs that may fail by chance in each
            of them; a gate that each class has to pass needs no correction (an intersection-union test, Berger 1982).
    """
    k = len(examination.classes)
    asked = config.model_copy(update={"confidence": 1 - (1 - config.confidence) / k}) if shared_error else config
    found = {name: gate(asked, examination.against_rest(name)) for name in examination.classes}
    state = combine_states([r.state for r in found.values()])
    told = "; ".join(f"{name} against the rest: {r.reason}" for name, r in found.items() if r.state == state)
    measured = tuple(
        m.model_copy(update={"label": f"{name}: {m.label}"}) for name, r in found.items() for m in r.measurements
    )
    plots = tuple(
        p.model_copy(update={"title": f"{name}: {p.title}"[:300]}) for name, r in found.items() for p in r.plots
    )
    method = next((r.estimator for r in found.values() if r.estimator), "")
    return result(config, state, told, measured, f"{method}; each class against the rest" if method else "", plots[:60])
