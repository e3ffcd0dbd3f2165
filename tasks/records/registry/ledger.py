"""The ledger: a branch of the origin that only grows, each entry chained to the one before and signed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from tasks.records.registry import branch, keys
from tasks.records.registry.authority import State, apply, reached, refusal
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.index import index
from tasks.records.registry.memory import recall
from tasks.records.registry.state import Branch, pin, proven, state
from tasks.records.repository.git import Git, Overtaken
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import CheckoutError, CorruptionError, PromotionRefused
from tasks.spec.evidence import Verdict
from tasks.spec.ledger import AssignedDetails, Entry, EntryDraft, EntryKind, StoppedDetails
from tasks.spec.settings import Settings

ATTEMPTS = 8
LARGEST = 16 << 20
"""Bytes of an entry, and of its evidence: half of what ``tasks/proof/verify.py`` reads of one file."""


def append(settings: Settings, draft: EntryDraft, once_after: int | None = None, refs: Sequence[str] = ()) -> Entry:
    """Add one entry; a lost race is repeated on the new tip.

    Args:
        once_after: where an entry of the same kind, model and evidence comes after this one already, that is given, and
            none is added: a run that died may have written it.
        refs: what else is pushed, all or nothing, each ``COMMIT:REF``.

    Raises:
        CheckoutError: a hook refused, or the race was lost time after time; nothing was written.
        PromotionRefused: the entry would not count; nothing was written.
        CorruptionError: the ledger was rewritten, or cannot be read to its end.
    """
    for attempt in range(ATTEMPTS):
        git = ensure_clone(settings, tags=False)
        with lock(settings):
            there = None if once_after is None else _written_since(git, draft, once_after)
            if there is not None:
                return there
            written = commit_entry(settings, git, draft)
            try:
                how = () if refs else branch.alone(settings)
                git.run("push", "--quiet", "--atomic", *how, "origin", *refs, f"{written.tip}:refs/heads/{BRANCH}")
            except Overtaken:
                pass
            else:
                follow(settings, git, written.tip)
                return written.entry
        time.sleep(0.1 * (attempt + 1))
    raise CheckoutError(
        f"the ledger could not be written in {ATTEMPTS} attempts, because others wrote each time. Start the run again."
    )


def _written_since(git: Git, draft: EntryDraft, sequence: int) -> Entry | None:
    """The entry of a draft among those after one, by its evidence, which is no other's."""
    key = digest_json(draft.evidence)
    for one in branch.backwards(git, branch.tip_of(git) or ""):
        entry = branch.parse(one.where, one.content)
        if entry.sequence <= sequence:
            break
        if (entry.kind, entry.model, entry.evidence) == (draft.kind, draft.model, key):
            return entry
    return None


class Written:
    """An entry, and the commit that would add it, with the first list before it where there was none."""

    def __init__(self, entry: Entry, tip: str) -> None:
        self.entry, self.tip = entry, tip


def commit_entry(settings: Settings, git: Git, draft: EntryDraft) -> Written:
    """Make the commit that would add one entry, without publishing it.

    Raises:
        CorruptionError: the ledger was rewritten, or cannot be read to its end, so that nothing may follow.
        PromotionRefused: the entry would not count.
    """
    now = proven(settings, git)
    if now.problems and not (len(now.problems) == 1 and keys.is_new_root(settings, now, draft)):
        raise CorruptionError(f"nothing is written on a ledger that does not hold: {now.problems[0]}.")
    now = now.model_copy(deep=True)
    if now.policy is None and draft.kind != "policy":
        _add(settings, git, now, keys.first_list(settings, git, now))
    return _add(settings, git, now, draft)


def _add(settings: Settings, git: Git, now: State, draft: EntryDraft) -> Written:
    """Commit one entry on a state, and take it into the state."""
    entry = Entry(
        sequence=now.sequence + 1,
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        kind=draft.kind,
        model=draft.model,
        version=draft.version,
        commit=draft.commit,
        actor=draft.actor,
        reason=draft.reason,
        sentence=draft.sentence,
        evidence=digest_json(draft.evidence) if draft.evidence is not None else None,
        details=draft.details.model_dump(mode="json") if draft.details is not None else {},
        previous=now.digest,
    )
    evidence = canonical_json(draft.evidence) if draft.evidence is not None else None
    for name, content in (("evidence", evidence or b""), ("entry", canonical_json(entry.stored()))):
        if len(content) > LARGEST:
            raise PromotionRefused(
                f"the {name} of this {entry.kind.replace('_', ' ')} entry has {len(content):,} bytes, and allowed are "
                f"{LARGEST:,}, so that everybody can check the ledger. Make what it is made of smaller."
            )
    policy = keys.listed(draft) if draft.kind == "policy" or now.policy is None else now.policy
    entry = keys.signed(settings, entry, policy)
    source = Branch(git, now.tip)
    if entry.evidence is not None and draft.evidence is not None:
        source.drafted = {entry.evidence: draft.evidence}
    why = refusal(now, entry, source, pin(settings, recall(settings, git)))
    if why:
        mine = signatures.public_line(signatures.examiner_key(settings.examiner))
        own = (
            ""
            if any(mine in p.keys for p in policy.who("examiner"))
            else (f" This home's examiner is not on the list; add it with assay policy, key: {mine}")
        )
        raise PromotionRefused(f"the ledger would not count this {entry.kind.replace('_', ' ')} entry: {why}.{own}")
    if late := _over_already(now, entry):
        raise PromotionRefused(late)
    apply(now, entry, source)
    subject = f"{entry.sequence}: {entry.model} {entry.kind.replace('_', ' ')}"
    now.tip = branch.commit(git, now.tip, canonical_json(entry.stored()), evidence, subject, entry.time)
    reached(now, entry)
    return Written(entry, now.tip)


def _over_already(now: State, entry: Entry) -> str:
    """Whether what a person signed was over when the newest entry was written: a clock set back gives nobody more time.

    Readers do not ask this, since what a wrong clock wrote once would refuse what is honest for ever.
    """
    warrant = entry.read.warrant if isinstance(entry.read, AssignedDetails | StoppedDetails) else None
    if warrant is None or str(warrant.statement.get("expires")) >= now.newest[:10]:
        return ""
    return (
        f"what {warrant.signer} signed expired on {warrant.statement['expires']}, and the ledger's newest entry is of "
        f"{now.newest}: this machine's clock was set back. Set it; or sign again, with --expires {now.newest[:10]} or "
        "later."
    )


def follow(settings: Settings, git: Git, tip: str) -> None:
    """Take over a tip that the origin has accepted."""
    git.run("update-ref", branch.TIP, tip)
    now = proven(settings, git)
    if now.policy is not None and not now.unproven:
        keys.keep_examiners(settings, now.policy)


def height(settings: Settings) -> int:
    """The sequence of the newest entry; 0 where there is none."""
    return state(settings).sequence


def begin(settings: Settings) -> State:
    """The state of the ledger, which has a list of people from now on; the first start writes it."""
    now = state(settings)
    if now.policy is None and not now.problems:
        with suppress(PromotionRefused):  # another home's list came first, and is for that one's people to change
            append(settings, keys.first_list(settings, ensure_clone(settings, tags=False), now))
        now = state(settings)
    if now.policy is not None and not now.unproven:  # the service believes those keys
        keys.keep_examiners(settings, now.policy)
    return now


def newest(settings: Settings, model: str, kinds: tuple[EntryKind, ...]) -> Iterator[Entry]:
    """Entries of one model among these kinds, newest first; those that do not count, too.

    Raises:
        CorruptionError: one cannot be read.
    """
    git = ensure_clone(settings, tags=False)
    with index(settings, git) as found:
        yield from found.newest(model, kinds)


def entries(settings: Settings, model: str | None = None) -> list[Entry]:
    """All entries, oldest first, those that do not count included.

    Raises:
        CorruptionError: an entry cannot be read.
    """
    git = ensure_clone(settings, tags=False)
    tip = branch.tip_of(git)
    if tip is None:
        return []
    found = [branch.parse(one.where, one.content) for one in branch.added(git, "", tip)]
    return [e for e in found if model is None or e.model == model]


def evidence(settings: Settings, digest: str) -> dict[str, Any]:
    """The document with this digest.

    Raises:
        CorruptionError: it is not there, or its bytes do not match.
    """
    git = ensure_clone(settings, tags=False)
    with index(settings, git) as found:
        return found.evidence(digest)


def documents(settings: Settings, digests: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents with these digests, in their order, each with its digest; errors as of :func:`evidence`."""
    git = ensure_clone(settings, tags=False)
    with index(settings, git) as found:
        yield from found.documents(digests)


def counting(settings: Settings) -> tuple[list[Entry], int]:
    """All entries that count, oldest first, and how many do not.

    Raises:
        CorruptionError: nothing that the ledger says is proven, or it cannot be read to its end.
    """
    now = state(settings)
    if now.unproven or (now.problems and now.sequence == 0):
        raise CorruptionError(now.unproven or now.problems[0])
    found = [e for e in entries(settings) if e.sequence <= now.sequence]
    return [e for e in found if e.sequence not in now.refused], len(now.refused)


def verdict(settings: Settings, digest: str) -> Verdict | None:
    """The verdict that evidence holds; None where it holds none.

    Raises:
        CorruptionError: as :func:`evidence`, or what it holds is no verdict.
    """
    document = evidence(settings, digest).get("verdict")
    try:
        return Verdict.model_validate(document, strict=False) if document else None
    except ValidationError as error:
        place = ".".join(str(step) for step in error.errors()[0]["loc"])
        raise CorruptionError(
            f"evidence {digest} of the ledger holds no verdict that can be read (verdict.{place}: "
            f"{error.errors()[0]['msg']}). Train the candidate again, or use the release of Assay that wrote it."
        ) from None
