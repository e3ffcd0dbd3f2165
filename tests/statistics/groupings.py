"""Error rates of the grouping events: how often planted ones are found by name, and unchanged windows accused.

Measure by hand: ``python -m tests.statistics.groupings``.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tasks.science.embeddings import embed
from tasks.science.estimators import build
from tasks.science.groupings import GroupReference, fit_groupings
from tasks.science.groupings_window import grouping_findings
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig

SEED = 20261125
REFERENCE = 6000
CENTRES = np.array([[3.0, 3.0, 3.0], [3.0, -3.0, -3.0], [-3.0, 3.0, -3.0], [-3.0, -3.0, 3.0]])
"""Four of the corners of a cube; the fifth is for a group that is new."""
SHARES = np.array([0.35, 0.3, 0.2, 0.15])
FIFTH = np.array([-3.0, -3.0, -3.0])
FEATURES = ("x1", "x2", "x3", "noise", "kind")
MODELS = ("logistic_regression", "hist_gradient_boosting")
EVENTS = ("new", "merged", "split", "vanished")
REFERENCES = 4
"""Worlds, each with a model and a reference of its own, among which the runs are divided."""


@cache
def config(kind: str, target: str = "binary") -> ModelConfig:
    columns = [{"name": "outcome", "type": "category" if target == "multiclass" else "number", "input": False}]
    columns += [{"name": f, "type": "category" if f == "kind" else "number", "nullable": True} for f in FEATURES]
    targets: dict[str, dict[str, Any]] = {
        "binary": {"expression": "outcome > 0", "positive": "yes", "negative": "no"},
        "multiclass": {"kind": "multiclass", "expression": "outcome", "classes": ["low", "mid", "high"]},
        "regression": {"kind": "regression", "expression": "outcome", "unit": "euro"},
    }
    metric, limit = {"binary": ("roc_auc", 0.6), "multiclass": ("accuracy", 0.4), "regression": ("mae", 5.0)}[target]
    raw = {
        "name": "planted",
        "title": "t",
        "purpose": "p",
        "owner": "o",
        "materiality": "low",
        "seed": 1,
        "data": {
            "source": {"kind": "file", "path": "x.csv", "format": "csv"},
            "columns": columns,
            "target": targets[target],
            "split": {"train": 0.6, "holdout": 0.4, "replay": 0.0},
        },
        "protected": {"kind": {"column": "kind", "groups": {"a": ["a"], "b": ["b"]}}},
        "features": FEATURES,
        "estimator": {"kind": kind, "parameters": {"max_iter": 60, "max_leaf_nodes": 12} if kind == "hist_gradient_boosting" else {}},
        "decision_threshold": 0.5 if target == "binary" else None,
        "gates": [{"name": "floor", "kind": "floor", "metric": metric, "limit": limit}],
    }
    return ModelConfig.model_validate(raw, strict=False)


def rows(n: int, rng: np.random.Generator, event: str = "") -> pd.DataFrame:
    """Four groups in three numbers, beside noise and a category that leans on the group, with what was planted.

    new: 6 % of the rows in a fifth place. merged: the second and third group meet midway. split: the first group
    leaves its middle. vanished: the third has no rows.
    """
    shares, centres = SHARES, CENTRES
    if event == "new":
        shares, centres = np.append(0.94 * SHARES, 0.06), np.vstack([CENTRES, FIFTH])
    if event == "vanished":
        shares = np.array([0.35, 0.3, 0.0, 0.15]) / 0.8
    group = rng.choice(len(shares), n, p=shares)
    place = centres[group].copy()
    if event == "merged":
        place[np.isin(group, (1, 2))] = CENTRES[1:3].mean(axis=0)
    x = place + rng.normal(size=(n, 3))
    if event == "split":
        first = group == 0
        x[first, 0] += 1.5 * np.sign(x[first, 0] - CENTRES[0, 0])
    frame = pd.DataFrame(x, columns=["x1", "x2", "x3"])
    frame["noise"] = rng.normal(size=n)
    frame["kind"] = np.where(rng.random(n) < 0.3 + 0.4 * (group % 2), "a", "b")
    odds = np.array([1.0, -1.0, 0.0, -2.0, 0.5])[group] + 0.5 * (x - place) @ np.array([1.0, 0.7, 0.5]) + 0.3 * frame["noise"].to_numpy()
    frame["_label"] = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)
    return frame


def scored(c: ModelConfig, pipeline: Pipeline, frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(_score=pipeline.predict_proba(frame[list(c.features)])[:, 1])


@cache
def world(kind: str, seed: int) -> tuple[Pipeline, GroupReference]:
    rng, c = np.random.default_rng(seed), config(kind)
    train = rows(4000, rng)
    pipeline = build(c).fit(train[list(c.features)], train["_label"] > 0.5)
    return pipeline, fit_groupings(c, pipeline, scored(c, pipeline, rows(REFERENCE, rng)), seed)


def group_at(c: ModelConfig, pipeline: Pipeline, reference: GroupReference, planted: int) -> str:
    """The name of the reference's group in which the rows of a planted one are."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(CENTRES[planted] + 0.5 * rng.normal(size=(40, 3)), columns=["x1", "x2", "x3"]).assign(noise=0.0, kind="a")
    assert reference.space is not None
    found = embed(pipeline, c, frame, reference.space)
    own = ((found[:, None] - reference.centres) ** 2).sum(axis=2).argmin(axis=1)
    return reference.groups[int(np.bincount(own).argmax())].name


def named(event: str, findings: list[Finding], c: ModelConfig, pipeline: Pipeline, reference: GroupReference) -> bool:
    """Whether the planted event is among the alarms, by the right name."""
    alarms = [f for f in findings if f.alarm]
    if event == "new":
        return any(f.subject.startswith("new group ") for f in alarms)
    if event == "merged":
        pair = " and ".join(sorted(group_at(c, pipeline, reference, j) for j in (1, 2)))
        return any(f.subject == f"groups {pair}" and "have merged" in f.sentence for f in alarms)
    name, word = (group_at(c, pipeline, reference, 0), "has split") if event == "split" else (group_at(c, pipeline, reference, 2), "has vanished")
    return any(f.subject == f"group {name}" and word in f.sentence for f in alarms)


def is_event(f: Finding) -> bool:
    return f.alarm and f.subject.startswith(("new group ", "group ", "groups "))


def play(kind: str, event: str, n: int, runs: int, alpha: float, seed: int) -> Counter[str]:
    """How many of so many windows found the planted event by name (``found``), any event, and any alarm."""
    c, seen, rng = config(kind), Counter[str](), np.random.default_rng(seed)
    for i in range(runs):
        pipeline, reference = world(kind, SEED + i % REFERENCES)
        assert reference.space is not None, reference.reason
        window = scored(c, pipeline, rows(n, rng, event))
        findings, _, _ = grouping_findings(c, reference, embed(pipeline, c, window, reference.space), window, alpha, int(rng.integers(2**31)))
        seen["found"] += bool(event) and named(event, findings, c, pipeline, reference)
        seen["any event"] += any(is_event(f) for f in findings)
        seen["any alarm"] += any(f.alarm for f in findings)
        seen.update({"alarm: " + f.subject for f in findings if f.alarm})
    return seen
