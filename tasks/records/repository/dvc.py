"""DVC, by its own command, and our own look at what it laid out: DVC trusts the files of its cache unseen."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.records.repository import dvc_settings, lockfile, process, reach, sandbox, tracked
from tasks.records.repository.git import Git
from tasks.records.repository.lockfile import LOCK
from tasks.records.repository.modules import importable
from tasks.spec.data_source import collected_folder, source_folder
from tasks.spec.errors import CorruptionError, StageError
from tasks.spec.settings import Settings
from tasks.spec.sources import sources

LAST_LINES = 15
CORRUPT = re.compile(
    r"(corrupted|cache file .* is missing|missing cache files|failed to load directory)", re.IGNORECASE
)
FAILED = re.compile(r"failed to reproduce '([^']+)'")


@dataclass(frozen=True)
class Out:
    """One file or folder that DVC keeps, as ``record`` (``dvc.lock`` or a ``.dvc`` file) names it."""

    path: str
    md5: str
    record: str


def made(worktree: Path, *stages: str) -> dict[str, str]:
    """Path and digest of what stages made, by ``dvc.lock``."""
    recorded = _stages(worktree)
    return {out.path: out.md5 for name in stages if name in recorded for out in _outs(recorded[name])}


def reproduce(
    worktree: Path, *targets: str, alone: bool = False, timeout: float = 3600, environment: Path | None = None
) -> None:
    """Bring the stages up to date, and compare all files they were made from with their recorded digests.

    Args:
        alone: leave out the stages that these depend on.
        environment: the folder of the Python environment that the stages run in; by default the running one.

    Raises:
        StageError: a stage failed; a stage's own ``error:`` line is the message where it printed one.
        CorruptionError: the cache does not hold what was recorded.
        ConfigError: the installation asks for more isolation than this machine gives.
    """
    sandbox.require(Settings())
    if pointers := pointers_of(worktree, targets):
        fetch(worktree, *pointers)  # DVC's own repro misses such files, and takes nothing out of the cache
    for config in (worktree / "deployments/models").glob("*/model.yaml"):
        # dependencies that git does not keep while they are empty
        name = config.parent.name
        for folder in (config.parent / "code", worktree / source_folder(name), worktree / collected_folder(name)):
            lockfile.make_folder(worktree, folder)
    given = {dep: tracked.content(worktree / dep) for dep in _given(worktree, targets)}
    single = ("--single-item",) if alone else ()
    code, output = _dvc(worktree, "repro", *single, *targets, timeout=timeout, stages=True, environment=environment)
    if not code:
        _verify(worktree, _needed(worktree, targets))
        _refuse_other_inputs(worktree, {target.partition("@")[2] for target in targets}, given)
        return
    failed = set(FAILED.findall(output))
    # A stage may have failed over damaged rows: then the damage is the news. What it wrote itself is not on record.
    items = {target.partition("@")[2] for target in targets}
    ended = [name for name in _stages(worktree) if name.partition("@")[2] in items and name not in failed]
    _verify(worktree, _needed(worktree, ended, without=failed))
    raise _failure(("repro", *targets), output)


def checkout(worktree: Path, *targets: str) -> None:
    """Check tracked files (of stages or ``.dvc`` files) out of the cache, and compare them with their recorded digests.

    Raises:
        CorruptionError: the cache does not hold what was recorded.
        StageError: DVC failed for another reason.
    """
    code, output = _dvc(worktree, "checkout", "--force", *targets, timeout=600)
    if code:
        raise _failure(("checkout", *targets), output)
    stages = _stages(worktree)
    for target in targets:
        _verify(worktree, _pointer(worktree, worktree / target) if target.endswith(".dvc") else _outs(stages[target]))


def restore(worktree: Path, *stages: str) -> None:
    """Check out what stages made; where the cache has lost it, fetch it, or else make it again.

    What is made anew counts only where it comes out with the digests on record.

    Args:
        worktree: a clean checkout of the commit that recorded them.

    Raises:
        CorruptionError: the cache holds other bytes than were recorded, or what was made anew differs.
        StageError: a stage failed while it was made anew.
    """
    try:
        checkout(worktree, *stages)
    except StageError:  # not in the cache
        if _dvc(worktree, "pull", *stages, timeout=3600)[0] == 0:
            checkout(worktree, *stages)
            return
        recorded = {name: _stages(worktree)[name]["outs"] for name in stages}
        reproduce(worktree, *stages)
        other = [name for name in stages if _stages(worktree)[name]["outs"] != recorded[name]]
        if other:
            raise CorruptionError(
                f"{', '.join(other)} was not in the DVC cache, and made anew it differs from what dvc.lock "
                "records. Fetch the recorded files with dvc pull, "
                "or install the libraries that the version's requirements.lock names and try again."
            ) from None


def pointers_of(worktree: Path, targets: Iterable[str]) -> list[str]:
    """The ``.dvc`` files of what the stages of these items depend on: files that no stage makes."""
    dvc_yaml = (worktree / "dvc.yaml").read_text()
    found: list[str] = []
    for item in dict.fromkeys(target.partition("@")[2] for target in targets):
        for dep in sources(dvc_yaml, item):
            found += [file.relative_to(worktree).as_posix() for file in _pointers_of(worktree, dep)]
    return list(dict.fromkeys(found))


def _pointers_of(worktree: Path, dep: str) -> list[Path]:
    """The ``.dvc`` file that stands for a dependency, and those inside it."""
    own = worktree / f"{dep}.dvc"
    return [*([own] if own.is_file() else []), *sorted((worktree / dep).rglob("*.dvc"))]


def fetch(worktree: Path, *pointers: str) -> None:
    """Check files of ``.dvc`` files out of the cache; what it lacks comes from the remote that the repository names.

    Raises:
        StageError: neither has them.
        CorruptionError: the cache does not hold what was recorded.
    """
    try:
        checkout(worktree, *pointers)
    except StageError:
        if _dvc(worktree, "pull", *pointers, timeout=3600)[0]:
            lacking = [
                out.path
                for pointer in pointers
                for out in _pointer(worktree, worktree / pointer)
                if not tracked.kept(_cache(worktree), out.md5).exists()
            ]
            raise StageError(
                f"{', '.join(lacking or pointers)} is not in the DVC cache {_cache(worktree)}, and could not be "
                "fetched. Run 'dvc push' where the file was added and name that remote in .dvc/config, or let "
                f"that checkout use this cache: dvc config --local cache.dir '{_cache(worktree)}'; then run 'dvc "
                "commit --force' there."
            ) from None
        checkout(worktree, *pointers)


def add(worktree: Path, path: Path) -> None:
    """Track one file; a home that was named gets it as well, for its flows look into its own cache.

    Raises:
        StageError: DVC failed.
    """
    arguments = ("add", "--quiet", str(path.relative_to(worktree)))
    code, output = _dvc(worktree, *arguments, timeout=600)
    if code:
        raise _failure(arguments, output)
    tracked.share(path)


def _stages(worktree: Path) -> dict[str, Any]:
    lock = worktree / LOCK
    return lockfile.stages_of(lockfile.read(lock, LOCK), LOCK) if lock.exists() else {}


def _outs(stage: dict[str, Any]) -> Iterator[Out]:
    for out in stage.get("outs") or ():
        yield Out(out["path"], out["md5"], LOCK)


def _pointer(worktree: Path, file: Path) -> Iterator[Out]:
    here = file.relative_to(worktree)
    name = here.as_posix()
    for out in lockfile.pointed(lockfile.read(file, name), name):
        yield Out((here.parent / out["path"]).as_posix(), out["md5"], name)


def _needed(worktree: Path, targets: Iterable[str], without: Iterable[str] = ()) -> Iterator[Out]:
    """What the stages made and what they were made from: no more of the cache than one run has used."""
    stages, waiting, seen = _stages(worktree), list(targets), set(without)
    while waiting:
        name = waiting.pop()
        if name in seen or name not in stages:
            continue
        seen.add(name)
        yield from _outs(stages[name])
        for dep in (PurePosixPath(d["path"]) for d in stages[name].get("deps", ())):
            waiting += [
                other
                for other, stage in stages.items()
                if any(_touch(dep, PurePosixPath(o["path"])) for o in stage.get("outs", ()))
            ]
            for file in _pointers_of(worktree, str(dep)):
                yield from _pointer(worktree, file)


def _given(worktree: Path, targets: Iterable[str]) -> Iterator[str]:
    """What the stages of these items read where they also write, and no stage has made yet."""
    dvc_yaml = (worktree / "dvc.yaml").read_text()
    for item in dict.fromkeys(target.partition("@")[2] for target in targets):
        yield from (dep for dep in sources(dvc_yaml, item) if _below(dep, item) and (worktree / dep).exists())


def _below(path: str, item: str) -> bool:
    return PurePosixPath(path).is_relative_to(f"data/{item}")


def _refuse_other_inputs(worktree: Path, items: set[str], given: Mapping[str, str]) -> None:
    """A stage that changes what it did not make, and puts it back, would be examined on other rows than it saw.

    Args:
        given: digests of what lay where stages write, before any ran.
    """
    stages = {n: stage for n, stage in _stages(worktree).items() if n.partition("@")[2] in items}
    made_by = {out.path: (name, out.md5) for name, stage in stages.items() for out in _outs(stage)}
    for name, stage in stages.items():
        for dep in stage.get("deps", ()):
            path, md5 = dep["path"], dep.get("md5")
            own = any(_below(path, item) for item in items)
            maker, before = made_by.get(path, ("", given.get(path) if own else md5))
            if before != md5:
                was = f"{maker} had made" if maker else "the commit holds"
                raise StageError(
                    f"{name} read another {path} than {was}: a stage in between changed it. A stage "
                    "writes its own outputs alone."
                )


def _touch(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _verify(worktree: Path, outs: Iterable[Out]) -> None:
    """Compare files in the worktree with recorded digests; git keeps what is not in the cache (``cache: false``).

    Raises:
        CorruptionError: a file differs, and the message names it, both digests, and what to delete.
    """
    cache = _cache(worktree)
    for out in outs:
        kept = tracked.kept(cache, out.md5)
        if not kept.exists() or not (worktree / out.path).exists():
            continue
        if not out.md5.endswith(".dir"):
            _compare(worktree / out.path, out.path, out.md5, out.record, kept)
            continue
        _compare(kept, f"the list of files of {out.path}", out.md5, out.record, kept)
        for item in json.loads(kept.read_bytes()):
            path = f"{out.path}/{item['relpath']}"
            _compare(worktree / path, path, item["md5"], out.record, tracked.kept(cache, item["md5"]))


def _compare(file: Path, name: str, recorded: str, record: str, kept: Path) -> None:
    try:
        found = tracked.md5_of(file)
    except FileNotFoundError:
        found = "nothing (the file is missing)"
    if found == recorded.removesuffix(".dir"):
        return
    again = (
        "run again, and its stage makes it anew"
        if record == LOCK
        else "take it from a copy of the cache, since no stage can make it anew"
    )
    raise CorruptionError(
        f"{name} has md5 {found}, and {record} says {recorded.removesuffix('.dir')}: the DVC cache is damaged. "
        f"Delete {kept}; then fetch it with dvc pull, or {again}."
    )


def _cache(worktree: Path) -> Path:
    """The cache folder as DVC finds it: a relative path starts at the config file's own folder."""
    return (worktree / ".dvc" / dvc_settings.setting(worktree, "cache", "dir", "cache")).resolve()


WITHIN = str(Path(__file__).with_name("within.py"))
NOT_CODE = re.compile(r"(data|deployments|docs|tests)|.*\.md")
"""What lies at the top of a repository and no stage's code is imported from, unless a stage depends on it by name."""


def _dvc(
    worktree: Path, *arguments: str, timeout: float, stages: bool = False, environment: Path | None = None
) -> tuple[int, str]:
    """Run DVC, kept to the worktree and the cache; the stages that it starts run apart from it.

    Only what pulls is given a person's credentials and the remotes that are folders. What runs stages may reach package
    indexes, since no stage may more than DVC itself.

    Args:
        stages: whether it starts any.
        environment: of the stages, where it is not the running one.
    """
    pulls = arguments[0] == "pull"
    addresses = list(dvc_settings.remotes(worktree).values()) if pulls else []
    site = Path(dvc_settings.setting(worktree, "core", "site_cache_dir", str(worktree / ".dvc/tmp")))
    cache = _cache(worktree)
    named = [word for word in arguments[1:] if not word.startswith("--")]
    items = {target.partition("@")[2] for target in named} if stages else set()
    written = [worktree / "data" / item for item in sorted(items)]
    for folder in (cache, site, *written):
        folder.mkdir(parents=True, exist_ok=True)
    seen = [] if environment is None else [environment]
    with (
        importable(worktree) as (modules, path),
        sandbox.apart(
            written, [worktree, modules, *seen], environment={**path, **sandbox.python_of(environment)}
        ) as alone,
    ):
        shell, temporary = sandbox.shell(alone)
        ours = {"DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1", "DVC_SITE_CACHE_DIR": str(site), "SHELL": shell}
        read = [temporary.parent, modules, *seen, *reach.git_folders(worktree), *reach.folders(worktree, addresses)]
        ports = reach.ports(addresses) if pulls else () if stages else None
        with sandbox.kept_to([worktree, cache, site, temporary], read, ours, ports, pulls) as kept:
            # where no stage runs none is remembered, and a repository may have no commit yet
            runs = str(cache / "runs" / (_code_of(worktree) if stages else "none"))
            command = [*kept, sys.executable, "-P", WITHIN, runs, *arguments]
            try:
                code, out, err = process.run(command, worktree, {}, timeout)
            except subprocess.TimeoutExpired:
                raise StageError(f"dvc {' '.join(arguments)} was stopped after {timeout:.0f} s.") from None
    return code, (out + b"\n" + err).decode(errors="replace")


REMEMBERED = b"runs by parameters that DVC and Assay read alike"
"""What all runs in a folder have in common; runs of before this was asked may stand under what no stage saw."""


def _code_of(worktree: Path) -> str:
    """A digest of all that a stage's code could come from and that need not be among its dependencies."""
    listed = Git(worktree).read("ls-tree", "-z", "HEAD").split(b"\0")
    code = [
        line for line in listed if line and not NOT_CODE.fullmatch(line.partition(b"\t")[2].decode(errors="replace"))
    ]
    return hashlib.sha256(b"\0".join([REMEMBERED, *code])).hexdigest()


def _failure(arguments: tuple[str, ...], output: str) -> StageError | CorruptionError:
    own = [line.removeprefix("error: ") for line in output.splitlines() if line.startswith("error: ")]
    lines = [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
    if own:
        return StageError(own[-1])
    if CORRUPT.search(output):
        return CorruptionError(
            "the DVC cache does not hold what was recorded. Restore it (dvc pull), or delete the file named here "
            "and run again: " + " | ".join(lines[-3:])
        )
    return StageError(f"dvc {' '.join(arguments)} failed:\n" + "\n".join(lines))
