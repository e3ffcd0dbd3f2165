"""What a model is: the schema of ``deployments/models/<name>/model.yaml``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, model_validator

from tasks.spec.base import Spec, refuse, registered
from tasks.spec.cells import category_text
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.expression_types import condition_fault
from tasks.spec.expressions import Expression
from tasks.spec.gate import MATERIALITIES, Materiality
from tasks.spec.gates import FairnessGate, GateConfig
from tasks.spec.metrics import METRIC_NAMES, MetricName
from tasks.spec.models import Name, model_file
from tasks.spec.search import Search, space_problems
from tasks.spec.training import Placed, TrainingConfig, no_inputs, read_config
from tasks.spec.waivers import Envelope, envelope_problems
from tasks.spec.watching import Labels, Monitoring

BENCHMARKS = ("holdout", "newest", "all")
"""What every model has: the base holdout, the rows that came last, and all rows."""


class Protected(Spec):
    """How rows fall into the groups of one protected attribute."""

    column: str
    """The input column that tells the groups apart."""
    groups: dict[str, tuple[str | int | bool, ...]] | None = None
    """The values of each group; a value belongs to one group, and whoever has none of them to no group."""
    edges: tuple[float | str, ...] | None = None
    """Ascending edges of half-open bands [a, b); of a date or datetime, ISO texts."""
    names: tuple[str, ...] | None = None
    """Names of the bands; without them a band is called by its edges."""

    @model_validator(mode="after")
    def _one(self) -> Protected:
        if (self.groups is None) == (self.edges is None):
            raise ValueError("give either groups (name: values) or edges (ascending numbers)")
        if self.edges is not None and (len(self.edges) < 3 or not _ascending(self.edges)):
            raise ValueError("edges must be three or more ascending numbers, or ISO dates")
        if self.names is not None and (self.edges is None or len(set(self.names)) != len(self.edges) - 1):
            raise ValueError("names go with edges, each other than the rest, and are one fewer than they")
        seen: dict[str, str] = {}
        for name, members in self.members.items():
            if not members:
                raise ValueError(f"group {name!r} has no value; list those that belong to it")
            for member in members:
                if seen.setdefault(member, name) != name:
                    raise ValueError(
                        f"groups {seen[member]!r} and {name!r} both have the value {member!r}; a value belongs to one "
                        "group"
                    )
        return self

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The values of each group as a table holds them: 1 is "1", and true is "true"."""
        return {
            name: tuple(str(v).lower() if isinstance(v, bool) else category_text(v) for v in values)
            for name, values in (self.groups or {}).items()
        }

    def placed(self, column: Column) -> Protected:
        """The same with edges in table form; bands without names keep the texts of their edges.

        Raises:
            ValueError: an edge is no value of the column's type.
        """
        if self.edges is None:
            return self
        done = all(isinstance(edge, float) for edge in self.edges)
        if done and (self.names is not None or not column.kind.calendar):
            return self
        names = self.names or tuple(f"{low} to {high}" for low, high in pairwise(self.edges))
        edges = tuple(column.kind.bound(edge, column) for edge in self.edges)
        return self.model_copy(update={"edges": edges, "names": names})

    @property
    def bands(self) -> tuple[float, ...]:
        """``edges`` in table form."""
        return tuple(float(edge) for edge in self.edges or ())


def _ascending(edges: tuple[float | str, ...]) -> bool:
    """Whether edges rise; ISO texts of one length do so as texts."""
    alike = len({type(edge) for edge in edges}) == 1
    return alike and all(low < high for low, high in pairwise(edges))  # type: ignore[operator]


class Benchmark(Spec):
    """A named set of base holdout rows that every version must answer."""

    rows: Expression
    """A condition over input columns; see docs/expressions.md."""
    sha256: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """Digest of the rows and their labels; once pinned, a gate on any other content fails."""


class CardText(Spec):
    """What a model card says that no record can: each a text of a person. An empty one is missing, and says so."""

    intended_use: str = Field("", max_length=2000)
    """Who uses its answers, about whom, and at which step of a decision; what it is for is said by ``purpose``."""
    limits: str = Field("", max_length=2000)
    """What it cannot do, and for whom or when it answers worse."""
    out_of_scope: str = Field("", max_length=2000)
    """Uses that it was not made for, and must not be put to."""
    ethics: str = Field("", max_length=2000)
    """Whom its errors harm, what was weighed against what, and what its data say of people."""
    contact: str = Field("", max_length=300)
    """Where those who are decided about ask and object; of a role, since people leave."""
    oversight: str = Field("", max_length=2000)
    """Who may overrule or stop it, and how they learn that they should."""
    risks: str = Field("", max_length=2000)
    """Where its risk assessment stands, and what is left of each risk."""
    standards: str = Field("", max_length=2000)
    """Standards that were applied, or what was done instead."""
    conformity: str = Field("", max_length=2000)
    """Where the declaration of conformity is, or why none is needed."""


CARD_ASKED: dict[Materiality, tuple[str, ...]] = {
    "low": ("purpose", "owner", "card.intended_use", "card.contact"),
    "medium": ("card.limits", "card.out_of_scope", "card.ethics"),
    "high": ("card.oversight", "card.risks"),
}
"""Texts that a card needs from each materiality on; those that no level names are told, and asked of nobody."""
NOT_SAID = ("", "?", "-", "n/a", "na", "none", "tbd", "todo", "unknown", "nobody@example.org")


def is_said(text: str) -> bool:
    """Whether a person has said something, by more than a place kept for it."""
    plain = text.strip().strip(".").casefold()
    return plain not in NOT_SAID and not plain.startswith(("not said yet", "to be written"))


class ModelConfig(TrainingConfig):
    """All of ``model.yaml``: what makes the model, what describes it, what judges it, and how it is watched."""

    purpose: str
    """What it is for, and what it must not be used for."""
    owner: str
    """Whom to ask."""
    materiality: Materiality
    """How much depends on it; it says which kinds of gates are mandatory."""
    protected: dict[Name, Protected]
    """The attributes by which people must not be treated otherwise, each with its groups; {} goes with
    ``unprotected``."""
    unprotected: str = Field("", max_length=500)
    """Why no group of people can be named, where ``protected`` is {}; the verdict shows it, and no fairness gate is
    needed."""
    benchmarks: dict[Name, Benchmark] = {}
    """Sets of holdout rows that every version must answer, by name."""
    gates: Annotated[tuple[GateConfig, ...], Field(min_length=1)]
    """What a version must pass before it may serve."""
    holdout_budget: int = Field(100, ge=2)
    """Answers that the rows of the holdout give while their numbers are read; see docs/holdout.md."""
    monitoring: Monitoring = Monitoring()
    """How it is watched while it serves."""
    labels: Labels = Labels()
    """Whose outcomes may teach it."""
    envelope: Envelope | None = None
    """What a retraining that nobody asked for may change without a person; see docs/envelope.md."""
    search: Search | None = None
    """Which other configurations ``assay search`` tries; see docs/search.md."""
    card: CardText = CardText()
    """What its model card says that no record can; see docs/card.md."""

    @model_validator(mode="after")
    def _check_gates(self, info: ValidationInfo) -> ModelConfig:
        found = [*self._group_problems(), *self._gate_problems(), *self._watch_problems()]
        benchmarks = (*BENCHMARKS, *self.benchmarks)
        found += envelope_problems(self.envelope, self.kind, self.classes, self.labels.sources, benchmarks)
        now = [] if registered(info) else [*self._expression_problems(), *self._search_problems()]
        refuse("ModelConfig", [*found, *now])
        return self

    def _search_problems(self) -> list[Placed]:
        search = self.search
        if search is None:
            return []
        found: list[Placed] = []
        if search.metric not in METRIC_NAMES[self.kind]:
            allowed = f"allowed for a {self.kind} model: {', '.join(METRIC_NAMES[self.kind])}"
            found.append((("search", "metric"), f"search.metric names the metric {search.metric!r}; {allowed}"))
        gates = [g.name for g in self.gates if isinstance(g, FairnessGate)]
        if search.fairness is not None and search.fairness not in gates:
            said = f"search.fairness names {search.fairness!r}, which is no gate of kind fairness; allowed: "
            found.append((("search", "fairness"), said + (", ".join(gates) or "none")))
        return [*found, *space_problems(search, self)]

    def _group_problems(self) -> list[Placed]:
        columns = [(("protected", name, "column"), p.column) for name, p in self.protected.items()]
        found = no_inputs("protected", columns, self) or self._place_bands()
        if self.protected and self.unprotected:
            said = "unprotected says why no group can be named, and protected names some; keep one of the two"
            found.append((("unprotected",), said))
        return [*found, *self._change_problems()]

    def _change_problems(self) -> list[Placed]:
        """Columns of protected attributes that a reason might name: nobody is told to be another person."""
        by_column = {p.column: name for name, p in self.protected.items()}
        return [
            (
                ("data", "columns", at, "changes"),
                f"column {c.name} tells the groups of protected.{by_column[c.name]} apart and has changes "
                f"{c.changes!r}; a reason never names it, so leave changes out",
            )
            for at, c in enumerate(self.data.columns)
            if c.changes != "never" and c.name in by_column
        ]

    def _expression_problems(self) -> list[Placed]:
        asked: list[tuple[tuple[str | int, ...], str, str]] = [
            (("benchmarks", name, "rows"), f"benchmarks.{name}.rows", b.rows) for name, b in self.benchmarks.items()
        ]
        for index, gate in enumerate(self.gates):
            for number, part in enumerate(getattr(gate, "slices", ())):
                place = ("gates", index, "slices", number, "rows")
                asked.append((place, f"the slice {part.name!r} of gate {gate.name}", part.rows))
        faults = [(place, condition_fault(where, text, self.inputs)) for place, where, text in asked]
        return [(place, fault) for place, fault in faults if fault]

    def _place_bands(self) -> list[Placed]:
        """Bring bands of dates into table form, which is what everybody behind the config counts by."""
        found: list[Placed] = []
        placed: dict[str, Protected] = {}
        for name, protected in self.protected.items():
            column = self.column(protected.column)
            try:
                placed[name] = protected.placed(column)
            except ValueError:
                said = f"the edges of {name} have to be of its column's type, each a {column.kind.noun}"
                found.append((("protected", name, "edges"), said))
        self.__dict__["protected"] = self.protected | placed  # frozen for everybody else
        return found

    def _gate_problems(self) -> list[Placed]:
        found: list[Placed] = []
        benchmarks, seen = (*BENCHMARKS, *self.benchmarks), set[str]()
        for index, gate in enumerate(self.gates):
            named = [(key, getattr(gate, key, None)) for key in ("attribute", "by")]
            named += [("attributes", attribute) for attribute in getattr(gate, "attributes", ())]
            for key, attribute in named:
                if attribute is not None and attribute not in self.protected:
                    said = f"gate {gate.name} names {attribute!r}; allowed: {', '.join(self.protected) or 'none'}"
                    found.append((("gates", index, key), said))
            benchmark = getattr(gate, "benchmark", "all")
            if benchmark not in benchmarks:
                said = f"gate {gate.name} names the benchmark {benchmark!r}; allowed: {', '.join(benchmarks)}"
                found.append((("gates", index, "benchmark"), said))
            if wrong := gate.problem(self.kind, self.classes):
                found.append((("gates", index, *([gate.asks] if gate.asks else [])), wrong))
            if gate.name in seen:
                titles = ", ".join(g.name for g in self.gates)
                found.append((("gates", index, "name"), f"two gates share a name; give each its own: {titles}"))
            seen.add(gate.name)
        if not any(g.kind == "floor" and g.mandatory for g in self.gates):
            said = (
                "gates has no mandatory floor, and a first release has no champion to be compared with; add one of "
                "kind floor"
            )
            found.append((("gates",), said))
        return found

    def _watch_problems(self) -> list[Placed]:
        found: list[Placed] = []
        known = METRIC_NAMES[self.kind]
        for where in ("metrics", "metric_limits"):
            for metric in getattr(self.monitoring, where):
                place = ("monitoring", where, metric)
                if metric not in known:
                    allowed = f"allowed for a {self.kind} model: {', '.join(known)}"
                    found.append((place, f"monitoring.{where} names the metric {metric!r}; {allowed}"))
                elif where == "metric_limits" and metric not in self.watched:  # nobody would hold the model to it
                    said = (
                        f"monitoring.metric_limits names {metric!r}, which is not watched; add it to "
                        f"monitoring.metrics, or name one of: {', '.join(self.watched)}"
                    )
                    found.append((place, said))
        return found

    def unsaid(self, materiality: Materiality) -> tuple[str, ...]:
        """Texts that a card of this materiality needs, and nobody has written: their places in ``model.yaml``."""
        levels = MATERIALITIES[: MATERIALITIES.index(materiality) + 1]
        return tuple(place for level in levels for place in CARD_ASKED[level] if not is_said(self.said(place)))

    @property
    def held_to_card(self) -> bool:
        """Whether a gate refuses the model for what its card lacks."""
        return any(gate.kind == "transparency" and gate.mandatory for gate in self.gates)

    def said(self, place: str) -> str:
        """The text at a place of :data:`CARD_ASKED`, or of another field of ``card``."""
        holder, key = (self.card, place.removeprefix("card.")) if place.startswith("card.") else (self, place)
        return str(getattr(holder, key))

    @property
    def watched(self) -> dict[MetricName, float]:
        """The metrics that monitoring watches, each with its tolerated relative worsening."""
        return self.monitoring.metrics or {"mae" if self.kind == "regression" else "log_loss": 0.15}


def load_model(root: Path, name: str) -> ModelConfig:
    """Read and check one model's configuration below a checkout.

    Raises:
        ConfigError: the name is not listed, or the file is missing or wrong.
    """
    config = read_config(root, name, ModelConfig)
    for _, said in nobody_looked_after(config):
        raise ConfigError(f"{model_file(root, name)}: {said}.")
    return config


def nobody_looked_after(config: ModelConfig) -> list[Placed]:
    """What a config that is trained now says of protected groups, and one of a registered version need not."""
    if config.protected or config.unprotected.strip():
        return _strange_members(config)
    said = (
        "protected is {}, so no group is looked after. Name groups there, or say under unprotected why no group of "
        "people can be named, which the verdict will show"
    )
    return [(("protected",), said)]


def _strange_members(config: ModelConfig) -> list[Placed]:
    """Values of groups that their column can never hold."""
    found: list[Placed] = []
    for name, protected in config.protected.items():
        column = config.column(protected.column)
        known = column.kind.known_names(column)
        for group, members in protected.members.items():
            if twice := sorted({v for v in members if members.count(v) > 1}):
                told = f"lists {', '.join(map(repr, twice))} more than once; list each once"
                said = f"protected.{name}.groups.{group} {told}"
                found.append((("protected", name, "groups", group), said))
        strange = [v for members in protected.members.values() for v in members if known and v not in known]
        if strange:
            said = (
                f"protected.{name}.groups names {', '.join(map(repr, strange))}, which {column.name} never is; "
                f"allowed: {', '.join(known)}"
            )
            found.append((("protected", name, "groups"), said))
    return found
