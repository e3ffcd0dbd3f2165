"""The monitor of the groups that the model's own view of its inputs forms."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.models.embeddings import embed
from tasks.science.monitors.groupings.clustering import nearest
from tasks.science.monitors.groupings.findings import grouping_findings
from tasks.science.monitors.groupings.reference import GroupReference, fit_groupings, load_groupings
from tasks.science.monitors.protocol import FindingKind, FitInput, Look, Monitor, MonitorResult
from tasks.spec.evidence import Finding

KIND = "grouping"


class GroupingMonitor(Monitor):
    """What happened to the groups of the reference, and whether they still make sense."""

    name = "groups"
    kinds = (FindingKind(KIND, rank=160, share=Fraction(1, 16)),)

    def fit(self, basis: FitInput) -> dict[str, Any]:
        return fit_groupings(basis.config, basis.represent, basis.rows, basis.config.seed).document()

    def load(self, document: dict[str, Any]) -> GroupReference:
        return load_groupings(document)

    def look(self, look: Look) -> MonitorResult:
        groups: GroupReference = look.reference.fitted[self.name]
        window, config = look.window, look.config
        if groups.space is None or look.absent:
            lacking = "the rows of the window lack features of the model, so they cannot be compared with the reference"
            text, rows = groups.reason or lacking, len(window.rows)
            return MonitorResult(
                [Finding(kind=KIND, subject="groups", value=None, rows=rows, alarm=False, sentence=text)]
            )
        placed = embed(window.represent, config, window.rows, groups.space)
        findings, summary, drawn = grouping_findings(
            config, groups, placed, window.rows, look.levels[KIND], config.seed, window.number
        )
        return MonitorResult(findings, map=drawn, groups=summary, group_of_row=_names(groups, placed))


def _names(groups: GroupReference, placed: np.ndarray) -> pd.Series:
    """(n,) name of the group in which each row lies; missing for a row beyond where 99 % of the nearest group are."""
    there = np.isfinite(placed).all(axis=1)
    own, distance = nearest(groups.centres, np.where(there[:, None], placed, 0.0))
    inside = there & (distance[np.arange(len(own)), own] <= groups.radius[own, 2])
    return pd.Series([groups.groups[g].name if ok else None for g, ok in zip(own, inside, strict=True)], dtype=object)


GROUPINGS = GroupingMonitor()
