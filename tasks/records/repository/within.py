"""DVC's command line on a candidate's repository, which may name any path: ``python -P within.py RUNS ARGUMENTS...``.

DVC removes the outputs of a stage before it runs, fills templates with variables of any file, and hashes any
dependency, with the rights of whoever started it. So each path is looked at as DVC itself understood it, before it does
anything.

``RUNS`` is where this repository's runs are remembered. DVC's own place is shared by all repositories of a cache, by
declared dependencies alone; code that nobody declared would leave its results to an honest stage.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc.cli import main as dvc_main
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.repo import Repo
from dvc.stage.cache import StageCache
from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml

from tasks.spec.errors import ConfigError

REMOTE = re.compile(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:")
"""Where another repository lies that is none of this machine's files."""
WRITTEN = "data"
"""The folder of a repository that stages write to."""


def refused(root: Path, targets: Iterable[str] | None) -> Iterator[str]:
    """What a repository asks for that leads out of it, a sentence each.

    Args:
        targets: stages that will run, if any will: then none comes from another file, and none reads what DVC does not
            hash, or hashes as something else.

    Raises:
        ConfigError: a file of parameters or variables, or ``dvc.yaml``, is not the same to DVC and to Assay.
    """
    yield from _links(root)
    yield from _variables(root, compare=targets is not None)
    repo = Repo(str(root))
    try:
        stages = repo.index.stages
        for stage in stages:
            yield from _leading_out(root, stage)
        if targets is not None:
            yield from _elsewhere(root)
            yield from _hidden(root, repo, stages)
            _refuse_other_parameters(root, repo, targets)
    finally:
        repo.close()


def _elsewhere(root: Path) -> Iterator[str]:
    """A stage of another file may write into what a stage of ours reads, and DVC runs it first."""
    for path in _files_of_stages(root):
        if path.parent != root:
            yield f"{path.relative_to(root)} declares stages; stages are declared in the dvc.yaml at the top alone"


def _hidden(root: Path, repo: Repo, stages: Iterable[Any]) -> Iterator[str]:
    """Files of a folder that a stage reads and DVC does not hash: a run of it would be remembered without them."""
    own = (root / ".git").is_dir()  # of a person, where Python has left its bytecode
    folders = {dep.fs_path for stage in stages for dep in stage.deps if dep.protocol == "local"}
    for folder in sorted(f for f in folders if Path(f).is_dir() and _inside(root, Path(f))):
        seen = set(repo.dvcignore.find(localfs, folder))
        for where, below, files in os.walk(folder):
            below[:] = [name for name in below if not (own and name == "__pycache__")]
            for path in (os.path.join(where, name) for name in sorted(files)):
                if path not in seen:
                    shown = Path(path).relative_to(root)
                    yield f"{shown} is hidden from DVC, by .dvcignore or its name, and a stage reads it; remove it"


def _refuse_other_parameters(root: Path, repo: Repo, targets: Iterable[str]) -> None:
    """Parameters by which DVC would remember a run, and which the stage does not see."""
    needed = {id(stage): stage for name in targets for stage in repo.stage.collect(name, with_deps=True)}
    for dep in (dep for stage in needed.values() for dep in stage.deps if isinstance(dep, ParamsDependency)):
        _refuse_other(root, Path(dep.fs_path), {key.partition(".")[0] for key in dep.params})


def _refuse_other(root: Path, path: Path, keys: set[str]) -> None:
    from tasks.records.repository.readers import NO_YAML, refuse_differences  # 0.3 s: only where stages run

    if path.is_file() and path.suffix not in NO_YAML:
        refuse_differences(path.read_text(encoding="utf-8"), str(path.relative_to(root)), keys)


def _links(root: Path) -> Iterator[str]:
    listed = subprocess.run(["git", "ls-files", "--stage", "-z"], cwd=root, capture_output=True, check=False).stdout
    for line in listed.decode("utf-8", "surrogateescape").split("\0"):
        mode, _, name = line.partition("\t")
        if mode.startswith("120000") and not _inside(root, root / name):
            yield f"{name} is a link out of the repository; commit the file, or let DVC track it"


def _files_of_stages(root: Path) -> Iterator[Path]:
    """A person's own checkout may hold an environment, which takes long to walk through and is theirs."""
    for where, folders, files in os.walk(root):
        if (root / ".git").is_dir():
            folders[:] = [name for name in folders if name not in (".git", ".venv", ".assay")]
        if "dvc.yaml" in files:
            yield Path(where) / "dvc.yaml"


def _variables(root: Path, compare: bool) -> Iterator[str]:
    """Files of variables are read while DVC reads the stages, so they are looked at before.

    Args:
        compare: them, and ``dvc.yaml``, as DVC and Assay read them.
    """
    for path in _files_of_stages(root):
        try:
            document = load_yaml(str(path)) or {}
            stages = document.get("stages") or {}
            parts = [document, *(part for stage in stages.values() for part in (stage, stage.get("do") or {}))]
            named = [
                str(item).partition(":")[0]
                for part in parts
                for item in part.get("vars") or ()
                if isinstance(item, str)
            ]
            folders = [str(part["wdir"]) for part in parts if "wdir" in part]
        except YAMLFileCorruptedError:
            continue  # by the reader that DVC reads it with, so DVC stops there as well
        except (AttributeError, TypeError, ValueError) as error:
            yield f"{path.relative_to(root)} cannot be read as stages ({type(error).__name__}); mend it"
            continue
        for name in (*named, *folders):
            if "${" in name or ".." in Path(name).parts or not _inside(root, path.parent / name):
                yield f"{path.relative_to(root)} names {name!r} under vars or wdir, which is no path in the repository"
            elif compare:
                _refuse_other(root, path.parent / name, set())
        if compare:
            _refuse_other(root, path, set())


def _leading_out(root: Path, stage: Any) -> Iterator[str]:
    for out in stage.outs:
        if out.protocol != "local" or not _inside(root / WRITTEN, Path(out.fs_path)):
            yield f"{stage.addressing} writes {out.def_path or out.fs_path}; a stage writes below {WRITTEN}/ alone"
    for dep in stage.deps:
        if (repo := getattr(dep, "def_repo", None)) is not None:  # dvc import
            here, named = not REMOTE.match(str(repo.get("url"))), str(repo.get("url"))
        elif dep.protocol == "local":
            here, named = True, str(dep.def_path or dep.fs_path)
            if _inside(root, Path(dep.fs_path)):
                continue
        else:
            here, named = False, str(dep.def_path or dep.fs_path)
        if here or stage.cmd or not stage.frozen:  # a frozen import from elsewhere is taken out of the cache
            yield f"{stage.addressing} depends on {named}, which is not in the repository"


def _inside(folder: Path, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def main() -> int:
    runs, arguments = sys.argv[1], sys.argv[2:]
    begin = StageCache.__init__

    def begun(self: Any, repo: Any) -> None:
        begin(self, repo)
        self.cache_dir = runs

    StageCache.__init__ = begun
    try:
        named = [word for word in arguments[1:] if not word.startswith("--")]
        found = next(refused(Path.cwd(), named if arguments[0] == "repro" else None), None)
    except (DvcException, ConfigError, UnicodeDecodeError) as error:  # what cannot be read cannot be looked at
        found = str(error).strip().removesuffix(".")
    if found:
        print(f"error: {found}.", file=sys.stderr)
        return 1
    return int(dvc_main(arguments))


if __name__ == "__main__":
    sys.exit(main())
