"""``assay rebuild`` on versions whose record was planted with one change each; each is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import verify
from tasks.records.repository import dvc, workspace
from tasks.spec.ledger import EntryDraft, ForgottenDetails, RebuiltDetails, TrainedDetails
from tasks.spec.settings import Settings
from tests.candidates import commit_run, passed
from tests.conftest import ROOT, git
from tests.told import MAIN

COPY = (
    "import pathlib as p, sys; d = p.Path('data/income'); "
    "(d / sys.argv[2]).write_text((d / sys.argv[1]).read_text() + {more})"
)
SCORE = (
    "import json, pathlib as p; d = p.Path('data/income'); n = len((d / 'model.txt').read_text()); "
    "(d / 'metrics.json').write_text(json.dumps(dict(holdout=dict(rows=9, accuracy=0.5 + n * {unit}))))"
)
KERNEL = "__import__('os').environ.get('OPENBLAS_CORETYPE', 'none')"
SOURCE, CONFIG = "data/income/source/rows.csv", "deployments/models/income/model.yaml"


def stage(read: str, write: str, deps: list[str], more: str = "'.'", **keys: Any) -> dict[str, Any]:
    command = f'python -c "{COPY.format(more=more)}" {read} {write}'
    outs = keys.pop("outs", [f"data/income/{write}"])
    return {"matrix": {"model": ["income"]}, "cmd": command, "deps": deps, "outs": outs, **keys}


def stages(train: str, unit: float) -> dict[str, Any]:
    metrics = [{"data/income/metrics.json": {"cache": False}}]
    return {
        "ingest": stage("source/rows.csv", "ingested.txt", ["data/income/source", "tasks/stages/ingest.py"]),
        "prepare": stage("ingested.txt", "prepared.txt", ["data/income/ingested.txt"]),
        "train": stage("prepared.txt", "model.txt", ["data/income/prepared.txt", "requirements.lock"], train,
                       params=[{CONFIG: ["seed", "estimator"]}]),
        "evaluate": {"matrix": {"model": ["income"]}, "cmd": f'python -c "{SCORE.format(unit=unit)}"',
                     "deps": ["data/income/model.txt"], "outs": metrics},
    }  # fmt: skip


class World:
    """An origin with one model of stand-in stages, and versions whose commits were changed after they were trained."""

    def __init__(self, developer: Path, settings: Settings) -> None:
        self.developer, self.settings = developer, settings
        self.commits: dict[str, str] = {}
        self.unit = 1.0
        """By how much a character of the model file moves its metric."""

    def trained(self, name: str, train: str = "'.'", machine: dict[str, Any] | None = None,
                after: dict[str, Callable[[str], str]] | None = None) -> str:  # fmt: skip
        """Train and promote; ``after`` changes files of the commit once it is trained. Gives the version."""
        for path, text in {
            SOURCE: "a,b\n1,2\n", CONFIG: "seed: 1\nestimator: {kind: ridge, parameters: {alpha: 0.001}}\n",
            "tasks/stages/ingest.py": "x = 1\n", "requirements.lock": (ROOT / "requirements.lock").read_text(),
            "dvc.yaml": yaml.safe_dump({"stages": stages(train, self.unit)}), ".gitignore": "/data/income/*.txt\n",
        }.items():  # fmt: skip
            (self.developer / path).parent.mkdir(parents=True, exist_ok=True)
            (self.developer / path).write_text(text)
        git(self.developer, "add", ".")
        git(self.developer, "commit", "--quiet", "--allow-empty", "-m", name)
        git(self.developer, "push", "--quiet", "origin", "HEAD:main")
        with workspace.worktree(self.settings, "main") as tree:
            dvc.reproduce(tree, "evaluate@income")
            if after:
                commit_run(self.settings, tree, f"trained {name}", f"assay/candidates/income/before-{name}")
            for path, edit in (after or {}).items():
                changed = edit((tree / path).read_text())
                assert changed != (tree / path).read_text()
                (tree / path).write_text(changed)
            commit = commit_run(self.settings, tree, name, f"assay/candidates/income/{name}")
        self.commits[name] = commit
        evidence = {"metrics": {}, "manifest": {}} | ({"machine": machine} if machine else {})
        draft = EntryDraft(
            kind="trained", model="income", commit=commit, actor="test", reason="person", sentence="trained",
            evidence=evidence, details=TrainedDetails(base=commit, branch=name),
        )  # fmt: skip
        ledger.append(self.settings, draft)
        champion = Registry(self.settings).champion("income")
        before = champion.tag if champion else None
        return Registry(self.settings).promote(
            "income", commit, passed("income", commit, before), "test", "person", before
        ).tag  # fmt: skip


@pytest.fixture
def world(dvc_developer: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    return World(dvc_developer, settings)


def assay(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, *words], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_each_planted_change_is_named_and_what_is_whole_is_identical(world: World) -> None:
    a_lock = {"requirements.lock": lambda t: t.replace("joblib==1.6.0", "joblib==1.6.1")}
    cases: dict[str, tuple[Any, str, str | None, str]] = {
        "whole": ({}, "identical", None, "identical: every file that the stages make has its recorded digest"),
        "byte": ({"after": {SOURCE: lambda t: t.replace("2", "3")}}, "differs", "data/income/source", "has md5"),
        "code": ({"after": {"tasks/stages/ingest.py": lambda t: "x = 2\n"}}, "differs", "tasks/stages/ingest.py",
                 "was changed after ingest had read it"),
        "lock": ({"after": a_lock}, "differs", "requirements.lock",
                 "requirements.lock is not the one that train read: joblib 1.6.0 became 1.6.1"),
        "parameter": ({"after": {CONFIG: lambda t: t.replace("0.001", "0.002")}}, "differs",
                      "estimator.parameters.alpha", "says estimator.parameters.alpha: 0.002, and train read 0.001"),
        "chance": ({"train": "str(__import__('time').time_ns())"}, "differs", "data/income/model.txt",
                   "data/income/model.txt comes out otherwise each time, so train gives results of chance"),
    }  # fmt: skip
    versions = {world.trained(name, **how): name for name, (how, *_) in cases.items()}
    shutil.rmtree(world.settings.cache)  # the record alone
    done = assay("rebuild", "income", "--all", "--reuse", "--json")
    assert done.returncode == 1, done.stderr
    found = {versions[one["version"]]: one for one in json.loads(done.stdout)}
    for name, (_, outcome, artefact, said) in cases.items():
        one = found[name]
        assert (one["outcome"], one["artefact"]) == (outcome, artefact), one
        assert said in one["sentence"], one["sentence"]
        entry = next(e for e in ledger.entries(world.settings) if e.sequence == one["entry"])
        assert isinstance(entry.read, RebuiltDetails) and entry.read.outcome == outcome and entry.signature is not None
        assert (entry.version, entry.commit) == (one["version"], world.commits[name])
        evidence = ledger.evidence(world.settings, str(entry.evidence))
        assert evidence["statement"] == one["statement"]
    assert verify(world.settings) == []
    a_statement_is_whole(found["whole"]["statement"], world.commits["whole"])
    text = assay("rebuild", "income", "v1.0.0", "--reuse", "--no-record").stdout
    assert " ".join(text.split()) == "v1.0.0 identical: every file that the stages make has its recorded digest"
    assert len(ledger.entries(world.settings)) == max(one["entry"] for one in found.values())


def a_statement_is_whole(statement: dict[str, Any], commit: str) -> None:
    """The fields that in-toto Statement v1 and SLSA provenance v1 ask for."""
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1",
    )  # fmt: skip
    names = [subject["name"] for subject in statement["subject"]]
    assert names == sorted(f"data/income/{n}" for n in ("ingested.txt", "prepared.txt", "model.txt", "metrics.json"))
    assert all(len(bytes.fromhex(s["digest"]["sha256"])) == 32 for s in statement["subject"])
    built, ran = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert built["externalParameters"] == {"model": "income", "version": "v1.0.0"} and built["buildType"]
    assert built["resolvedDependencies"][0] == {"name": "commit", "digest": {"gitCommit": commit}}
    assert ran["builder"]["id"].startswith("urn:assay:examiner:") and ran["metadata"]["startedOn"].endswith("Z")


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**-6])
def test_another_kernel_is_told_with_the_size_and_explains_no_large_difference(world: World, unit: float) -> None:
    """The stage writes down which kernel it was given, as a fit keeps it in its last bits."""
    world.unit = unit
    world.trained("kernel", KERNEL, machine={"kernel": "openblas Then", "threads": 1, "machine": "x86_64"})
    done = assay("rebuild", "income", "v1.0.0", "--reuse", "--json", OPENBLAS_CORETYPE="Haswell")
    (found,) = json.loads(done.stdout)
    small = unit < 1e-6
    assert (done.returncode, found["outcome"]) == ((0, "differs_by_processor") if small else (1, "differs"))
    assert found["largest"] == pytest.approx((len("Haswell") - len("none")) * unit, rel=1e-3)
    assert f"a metric differs by at most {found['largest']:.3g}" in found["sentence"]
    if small:
        assert found["sentence"].startswith("differs by processor: openblas Then then and openblas ")
    else:
        assert "more than another kernel explains (openblas Then then and openblas " in found["sentence"]


def test_what_cannot_be_made_again_is_one_sentence(world: World) -> None:
    version = world.trained("failing", "str(1 // (1 - p.Path('data/income/again').exists()))")
    with workspace.worktree(world.settings, world.commits["failing"]) as tree:
        (tree / "data/income/again").write_text("")
        (tree / ".gitignore").write_text("")
        commit = commit_run(world.settings, tree, "again", "assay/candidates/income/again")
    Registry(world.settings).promote("income", commit, passed("income", commit, version), "test", "person", version)
    learned = ForgottenDetails(by="id", predictions=1, learned=("v2.0.0",))
    draft = EntryDraft(
        kind="forgotten", model="income", actor="test", reason="person", sentence="deleted", details=learned
    )
    entry = ledger.append(world.settings, draft)
    done = assay("rebuild", "income", "v2.0.0", "--reuse")
    said = " ".join(done.stdout.split())
    assert (done.returncode, done.stderr) == (3, "")
    forgotten = f"rows that were forgotten (entry {entry.sequence} of the ledger), and is not rebuilt from what remains"
    assert said.startswith(f"v2.0.0 cannot be made again: it learned from {forgotten}; train failed: ZeroDivisionError")
    for words, why in (
        (("income", "v9.0.0"), "the ledger knows no income v9.0.0; it knows v1.0.0, v2.0.0."),
        (("income",), "say which version, such as v1.0.0, or --all."),
        (("[red]nobody", "v1.0.0"), "model '[red]nobody' is not listed"),
    ):
        done = assay("rebuild", *words)
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
