"""What the main branch asks of a model: whoever pushes another branch may ask more of it, and never less."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.records.repository.git import Git, GitError
from tasks.spec.base import S, Spec, load_yaml, parse_yaml, registered_document
from tasks.spec.data import Column
from tasks.spec.data_source import collected_folder, source_folder
from tasks.spec.evidence import GateResult
from tasks.spec.expectations import Expectations
from tasks.spec.expression_types import columns_named, operands, resolve
from tasks.spec.gates import GateConfig
from tasks.spec.line import flat
from tasks.spec.model import ModelConfig
from tasks.spec.models import LISTED, ModelList, model_folder
from tasks.spec.rules import ExpertRules
from tasks.spec.settings import Settings
from tasks.spec.waivers import EnvelopeSignature

ASKED_ON_MAIN = "asked as the main branch asks it, not as the candidate's own {file} does"
QUESTION = ("source", "rows", "base", "period", "entity", "split")
"""Parts of ``data`` that choose which rows are examined. Whoever chooses them has chosen the examination."""
SAID_OF_A_COLUMN = ("description", "changes")
"""What a column declares that decides neither its cells nor who may send them."""
ATTRIBUTES = ".gitattributes"
"""Git lays a file out in other bytes where such a file says so."""


def main_config(model: str) -> ModelConfig | None:
    """What the main branch says of a model now; None where it does not have it.

    Raises:
        ConfigError: what it says cannot be read.
    """
    return _on_main(model, "model.yaml", ModelConfig)


def envelope_signature(model: str) -> EnvelopeSignature | None:
    """The signature of the main branch's envelope; None where it has none.

    Raises:
        ConfigError: the file cannot be read, or names an unknown key.
    """
    return _on_main(model, "envelope.yaml", EnvelopeSignature)


def sealed(own: ModelConfig) -> bool:
    """Whether a candidate's holdout is sealed: by its own config or by the main branch's."""
    main = main_config(own.name)
    return "sealed" in (own.data.holdout, main.data.holdout if main is not None else "open")


def tells_labels(own: ModelConfig) -> dict[str, str]:
    """The columns of a model from which labels of a sealed holdout follow, each with the model whose labels they are.

    Of its own target, and of the models beside it that the main branch seals: both may have rows in common.
    """
    found = dict.fromkeys(_label_columns(own), own.name)
    for name in _models_on_main():
        other = main_config(name) if name != own.name else None
        if other is None or other.data.holdout != "sealed":
            continue
        theirs = {name for c in other.data.columns if c.name in _label_columns(other) for name in (c.name, c.original)}
        for column in own.data.columns:
            if {column.name, column.original} & theirs:
                found.setdefault(column.name, name)
    return found


def _label_columns(config: ModelConfig) -> set[str]:
    """What the label is made from, and what is known only after it."""
    known = config.data.columns
    late = {column.name for column in known if column.available == "after"}
    return late | set(columns_named(resolve(config.data.target.expression, operands(known))))


def _models_on_main() -> tuple[str, ...]:
    settings = Settings()
    git, branch = Git(settings.clone), f"refs/remotes/origin/{settings.branch}"
    if not has_main() or not git.run("ls-tree", branch, "--", LISTED):
        return ()
    source = f"{LISTED} of the branch {settings.branch}"
    return registered_document(parse_yaml(git.run("show", f"{branch}:{LISTED}"), source), ModelList, source).models


def has_main() -> bool:
    """Whether the clone knows a main branch; without a clone no flow looks, but a person at files."""
    settings = Settings()
    branch = f"refs/remotes/origin/{settings.branch}"
    return settings.clone.is_dir() and bool(Git(settings.clone).run("for-each-ref", "--format=%(refname)", branch))


def _on_main(model: str, name: str, schema: type[S]) -> S | None:
    """One file of a model's folder as the main branch has it now."""
    settings = Settings()
    path = f"{model_folder(Path(), model).as_posix()}/{name}"
    git, branch = Git(settings.clone), f"refs/remotes/origin/{settings.branch}"
    if not has_main() or not git.run("ls-tree", branch, "--", path):
        return None
    source = f"{path} of the branch {settings.branch}"
    return registered_document(parse_yaml(git.run("show", f"{branch}:{path}"), source), schema, source)


def gates_of(own: ModelConfig) -> tuple[tuple[GateConfig, ...], frozenset[str]]:
    """The gates that a candidate has to pass, and the names of those that it would have had otherwise.

    They are the main branch's, and beside them what the candidate adds.
    """
    main, listed = main_config(own.name), {g.name: g for g in own.gates}
    if main is None:
        return tuple(listed.values()), frozenset()
    asked = {g.name: g for g in main.gates}
    changed = frozenset(name for name, gate in asked.items() if listed.get(name) != gate)
    return tuple({**listed, **asked}.values()), changed


def rules_of(worktree: Path, model: str) -> tuple[ExpertRules | None, bool]:
    """The expert rules that a candidate is held to, and whether some of them are the main branch's alone."""
    path = model_folder(worktree, model) / "rules.yaml"
    own = load_yaml(path, ExpertRules) if path.exists() else None
    main = _on_main(model, "rules.yaml", ExpertRules)
    if main is None:
        return own, False
    rules = own.rules if own else ()
    missing = tuple(rule for rule in main.rules if rule not in rules)
    return ExpertRules(rules=rules + missing), bool(missing)


def expectations_of(worktree: Path, model: str) -> tuple[Expectations, bool]:
    """What a candidate's data are held to, and whether some of it is the main branch's alone.

    Raises:
        ConfigError: there is no ``expectations.yaml``, or it cannot be read.
    """
    own = load_yaml(model_folder(worktree, model) / "expectations.yaml", Expectations)
    main = _on_main(model, "expectations.yaml", Expectations) or Expectations()
    ingested, prepared = (
        tuple(item for item in asked if item not in given)
        for asked, given in ((main.ingested, own.ingested), (main.prepared, own.prepared))
    )
    both = Expectations(ingested=own.ingested + ingested, prepared=own.prepared + prepared)
    return both, bool(ingested or prepared)


def same_question(own: ModelConfig, commit: str) -> GateResult | None:
    """A mandatory gate that fails where a candidate answers another question than the main branch asks.

    Which label, of which rows, for which groups, and how it is watched afterwards. Rows and labels come from files, so
    these are the main branch's, too. None where all is the same, or the main branch does not have the model.

    Args:
        commit: the candidate's.
    """
    question = _other_question(own)
    files = [] if main_config(own.name) is None else _other_rows(own.name, commit)
    found = [*question, *files]
    if not found:
        return None
    branch = Settings().branch
    merge = f"; or merge {branch}, if it was changed there" if files else ""
    return GateResult(
        gate="same-question",
        kind="same_question",
        mandatory=True,
        state="fail",
        reason=f"the candidate answers another question than the branch {branch} asks: {'; '.join(found)}",
        remedy=f"to ask it, push the changed {'files' if files else 'model.yaml'} to {branch} first{merge}",
    )


def _other_question(own: ModelConfig) -> list[str]:
    """Each part of the question that differs, in words."""
    main = main_config(own.name)
    if main is None:
        return []
    threshold = {"decision_threshold": own.data.target.decision_threshold}  # the model's choice, which gates measure
    asked: dict[str, tuple[Any, Any]] = {
        f"data.{name}": (getattr(main.data, name), getattr(own.data, name)) for name in QUESTION
    }
    asked["data.target"] = (main.data.target.model_copy(update=threshold), own.data.target)
    asked["seed"] = (main.seed, own.seed)  # it chooses the sides of the split
    asked |= _columns(main, own)
    asked["monitoring"] = (main.monitoring, own.monitoring)
    asked["labels"] = (main.labels, own.labels)
    if main.data.holdout_sha256 is not None:
        asked["data.holdout_sha256"] = (main.data.holdout_sha256, own.data.holdout_sha256)
    asked |= {f"protected.{name}": (spec, own.protected.get(name)) for name, spec in main.protected.items()}
    asked |= {f"benchmarks.{name}": (spec, own.benchmarks.get(name)) for name, spec in main.benchmarks.items()}
    return [
        f"{place} is {_said(here)} and not {_said(there)}" for place, (there, here) in asked.items() if there != here
    ]


def _columns(main: ModelConfig, own: ModelConfig) -> dict[str, tuple[Any, Any]]:
    """Each column of the main branch that a candidate declares, too, as both have it; another column is its own."""
    besides = {key: Column.model_fields[key].default for key in SAID_OF_A_COLUMN}
    here, found = {column.name: column for column in own.data.columns}, dict[str, tuple[Any, Any]]()
    for column in main.data.columns:
        other = here.get(column.name, column)
        if column.model_copy(update=besides) != other.model_copy(update=besides):
            found[f"data.columns.{column.name}"] = column, other
    if not main.data.source.reading.header:  # cells have the order of the columns
        there, names = ([c.name for c in config.data.columns] for config in (main, own))
        found["data.columns"] = there, names
    return found


def _other_rows(model: str, commit: str) -> list[str]:
    """The files that rows and labels are read from, where a candidate has others than the main branch, in words.

    What git keeps is compared by its objects, and what DVC keeps by its pointers. Of the rows that were collected in
    production a candidate may lack those that came to the main branch after it, and no others.
    """
    settings = Settings()
    git, branch = Git(settings.clone), f"refs/remotes/origin/{settings.branch}"
    here, there = _kept(git, commit, model), _kept(git, branch, model)
    begun = _kept(git, _fork(git, commit, branch), model)
    collected = f"{collected_folder(model)}/"
    found = []
    for path in sorted(here.keys() | there.keys()):
        if here.get(path) == there.get(path):
            continue
        if path.startswith(collected) and path not in here and path not in begun:
            continue
        how = "another file" if path in here and path in there else "new" if path in here else "missing"
        found.append(f"{flat(path)} is {how}")
    return found


def _kept(git: Git, commit: str, model: str) -> dict[str, str]:
    """Path and object of all that a model's rows are read from at a commit; nothing of no commit."""
    source, collected = source_folder(model), collected_folder(model)
    folders = [PurePosixPath(folder) for folder in (source, collected)]
    above = sorted({str(parent / ATTRIBUTES) for folder in folders for parent in folder.parents})
    named = [source, f"{source}.dvc", collected, f"{collected}.dvc", *above]
    lines = git.lines("ls-tree", "-r", "-z", commit, "--", *named, end="\0") if commit else []
    kept = {line.partition("\t")[2]: line.partition("\t")[0] for line in lines}
    return {path: about for path, about in kept.items() if not path.endswith("/.gitignore")}


def _fork(git: Git, commit: str, branch: str) -> str:
    """The commit that two have in common; empty where they have none."""
    try:
        return git.run("merge-base", commit, branch)
    except GitError:
        return ""


def _said(value: Any) -> str:
    """A part of a config as people write it."""
    if value is None:
        return "missing"
    plain = value.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(value, Spec) else value
    return json.dumps(plain, ensure_ascii=False)
