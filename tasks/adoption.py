"""The configuration of a trial as a commit that changes ``model.yaml``: how a search leads to a candidate.

Trials are read from the ledger, never from the study's own file: what is adopted is on record, and whoever has the
origin can do it.
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from tasks.records.pages.study import study_table
from tasks.records.registry.searches import studies
from tasks.records.repository.git import Git, GitError
from tasks.spec.base import parse_yaml, validate
from tasks.spec.errors import CheckoutError, ConfigError
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_file
from tasks.spec.search import StudyRecord, Trial, configuration_digest, drawn
from tasks.spec.settings import Settings

WIDE = 1 << 20
"""Columns of a line of YAML: those that a person wrote stay whole."""


def chosen(settings: Settings, model: str, study: str | None, number: int | None) -> tuple[StudyRecord, Trial]:
    """A study and the trial of it that is asked for; without a number, the one that is first.

    Raises:
        ConfigError: there is none, or it is not finished, or the study has a front of several and none is named.
    """
    known = list(studies(settings, model))
    if not known:
        raise ConfigError(f"the ledger knows no study of {model}. Search first: assay search {model}")
    found = known[0] if study is None else next((s for s in known if s.study == study), None)
    if found is None:
        raise ConfigError(
            f"the ledger knows no study {study!r} of {model}; it knows {', '.join(s.study for s in known)}."
        )
    if number is not None:
        finished = {t.number: t for t in found.finished}
        if number not in finished:
            raise ConfigError(
                f"study {found.study} of {model} has no finished trial {number}; it has "
                f"{', '.join(map(str, finished)) or 'none'}."
            )
        return found, finished[number]
    front = found.front()
    if len(front) != 1:
        numbers = ", ".join(str(t.number) for t in front)
        raise ConfigError(
            f"study {found.study} of {model} has {len(front)} trials that no other dominates"
            + (f" ({numbers}). Choose one by --trial." if front else ", since none was completed.")
        )
    return found, front[0]


@dataclass(frozen=True)
class Adopted:
    """A commit that makes a trial's configuration that of the model."""

    study: str
    trial: int
    branch: str
    commit: str


def adopt(root: Path, model: str, study: StudyRecord, trial: Trial) -> Adopted:
    """Commit a trial's configuration on a branch of its own, on top of a checkout's HEAD.

    Beside ``model.yaml`` it holds the table of the study's trials. Neither the working tree nor the branch that is
    checked out is touched.

    Raises:
        ConfigError: ``model.yaml`` of HEAD would not become what was tried.
        CheckoutError: that branch is there already and holds something else, or git does not know who commits.
    """
    git, path = Git(root), model_file(root, model).relative_to(root).as_posix()
    text = git.read("show", f"HEAD:{path}").decode()
    changed = with_values(text, trial.values)
    document = parse_yaml(changed, path)
    config = validate(document, ModelConfig, path)
    if configuration_digest(config) != trial.configuration:
        raise ConfigError(
            f"{path} of HEAD is another than the one that trial {trial.number} of study {study.study} was drawn from "
            f"({trial.commit[:12]}), so its values would make another model. Check that commit out, or search again."
        )
    branch, best = f"search/{model}-{study.study}-{trial.number}", trial.metrics[study.metric]
    between = "" if best.low is None else f", {best.low:.4f} to {best.high:.4f}"
    message = (
        f"{model}: the configuration of trial {trial.number} of study {study.study}\n\n"
        f"{study.metric} {best.value:.4f}{between} over {len(trial.folds)} folds of the training rows; "
        f"{len(study.trials)} trials.\n\nAssay-Search-Study: {study.study}\nAssay-Search-Trial: {trial.number}\n"
    )
    table = f"{path.rpartition('/')[0]}/searches/{study.study}.csv"
    commit = _committed(git, {path: changed, table: study_table(study).to_csv(index=False)}, message)
    there = git.lines("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
    if there and git.run("rev-parse", f"{there[0]}^{{tree}}") != git.run("rev-parse", f"{commit}^{{tree}}"):
        raise CheckoutError(f"branch {branch} is there already, and holds something else. Remove it, or rename it.")
    if there:
        return Adopted(study.study, trial.number, branch, there[0])
    git.run("update-ref", f"refs/heads/{branch}", commit, "")
    return Adopted(study.study, trial.number, branch, commit)


def _committed(git: Git, files: dict[str, str], message: str) -> str:
    """A commit on HEAD that changes these files; it is made beside the index and the working tree."""
    author = _author(git)
    with tempfile.TemporaryDirectory() as folder:
        file, index = Path(folder) / "content", {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", "HEAD", env=index)
        for path, content in files.items():
            file.write_text(content, encoding="utf-8")
            blob = git.run("hash-object", "-w", "--", str(file))
            git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = git.run("write-tree", env=index)
        return git.run("commit-tree", tree, "-p", "HEAD", "-m", message, env=author)


def _author(git: Git) -> dict[str, str]:
    """Whose commit it is: who adopts a configuration may not sign for it."""
    try:
        name, email = git.run("config", "user.name"), git.run("config", "user.email")
    except GitError:
        raise CheckoutError(
            f"git does not know who commits in {git.path}. Say it: git config user.name NAME; git config user.email "
            "ADDRESS"
        ) from None
    return {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email}


def with_values(text: str, values: dict[str, Any]) -> str:
    """``model.yaml`` with drawn values put in; comments, order and layout of all else stay as they are."""
    layout = min(LAYOUTS, key=lambda one: len(set(_dumped(_read(text), one).splitlines()) ^ set(text.splitlines())))
    document, plain = _read(text), parse_yaml(text, "model.yaml")
    _put_into(document, drawn(plain, values), plain)
    return _dumped(document, layout)


LAYOUTS = tuple((mapping, *listed) for mapping in (2, 4) for listed in ((2, 0), (4, 2), (4, 0), (6, 4)))
"""Blanks before a nested key, before what a list holds, and before its hyphens."""


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, WIDE
    return yaml


def _read(text: str) -> CommentedMap:
    found: CommentedMap = _yaml().load(text)
    return found


def _dumped(document: CommentedMap, layout: tuple[int, ...]) -> str:
    yaml, written = _yaml(), io.StringIO()
    yaml.indent(*layout)
    yaml.dump(document, written)
    return written.getvalue()


def _put_into(node: CommentedMap, wanted: dict[str, Any], before: dict[str, Any]) -> None:
    """Bring a mapping of a document to a wanted value by the fewest changes."""
    for key in [key for key in node if key not in wanted]:
        del node[key]
    for key, value in wanted.items():
        if key in before and before[key] == value:
            continue
        there = node.get(key)
        if isinstance(there, CommentedMap) and isinstance(value, dict):
            _put_into(there, value, before[key])
        elif isinstance(there, CommentedSeq) and isinstance(value, list):
            for at in reversed([i for i, item in enumerate(before[key]) if item not in value]):
                del there[at]
            there.extend(_flowing(item) for item in value[len(there) :])
        else:
            node[key] = _flowing(value)


def _flowing(value: Any) -> Any:
    """A new mapping or list is written on one line, as the shipped files write them."""
    if isinstance(value, dict):
        made = CommentedMap({key: _flowing(item) for key, item in value.items()})
        made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        listed = CommentedSeq([_flowing(item) for item in value])
        listed.fa.set_flow_style()
        return listed
    return value
