"""Versions made again from their record alone: the verdict on each, its entry in the ledger, and its statement."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.records.registry import ledger
from tasks.records.registry.candidates import candidates
from tasks.records.registry.provenance import statement
from tasks.records.registry.registry import Registry, Version
from tasks.records.repository import fresh, machine, workspace
from tasks.records.repository.installed import examiner_digest
from tasks.records.repository.rebuild import STAGES, Other, Rebuilding
from tasks.spec.base import digest_file
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.ledger import Entry, EntryDraft, ForgottenDetails, RebuildOutcome, RebuiltDetails
from tasks.spec.line import flat
from tasks.spec.models import model_file
from tasks.spec.requests import RebuildRequest
from tasks.spec.settings import ROOT, Settings

LOCK = "requirements.lock"
BY_PROCESSOR = 1e-4
"""Share of how much scores vary up to which another kernel explains a difference; it moves the last bits of sums, which
a solver that stops early makes larger."""
LEFT_SECONDS = 6 * 3600
"""Age of an environment whose process died."""


@dataclass(frozen=True)
class Rebuilt:
    """What came of one version."""

    model: str
    version: str
    commit: str
    outcome: RebuildOutcome
    sentence: str
    """Without its full stop."""
    artefact: str | None
    largest: float | None
    environment: dict[str, Any]
    statement: dict[str, Any]


class Environments:
    """Environments of lock files, each made once; all are gone at the end.

    Args:
        reuse: whether the running environment stands for a lock file that is its own.
    """

    def __init__(self, settings: Settings, reuse: bool = False) -> None:
        self.settings, self.reuse = settings, reuse
        self._stack, self._made = ExitStack(), dict[str, Path]()

    def __enter__(self) -> Environments:
        for folder in self.settings.home.glob(f"{fresh.PREFIX}*"):
            if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def of(self, lock: Path) -> tuple[Path, Path]:
        """The folder and the interpreter of a lock file's environment.

        Raises:
            StageError: it cannot be made.
        """
        digest = digest_file(lock)
        if self.reuse and (ROOT / LOCK).exists() and digest == digest_file(ROOT / LOCK):
            return Path(sys.prefix), Path(sys.executable)
        if digest not in self._made:
            self._made[digest] = self._stack.enter_context(fresh.environment(lock, self.settings.home))
        return self._made[digest], fresh.python(self._made[digest])


def rebuilt(settings: Settings, model: str, version: Version, environments: Environments) -> Rebuilt:
    """Make one version again: an empty folder, no cache, an environment of its own lock file; then compare.

    Raises:
        UnreachableError: the origin does not answer.
    """
    begun, made, environment, lock = _now(), dict[str, str](), dict[str, Any](), ""
    try:
        with workspace.worktree(settings, version.commit) as tree:
            lock = digest_file(tree / LOCK) if (tree / LOCK).exists() else ""
            work = Rebuilding(tree, model, settings.cache)
            evidence = _trained(settings, model, version)
            other, environment = _made_again(work, environments, evidence)
            made = work.digests()
            outcome, said, largest = _judged(work, other, evidence, environment)
    except (AssayError, OSError) as error:
        why = "; ".join([*_forgotten(settings, model, version), flat(str(error)).rstrip(".")])
        other, outcome, said, largest = None, "impossible", f"cannot be made again: {why}", None
    artefact = other.artefact if other else None
    told = {"outcome": outcome, "artefact": artefact, "sentence": said, "largest": largest}
    proof = statement(
        model, version.tag, version.commit, made, lock, environment, examiner_digest(), begun, _now(), told
    )  # fmt: skip
    return Rebuilt(model, version.tag, version.commit, outcome, said, artefact, largest, environment, proof)


def _made_again(
    work: Rebuilding, environments: Environments, evidence: dict[str, Any]
) -> tuple[Other | None, dict[str, Any]]:
    """The first thing that differs, and the environment in which it was found; it goes no further than that."""
    work.prepare()
    used: dict[str, Any] = {}
    if (other := work.other_source()) is not None:  # known without making anything
        return other, used
    threads = machine.threads_of(evidence.get("machine"))
    for name in STAGES:
        if (other := work.other_input(name)) is not None:
            return other, used
        folder, python = environments.of(work.tree / LOCK)
        if not used:
            used = machine.apart(python, folder, threads)
        work.run(name, python, threads, folder)
        if (other := work.other_output(name)) is not None:
            if work.by_chance(name, python, threads, folder):
                said = f"{other.artefact} comes out otherwise each time, so {name} gives results of chance"
                return replace(other, cause=said, chance=True), used
            _finish(work, name, python, threads, folder)
            return other, used
    return None, used


def _finish(work: Rebuilding, after: str, python: Path, threads: dict[str, str], folder: Path) -> None:
    """Run what is left, so that scores and metrics can be compared; where it fails, they are not."""
    try:
        for name in STAGES[STAGES.index(after) + 1 :]:
            work.run(name, python, threads, folder)
    except AssayError:
        return


def _judged(
    work: Rebuilding, other: Other | None, evidence: dict[str, Any], environment: dict[str, Any]
) -> tuple[RebuildOutcome, str, float | None]:
    """The outcome, its sentence, and how far the numbers are apart."""
    if other is None:
        return "identical", "identical: every file that the stages make has its recorded digest", None
    if not other.made:
        return "differs", f"differs: {other.cause}", None
    libraries = work.libraries((evidence.get("manifest") or {}).get("libraries") or {})
    if libraries:
        return "differs", f"differs: {other.cause}; the interpreter or libraries are others: {libraries}", None
    if other.chance:
        return "differs", f"differs: {other.cause}", None
    largest = work.largest()
    by = f"; {largest.what} differs by at most {largest.most:.3g}" if largest else ""
    processor = machine.differs(evidence.get("machine"), environment)
    if processor and other.stage in ("train", "evaluate") and largest is not None and largest.share <= BY_PROCESSOR:
        said = f"differs by processor: {processor}; the first file is {other.artefact}{by}"
        return "differs_by_processor", said, largest.most
    by += f", more than another kernel explains ({processor})" if processor else ""
    known = "" if evidence.get("machine") else "; on which processor it was trained is not on record"
    return "differs", f"differs: {other.cause}{by}{known}", largest.most if largest else None


def _trained(settings: Settings, model: str, version: Version) -> dict[str, Any]:
    """What the entry about its training holds: metrics, manifest and machine; empty where there is none."""
    entries, _ = ledger.counting(settings)
    told = next((one for one in candidates(entries, model) if one.version == version.tag), None)
    return ledger.evidence(settings, told.trained_evidence) if told and told.trained_evidence else {}


def _forgotten(settings: Settings, model: str, version: Version) -> list[str]:
    entries, _ = ledger.counting(settings)
    return [
        f"it learned from rows that were forgotten (entry {entry.sequence} of the ledger), and is not rebuilt from "
        "what remains"
        for entry in entries
        if entry.model == model and isinstance(entry.read, ForgottenDetails) and version.tag in entry.read.learned
    ][:1]


def chosen(settings: Settings, model: str, version: str | None, every: bool) -> list[Version]:
    """The versions that are to be made again: one, all, or the one for which it was longest ago.

    Raises:
        ConfigError: there is no such model or version.
    """
    known = {found.tag: found for found in Registry(settings).versions(model)}
    if not known:
        model_file(ROOT, model)
    if version is not None and version not in known:
        raise ConfigError(f"the ledger knows no {model} {version}; it knows {', '.join(known) or 'no version'}.")
    if every:
        return list(known.values())
    return [known[version]] if version else _longest_ago(settings, model, list(known.values()))


def _longest_ago(settings: Settings, model: str, versions: Sequence[Version]) -> list[Version]:
    entries, _ = ledger.counting(settings)
    last = {e.version: e.sequence for e in entries if e.model == model and isinstance(e.read, RebuiltDetails)}
    return sorted(versions, key=lambda found: last.get(found.tag, 0))[:1]


def enter(settings: Settings, found: Rebuilt, actor: str, reason: str) -> Entry:
    """Write down what came of one version, with its statement as evidence."""
    draft = EntryDraft(
        kind="monitored",
        model=found.model,
        version=found.version,
        commit=found.commit,
        actor=actor,
        reason=reason,
        sentence=f"made again from its record, {found.version} {_verb(found)}",
        evidence={"rebuild": {"outcome": found.outcome, "sentence": found.sentence}, "statement": found.statement},
        details=RebuiltDetails(outcome=found.outcome, artefact=found.artefact, largest=found.largest),
    )
    return ledger.append(settings, draft)


def _verb(found: Rebuilt) -> str:
    return found.sentence if found.outcome != "identical" else f"is {found.sentence}"


@task(cache_policy=NO_CACHE, task_run_name="make versions again")
def make_again(request: RebuildRequest) -> list[Rebuilt]:
    """Make the asked versions again, one after the other, and write down what came of each."""
    settings, found = Settings(), []
    with Environments(settings) as environments:
        for version in chosen(settings, request.model, request.version, request.every):
            one = rebuilt(settings, request.model, version, environments)
            enter(settings, one, request.actor, request.reason)
            print(f"{one.model} {one.version}: {one.sentence}")
            found.append(one)
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
