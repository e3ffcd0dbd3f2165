"""Which models the difference of two commits concerns: ``python -m tasks.records.repository.changes OLD NEW``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tasks.records.repository.git import Git, GitError
from tasks.spec.base import parse_yaml, validate
from tasks.spec.errors import AssayError, ConfigError
from tasks.spec.models import ModelList
from tasks.spec.sources import concerns, sources

LIST = "deployments/models.yaml"


def changed_paths(git: Git, old: str, new: str) -> list[str]:
    """Paths that differ between two commits; of a file that was moved, both."""
    return git.lines("diff", "--name-only", "--no-renames", "-z", old, new, end="\0")


def concerned_models(git: Git, old: str, new: str) -> list[str]:
    """Models of the newer commit that the difference lists anew, makes or judges otherwise, in the list's order.

    All of them where that commit's ``dvc.yaml`` does not say what makes a model: rather one training too many.
    """
    paths, listed = changed_paths(git, old, new), listed_models(git, new)
    try:
        before = listed_models(git, old)
    except AssayError:
        before = ()
    try:
        dvc_yaml = git.run("show", f"{new}:dvc.yaml")
        if all(len(sources(dvc_yaml, model)) < 2 for model in listed):
            return list(listed)
        return [model for model in listed if model not in before or concerns(paths, dvc_yaml, model)]
    except (GitError, ConfigError):
        return list(listed)


def collected_until(git: Git, commit: str, model: str) -> int:
    """The last row of the log that a commit's data hold; 0 where they hold none of it."""
    names = git.lines("ls-tree", "--name-only", "-z", commit, f"data/{model}/collected/", end="\0")
    found = (re.fullmatch(r".*/rows-[0-9]+-([0-9]+)\.parquet\.dvc", name) for name in names)
    return max((int(n[1]) for n in found if n), default=0)


def listed_models(git: Git, commit: str) -> tuple[str, ...]:
    """The models that a commit lists.

    Raises:
        ConfigError, GitError: the list cannot be read.
    """
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
