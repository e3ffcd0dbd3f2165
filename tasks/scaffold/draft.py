"""The draft of a model: what the columns suggest, and what a person has said, as one document of ``model.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.scaffold.columns import Guess
from tasks.scaffold.roles import Roles
from tasks.scaffold.targets import TargetGuess
from tasks.spec.errors import ConfigError
from tasks.spec.gate import Materiality

SPLIT = {"train": 0.55, "holdout": 0.35, "replay": 0.1}
DETAILS = ("format", "zone", "unit", "minimum", "maximum", "categories", "missing")
CARD_QUESTIONS = {
    "intended_use": "who uses its answers, about whom, and at which step of a decision?",
    "limits": "what can it not do, and for whom or when does it answer worse?",
    "out_of_scope": "which uses was it not made for?",
    "ethics": "whom do its errors harm, and what was weighed against what?",
    "contact": "where do those who are decided about ask and object?",
    "oversight": "who may overrule or stop it? High materiality asks for it",
    "risks": "where does its risk assessment stand? High materiality asks for it",
}
"""What no file can say, and the model card asks for."""
FEW_ROWS = 300
"""Rows under which no gate can say anything."""


@dataclass(frozen=True)
class Answers:
    """What a person has said; None where the data or a default decides."""

    title: str | None = None
    purpose: str | None = None
    owner: str | None = None
    materiality: Materiality | None = None
    unprotected: str | None = None
    kind: str | None = None
    positive: str | None = None
    entity: str | None = None
    period: str | None = None
    split: str | None = None
    after: tuple[str, ...] = ()
    """Original names of columns that are known only afterwards."""
    leave_out: tuple[str, ...] = ()
    """Original names of columns that nobody shall use."""
    card: Mapping[str, str] = field(default_factory=dict)
    """Texts of the model card: fields of :class:`tasks.spec.model.CardText`."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """How the file is written: options of :class:`tasks.spec.data_source.Reading`; the others are guessed."""


@dataclass
class Draft:
    """All that is guessed and said about one model."""

    name: str
    file: str
    rows: int
    source: dict[str, Any]
    columns: list[Guess]
    roles: Roles
    target: TargetGuess
    answers: Answers
    written: tuple[str, ...] = ()
    """What the file leaves open about how it is written."""
    estimator: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)

    @property
    def features(self) -> list[str]:
        return [
            c.name
            for c in self.columns
            if c.input and c.available == "before" and not (c.unfeatured or c.left_out or c.name in self.target.used)
        ]

    @property
    def features_question(self) -> str:
        """Protected columns that the model may learn from, since nothing says that they may not decide."""
        among = {spec["column"]: a for a, spec in self.roles.protected.items() if spec["column"] in self.features}
        if not among:
            return ""
        are = "is" if len(among) == 1 else "are"
        return f"{' and '.join(among)} {are} protected and among them; may {' and '.join(among.values())} decide?"

    @property
    def place(self) -> str:
        """The file that DVC keeps, below the root."""
        return str(self.source.get("path") or self.source["snapshot"])

    @property
    def by_time(self) -> bool:
        return self.roles.period is not None and self.answers.split != "hash"

    @property
    def undated(self) -> int:
        """Rows that a split by time cannot place."""
        return next((c.gaps for c in self.columns if c.name == self.roles.period), 0) if self.by_time else 0

    @property
    def population(self) -> str:
        """The condition of ``data.rows``; empty where every row is taken."""
        return f"{self.roles.period}.notna()" if self.undated else ""

    @property
    def population_question(self) -> str:
        if not self.undated:
            return ""
        lack, are = ("row has", "it is") if self.undated == 1 else ("rows have", "they are")
        return (
            f"{self.undated:,} {lack} no date and cannot be placed in time, so {are} left out; fill the column, or say "
            "--split hash"
        )

    @property
    def materiality(self) -> Materiality:
        """As said; else medium where people's groups can be told apart, low where nobody is seen in the data."""
        return self.answers.materiality or ("medium" if self.roles.protected else "low")

    @property
    def split(self) -> dict[str, Any]:
        return ({"by": "time"} if self.by_time else {}) | SPLIT

    def document(self) -> dict[str, Any]:
        """The whole of ``model.yaml`` but for its comments."""
        roles = self.roles
        data: dict[str, Any] = {"source": self.source, "columns": [self.column(c) for c in self.columns]}
        data |= {key: value for key, value, _ in self.role_lines()}
        data |= {"rows": self.population} if self.population else {}
        data |= {"target": self.target.document, "split": self.split}
        document: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "purpose": self.purpose,
            "owner": self.owner,
            "materiality": self.materiality,
            "seed": 1,
            "data": data,
            "protected": roles.protected,
            "features": self.features,
            "estimator": self.estimator,
            "gates": self.gates,
            "monitoring": self.monitoring,
            "card": self.card,
        }
        return document | ({"unprotected": self.unprotected} if not roles.protected else {})

    def role_lines(self) -> list[tuple[str, str, str]]:
        """Key, value and reason of the roles that the data have."""
        found = (("entity", self.roles.entity), ("period", self.roles.period), ("weight", self.roles.weight))
        return [(key, value, self.roles.notes.get(key, "")) for key, value in found if value]

    def column(self, guess: Guess) -> dict[str, Any]:
        """One entry of ``data.columns``; what is left out is declared too, so that a file of its like can be scored."""
        line: dict[str, Any] = {"name": guess.name}
        if guess.original != guess.name and self.source.get("header") is not False:
            line["source"] = guess.original
        line["type"] = guess.type
        if guess.name in self.target.used or guess.available == "after":
            line["available"] = "after"
        elif not guess.input or guess.left_out:
            line["input"] = False
        keys = ("format", "zone", "unit", "missing") if guess.left_out else DETAILS
        for key in keys:
            value = getattr(guess, key)
            if value not in (None, "", ()):
                line[key] = value
        if guess.gaps:
            line["nullable"] = True
        return line

    @property
    def title(self) -> str:
        return self.answers.title or self.name.replace("_", " ").capitalize()

    @property
    def purpose(self) -> str:
        return self.answers.purpose or "Not said yet: what it is for, and what it must not be used for."

    @property
    def owner(self) -> str:
        return self.answers.owner or "nobody@example.org"

    @property
    def card(self) -> dict[str, str]:
        """Texts of the card that some materiality asks for; what nobody said is empty, and so it is missing."""
        return {name: self.answers.card.get(name, "") for name in CARD_QUESTIONS}

    @property
    def unprotected(self) -> str:
        return self.answers.unprotected or (
            "; ".join(f"{a}: {why}" for a, why in self.roles.unjudged.items())
            or "no column of the file is known to tell groups of people apart"
        )

    @property
    def monitoring(self) -> dict[str, Any]:
        window = max(100, min(2000, int(self.rows * SPLIT["holdout"]) // 4))
        return {
            "window_rows": window,
            "minimum_rows": min(100, window),
            "every_seconds": 600,
            "retrain_rows": 2 * window,
        }


def apply_answers(columns: list[Guess], answers: Answers, source: str) -> None:
    """Mark the columns that a person named.

    Raises:
        ConfigError: a name is none of the source.
    """
    by_name = names_of(columns)
    for flag, names in (("--after", answers.after), ("--leave-out", answers.leave_out)):
        for name in names:
            column = named(by_name, name, flag, source)
            if flag == "--after":
                column.available, column.left_out = "after", ""
                column.notes.append("said to be known only afterwards")
            else:
                column.left_out = "said to be of no use"


def names_of(columns: list[Guess]) -> dict[str, Guess]:
    """Columns by every name that a flag may give them."""
    return {c.original.strip(): c for c in columns} | {c.original: c for c in columns} | {c.name: c for c in columns}


def refuse_contradictions(columns: list[Guess], answers: Answers, used: set[str], source: str) -> None:
    """One column cannot be the target and left out, or whose row it is and left out.

    Raises:
        ConfigError: a person said so.
    """
    by_name = names_of(columns)
    roles = {"--entity": answers.entity, "--period": answers.period}
    kept = {named(by_name, said, flag, source).name: flag for flag, said in roles.items() if said is not None}
    for flag, name in [*roles.items(), *(("--leave-out", name) for name in answers.leave_out)]:
        if name is None:
            continue
        column = named(by_name, name, flag, source)
        if column.name in used:
            raise ConfigError(f"{flag} names {name!r}, which --target is made from; name another column, or none.")
        if flag == "--leave-out" and column.name in kept:
            raise ConfigError(f"--leave-out names {name!r}, which {kept[column.name]} names too; take one of them out.")


def named(by_name: dict[str, Guess], name: str, flag: str, source: str) -> Guess:
    """The column that a flag names, by its original name or the config's."""
    name = name if name in by_name else name.strip().strip("`").strip()
    if name not in by_name:
        allowed = ", ".join(dict.fromkeys(c.original for c in by_name.values()))
        raise ConfigError(f"{flag} names {name!r}, which is no column of {source}; allowed: {allowed}.")
    return by_name[name]
