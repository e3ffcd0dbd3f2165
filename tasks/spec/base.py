"""The base of every schema, and the one way in which a YAML file becomes one."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from tasks.spec.errors import ConfigError, Problem

Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=300)]


class Spec(BaseModel):
    """Strict, frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="null")

    @classmethod
    def upgraded(cls, document: dict[str, Any]) -> dict[str, Any]:
        """The document in today's form; a schema whose stored form has changed overrides this."""
        return document

    def digest(self) -> str:
        """SHA-256 of the canonical JSON of this object, as ``sha256:<hex>``."""
        return digest_json(self.model_dump(mode="json"))


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def merkle_root(documents: Sequence[Any]) -> str:
    """The Merkle tree hash over the canonical JSON of documents (RFC 6962, section 2.1), as ``sha256:`` and hex.

    Raises:
        ValueError: there is no document.
    """
    if not documents:
        raise ValueError("a Merkle root needs a document at least")

    def node(leaves: Sequence[Any]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + canonical_json(leaves[0])).digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + node(leaves[:split]) + node(leaves[split:])).digest()

    return f"sha256:{node(documents).hex()}"


def digest_json(value: Any) -> str:
    """SHA-256 of :func:`canonical_json`, as ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as ``sha256:<hex>``."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


S = TypeVar("S", bound=BaseModel)
REGISTERED = {"registered": True}
"""The context in which documents of registered versions are read: rules that came after them do not bind them."""


def registered(info: ValidationInfo) -> bool:
    """Whether a validator looks at a document of a registered version."""
    return info.context == REGISTERED


def load_registered(path: Path, schema: type[S]) -> S:
    """Read a YAML file of a version that was registered, by the rules of its time; see :func:`load_yaml`.

    What it may say, and a new candidate may not, is in docs/upgrading.md.
    """
    return registered_document(read_yaml(path), schema, str(path))


def registered_document(document: dict[str, Any], schema: type[S], source: str) -> S:
    """The same of a mapping that was read already; errors call it ``source``."""
    value, problems = problems_of(document, schema, REGISTERED)
    return _or_refused(value, problems, source)


def load_yaml(path: Path, schema: type[S]) -> S:
    """Read one YAML file into ``schema``.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit. The message names the file, the key,
            the value, what is allowed, and the nearest known key where one was mistyped.
    """
    return validate(read_yaml(path), schema, str(path))


def read_yaml(path: Path, loader: type[Bounded] | None = None) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        loader: reads it; one that lets a key stand twice is for whoever looks for those itself.

    Raises:
        ConfigError: the file is missing, is not YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist. Create it, or remove the name that points to it.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Put a file there.") from None
    return parse_yaml(text, str(path), loader)


class Bounded(yaml.composer.Composer):
    """What a loader of PyYAML adds for texts of strangers: a line for every value, and an end to depth and aliases.

    PyYAML raises whatever Python does of a date such as 2026-13-45, and an alias may repeat what holds ten others. Its
    composer in C ends the process where a text nests deep, so this one in Python stands before it.
    """

    largest = 1 << 20
    """Characters of a text; with every alias replaced by what it stands for, four times as many."""
    deepest = 60
    """Lists and mappings within each other."""
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth > self.deepest:
            said = f"it nests more than {self.deepest} lists and mappings, so write it flatter"
            raise yaml.composer.ComposerError(None, None, said, self.peek_event().start_mark)  # type: ignore[attr-defined]
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _size(node, {}) > 4 * self.largest:
            said = f"its aliases stand for more than {4 * self.largest:,} characters, so write out what is meant"
            raise yaml.composer.ComposerError(None, None, said, node.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)  # type: ignore[misc]
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError):
            if not isinstance(node, yaml.ScalarNode):
                raise
            shown = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
            said = f"{shown!r} cannot be read as {node.tag.rpartition(':')[2]}, so quote it if it is text"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from None


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Nodes and characters below a node, those that aliases repeat as often as they do."""
    known = sizes.get(id(node))
    if known is None:
        sizes[id(node)] = -1
        below = node.value if isinstance(node, yaml.SequenceNode) else ()
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        known = sizes[id(node)] = 1 + own + sum(_size(part, sizes) for part in below)
    if known < 0:
        said = "an alias stands inside its own anchor, so write out what is meant"
        raise yaml.composer.ComposerError(None, None, said, node.start_mark)
    return known


class Loader(Bounded, yaml.SafeLoader):
    """Of texts of strangers; a key that stands twice counts as the last of them."""


class _Strict(Loader):
    """A key that stands twice is an error, as for DVC: which of the two its author means, nobody knows."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = (key.tag, key.value if isinstance(key, yaml.ScalarNode) else id(key))
            if name in seen:
                said = f"{key.value!r} stands here again in one mapping, so remove one of the two"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str, loader: type[Bounded] | None = None) -> dict[str, Any]:
    """The mapping that a YAML text holds, whoever wrote it.

    Args:
        source: what errors call the text.
        loader: as of :func:`read_yaml`.

    Raises:
        ConfigError: it is not YAML, or holds no mapping. It is larger than ``largest`` of the loader, nests too deep,
            or has a value that cannot be, such as the date 2026-13-45. The message names the line.
    """
    chosen: Any = loader or _Strict
    if len(text) > chosen.largest:
        raise ConfigError(
            f"{source} has {len(text):,} characters; allowed are {chosen.largest:,}. Keep long lists elsewhere."
        )
    try:
        raw = yaml.load(text, chosen)
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, int(error.position)) + 1
        raise ConfigError(f"{source}, line {at} is not valid YAML: {error.reason}. Mend that line.", line=at) from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = where.line + 1 if where else None
        named = "" if line is None else f", line {line}"
        raise ConfigError(
            f"{source}{named} is not valid YAML: {getattr(error, 'problem', error)}. Mend that line.", line=line
        ) from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{source} must hold a mapping of keys to values, not {type(raw).__name__}.")
    return raw


UNQUOTED = "string_type"
"""Pydantic's type of an error where text is wanted: YAML reads no, 01067 and 1.50 without quotes as other values."""
PLACED = "placed"
"""The type of an error that :func:`refuse` raises; its message says by itself what it is about."""


def refuse(title: str, problems: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise everything that a validator of a whole model found, each at its place below that model.

    Args:
        title: of the model.
        problems: where, and a sentence.

    Raises:
        ValidationError: there is a problem. Pydantic takes such an error of a validator apart into its own.
    """
    errors = [
        InitErrorDetails(type=PydanticCustomError(PLACED, "{said}", {"said": said}), loc=where, input=None)
        for where, said in problems
    ]
    if errors:
        raise ValidationError.from_exception_data(title, errors)


def validate(raw: dict[str, Any], schema: type[S], source: str) -> S:
    """Validate a mapping that came from outside; see :func:`load_yaml` for the errors."""
    return _or_refused(*problems_of(raw, schema), source)


def _or_refused(value: S | None, problems: tuple[Problem, ...], source: str) -> S:
    if value is None:
        said = (f"the file: {p.sentence}" if p.kind == PLACED or not p.where else p.sentence for p in problems)
        raise ConfigError(f"{source}: {'; '.join(said)}.", problems)
    return value


def problems_of(
    raw: dict[str, Any], schema: type[S], context: dict[str, bool] | None = None
) -> tuple[S | None, tuple[Problem, ...]]:
    """A mapping as a schema, or what is wrong with it.

    What only a whole part shows, such as a name that another part does not know, is looked for once every value of
    that part has its type.
    """
    if issubclass(schema, Spec):
        raw = schema.upgraded(raw)
    try:
        text = json.dumps(raw, default=str)
    except (TypeError, ValueError, RecursionError) as error:  # a date as a key; an alias inside its own anchor
        return None, (Problem((), f"it cannot be read as keys and values ({error}); write keys as text"),)
    try:
        # Lists become tuples and strings become enums here: YAML and JSON have neither.
        return schema.model_validate_json(text, context=context), ()
    except ValidationError as error:
        found = error.errors()
        inside = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
        told = [item for item in found if item["type"] != "too_short" or item["loc"] not in inside]
        meant = {(*item["loc"][:-1], _meant(item, schema)) for item in told if item["type"] == "extra_forbidden"}
        told = [item for item in told if item["type"] != "missing" or item["loc"] not in meant]
        return None, tuple(Problem(item["loc"], _sentence(item, schema), item["type"]) for item in told)


def _meant(item: Any, schema: type[BaseModel]) -> str:
    """The known key that is nearest to an unknown one; empty where none is near."""
    near = difflib.get_close_matches(str(item["loc"][-1]), _known_keys(schema, item["loc"][:-1]), n=1)
    return near[0] if near else ""


def _sentence(item: Any, schema: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    kind, value = item["type"], item.get("input")
    if kind == PLACED:
        return str(item["msg"])
    if kind == "extra_forbidden":
        known = _known_keys(schema, item["loc"][:-1])
        near = _meant(item, schema)
        hint = f"did you mean {near!r}? " if near else ""
        return f"{where} is not a known key; {hint}allowed: {', '.join(known)}"
    if kind == "missing":
        return f"{where} is required and missing"
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    if kind == UNQUOTED and where and isinstance(value, bool | int | float) and item["loc"][-1] != "str":
        return f"{where} is {shown}, because it is written without quotes; quote it"
    if kind == "too_short" and isinstance(value, list):
        return f"{where or 'it'} is {shown}: list at least {item['ctx']['min_length']}"
    message = item["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where or 'it'} is {shown}: {message[:1].lower()}{message[1:]}"


def _known_keys(schema: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at ``location``; a union's branch is found by the discriminator that pydantic puts there."""
    current: list[type[BaseModel]] = [schema]
    for part in location:
        if isinstance(part, int):
            continue
        following: list[type[BaseModel]] = []
        for model in current:
            if part in model.model_fields:
                following += _models(model.model_fields[part].annotation)
        if following:
            current = following
        else:
            chosen = [m for m in current if part in [getattr(f, "default", None) for f in m.model_fields.values()]]
            chosen = chosen or [
                m for m in current if any(str(part) in str(f.annotation) for f in m.model_fields.values())
            ]
            current = chosen or current
    return sorted({name for model in current for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in getattr(annotation, "__args__", ()) for m in _models(argument)]
