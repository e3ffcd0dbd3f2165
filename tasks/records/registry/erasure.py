"""What is left of forgotten rows beside the log: collected files, versions that learned from them, caches, remotes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, dvc_settings, lockfile, workspace
from tasks.records.repository.git import Git
from tasks.records.repository.tracked import kept
from tasks.spec.data_source import collected_folder
from tasks.spec.errors import StageError
from tasks.spec.line import flat
from tasks.spec.settings import Settings


@dataclass(frozen=True)
class Traces:
    """Where forgotten rows were learned from."""

    versions: tuple[str, ...] = ()
    """Whose data hold them; such a version is not rebuilt from what remains."""
    files: tuple[str, ...] = ()
    """md5 of the collected files that hold them, in DVC's cache."""
    derived: tuple[str, ...] = ()
    """md5 of what stages of those versions, and of candidates, made of them."""
    unread: tuple[str, ...] = ()
    """Collected files that the cache has lost, or that are no Parquet: nobody can say whether they hold any."""
    taught: tuple[str, ...] = ()
    """Ids that the main branch's collected files hold, so that the next version would learn from them."""


def traces(settings: Settings, model: str, ids: Iterable[str]) -> Traces:
    """Look through the collected files of all registered versions, of all candidates, and of the main branch."""
    git, asked = workspace.ensure_clone(settings), pa.array(sorted(ids), type=pa.string())
    held: dict[str, list[str] | None] = {}
    versions, derived, taught = [], set[str](), set[str]()
    for tag, commit, files in _learners(settings, git, model):
        for md5 in files:
            if md5 not in held:
                held[md5] = _held(kept(settings.cache, md5), asked)
        found = {key for md5 in files for key in held[md5] or ()}
        if found and commit:
            versions += [tag] if tag else []
            derived |= _made(settings, git, commit, model)
        elif found:
            taught = found
    return Traces(
        tuple(versions),
        tuple(sorted(md5 for md5, holds in held.items() if holds)),
        tuple(sorted(derived)),
        tuple(sorted(md5 for md5, holds in held.items() if holds is None)),
        tuple(sorted(taught)),
    )


def found_in_files(settings: Settings, model: str, wanted: Callable[[pd.Series], pd.Series], column: str) -> list[str]:
    """Ids of rows of collected files whose column is as wanted; the log may have deleted them before."""
    git = workspace.ensure_clone(settings)
    listed = {md5 for _, _, files in _learners(settings, git, model) for md5 in files}
    keys: set[str] = set()
    for path in (kept(settings.cache, md5) for md5 in sorted(listed)):
        with suppress(FileNotFoundError, pa.ArrowInvalid):  # lost, or no Parquet: told by the traces
            if {column, "_id"} <= set(parquet.read_schema(path).names):
                table = parquet.read_table(path, columns=[column, "_id"]).to_pandas()
                keys |= set(table.loc[wanted(table[column]), "_id"])
    return sorted(keys)


def _learners(settings: Settings, git: Git, model: str) -> Iterator[tuple[str, str, list[str]]]:
    """Version and commit of all that learned, without a version where it is a candidate, and its collected files.

    Last the main branch, without a commit: what is there will teach.
    """
    commits = {v.commit: v.tag for v in Registry(settings).versions(model)}
    for entry in ledger.newest(settings, model, ("trained",)):
        if entry.commit and git.has(entry.commit):
            commits.setdefault(entry.commit, "")
    for commit, tag in commits.items():
        yield tag, commit, _collected(git, commit, model)
    yield "", "", _collected(git, git.rev_parse(f"refs/remotes/origin/{settings.branch}"), model)


def _collected(git: Git, commit: str, model: str) -> list[str]:
    """md5 of a commit's collected files."""
    folder = f"{collected_folder(model)}/"
    names = git.lines("ls-tree", "--name-only", "-z", commit, folder, end="\0")
    texts = {name: git.run("show", f"{commit}:{name}") for name in names if name.endswith(".parquet.dvc")}
    return [out["md5"] for name, text in texts.items() for out in lockfile.pointed(text, f"{name} of {commit[:12]}")]


def _made(settings: Settings, git: Git, commit: str, model: str) -> set[str]:
    """md5 of the files with rows that stages of a commit made, and of the list of prepared ones."""
    stages = lockfile.stages_of(git.run("show", f"{commit}:dvc.lock"), f"dvc.lock of {commit[:12]}")
    found: set[str] = set()
    for stage in ("prepare", "train", "evaluate"):
        tops = {out["md5"] for out in stages.get(f"{stage}@{model}", {}).get("outs") or ()}
        found |= tops if stage == "prepare" else set()
        lists = [kept(settings.cache, md5) for md5 in tops if md5.endswith(".dir")]
        items = [item for file in lists if file.exists() for item in json.loads(file.read_bytes())]
        found |= {item["md5"] for item in items if item["relpath"].endswith((".parquet", "requests.json"))}
    return found


def _held(file: Path, asked: pa.Array) -> list[str] | None:
    try:
        return ids_in(file, asked)
    except (OSError, pa.ArrowInvalid):  # the cache has lost it, or somebody committed what is no Parquet
        return None


def ids_in(path: Path, asked: pa.Array) -> list[str]:
    """Which of these ids a Parquet file has rows of; one without ids has none."""
    file = parquet.ParquetFile(path)
    if "_id" not in file.schema_arrow.names:
        return []
    columns = (batch["_id"] for batch in file.iter_batches(columns=["_id"]))
    return [str(key) for ids in columns for key in ids.filter(compute.is_in(ids, value_set=asked)).to_pylist()]


def teach_no_more(settings: Settings, model: str, ids: Iterable[str], actor: str) -> str | None:
    """Write the main branch's collected files anew without the rows, so that no later version learns from them.

    Returns:
        The commit on the main branch, None where its files hold none of them.

    Raises:
        CheckoutError: the branch moved meanwhile, or a hook refused.
        StageError: a file is neither in the cache nor at a remote, or is no Parquet.
    """
    asked, changed = pa.array(sorted(ids), type=pa.string()), 0
    with workspace.worktree(settings, settings.branch) as tree:
        for pointer in sorted((tree / collected_folder(model)).glob("*.parquet.dvc")):
            dvc.fetch(tree, pointer.relative_to(tree).as_posix())
            path = pointer.with_suffix("")
            try:
                table = parquet.read_table(path)
            except pa.ArrowInvalid as error:
                raise StageError(
                    f"{pointer.relative_to(tree)} points to what is no Parquet ({flat(str(error))[:200]}), so nobody "
                    f"can say whether it holds rows that were forgotten. Take it off {settings.branch}; the rest of "
                    "the deletion is done with the next run of monitoring."
                ) from None
            if "_id" not in table.column_names:  # no row of the log
                continue
            stays = compute.invert(compute.is_in(table["_id"], value_set=asked))
            gone = table.num_rows - (compute.sum(stays).as_py() or 0)
            if gone:
                path.unlink()  # it may be a link into the cache
                parquet.write_table(table.filter(stays), path)
                dvc.add(tree, path)
                changed += gone
        if not changed:
            return None
        message = (
            f"data: {changed:,} collected rows of {model} were forgotten\n\n"
            f"Assay-Run-Reason: person\nAssay-Actor: {flat(actor)}\n"
        )
        return workspace.push_data(settings, tree, message)


class Told(Protocol):
    """The outbox of a log."""

    def waiting(self, model: str) -> list[Any]: ...

    def settle(self, waiting: Any) -> None: ...


def take_out(settings: Settings, model: str, outbox: Told) -> str | None:
    """Do the last step of deletions whose entries are written, also of those whose command died before it.

    Whoever calls holds the model's turn. Errors are those of :func:`teach_no_more`; then the step goes on waiting.

    Returns:
        The newest commit on the main branch that came of it, None where none did.
    """
    made = None
    for waiting in outbox.waiting(model):
        if waiting.decision.forgets and waiting.entry is not None:
            made = teach_no_more(settings, model, waiting.decision.forgets, waiting.decision.draft.actor) or made
            outbox.settle(waiting)
    return made


def remotes_of(settings: Settings) -> dict[str, str]:
    """DVC's remotes by name, as the main branch names them."""
    with workspace.worktree(settings, settings.branch) as tree:
        return dvc_settings.remotes(tree)


def what_ends_it(settings: Settings, model: str, found: Traces, remotes: dict[str, str]) -> list[str]:
    """What still holds the rows beside the log and the main branch, each with what ends it there."""
    objects = [*found.files, *found.derived]
    here = [str(kept(settings.cache, md5)) for md5 in objects if kept(settings.cache, md5).exists()]
    here += [str(p) for p in sorted((settings.home / "evidence" / model).glob("*.parquet")) if found.versions]
    here += [str(p) for p in sorted((settings.home / "holdouts" / model).glob("*.np[yz]")) if found.versions]
    said = [f"still in this home: rm -f {' '.join(map(shlex.quote, here))}"] if here else []
    below = ", ".join(f"files/md5/{md5[:2]}/{md5[2:]}" for md5 in objects)
    for name, url in remotes.items() if below else ():
        said.append(f"perhaps still at DVC's remote {name}: delete below {url} {below}")
    for folder in (settings.home / "versions" / model / tag for tag in found.versions):
        if folder.exists():
            said.append(
                f"the reference window of {folder.name} is its holdout, which may hold some: once another version "
                f"serves, rm -rf {shlex.quote(str(folder))}"
            )
    lost = ", ".join(found.unread)
    said += [f"DVC's cache has lost the collected files {lost}: nobody can say whether they held any"] if lost else []
    return said
