"""What is left of forgotten rows beside the log: collected files, versions that learned from them, caches, remotes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import compute, parquet

from tasks.records.registry.registry import Registry
from tasks.records.repository import dvc, dvc_settings, lockfile, workspace
from tasks.records.repository.git import Git
from tasks.records.repository.tracked import kept
from tasks.spec.data_source import collected_folder
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
    """md5 of what the stage ``prepare`` of those versions made of them."""
    unread: tuple[str, ...] = ()
    """Collected files that the cache has lost, so that nobody can say whether they hold any."""


def traces(settings: Settings, model: str, ids: Iterable[str]) -> Traces:
    """Look through the collected files of all registered versions and of the main branch."""
    git, asked = workspace.ensure_clone(settings), pa.array(sorted(ids), type=pa.string())
    commits = {v.tag: v.commit for v in Registry(settings).versions(model)}
    tips = {**commits, "": git.rev_parse(f"refs/remotes/origin/{settings.branch}")}
    held: dict[str, bool | None] = {}
    versions, derived = [], set()
    for tag, commit in tips.items():
        files = _collected(git, commit, model)
        for md5 in files:
            held.setdefault(md5, _holds(kept(settings.cache, md5), asked))
        if any(held[md5] for md5 in files) and tag:
            versions.append(tag)
            derived |= _made(settings, git, commit, model)
    return Traces(
        tuple(versions),
        tuple(sorted(md5 for md5, holds in held.items() if holds)),
        tuple(sorted(derived)),
        tuple(sorted(md5 for md5, holds in held.items() if holds is None)),
    )


def _collected(git: Git, commit: str, model: str) -> list[str]:
    """md5 of a commit's collected files."""
    folder = f"{collected_folder(model)}/"
    names = git.lines("ls-tree", "--name-only", "-z", commit, folder, end="\0")
    texts = {name: git.run("show", f"{commit}:{name}") for name in names if name.endswith(".parquet.dvc")}
    return [out["md5"] for name, text in texts.items() for out in lockfile.pointed(text, f"{name} of {commit[:12]}")]


def _made(settings: Settings, git: Git, commit: str, model: str) -> set[str]:
    """md5 of the tables of a version's prepared data, and of the list of them."""
    stages = lockfile.stages_of(git.run("show", f"{commit}:dvc.lock"), f"dvc.lock of {commit[:12]}")
    tops = {out["md5"] for out in stages.get(f"prepare@{model}", {}).get("outs") or ()}
    lists = [kept(settings.cache, md5) for md5 in tops if md5.endswith(".dir")]
    tables = [i for file in lists if file.exists() for i in json.loads(file.read_bytes())]
    return tops | {item["md5"] for item in tables if item["relpath"].endswith(".parquet")}


def _holds(file: Path, asked: pa.Array) -> bool | None:
    if not file.exists():
        return None
    return file_holds(file, asked)


def file_holds(path: Path, asked: pa.Array) -> bool:
    """Whether a Parquet file has a row of one of these ids; one without ids has none."""
    file = parquet.ParquetFile(path)
    return "_id" in file.schema_arrow.names and any(
        compute.any(compute.is_in(batch["_id"], value_set=asked)).as_py()
        for batch in file.iter_batches(columns=["_id"])
    )


def teach_no_more(settings: Settings, model: str, ids: Iterable[str], actor: str) -> tuple[str | None, dict[str, str]]:
    """Write the main branch's collected files anew without the rows, so that no later version learns from them.

    Returns:
        The commit on the main branch, None where its files hold none of them; and DVC's remotes by name.

    Raises:
        CheckoutError: the branch moved meanwhile, or a hook refused.
        StageError: a file is neither in the cache nor at a remote.
    """
    asked, changed = pa.array(sorted(ids), type=pa.string()), 0
    with workspace.worktree(settings, settings.branch) as tree:
        remotes = dvc_settings.remotes(tree)
        for pointer in sorted((tree / collected_folder(model)).glob("*.parquet.dvc")):
            dvc.fetch(tree, pointer.relative_to(tree).as_posix())
            path = pointer.with_suffix("")
            table = parquet.read_table(path)
            stays = compute.invert(compute.is_in(table["_id"], value_set=asked))
            gone = table.num_rows - (compute.sum(stays).as_py() or 0)
            if gone:
                path.unlink()  # it may be a link into the cache
                parquet.write_table(table.filter(stays), path)
                dvc.add(tree, path)
                changed += gone
        if not changed:
            return None, remotes
        message = (
            f"data: {changed:,} collected rows of {model} were forgotten\n\n"
            f"Assay-Run-Reason: person\nAssay-Actor: {flat(actor)}\n"
        )
        return workspace.push_data(settings, tree, message), remotes


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
