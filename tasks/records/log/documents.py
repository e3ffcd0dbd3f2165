"""Documents that the log keeps beside its windows: what later windows are compared with, and what is drawn of each.

All lie in the table ``profiles``, by model, kind and window number. A document of a version has the version in its kind
and the number 0; one of a model has the number 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from tasks.records.log.database import Part
from tasks.records.log.outbox import Decision, keep
from tasks.records.log.tables import PROFILES
from tasks.spec.arrivals import FeedFacts
from tasks.spec.errors import CorruptionError
from tasks.spec.evidence import Pictures
from tasks.spec.formats import (
    FEED_FACTS,
    FITTED_REFERENCE,
    P_VALUES,
    PICTURES,
    PROFILE,
    SILENT_FEEDS,
    Format,
    refuse_other_format,
)

NO_WINDOW = 0
"""The window number of documents that belong to a version or a model."""
NEWER = "Use the release of Assay that wrote it, or a later one."

T = TypeVar("T")
_FACTS = TypeAdapter(FeedFacts)
_NUMBERS = TypeAdapter(dict[str, float])
_NAMES = TypeAdapter(list[str])
_PICTURES = TypeAdapter(Pictures)


class Documents(Part):
    """Documents by model and window, version or model; each method says how long one stays.

    Every ``keep_*`` raises LogUnavailable where nothing was stored, and ValueError for a document that is not JSON
    (NaN). Every reader raises ConfigError for a format that this code does not read, and CorruptionError for a damaged
    document.
    """

    def keep_reference(self, model: str, version: str, document: Mapping[str, Any]) -> None:
        """Keep a version's fitted reference; a later one replaces it.

        Args:
            document: with its format number, as ``windows.reference.reference_document`` makes it.
        """
        self._keep(model, _of_version("reference", version), NO_WINDOW, FITTED_REFERENCE, document)

    def reference(self, model: str, version: str) -> dict[str, Any] | None:
        """A version's fitted reference; None where none was kept."""
        return self._kept(model, _of_version("reference", version), NO_WINDOW, FITTED_REFERENCE)

    def keep_profile(self, model: str, window: int, document: Mapping[str, Any]) -> None:
        """Keep a window's profile; a later one replaces it.

        Args:
            document: with its format number, as ``Profile.document`` makes it.
        """
        self._keep(model, "profile", window, PROFILE, document)

    def profile(self, model: str, window: int) -> dict[str, Any] | None:
        """A window's profile; None where none was kept."""
        return self._kept(model, "profile", window, PROFILE)

    def keep_feed_facts(self, model: str, window: int, facts: FeedFacts) -> None:
        """Keep how a window's rows arrived, as it was when the window was new.

        The first facts stay; later ones are dropped.
        """
        self._keep(model, "feed", window, FEED_FACTS, _numbered(FEED_FACTS, asdict(facts)), replace=False)

    def feed_facts(self, model: str, *, before: int, last: int) -> list[FeedFacts]:
        """The feed facts of at most ``last`` windows before the window ``before``, oldest first."""
        kept = self._history(model, "feed", before, last, FEED_FACTS)
        return [_parsed(_FACTS, document, FEED_FACTS) for document in kept]

    def keep_p_values(self, model: str, version: str, window: int, p_values: Mapping[str, float]) -> None:
        """Keep a window's p-values by kind of finding; later ones replace them."""
        self._keep(model, _of_version("p_values", version), window, P_VALUES, _numbered(P_VALUES, p_values))

    def p_values(self, model: str, version: str, *, before: int, last: int) -> list[dict[str, float]]:
        """The p-values of at most ``last`` windows of a version before the window ``before``, oldest first."""
        kept = self._history(model, _of_version("p_values", version), before, last, P_VALUES)
        return [_parsed(_NUMBERS, document, P_VALUES) for document in kept]

    def keep_pictures(self, model: str, window: int, pictures: Pictures) -> None:
        """Keep what is drawn of a window; later pictures replace them."""
        self._keep(model, "pictures", window, PICTURES, _numbered(PICTURES, pictures.model_dump(mode="json")))

    def pictures(self, model: str, window: int) -> Pictures:
        """What is drawn of a window; nothing where nothing was kept."""
        kept = self._kept(model, "pictures", window, PICTURES)
        return Pictures() if kept is None else _parsed(_PICTURES, _content(kept), PICTURES)

    def keep_silent_feeds(self, model: str, feeds: Sequence[str], decision: Decision | None = None) -> None:
        """Keep which of a model's feeds are known to be silent; a later list replaces it.

        Args:
            decision: what is to be told of that; both are kept, or neither.
        """
        document = _numbered(SILENT_FEEDS, {"silent": list(feeds)})
        self._keep(model, "silence", NO_WINDOW, SILENT_FEEDS, document, decision=decision)

    def silent_feeds(self, model: str) -> list[str]:
        """Which of a model's feeds were silent when somebody looked last; none where nobody did."""
        kept = self._kept(model, "silence", NO_WINDOW, SILENT_FEEDS)
        return [] if kept is None else _parsed(_NAMES, kept.get("silent"), SILENT_FEEDS)

    def _keep(
        self,
        model: str,
        kind: str,
        number: int,
        known: Format,
        document: Mapping[str, Any],
        replace: bool = True,
        decision: Decision | None = None,
    ) -> None:
        if document.get("format") != known.number:
            raise ValueError(
                f"the {known.name} document of {model} has format {document.get('format')!r}; this code writes "
                f"format {known.number}."
            )
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        p = PROFILES.c
        mine = sa.and_(p.model == model, p.number == number, p.kind == kind)
        with self.database.writing() as connection:
            if replace:
                connection.execute(sa.delete(PROFILES).where(mine))
            elif connection.execute(sa.select(p.number).where(mine)).first() is not None:
                return
            connection.execute(
                sa.insert(PROFILES).values(model=model, number=number, kind=kind, format=known.number, document=text)
            )
            if decision is not None:
                keep(connection, decision)

    def _kept(self, model: str, kind: str, number: int, known: Format) -> dict[str, Any] | None:
        p = PROFILES.c
        query = sa.select(p.document).where(p.model == model, p.number == number, p.kind == kind)
        with self.database.engine.connect() as connection:
            text = connection.execute(query).scalar_one_or_none()
        return None if text is None else _decoded(text, known)

    def _history(self, model: str, kind: str, before: int, last: int, known: Format) -> list[dict[str, Any]]:
        """Documents of the newest windows before one, oldest first, without their format numbers."""
        p = PROFILES.c
        query = (
            sa.select(p.document)
            .where(p.model == model, p.kind == kind, p.number < before)
            .order_by(p.number.desc())
            .limit(last)
        )
        with self.database.engine.connect() as connection:
            texts = connection.execute(query).scalars().all()
        return [_content(_decoded(text, known)) for text in reversed(texts)]


def _of_version(kind: str, version: str) -> str:
    return f"{kind}:{version}"


def _numbered(known: Format, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": known.number, **content}


def _content(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "format"}


def _decoded(text: str, known: Format) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise _damaged(known, error) from None
    if not isinstance(document, dict):
        raise _damaged(known, f"it is {type(document).__name__}, not an object")
    refuse_other_format(document, known, NEWER)
    return document


def _parsed(adapter: TypeAdapter[T], content: Any, known: Format) -> T:
    try:
        return adapter.validate_json(json.dumps(content))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the document"
        raise _damaged(known, f"{where}: {problem['msg']}") from None


def _damaged(known: Format, cause: object) -> CorruptionError:
    return CorruptionError(
        f"a {known.name} document in the prediction log cannot be read ({cause}). Restore the log from a backup."
    )
