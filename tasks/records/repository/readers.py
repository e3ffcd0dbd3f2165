"""Two readers of one YAML file: Assay reads YAML 1.1 (PyYAML) as it always did, and DVC hashes YAML 1.2 (ruamel.yaml).

Where they differ DVC remembers a run under values that the stage never saw, and gives it to who wrote those values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import zip_longest
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.spec.base import parse_yaml
from tasks.spec.errors import ConfigError

NO_YAML = (".json", ".toml", ".py")
"""Ends of names that DVC reads in another way; all else is YAML to it."""
Place = tuple[str | int, ...]


def differences(text: str, source: str, keys: Collection[str] = ()) -> Iterator[tuple[Place, str]]:
    """Values of a YAML text that Assay and DVC read differently: each its place, and a sentence.

    Args:
        source: what errors call the text.
        keys: of its top that are looked at; without any, all are.

    Raises:
        ConfigError: one of the two cannot read it.
    """
    if all(line.strip(" \t")[:1] in ("", "#") for line in text.splitlines()):
        return  # to both an empty file
    ours = parse_yaml(text, source)  # first: it bounds the depth, and what aliases stand for
    try:
        theirs = YAML(typ="safe").load(text)  # as dvc.utils.serialize does it
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        why = getattr(error, "problem", None) or error
        raise ConfigError(f"{source} cannot be read by DVC ({why}). Mend it.") from None
    if keys and isinstance(theirs, dict):
        ours, theirs = ({key: part for key, part in whole.items() if key in keys} for whole in (ours, theirs))
    for place, own, other in _unlike(ours, theirs, ()):
        named = ".".join(map(str, place)) or "the file"
        yield (
            place,
            f"{named} is {_shown(own)} to Assay, which reads YAML 1.1, and {_shown(other)} to DVC, which reads YAML "
            "1.2. Write a number, true or false plainly; quote it if it is text",
        )


def refuse_differences(text: str, source: str, keys: Collection[str] = ()) -> None:
    """Raise the first of :func:`differences`.

    Raises:
        ConfigError: there is one, or one of the two cannot read the text.
    """
    for _, said in differences(text, source, keys):
        raise ConfigError(f"{source}: {said}.")


def _unlike(ours: Any, theirs: Any, place: Place) -> Iterator[tuple[Place, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for own, other in zip_longest(ours, theirs):
            if _exact(own) != _exact(other):
                yield (*place, str(own)), own, other
                return
            yield from _unlike(ours[own], theirs[other], (*place, str(own)))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (own, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _unlike(own, other, (*place, at))
    elif _exact(ours) != _exact(theirs):
        yield place, ours, theirs


def _exact(value: Any) -> tuple[str, str]:
    """A value with its type, since 1 equals 1.0 and true, and .nan nothing."""
    if isinstance(value, datetime):  # the two name a time zone otherwise
        return "datetime", value.isoformat()
    return type(value).__name__, repr(value)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
