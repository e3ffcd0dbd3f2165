"""What Prometheus reads."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tasks.serving.follower import Follower


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
        self.info = Gauge(
            "assay_champion", "1 for the version that serves", ["model", "version"], registry=self.registry
        )
        self.problems = Gauge(
            "assay_release_problem", "1 where a new release could not be loaded", ["model"], registry=self.registry
        )
        self._rows: dict[tuple[str, str, str], Counter] = {}
        self._lock = threading.Lock()

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
        """The text of all metrics; the gauges say what the follower says at this moment."""
        with self._lock:
            self.info.clear()
            self.problems.clear()
            for model, serving in follower.serving.items():
                self.info.labels(model, serving.version).set(1)
            for model in follower.problems:
                self.problems.labels(model).set(1)
            return generate_latest(self.registry)
