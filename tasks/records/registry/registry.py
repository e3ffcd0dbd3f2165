"""The registry: versions and aliases as GTO tags of the origin; what an atomic push accepts is what holds."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tasks.records.registry import ledger
from tasks.records.repository.git import UNSIGNED, Declined, Git, Overtaken
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.errors import PromotionConflict, PromotionRefused
from tasks.spec.ledger import AssignedDetails, AssignmentKind, Entry, EntryDraft
from tasks.spec.settings import Settings

CHAMPION = "champion"


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
        return _versions(ensure_clone(self.settings), model)

    def champion(self, model: str) -> Version | None:
        """The version that serves; None before the first promotion."""
        return _champion(ensure_clone(self.settings), model)

    def next_version(self, model: str) -> str:
        """The tag that the next promoted candidate gets."""
        return _next(self.versions(model))

    def previous_champions(self, model: str) -> list[Version]:
        """Earlier champions one may return to: newest assignment first, each once, without the present one.

        A version that was rolled back from is left out until somebody promotes it again: the default way back must
        never lead to what was just withdrawn.
        """
        git = ensure_clone(self.settings)
        by_commit = {v.commit: v for v in _versions(git, model)}
        assigned = [commit for _, commit in _assignments(git, model)]
        out = _withdrawn(git, model)
        order = [by_commit[c] for c in reversed(assigned) if c in by_commit and c not in out and c != assigned[-1]]
        return list(dict.fromkeys(order))

    def assignments(self, model: str) -> int:
        """How often the alias has been pointed, which tells one tenure of a version from the next."""
        return len(_assignments(ensure_clone(self.settings), model))

    def promote(
        self, model: str, commit: str, evidence: dict[str, Any], actor: str, reason: str, expected_champion: str | None
    ) -> Version:
        """Register ``commit`` as the next version, make it champion and write the ledger, all or nothing.

        Raises:
            PromotionRefused: the commit has a version already, or a hook of the origin refused.
            PromotionConflict: the champion is not the one the evidence compares with; nothing was changed.
            UnreachableError: the origin does not answer.
        """

        def target(git: Git) -> tuple[str, str]:
            known = _versions(git, model)
            same = [v.tag for v in known if v.commit == commit]
            if same:
                raise PromotionRefused(
                    f"{model} at {commit[:12]} is registered already, as {same[0]}. Make that version champion: "
                    f"assay promote {model} {same[0]}"
                )
            return _next(known), commit

        return self._publish(model, target, "promoted", evidence, actor, reason, expected_champion, new=True)

    def assign(
        self,
        model: str,
        version_tag: str,
        kind: AssignmentKind,
        evidence: dict[str, Any],
        actor: str,
        reason: str,
        expected_champion: str | None,
    ) -> Version:
        """Point the champion alias at a registered version; atomic as :meth:`promote`.

        Raises:
            PromotionRefused: the version is not registered, or a hook of the origin refused.
            PromotionConflict: the champion is not the expected one; nothing was changed.
            UnreachableError: the origin does not answer.
        """

        def target(git: Git) -> tuple[str, str]:
            known = {v.tag: v for v in _versions(git, model)}
            if version_tag not in known:
                raise PromotionRefused(
                    f"{model} has no version {version_tag}; registered: {', '.join(known) or 'none'}."
                )
            return version_tag, known[version_tag].commit

        return self._publish(model, target, kind, evidence, actor, reason, expected_champion, new=False)

    def _publish(
        self,
        model: str,
        target: Callable[[Git], tuple[str, str]],
        kind: AssignmentKind,
        evidence: dict[str, Any],
        actor: str,
        reason: str,
        expected: str | None,
        new: bool,
    ) -> Version:
        """Push tags and ledger entry at once; where only somebody else's entry came between, on the new state again."""
        for attempt in range(ledger.ATTEMPTS):
            git = ensure_clone(self.settings)
            with lock(self.settings):
                tag, commit = target(git)
                champion = _champion(git, model)
                if (champion.tag if champion else None) != expected:
                    raise PromotionConflict(
                        f"{model} {champion.tag if champion else 'none'} is champion, and the evidence compares with "
                        f"{expected or 'none'}."
                    )
                verb = "rolled back to" if kind == "rolled_back" else "became champion:"
                draft = EntryDraft(
                    kind=kind,
                    model=model,
                    version=tag,
                    commit=commit,
                    actor=actor,
                    reason=reason,
                    sentence=f"{verb} {tag}" + (f", after {expected}" if expected else ""),
                    evidence=evidence,
                    details=AssignedDetails(previous=expected),
                )
                entry, tip = ledger.commit_entry(git, draft)
                message = _message(entry)
                try:
                    with _made_tags(git, model) as made:
                        _tag(git, model, tag, commit, message, new)
                        refs = [f"refs/tags/{name}:refs/tags/{name}" for name in made()]
                        git.run("push", "--quiet", "--atomic", "origin", *refs, f"{tip}:refs/heads/{ledger.BRANCH}")
                except Declined as error:
                    raise PromotionRefused(
                        f"a hook of the origin refused {model} {tag}, and nothing was changed. It says: {error.words}."
                    ) from None
                except Overtaken:
                    pass
                else:
                    ledger.follow(git, tip)
                    return next(v for v in _versions(git, model) if v.tag == tag)
            time.sleep(0.1 * (attempt + 1))
        raise PromotionConflict(
            f"{model} {tag} was not assigned: in {ledger.ATTEMPTS} attempts others wrote to the registry each time. "
            "Start the run again."
        )


def _message(entry: Entry) -> str:
    """What the tags of an assignment say: a subject for people, and trailers that programs read."""
    subject = f"{entry.kind.replace('_', ' ')} by {entry.actor} because of {entry.reason}"
    return f"{subject}\n\nEvidence: {entry.evidence}\nEntry: {entry.digest()}\nKind: {entry.kind}\n"


@contextmanager
def _made_tags(git: Git, model: str) -> Iterator[Callable[[], list[str]]]:
    """Tags made inside stay only where all goes well: the clone must hold none that the origin has not."""
    before = set(_tags(git, model))

    def made() -> list[str]:
        return sorted(set(_tags(git, model)) - before)

    try:
        yield made
    except BaseException:  # a cancelled run too; whatever the origin did accept comes back with the next fetch
        if made():
            git.run("tag", "--delete", *made())
        raise


def _tag(git: Git, model: str, version: str, commit: str, message: str, new: bool) -> None:
    """Let GTO write its tags in the clone."""
    for setting in UNSIGNED:  # GTO asks the clone's config
        git.run("config", *setting.split("="))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gto import api  # 0.3 s of import that readers of the registry do not need
        from gto.exceptions import GTOException
        from scmrepo.exceptions import SCMError

        logging.getLogger("gto").setLevel(logging.ERROR)
        author: dict[str, Any] = {"author": "Assay", "author_email": "assay@localhost"}
        try:
            if new:
                api.register(git.path, model, commit, version=version, message=message, **author)
            api.assign(
                git.path,
                model,
                CHAMPION,
                version=version,
                message=message,
                force=True,
                skip_registration=True,
                **author,
            )
        except (GTOException, SCMError) as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise PromotionRefused(
                f"{model} {version} at {commit[:12]} cannot be written to the registry: {said}. Nothing was changed; "
                f"compare with: assay versions {model}"
            ) from None


def _tags(git: Git, model: str) -> list[str]:
    return git.run(
        "for-each-ref", "--format=%(refname:strip=2)", f"refs/tags/{model}@*", f"refs/tags/{model}#*"
    ).splitlines()


def _next(known: list[Version]) -> str:
    return f"v{1 + max((int(v.tag[1:].split('.')[0]) for v in known), default=0)}.0.0"


def _versions(git: Git, model: str) -> list[Version]:
    form = "%(refname:strip=2)%09%(*objectname)%09%(taggerdate:iso-strict)%09%(contents)%00"
    found = []
    for record in git.run("for-each-ref", f"--format={form}", f"refs/tags/{model}@*").split("\0"):
        if not record.strip():
            continue
        name, commit, when, message = record.strip("\n").split("\t", 3)
        found.append(Version(name.split("@")[1], commit, when, ledger.named(message, "Evidence")))
    return sorted(found, key=lambda v: [int(part) for part in v.tag[1:].split(".")])


def _assignments(git: Git, model: str) -> list[tuple[int, str]]:
    lines = git.run(
        "for-each-ref", "--format=%(refname:strip=2) %(*objectname)", f"refs/tags/{model}#{CHAMPION}#*"
    ).splitlines()
    return sorted((int(name.rsplit("#", 1)[1]), commit) for name, commit in (line.split() for line in lines))


def _withdrawn(git: Git, model: str) -> set[str]:
    """Commits that a rollback left and that nobody promoted since, by the order of the assignments."""
    kinds = _assignment_kinds(git, model)
    withdrawn: set[str] = set()
    before: str | None = None
    for number, commit in _assignments(git, model):
        if before is not None and kinds[number] == "rolled_back":
            withdrawn.add(before)
        withdrawn.discard(commit)
        before = commit
    return withdrawn


def _assignment_kinds(git: Git, model: str) -> dict[int, str]:
    """How each assignment came about, by its number; tags before 2026-11-28 say so in their subject alone."""
    form = "%(refname:strip=2)%09%(contents)%00"
    kinds = {}
    for record in git.run("for-each-ref", f"--format={form}", f"refs/tags/{model}#{CHAMPION}#*").split("\0"):
        if record.strip():
            name, message = record.strip("\n").split("\t", 1)
            old = "rolled_back" if message.startswith("rolled back") else "promoted"
            kinds[int(name.rsplit("#", 1)[1])] = ledger.trailer(message, "Kind", r"\w+") or old
    return kinds


def _champion(git: Git, model: str) -> Version | None:
    assigned = _assignments(git, model)
    if not assigned:
        return None
    return next(v for v in _versions(git, model) if v.commit == assigned[-1][1])


def stopped_because(settings: Settings, model: str) -> str:
    """Why a model may not answer; empty where its newest promotion or rollback came after its newest stop."""
    newest = ledger.newest_of(settings, model, ("promoted", "rolled_back", "stopped"))
    return newest.sentence if newest is not None and newest.kind == "stopped" else ""
