"""What Prometheus reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from tasks.serving.follower import Follower

TOGETHER = "PROMETHEUS_MULTIPROC_DIR"
"""The client library's own variable: a folder in which all processes of one service count together."""


class Metrics:
    """A registry of its own, so that two apps in one process do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows = Counter(
            "assay_predictions", "Rows answered", ["model", "version", "decision"], registry=self.registry
        )
        self.seconds = Histogram("assay_predict_seconds", "Time to answer a request", ["model"], registry=self.registry)
        self.refused = Counter("assay_refused", "Requests refused", ["model", "why"], registry=self.registry)
        self.outcomes = Counter("assay_outcomes", "Outcomes received", ["model", "kind"], registry=self.registry)
        self.human = Counter(
            "assay_human", "Overrides, appeals and reviews received", ["model", "what", "kind"], registry=self.registry
        )
        self._rows: dict[tuple[str, str, str], Counter] = {}

    def answered(self, model: str, version: str, decision: bool | str | None) -> None:
        """Count one row."""
        key = (model, version, decision if isinstance(decision, str) else str(decision).lower())
        if (counter := self._rows.get(key)) is None:
            counter = self._rows[key] = self.rows.labels(*key)
        counter.inc()

    def took(self, model: str, seconds: float) -> None:
        """Count one request."""
        self.seconds.labels(model).observe(seconds)

    def render(self, follower: Follower) -> bytes:
        """The text of all metrics; counters of all processes of this service, gauges of what this one follows."""
        counted = self.registry
        if folder := os.environ.get(TOGETHER):
            counted = CollectorRegistry()
            MultiProcessCollector(counted, folder)  # type: ignore[no-untyped-call]
        gauges = CollectorRegistry()
        gauges.register(_Now(follower))
        return generate_latest(counted) + generate_latest(gauges)


class _Now:
    """The gauges, as the follower says at this moment."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("assay_champion", "1 for the version that serves", labels=["model", "version"])
        for model, serving in self.follower.serving.items():
            info.add_metric([model, serving.version], 1)
        yield info
        problems = GaugeMetricFamily(
            "assay_release_problem", "1 where a new release could not be loaded", labels=["model"]
        )
        for model in self.follower.problems:
            problems.add_metric([model], 1)
        yield problems
