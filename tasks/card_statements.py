"""What a model card is made of: statements with their sources, and the headings that each reader looks for.

A statement is made once, from a record that is named, and shown under the headings of several readers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tasks.records.registry.candidates import Told
from tasks.records.registry.spans import Span
from tasks.spec.ledger import Entry
from tasks.spec.model import ModelConfig, is_said

READ = "read at the place that is named"
COUNTED = "counted over the entries of the model that count"
DEFAULT = "the default of the schema, since model.yaml does not say it"
WRITE = "missing, to be written by a person"
NO_RECORD = "missing: no record says it"

TOPICS = {
    "identity": "What it is",
    "purpose": "Purpose and use",
    "limits": "Limits and uses out of scope",
    "ethics": "Ethical notes",
    "oversight": "Human oversight and contact",
    "groups": "Groups of people",
    "data": "Data and lineage",
    "base_rates": "Base rates",
    "training": "Training",
    "environment": "Environment",
    "verdict": "Verdict",
    "performance": "Performance",
    "fairness": "Fairness by group",
    "explanations": "Explanations and expert rules",
    "robustness": "Calibration, robustness and readiness",
    "checks": "Data checks and leakage",
    "monitoring": "Monitoring plan",
    "history": "History",
    "approvals": "Approvals",
    "waivers": "Waivers",
    "incidents": "Incidents",
    "forgotten": "Forgotten rows",
    "risks": "Risk management",
    "standards": "Standards",
    "conformity": "Declaration of conformity",
}
"""Every topic of a statement, with the words for people."""

VIEWS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "model_card": (
        "Model card",
        {
            "Model details": ("identity", "training", "environment", "history", "approvals"),
            "Intended use": ("purpose", "limits", "oversight"),
            "Factors": ("groups", "base_rates"),
            "Metrics": ("verdict", "performance"),
            "Evaluation and training data": ("data", "checks"),
            "Quantitative analyses": ("fairness", "explanations", "robustness"),
            "Ethical considerations": ("ethics", "risks", "standards", "conformity"),
            "Caveats and recommendations": ("waivers", "monitoring", "incidents", "forgotten"),
        },
    ),
    "annex_iv": (
        "EU AI Act, Annex IV",
        {
            "1. General description": ("identity", "purpose", "environment"),
            "2. Elements and development": ("data", "base_rates", "groups", "training", "checks", "verdict"),
            "3. Monitoring, functioning and control": ("limits", "ethics", "oversight", "explanations", "fairness"),
            "4. Appropriateness of the performance metrics": ("performance", "robustness"),
            "5. Risk management system": ("risks", "waivers"),
            "6. Changes through the lifecycle": ("history", "approvals", "forgotten"),
            "7. Standards applied": ("standards",),
            "8. EU declaration of conformity": ("conformity",),
            "9. Post-market monitoring plan": ("monitoring", "incidents"),
        },
    ),
    "sr_26_2": (
        "SR 26-2, model risk management",
        {
            "Inventory, purpose and materiality": ("identity", "purpose", "limits"),
            "Development: conceptual soundness": ("training", "explanations", "environment"),
            "Development: data": ("data", "base_rates", "groups", "checks", "forgotten"),
            "Validation: outcomes analysis": ("verdict", "performance", "fairness", "robustness"),
            "Ongoing monitoring": ("monitoring", "incidents"),
            "Governance, policies and controls": ("oversight", "approvals", "waivers", "risks", "ethics"),
            "Documentation and change": ("history", "standards", "conformity"),
        },
    ),
}
"""Three readers: the common model card (Mitchell et al. 2019), Annex IV of Regulation (EU) 2024/1689 by its points, and
the themes of the interagency guidance SR 26-2 of 17 April 2026. Each shows every topic once."""


@dataclass(frozen=True)
class Source:
    """Where a statement is read from."""

    kind: Literal["entry", "evidence", "file", "ledger"]
    """An entry of the ledger, the document that it names, a file of a commit, or all entries of the model."""
    sequence: int | None = None
    """Of the entry, or of the one that names the document."""
    digest: str = ""
    """Of the entry or the document (sha256), or git's name of the file."""
    commit: str = ""
    path: str = ""
    pointer: str = ""
    """RFC 6901, within the document."""


@dataclass(frozen=True)
class Statement:
    id: str
    topic: str
    text: str
    value: Any
    sources: tuple[Source, ...]
    how: str
    """How it is recomputed."""
    state: Literal["stated", "missing"] = "stated"


@dataclass(frozen=True)
class Document:
    """A record, and where it stands."""

    value: Any
    source: Source

    def at(self, *steps: str | int) -> tuple[Any, Source]:
        """The value at a place, and the place; None where nothing stands there."""
        found: Any = self.value
        for step in steps:
            if isinstance(found, Mapping):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and 0 <= step < len(found):
                found = found[step]
            else:
                found = None
        said = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return found, replace(self.source, pointer=self.source.pointer + said)


NOWHERE = Document(None, Source("ledger"))


@dataclass(frozen=True)
class Records:
    """All that the card of one version, or of one candidate, is made from."""

    model: str
    version: str
    commit: str
    config: ModelConfig | None
    """None where ``model.yaml`` of the commit cannot be read."""
    yaml: Document
    """``model.yaml`` as it is written."""
    lock: Document
    """The text of ``requirements.lock``."""
    verdict: Document = NOWHERE
    """The evidence that holds the verdict."""
    trained: Document = NOWHERE
    """The evidence of the training."""
    told: Told | None = None
    entries: tuple[Entry, ...] = ()
    """All of the model that count, oldest first."""
    spans: tuple[Span, ...] = ()
    """When the version served."""
    bom: dict[str, Any] = field(default_factory=dict)
    """CycloneDX, of environment and model."""

    @property
    def unit(self) -> str:
        """Of a regression's target."""
        return str(getattr(self.config.data.target, "unit", "")) if self.config else ""


class Writer:
    """Collects statements."""

    def __init__(self) -> None:
        self.made: list[Statement] = []

    def say(self, id: str, topic: str, text: str, value: Any, *sources: Source, how: str = READ) -> None:
        self.made.append(Statement(id, topic, text, value, sources, how))

    def lack(self, id: str, topic: str, what: str, *sources: Source, said: str = NO_RECORD) -> None:
        """What has no evidence, and nobody has written."""
        self.made.append(Statement(id, topic, f"{what}: {said}", None, sources, READ, "missing"))

    def written(self, id: str, topic: str, what: str, document: Document, *steps: str) -> None:
        """A text of a person, or that it is missing and where it goes."""
        text, source = document.at(*steps)
        if isinstance(text, str) and is_said(text):
            self.say(id, topic, f"{what}: {text}", text, source)
        else:
            self.lack(id, topic, what, source, said=f"{WRITE}, as {'.'.join(steps)} of model.yaml")


def of_entry(entry: Entry, pointer: str = "") -> Source:
    """An entry as a source."""
    return Source("entry", entry.sequence, entry.digest(), pointer=pointer)


def by_heading(made: list[Statement]) -> list[dict[str, Any]]:
    """The views: of each its headings, of each heading its topics, and of each topic the ids of its statements."""
    return [
        {
            "view": view,
            "title": title,
            "headings": [
                {
                    "title": heading,
                    "topics": [
                        {"title": TOPICS[topic], "statements": [one.id for one in made if one.topic == topic]}
                        for topic in topics
                    ],
                }
                for heading, topics in headings.items()
            ],
        }
        for view, (title, headings) in VIEWS.items()
    ]
