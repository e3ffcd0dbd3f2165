"""What a model is: the schema of ``deployments/models/<name>/model.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.gate import Materiality
from tasks.spec.gates import GateConfig
from tasks.spec.metrics import METRIC_NAMES, MetricName
from tasks.spec.models import Name
from tasks.spec.training import TrainingConfig, check_inputs, read_config
from tasks.spec.watching import Monitoring

BENCHMARKS = ("holdout", "newest", "all")
"""What every model has: the base holdout, the rows that came last, and all rows."""


class Protected(Spec):
    """How rows fall into the groups of one protected attribute."""

    column: str
    groups: dict[str, tuple[str | int, ...]] | None = None
    edges: tuple[float, ...] | None = None
    """Ascending edges of half-open bands [a, b)."""
    names: tuple[str, ...] | None = None
    """Names of the bands; without them a band is called by its edges."""

    @model_validator(mode="after")
    def _one(self) -> Protected:
        if (self.groups is None) == (self.edges is None):
            raise ValueError("give either groups (name: values) or edges (ascending numbers)")
        if self.edges is not None and (len(self.edges) < 3 or list(self.edges) != sorted(set(self.edges))):
            raise ValueError("edges must be three or more ascending numbers")
        if self.names is not None and (self.edges is None or len(set(self.names)) != len(self.edges) - 1):
            raise ValueError("names go with edges, each other than the rest, and are one fewer than they")
        return self


class Benchmark(Spec):
    """A named set of base holdout rows that every version must answer."""

    rows: str
    """A pandas expression over input columns."""
    sha256: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the rows and their labels; once pinned, a gate on any other content fails."""


class ModelConfig(TrainingConfig):
    """All of ``model.yaml``: what makes the model, what describes it, what judges it, and how it is watched."""

    purpose: str
    """What it is for, and what it must not be used for."""
    owner: str
    """Whom to ask."""
    materiality: Materiality
    """How much depends on it; it says which kinds of gates are mandatory."""
    protected: dict[Name, Protected]
    benchmarks: dict[Name, Benchmark] = {}
    gates: Annotated[tuple[GateConfig, ...], Field(min_length=1)]
    monitoring: Monitoring = Monitoring()

    @model_validator(mode="after")
    def _check_gates(self) -> ModelConfig:
        check_inputs("protected", [p.column for p in self.protected.values()], self)
        for gate in self.gates:
            for attribute in (
                getattr(gate, "attribute", None),
                getattr(gate, "by", None),
                *getattr(gate, "attributes", ()),
            ):
                if attribute is not None and attribute not in self.protected:
                    raise ValueError(f"gate {gate.name} names {attribute!r}; allowed: {', '.join(self.protected)}")
        allowed = (*BENCHMARKS, *self.benchmarks)
        for gate in self.gates:
            if getattr(gate, "benchmark", "all") not in allowed:
                raise ValueError(
                    f"gate {gate.name} names the benchmark {getattr(gate, 'benchmark', None)!r}; allowed: "
                    f"{', '.join(allowed)}"
                )
        if not any(g.kind == "floor" and g.mandatory for g in self.gates):
            raise ValueError(
                "gates has no mandatory floor, and a first release has no champion to be compared with; add one of "
                "kind floor"
            )
        self._check_kind()
        titles = [g.name for g in self.gates]
        if len(set(titles)) < len(titles):
            raise ValueError(f"two gates share a name; give each its own: {', '.join(titles)}")
        return self

    def _check_kind(self) -> None:
        kind = self.kind
        for gate in self.gates:
            if wrong := gate.problem(kind, self.classes):
                raise ValueError(wrong)
        for where in ("metrics", "metric_limits"):
            for metric in getattr(self.monitoring, where):
                if metric not in METRIC_NAMES[kind]:
                    allowed = ", ".join(METRIC_NAMES[kind])
                    raise ValueError(
                        f"monitoring.{where} names the metric {metric!r}; allowed for a {kind} model: {allowed}"
                    )
        for metric in self.monitoring.metric_limits:
            if metric not in self.watched:  # it would be a limit that nobody holds the model to
                raise ValueError(
                    f"monitoring.metric_limits names {metric!r}, which is not watched; add it to "
                    f"monitoring.metrics, or name one of: {', '.join(self.watched)}"
                )

    @property
    def watched(self) -> dict[MetricName, float]:
        """The metrics that monitoring watches, each with its tolerated relative worsening."""
        return self.monitoring.metrics or {"mae" if self.kind == "regression" else "log_loss": 0.15}


def load_model(root: Path, name: str) -> ModelConfig:
    """Read and check one model's configuration below a checkout.

    Raises:
        ConfigError: the name is not listed, or the file is missing or wrong.
    """
    return read_config(root, name, ModelConfig)
