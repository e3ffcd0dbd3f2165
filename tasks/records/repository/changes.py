"""Which models the difference of two commits concerns: ``python -m tasks.records.repository.changes OLD NEW``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tasks.records.repository.git import Git
from tasks.spec.base import parse_yaml, validate
from tasks.spec.errors import AssayError
from tasks.spec.models import ModelList
from tasks.spec.sources import concerns

LIST = "deployments/models.yaml"


def changed_paths(git: Git, old: str, new: str) -> list[str]:
    """Paths that differ between two commits; of a file that was moved, both."""
    listed = git.read("diff", "--name-only", "--no-renames", "-z", old, new)
    return [path for path in listed.decode("utf-8", "surrogateescape").split("\0") if path]


def concerned_models(git: Git, old: str, new: str) -> list[str]:
    """Models of the newer commit that the difference lists anew, makes or judges otherwise, in the list's order."""
    paths = changed_paths(git, old, new)
    before = _listed(git, old) if git.run("ls-tree", "--name-only", old, "--", LIST) else ()
    dvc_yaml = git.run("show", f"{new}:dvc.yaml")
    return [model for model in _listed(git, new) if model not in before or concerns(paths, dvc_yaml, model)]


def collected_until(git: Git, commit: str, model: str) -> int:
    """The last row of the log that a commit's data hold; 0 where they hold none of it."""
    names = git.run("ls-tree", "--name-only", commit, f"data/{model}/collected/")
    return max((int(n) for n in re.findall(r"rows-\d+-(\d+)\.parquet\.dvc", names)), default=0)


def _listed(git: Git, commit: str) -> tuple[str, ...]:
    return validate(parse_yaml(git.run("show", f"{commit}:{LIST}"), LIST), ModelList, LIST).models


def main() -> None:
    """Print one model a line."""
    try:
        for model in concerned_models(Git(Path.cwd()), *sys.argv[1:3]):
            print(model)
    except AssayError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
