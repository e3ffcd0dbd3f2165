"""The model card and technical file of a version, made from records alone, and checked against them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.card_bom import bill
from tasks.card_declared import declared, environment
from tasks.card_history import lived
from tasks.card_judged import judged
from tasks.card_statements import DEFAULT, NOWHERE, Document, Records, Source, Statement, Writer, by_heading, of_entry
from tasks.records.pages.card import card_page, embedded, shown_otherwise
from tasks.records.registry import ledger
from tasks.records.registry.candidates import Told, candidates
from tasks.records.registry.registry import Registry
from tasks.records.registry.spans import spans
from tasks.records.repository.objects import Objects
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.base import parse_yaml, registered_document
from tasks.spec.errors import AssayError, CheckoutError, ConfigError
from tasks.spec.formats import CARD, refuse_other_format
from tasks.spec.gate import MATERIALITIES, Materiality
from tasks.spec.ledger import Entry
from tasks.spec.line import flat
from tasks.spec.model import CARD_ASKED, ModelConfig
from tasks.spec.models import model_file, model_folder
from tasks.spec.settings import ROOT, Settings

COMMIT = re.compile(r"[0-9a-f]{7,40}")
COMMITTED = "card.json"
"""A card beside ``model.yaml``, which the gate ``transparency`` checks."""
LARGEST = 16 << 20
"""Bytes of a card that are read."""
FIRM = ("format", "model", "version", "commit", "title", "materiality", "views", "sbom")
"""Parts of a card beside its statements that are recomputed."""


@dataclass(frozen=True)
class Found:
    """One statement that does not hold, or that nobody has written."""

    id: str
    said: str
    asked: bool = True
    """False of a missing text that the materiality does not ask for."""


@dataclass(frozen=True)
class Checked:
    """What recomputing a card gave."""

    model: str
    version: str
    statements: int
    stale: tuple[Found, ...] = ()
    missing: tuple[Found, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every statement follows, and nothing is missing that the materiality asks for."""
        return not self.stale and not any(one.asked for one in self.missing)


@dataclass(frozen=True)
class Card:
    """A card as a document, with what it was made from."""

    document: dict[str, Any]
    statements: tuple[Statement, ...] = field(repr=False)
    unsaid: tuple[str, ...] = ()
    """Texts that the version's materiality asks for, and nobody has written."""


def card(settings: Settings, model: str, version: str | None = None, until: int | None = None) -> Card:
    """Make the card of a version from the ledger and the version's commit.

    Args:
        version: such as v1.0.0, or the commit of a candidate; without it the champion, or the newest where none
            serves.
        until: the newest entry that is taken; without it all are.

    Raises:
        ConfigError: there is no such model, version or candidate.
        CheckoutError: the clone lacks its commit.
        CorruptionError: the ledger proves nothing, or evidence was changed.
        UnreachableError: the origin does not answer.
    """
    entries, _ = ledger.counting(settings)
    entries = [entry for entry in entries if until is None or entry.sequence <= until]
    chosen = _chosen(settings, model, version, entries)
    found = _records(settings, model, chosen, entries)
    writer = Writer()
    writer.say(
        "identity.version", "identity", f"{model} {chosen.tag} is commit {found.commit}: {chosen.told.state}",
        {"version": chosen.tag, "commit": found.commit, "state": chosen.told.state}, of_entry(chosen.told.entries[-1]),
    )  # fmt: skip
    for part in (declared, judged, environment, lived):
        part(writer, found)
    config = found.config
    document = {
        "format": CARD.number,
        "model": model,
        "version": chosen.tag,
        "commit": found.commit,
        "title": config.title if config else model,
        "materiality": config.materiality if config else None,
        "head": {"sequence": entries[-1].sequence, "digest": entries[-1].digest(), "time": entries[-1].time},
        "statements": [asdict(one) for one in writer.made],
        "views": by_heading(writer.made),
        "sbom": found.bom,
    }
    unsaid = config.unsaid(config.materiality) if config else ()
    return Card(json.loads(json.dumps(document)), tuple(writer.made), unsaid)


@dataclass(frozen=True)
class Chosen:
    """The version that a card is about, or the candidate, which is called by its commit."""

    tag: str
    told: Told


def _chosen(settings: Settings, model: str, version: str | None, entries: Sequence[Entry]) -> Chosen:
    told = candidates(entries, model)
    known = {one.version: one for one in told if one.version is not None}
    if version is None:
        champion = Registry(settings).champion(model)
        version = champion.tag if champion is not None and champion.tag in known else next(reversed(known), None)
    if version is None:
        model_file(ROOT, model)  # a model that nobody lists is a wrong name
        raise ConfigError(f"{model} has no registered version yet; train one: assay train {model}")
    if version in known:
        return Chosen(version, known[version])
    trained = [one for one in told if one.trained_evidence and COMMIT.fullmatch(version)]
    found = [one for one in trained if one.commit.startswith(version)]
    if len(found) != 1:
        there = ", ".join(known) or "no version"
        raise ConfigError(
            f"the ledger knows no {model} {flat(version)[:60]}; it knows {there}, and candidates by their commit."
        )
    return Chosen(found[0].version or found[0].commit[:12], found[0])


def _records(settings: Settings, model: str, version: Chosen, entries: Sequence[Entry]) -> Records:
    objects, told, commit = Objects(ensure_clone(settings, tags=False)), version.told, version.told.commit
    if objects.lacking([commit]):
        raise CheckoutError(
            f"the clone has no commit {commit[:12]}, so the origin was truncated or has lost it. Complete the "
            "origin: git fetch --unshallow"
        )
    path = f"deployments/models/{model}/model.yaml"
    text, source = _file(objects, commit, path)
    config, raw = _read(text, f"{path} of {version.tag}")
    lock, lock_source = _file(objects, commit, "requirements.lock")
    verdict = _evidence(settings, told, told.evidence)
    digest, data = (verdict.at("verdict", *way)[0] for way in (("model_digest",), ("data", "files")))
    files = [file for file in data or () if isinstance(file, dict)] if isinstance(data, list) else []
    return Records(
        model=model,
        version=version.tag,
        commit=commit,
        config=config,
        yaml=Document(raw, source),
        lock=Document(lock, lock_source),
        verdict=verdict,
        trained=_evidence(settings, told, told.trained_evidence),
        told=told,
        entries=tuple(entry for entry in entries if entry.model == model),
        spans=tuple(span for span in spans(entries, model) if span.version == version.tag),
        bom=bill(
            model, version.tag, commit, config.title if config else "", lock, str(digest), files, told.entries[-1].time
        ),
    )  # fmt: skip


def _file(objects: Objects, commit: str, path: str) -> tuple[str, Source]:
    blob = objects.tree(commit).get(path)
    return objects.text(blob), Source("file", digest=blob or "", commit=commit, path=path)


def _read(text: str, source: str) -> tuple[ModelConfig | None, dict[str, Any]]:
    """A registered ``model.yaml`` by the rules of its time, and as it is written."""
    try:
        raw = parse_yaml(text, source)
        return registered_document(raw, ModelConfig, source), raw
    except ConfigError:
        return None, {}


def _evidence(settings: Settings, told: Told, digest: str | None) -> Document:
    if digest is None:
        return NOWHERE
    entry = next(entry for entry in reversed(told.entries) if entry.evidence == digest)
    return Document(ledger.evidence(settings, digest), Source("evidence", entry.sequence, digest))


def check(settings: Settings, document: Mapping[str, Any], then: bool = False, known: bool = False) -> Checked:
    """Recompute every statement of a card.

    Args:
        document: a card's JSON, from anybody.
        then: by the records as they were at the card's own newest entry; else by all that there are now.
        known: only what another release, which words it otherwise and states more, has to state alike.

    Raises:
        ConfigError: it is no card, or of a model or version that the ledger does not know; else as :func:`card`.
    """
    refuse_other_format(document, CARD, "Make it anew: assay card MODEL --json")
    model, version, head = document.get("model"), document.get("version"), document.get("head")
    if not isinstance(model, str) or not isinstance(version, str) or not isinstance(document.get("statements"), list):
        raise ConfigError("the file is no model card: it names no model, no version or no statements. Make it anew.")
    sequence = head.get("sequence") if isinstance(head, dict) else None
    until = sequence if type(sequence) is int and sequence > 0 else None
    lost = until is None or head != _head(settings, until)
    fresh = card(settings, model, version, until if then and not lost else None)
    done = (compared_known if known else compared)(document, fresh)
    if lost:
        found = Found("head", f"it was made at the entry {_short(head)}, which the ledger lacks")
        done = replace(done, stale=(found, *done.stale))
    return done


def compared(document: Mapping[str, Any], fresh: Card) -> Checked:
    """A card's parts and statements beside those that the records give now; its newest entry is not among them."""
    made = fresh.document
    stale = [
        Found(part, _other(document.get(part), made[part]))
        for part in FIRM
        if _json(document.get(part)) != _json(made[part])
    ]
    stale += [Found(str(key), "no card has such a part") for key in document if key not in made]
    stale += _statements(document["statements"], made["statements"])
    missing = [Found(one.id, one.text, one.id in fresh.unsaid) for one in fresh.statements if one.state == "missing"]
    return Checked(made["model"], made["version"], len(fresh.statements), tuple(stale), tuple(missing))


def compared_known(document: Mapping[str, Any], fresh: Card) -> Checked:
    """As :func:`compared`, for a card of another release: value and sources of statements that both state.

    Texts, new statements, and what is a default of the release are not compared.
    """
    made, given = fresh.document, {}
    for one in document["statements"]:
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            given[one["id"]] = one
    stale = [
        Found(part, _other(document.get(part), made[part]))
        for part in ("model", "version", "commit")
        if document.get(part) != made[part]
    ]
    both = [
        (given[one["id"]], one)
        for one in made["statements"]
        if one["id"] in given and one["how"] != DEFAULT and given[one["id"]].get("state") == one["state"]
    ]
    for one, other in both:
        keys = [key for key in ("value", "sources") if _json(one.get(key)) != _json(other[key])]
        stale += [Found(str(other["id"]), _differs(one, other, keys))] if keys else []
    return Checked(made["model"], made["version"], len(both), tuple(stale))


def _other(given: Any, fresh: Any) -> str:
    if isinstance(fresh, dict | list):
        return "it is not what the records give"
    return f"it is {_short(given)}, and the records give {_short(fresh)}"


def _json(value: Any) -> str:
    """As JSON has it, where 1, 1.0 and true are three."""
    return json.dumps(value, sort_keys=True, default=str)


def _head(settings: Settings, sequence: int) -> dict[str, Any] | None:
    entry = next((e for e in ledger.counting(settings)[0] if e.sequence == sequence), None)
    return None if entry is None else {"sequence": sequence, "digest": entry.digest(), "time": entry.time}


def _statements(given: Sequence[Any], fresh: Sequence[Mapping[str, Any]]) -> list[Found]:
    """What differs between the statements of a card and those of the records, by name."""
    found, known = [], {str(one["id"]): one for one in fresh}
    seen: set[str] = set()
    for at, one in enumerate(given):
        id = one.get("id") if isinstance(one, dict) else None
        if not isinstance(id, str):
            found.append(Found(f"statement {at + 1}", "it has no id, so nobody knows what it is about"))
        elif id in seen:
            found.append(Found(id, "it stands in the card more than once"))
        elif id not in known:
            found.append(Found(id, f"no record says it: {_short(one.get('text'))}"))
        else:
            other = [
                key for key in dict.fromkeys([*known[id], *one]) if _json(one.get(key)) != _json(known[id].get(key))
            ]
            found += [Found(id, _differs(one, known[id], other))] if other else []
        seen.add(str(id))
    lacking = [one for one in fresh if one["id"] not in seen]
    found += [Found(str(one["id"]), f"the card lacks it: {_short(one['text'])}") for one in lacking]
    order = [one["id"] for one in fresh]
    if not found and [one["id"] for one in given] != order:
        found.append(Found("statements", "they stand in another order than the records give"))
    return found


def _differs(one: Mapping[str, Any], fresh: Mapping[str, Any], keys: Sequence[str]) -> str:
    key = "text" if "text" in keys else keys[0]
    return f"its {key} is {_short(one.get(key))}, and the records give {_short(fresh.get(key))}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = flat(text)
    return repr(text) if len(text) <= 160 else repr(f"{text[:157]}...")


def read_card(path: Path) -> tuple[dict[str, Any], list[Found]]:
    """The card in a file, JSON or a page, and what the page shows otherwise than its own statements say.

    Raises:
        ConfigError: the file cannot be read, or holds no card.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} has more than {LARGEST:,} bytes; a card has fewer. Make it anew.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). Name a card that 'assay card' wrote.") from None
    page = text.lstrip().startswith("<")
    try:
        inside = embedded(text) if page else text
        document = json.loads(inside, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} holds no model card. Make it anew: assay card MODEL --page FILE") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no model card. Make it anew: assay card MODEL --json")
    return document, [Found(id, said) for id, said in shown_otherwise(text, document)] if page else []


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once: of two, readers take one or the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def page_of(made: Card) -> str:
    """The card as one page of HTML, which needs nothing from outside."""
    return card_page(made.document)


def asked_of(worktree: Path, config: ModelConfig, materiality: Materiality) -> dict[str, Any]:
    """What the gate ``transparency`` is told of a candidate: its missing texts, and its committed card, recomputed.

    The records are those of the card's own newest entry, since what came after it was not there to be said. A card that
    the champion's commit has, too, was examined with that: another release may word it otherwise and state more.

    Args:
        materiality: what is asked for; the candidate's own may be a lower one.
    """
    path = model_folder(worktree, config.name) / COMMITTED
    found: dict[str, Any] = {
        "materiality": materiality,
        "asked": sum(len(CARD_ASKED[level]) for level in MATERIALITIES[: MATERIALITIES.index(materiality) + 1]),
        "missing": list(config.unsaid(materiality)),
        "statements": None,
        "stale": [],
    }
    if not path.exists() and not path.is_symlink():
        return found
    try:
        document, _ = read_card(path)
        if document.get("model") != config.name:
            raise ConfigError(f"{COMMITTED} is the card of {_short(document.get('model'))}, and not of {config.name}.")
        checked = check(Settings(), document, then=True, known=_of_champion(path, config.name))
    except AssayError as error:
        return {"error": str(error).replace(f"{worktree}/", "").rstrip(".")}
    return found | {"statements": checked.statements, "stale": [f"{one.id}: {one.said}" for one in checked.stale]}


def _of_champion(path: Path, model: str) -> bool:
    """Whether the champion's commit has the same card, so that no candidate of now brought it."""
    champion = Registry(Settings()).champion(model)
    if champion is None:
        return False
    objects = Objects(ensure_clone(Settings(), tags=False))
    place = (model_folder(Path(), model) / COMMITTED).as_posix()
    return objects.text(objects.tree(champion.commit).get(place)) == path.read_text(encoding="utf-8")
