"""The registry: versions and the champion, as the ledger's entries prove them; GTO's tags show them to others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tasks.records.registry import ledger, tags
from tasks.records.registry.authority import ModelState
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.index import index
from tasks.records.registry.state import model_state
from tasks.records.registry.tags import CHAMPION
from tasks.records.repository.git import Declined, Git, GitError, Overtaken
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.errors import CheckoutError, PromotionConflict, PromotionRefused
from tasks.spec.ledger import AssignedDetails, AssignmentKind, Entry, EntryDraft, Warrant
from tasks.spec.line import flat
from tasks.spec.settings import Settings

__all__ = ["CHAMPION", "Registry", "Version", "stopped_because"]


@dataclass(frozen=True)
class Version:
    tag: str
    """``v1.0.0``"""
    commit: str
    registered: str
    evidence: str | None


class Registry:
    """One origin's registry, seen through the clone."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def versions(self, model: str) -> list[Version]:
        """All registered versions, oldest first."""
        return list(_versions(self.state(model)).values())

    def champion(self, model: str) -> Version | None:
        """The version that serves; None before the first promotion."""
        now = self.state(model)
        return _versions(now)[now.champion] if now.champion else None

    def next_version(self, model: str) -> str:
        """The tag that the next promoted candidate gets."""
        git = ensure_clone(self.settings)
        return tags.free_version(git, model, model_state(self.settings, git, model).highest)

    def previous_champions(self, model: str) -> list[Version]:
        """Earlier champions one may return to: newest assignment first, each once, without the present one.

        A version that was rolled back from is left out until somebody promotes it again: the default way back must
        never lead to what was just withdrawn.
        """
        now = self.state(model)
        known, out = _versions(now), _withdrawn(now)
        order = [tag for tag, _ in reversed(now.tenures) if tag not in out and tag != now.champion]
        return [known[tag] for tag in dict.fromkeys(order)]

    def assignments(self, model: str) -> int:
        """How often the alias has been pointed, which tells one tenure of a version from the next."""
        return len(self.state(model).tenures)

    def promote(
        self,
        model: str,
        commit: str,
        evidence: dict[str, Any],
        actor: str,
        reason: str,
        expected_champion: str | None,
        warrant: Warrant | None = None,
    ) -> Version:
        """Register ``commit`` as the next version, make it champion and write the ledger, all or nothing.

        Raises:
            PromotionRefused: the commit has a version already, a signature is missing, or a hook of the origin refused.
            PromotionConflict: the champion is not the one the evidence compares with; nothing was changed.
            UnreachableError: the origin does not answer.
        """

        def target(git: Git, now: ModelState) -> tuple[str, str]:
            same = [tag for tag, v in now.versions.items() if v.commit == commit]
            if same:
                raise PromotionRefused(
                    f"{model} at {commit[:12]} is registered already, as {same[0]}. Make that version champion: "
                    f"assay promote {model} {same[0]}"
                )
            try:
                git.rev_parse(commit)
            except CheckoutError:
                raise PromotionRefused(
                    f"{model} at {commit[:12]} cannot be registered: the origin has no such commit. Nothing was "
                    f"changed; compare with: assay versions {model}"
                ) from None
            return tags.free_version(git, model, now.highest), commit

        return self._publish(model, target, "promoted", evidence, actor, reason, expected_champion, warrant)

    def assign(
        self,
        model: str,
        version_tag: str,
        kind: AssignmentKind,
        evidence: dict[str, Any],
        actor: str,
        reason: str,
        expected_champion: str | None,
        warrant: Warrant | None = None,
    ) -> Version:
        """Point the champion alias at a registered version; atomic as :meth:`promote`.

        Raises:
            PromotionRefused: the version is not registered, a signature is missing, or a hook of the origin refused.
            PromotionConflict: the champion is not the expected one; nothing was changed.
            UnreachableError: the origin does not answer.
        """

        def target(_: Git, now: ModelState) -> tuple[str, str]:
            if version_tag not in now.versions:
                raise PromotionRefused(
                    f"{model} has no version {version_tag}; registered: {', '.join(now.versions) or 'none'}."
                )
            return version_tag, now.versions[version_tag].commit

        return self._publish(model, target, kind, evidence, actor, reason, expected_champion, warrant)

    def _publish(
        self,
        model: str,
        target: Callable[[Git, ModelState], tuple[str, str]],
        kind: AssignmentKind,
        evidence: dict[str, Any],
        actor: str,
        reason: str,
        expected: str | None,
        warrant: Warrant | None,
    ) -> Version:
        """Push tags and ledger entry at once; where only somebody else's entry came between, on the new state again."""
        for attempt in range(ledger.ATTEMPTS):
            git = ensure_clone(self.settings)
            with lock(self.settings):
                now = model_state(self.settings, git, model)
                tag, commit = target(git, now)
                if now.champion != expected:
                    raise PromotionConflict(
                        f"{model} {now.champion or 'none'} is champion, and the evidence compares with "
                        f"{expected or 'none'}."
                    )
                by = f", signed by {warrant.signer}" if warrant else ""
                verb = "rolled back to" if kind == "rolled_back" else "became champion:"
                draft = EntryDraft(
                    kind=kind,
                    model=model,
                    version=tag,
                    commit=commit,
                    actor=actor,
                    reason=reason,
                    sentence=f"{verb} {tag}" + (f", after {expected}" if expected else "") + by,
                    evidence=evidence,
                    details=AssignedDetails(previous=expected, warrant=warrant),
                )
                written = ledger.commit_entry(self.settings, git, draft)
                new = tag not in now.versions
                names = tags.names_for(self.settings, git, written.entry, len(now.tenures), new)
                try:
                    with _made_tags(git, names, written.entry):
                        refs = [f"refs/tags/{name}:refs/tags/{name}" for name in names]
                        git.run("push", "--quiet", "--atomic", "origin", *refs, f"{written.tip}:refs/heads/{BRANCH}")
                except Declined as error:
                    raise PromotionRefused(
                        f"a hook of the origin refused {model} {tag}, and nothing was changed. It says: {error.words}."
                    ) from None
                except Overtaken:
                    pass
                else:
                    ledger.follow(self.settings, git, written.tip)
                    return _versions(model_state(self.settings, git, model))[tag]
            time.sleep(0.1 * (attempt + 1))
        raise PromotionConflict(
            f"{model} {tag} was not assigned: in {ledger.ATTEMPTS} attempts others wrote to the registry each time. "
            "Start the run again."
        )

    def state(self, model: str) -> ModelState:
        """All that the ledger proves of one model, at one moment."""
        return model_state(self.settings, ensure_clone(self.settings, tags=False), model)


@contextmanager
def _made_tags(git: Git, names: list[str], entry: Entry) -> Iterator[None]:
    """The tags of an entry, which stay only where all goes well: the clone must hold none that the origin has not."""
    try:
        try:
            tags.write(git, names, entry)
        except GitError as error:
            raise PromotionRefused(
                f"{entry.model} {entry.version} cannot be tagged as {' and '.join(names)}, and nothing was changed. "
                f"Remove what stands in the way from the origin, or start the run again; git says: {flat(error.output)}"
            ) from None
        yield
    except BaseException:  # a cancelled run too; whatever the origin did accept comes back with the next fetch
        for name in names:
            with suppress(GitError):  # it was not made, and why is what counts
                git.run("update-ref", "-d", f"refs/tags/{name}")
        raise


def mend(settings: Settings) -> list[str]:
    """Put the tags back that entries made and somebody deleted or moved; gives their names."""
    git = ensure_clone(settings)
    with index(settings, git) as found:
        made = []
        for name, row in tags.compare(git, found.now, found.assigned()).missing:
            try:
                tags.write(git, [name], found.entry(row), instead=True)
                git.run("push", "--quiet", "--force", "origin", f"refs/tags/{name}:refs/tags/{name}")
            except GitError:  # the origin does not take it, or has no such commit: the comparison says so
                continue
            made.append(name)
    return made


def _versions(now: ModelState) -> dict[str, Version]:
    return {tag: Version(tag, v.commit, v.registered, v.evidence) for tag, v in now.versions.items()}


def _withdrawn(now: ModelState) -> set[str]:
    """Versions that a rollback left and that nobody promoted since, by the order of the assignments."""
    withdrawn: set[str] = set()
    before: str | None = None
    for tag, kind in now.tenures:
        if before is not None and kind == "rolled_back":
            withdrawn.add(before)
        withdrawn.discard(tag)
        before = tag
    return withdrawn


def stopped_because(settings: Settings, model: str) -> str:
    """Why a model may not answer; empty where its newest promotion or rollback came after its newest stop."""
    return model_state(settings, ensure_clone(settings, tags=False), model).stopped
