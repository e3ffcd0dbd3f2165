"""The one way in which a request's body is read: JSON as RFC 8259 has it, and nothing that a part of the way alters.

Python's own reader lets NaN and Infinity through, makes 1e400 infinite, keeps the last of two equal keys, and takes
half a surrogate pair for text. Each of these would be answered or stored as something else than what was sent. Here
each is refused, with the field that holds it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from tasks.serving.problems import MOST_TOLD, Place, at, printable, problem

DEEPEST = 16
"""Levels of lists and objects; a request needs four."""
LARGEST = 2**63
LONG_NUMBER = re.compile(rb"\d{19}|[eE]\+?0*\d{3}")
"""Only a body that holds this can hold a number beyond 64 bits; all others are read at full speed."""
ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
PLAIN = (str, int, float, bool, type(None))
SURROGATE = re.compile(r"[\ud800-\udfff]")
NOT_FINITE = "{} is no JSON number; send a finite number, or null where the value is missing"
TOO_LARGE = "{} is beyond what a 64-bit float holds (1.8e308); send a finite number, or null where the value is missing"
TOO_LONG = "{} is an integer beyond 64 bits; send an identifier as text, and a large quantity with an exponent (1e20)"
TWICE = "the key is given twice; send it once"
HALF = "half a surrogate pair is no character; send the whole one, or escape neither half"
TOO_DEEP = f"it is nested deeper than {DEEPEST} levels; send the bodies that /openapi.json describes"


class Odd:
    """Stands in the place of a value that is not allowed: what was sent, and the sentence about it."""

    def __init__(self, sent: Any, message: str) -> None:
        self.sent, self.message = sent, message

    def __str__(self) -> str:
        return str(self.sent)


class StrictRequest(Request):
    async def json(self) -> Any:
        return parsed(await self.body())


class StrictRoute(APIRoute):
    """A route whose body is read by :func:`parsed`."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            answer: Response = await handle(StrictRequest(request.scope, request.receive))
            return answer

        return strict


def parsed(body: bytes) -> Any:
    """A request's body as Python values, every number finite and every text valid Unicode.

    Raises:
        HTTPException: 400 where it is no JSON; 422 where it holds what is not allowed, with the first such fields.
    """
    numbers: dict[str, Any] = {"parse_int": _integer, "parse_float": _float} if LONG_NUMBER.search(body) else {}
    try:
        found = json.loads(body.decode(), parse_constant=_constant, object_pairs_hook=_object, **numbers)
    except UnicodeDecodeError as error:
        wrong = f"the body is not UTF-8: byte {error.start} begins no character"
        raise HTTPException(400, [problem(None, "body", body[error.start :], wrong)]) from None
    except json.JSONDecodeError as error:
        wrong = f"the body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise HTTPException(400, [problem(None, "body", error.doc[error.pos :], wrong)]) from None
    except RecursionError:
        raise HTTPException(422, [problem(None, "body", body, TOO_DEEP)]) from None
    bad = list(islice(_problems(found, bool(ESCAPED_SURROGATE.search(body))), MOST_TOLD + 1))
    if bad:
        raise HTTPException(422, bad)
    return found


def _constant(text: str) -> Odd:
    return Odd(text, NOT_FINITE.format(text))


def _integer(text: str) -> int | Odd:
    number = int(text) if len(text) <= 20 else LARGEST  # Python refuses to convert thousands of digits
    return number if -LARGEST <= number < LARGEST else Odd(text, TOO_LONG.format(printable(text)))


def _float(text: str) -> float | Odd:
    number = float(text)
    return number if math.isfinite(number) else Odd(text, TOO_LARGE.format(printable(text)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, value in pairs:
            if key in seen:
                found[key] = Odd(value, TWICE)
            seen.add(key)
    return found


def _problems(document: Any, surrogates: bool) -> Iterator[dict[str, Any]]:
    """Walk through a document; recursion would end where somebody nests deeply enough."""
    stack: list[tuple[Place, Any]] = [((), document)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, dict):
            parts: Any = value.items()
        elif isinstance(value, list):
            parts = enumerate(value)
        elif isinstance(value, Odd):
            yield at(place, value.sent, value.message)
            continue
        else:
            if surrogates and isinstance(value, str) and SURROGATE.search(value):
                yield at(place, value, HALF)
            continue
        if len(place) >= DEEPEST:
            yield at(place, value, TOO_DEEP)
            continue
        inside = [((*place, key), part) for key, part in parts if surrogates or part.__class__ not in PLAIN]
        if surrogates and isinstance(value, dict):
            yield from (at((*place, key), key, HALF) for key in value if SURROGATE.search(key))
        stack += reversed(inside)
