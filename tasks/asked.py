"""What the main branch asks of a model: whoever pushes another branch may ask more of it, and never less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.records.repository.git import Git
from tasks.spec.base import S, Spec, load_yaml, parse_yaml, registered_document
from tasks.spec.evidence import GateResult
from tasks.spec.expectations import Expectations
from tasks.spec.gates import GateConfig
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_folder
from tasks.spec.rules import ExpertRules
from tasks.spec.settings import Settings

ASKED_ON_MAIN = "asked as the main branch asks it, not as the candidate's own {file} does"
QUESTION = ("rows", "base", "period", "entity", "split")
"""Parts of ``data`` that choose which rows are examined. Whoever chooses them has chosen the examination."""


def main_config(model: str) -> ModelConfig | None:
    """What the main branch says of a model now; None where it does not have it.

    Raises:
        ConfigError: what it says cannot be read.
    """
    return _on_main(model, "model.yaml", ModelConfig)


def _on_main(model: str, name: str, schema: type[S]) -> S | None:
    """One file of a model's folder as the main branch has it now."""
    settings = Settings()
    path = f"{model_folder(Path(), model).as_posix()}/{name}"
    if not settings.clone.is_dir():  # nothing was checked out from it: no flow looks, but a person at files
        return None
    git, branch = Git(settings.clone), f"refs/remotes/origin/{settings.branch}"
    if not git.run("for-each-ref", "--format=%(refname)", branch) or not git.run("ls-tree", branch, "--", path):
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


def same_question(own: ModelConfig) -> GateResult | None:
    """A mandatory gate that fails where a candidate answers another question than the main branch asks.

    Which label, of which rows, for which groups, and how it is watched afterwards. None where it is the same, or the
    main branch does not have the model.
    """
    found = _other_question(own)
    if not found:
        return None
    return GateResult(
        gate="same-question",
        kind="same_question",
        mandatory=True,
        state="fail",
        reason=f"the candidate answers another question than the branch {Settings().branch} asks: {'; '.join(found)}",
        remedy=f"to ask it, push the changed model.yaml to {Settings().branch} first",
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
    asked["monitoring"] = (main.monitoring, own.monitoring)
    asked["labels"] = (main.labels, own.labels)
    if main.data.holdout_sha256 is not None:
        asked["data.holdout_sha256"] = (main.data.holdout_sha256, own.data.holdout_sha256)
    asked |= {f"protected.{name}": (spec, own.protected.get(name)) for name, spec in main.protected.items()}
    asked |= {f"benchmarks.{name}": (spec, own.benchmarks.get(name)) for name, spec in main.benchmarks.items()}
    return [
        f"{place} is {_said(here)} and not {_said(there)}" for place, (there, here) in asked.items() if there != here
    ]


def _said(value: Any) -> str:
    """A part of a config as people write it."""
    if value is None:
        return "missing"
    plain = value.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(value, Spec) else value
    return json.dumps(plain, ensure_ascii=False)
