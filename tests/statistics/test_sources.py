"""A fast version of what ``tests/statistics/sources.py`` shows, and where a window says nothing of its sources."""

from __future__ import annotations

import numpy as np

from tasks.science.data.tables import SOURCE
from tasks.science.monitors.performance.source_disagreement import LEAST, source_findings
from tests.statistics.outcomes import planted
from tests.statistics.sources import LEVEL, SERVICE, alarms, drawn


def test_sources_that_agree_are_hardly_accused_and_one_that_lies_is() -> None:
    runs = 20
    assert alarms("binary", 500, runs, 3) <= LEVEL + 3.5 * np.sqrt(LEVEL * (1 - LEVEL) / runs)
    assert alarms("binary", 2000, 3, 3, SERVICE, lie=1.0) == 1


def test_nothing_is_said_of_one_source_of_few_rows_or_before_labels_are_in() -> None:
    config, rows = planted("binary"), drawn("binary", 800, np.random.default_rng(1))
    assert len(source_findings(config, rows, LEVEL, 0)) == 1
    assert source_findings(config, rows.drop(columns=SOURCE), LEVEL, 0) == []
    assert source_findings(config, rows.assign(**{SOURCE: "office"}), LEVEL, 0) == []
    few = rows.assign(**{SOURCE: np.where(np.arange(800) < LEAST - 1, "survey", "office")})
    assert source_findings(config, few, LEVEL, 0) == []
    late = drawn("binary", 800, np.random.default_rng(1), late=0.7)
    assert source_findings(config, late, LEVEL, 0) == []
    three = rows.assign(**{SOURCE: np.resize(["a", "b", "c"], 800)})
    assert [f.subject for f in source_findings(config, three, LEVEL, 0)] == ["a", "b", "c"]
    [same] = source_findings(config, rows.assign(_label=1.0), LEVEL, 0)
    assert same.value is None and not same.alarm and "is not measured: nothing varies" in same.sentence
