"""Check a model's folder, as it stands in a checkout, before anything is pushed, trained or started."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.checks.documents import Document, Finding, declared, read, repeated, understood
from tasks.checks.dry_run import Scratch, fitted, ingested, prepared
from tasks.checks.needs import (
    counts,
    likely_copies,
    likely_gaps,
    likely_leaks,
    misnaming_rules,
    unanswered,
    unasked_rules,
)
from tasks.data import run_suite, suite_faults
from tasks.evaluation import laid_out
from tasks.records.repository.readers import differences
from tasks.records.repository.tracked import changed, say_add
from tasks.signing import signatures
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tasks.spec.model import ModelConfig, nobody_looked_after
from tasks.spec.models import model_file, model_folder
from tasks.spec.rules import ExpertRules
from tasks.spec.training import NOT_OF_TRAINING, TrainingConfig, beside, misfits
from tasks.spec.waivers import EnvelopeSignature, Waivers
from tasks.validation import missing_gates

LISTED = "deployments/models.yaml"


@dataclass
class Checked:
    """All findings, those of one file in the order of its lines, and what was counted."""

    model: str
    findings: list[Finding] = field(default_factory=list)
    counted: dict[str, Any] = field(default_factory=dict)

    @property
    def wrong(self) -> list[Finding]:
        return [f for f in self.findings if f.wrong]


def check(root: Path, name: str) -> Checked:
    """Everything that is wrong with a model, or looks odd, found by the code that trains, serves and judges it.

    Args:
        root: of the checkout; uncommitted changes count.
        name: of the model.
    """
    done, path = Checked(name), model_folder(root, name) / "model.yaml"
    try:
        model_file(root, name)
    except ConfigError as error:
        done.findings.append(Finding(LISTED, None, "models", str(error).rstrip(".")))
        if not path.exists():
            return done
    files = {kind: path.with_name(f"{kind}.yaml") for kind in ("model", "expectations", "rules")}
    documents = {
        kind: read(file, file.relative_to(root).as_posix(), done.findings if file.exists() or kind != "rules" else [])
        for kind, file in files.items()
    }
    for document in documents.values():
        done.findings += repeated(document)
    if edited := changed(root, name):
        done.findings.append(Finding(f"{edited[0]}.dvc", None, "data.source", say_add(edited)))
    _check(root, name, documents, done)
    told = {(f.file, f.line) for f in done.wrong}  # what has no quotes, say, which has a sentence of its own
    done.findings += [f for f in _ambiguous(documents["model"]) if (f.file, f.line) not in told]
    done.findings += _unreadable_waivers(root, path.with_name("waivers.yaml"))
    done.findings += _unreadable_envelope(root, path.with_name("envelope.yaml"))
    order = {document.name: place for place, document in enumerate(documents.values())}
    done.findings.sort(key=lambda f: (order.get(f.file, -1), f.line or 0))
    return done


def _ambiguous(model: Document) -> list[Finding]:
    """What DVC would hash as other values than the stages read; training refuses it."""
    if model.node is None:
        return []
    keys = [key for key in model.raw if key not in NOT_OF_TRAINING]
    try:
        return [model.finding(*found) for found in differences(model.path.read_text("utf-8"), model.name, keys)]
    except ConfigError:  # a key that stands twice, which is told where it stands
        return []


def _unreadable_waivers(root: Path, path: Path) -> list[Finding]:
    """Waivers that are signed by nobody as they stand: another reader would not take what one takes."""
    found: list[Finding] = []
    if path.exists():
        document = read(path, path.relative_to(root).as_posix(), found)
        waivers = understood(document, Waivers, found)[0] if document.node else None
        for number, waiver in enumerate(waivers.waivers if waivers else ()):
            if waiver.signature and (why := signatures.unreadable(waiver.signature)):
                found.append(document.finding(("waivers", number, "signature"), why))
    return found


def _unreadable_envelope(root: Path, path: Path) -> list[Finding]:
    """The signature of an envelope that counts as none as it stands."""
    found: list[Finding] = []
    if path.exists():
        document = read(path, path.relative_to(root).as_posix(), found)
        signed = understood(document, EnvelopeSignature, found)[0] if document.node else None
        if signed is not None and (why := signatures.unreadable(signed.signature)):
            found.append(document.finding(("signature",), why))
    return found


@dataclass
class _Folder:
    """What could be read of a model's files, and which of its parts rows were asked of."""

    files: dict[str, Document]
    suites: Expectations | None
    rules: ExpertRules | None
    config: ModelConfig | None = None
    doubtful: set[str] = field(default_factory=set)
    """Columns whose declaration was wrong."""
    asked: set[str] = field(default_factory=set)


def _check(root: Path, name: str, files: dict[str, Document], done: Checked) -> None:
    suites = understood(files["expectations"], Expectations, done.findings)[0] if files["expectations"].node else None
    rules = understood(files["rules"], ExpertRules, done.findings)[0] if files["rules"].node else None
    folder = _Folder(files, suites, rules)
    if files["model"].node is not None:
        training = _configured(name, folder, done)
        if training is not None:
            with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a fit on few rows
                _try_out(Scratch(root, name, Path(scratch)), training, folder, done)
    _without_rows(folder, done)


def _configured(name: str, folder: _Folder, done: Checked) -> TrainingConfig | None:
    """All that is wrong with model.yaml by itself."""
    model = folder.files["model"]
    done.findings += [model.finding(place, said) for place, said in beside(model.raw)]
    config, folder.doubtful = understood(model, ModelConfig, done.findings)
    folder.config = config
    training: TrainingConfig | None = config
    if config is None:  # the gates are beyond reading, and the data may not be
        part = {key: value for key, value in model.raw.items() if key not in NOT_OF_TRAINING}
        part_of = Document(model.path, model.name, part, model.node)
        training, more = understood(part_of, TrainingConfig, done.findings)
        folder.doubtful |= more
    else:
        named = bool(model.raw.get("protected"))  # also where all that it names was wrong, and told so
        if config.protected or not named:
            done.findings += [model.finding(place, said) for place, said in nobody_looked_after(config)]
        asked = missing_gates(config.materiality, config.gates, grouped=named)
        raw = [g for g in model.raw.get("gates") or () if isinstance(g, dict) and g.get("mandatory", True)]
        listed = {g.get("kind") for g in raw}  # also one that is wrong, and told so
        done.findings += [model.finding(("materiality",), gate.reason) for gate in asked if gate.kind not in listed]
        done.findings += _unsaid(config, model)
    if training is not None:
        done.findings += [model.finding(place, said) for place, said in misfits(training, name)]
    return training


def _unsaid(config: ModelConfig, model: Document) -> list[Finding]:
    """Texts of the model card that the gate ``transparency`` would miss."""
    asked = any(gate.kind == "transparency" for gate in config.gates)
    return [
        model.finding(
            tuple(place.split(".")),
            f"{place} is empty or a place kept, and {config.materiality} materiality asks for it; write it",
            wrong=config.held_to_card,
        )
        for place in (config.unsaid(config.materiality) if asked else ())
    ]


def _try_out(paths: Scratch, training: TrainingConfig, folder: _Folder, done: Checked) -> None:
    """Run what the stages and gates run, as far as it goes."""
    model, config = folder.files["model"], folder.config
    training, found = ingested(paths, training, model, folder.doubtful)
    done.findings += found
    if not paths.ingested.exists():
        return
    table = pd.read_parquet(paths.ingested)
    if config is not None:
        done.findings += [f for f in likely_gaps(config, table, model) if f.key not in {g.key for g in done.findings}]
        done.findings += likely_copies(config, table, model)
    training, found = prepared(paths, training, model)
    done.findings += found
    ready = (paths.prepared / "holdout.parquet").exists()
    _expectations("ingested", table, folder, training, done)
    if not ready:
        return
    both = [pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "holdout")]
    _expectations("prepared", pd.concat(both), folder, training, done)
    sides = {side: len(pd.read_parquet(paths.prepared / f"{side}.parquet")) for side in ("train", "holdout", "replay")}
    record = DataRecord.model_validate_json(paths.record.read_text())
    done.counted = {"read": record.rows, "dropped": record.dropped, "rows": sides}
    done.findings += fitted(paths, training, model) if training.features else []
    if config is not None and (paths.evaluation / "holdout_scored.parquet").exists():
        _examine(paths, training, config, folder, done)


def _examine(paths: Scratch, training: TrainingConfig, config: ModelConfig, folder: _Folder, done: Checked) -> None:
    """What the gates cannot ask of the rows and scores of the small fit, and leaks that show there."""
    model = folder.files["model"]
    config = config.model_copy(update={"data": training.data, "features": training.features})
    try:
        scored = pd.read_parquet(paths.evaluation / "holdout_scored.parquet")
        examination = laid_out(paths, config, scored, folder.rules)
    except ConfigError as error:
        done.findings.append(model.finding(("protected",), str(error)))
        return
    done.counted |= counts(config, examination)
    done.findings += unanswered(config, examination, model)
    done.findings += likely_leaks(config, examination, model)
    for gate in config.gates:
        if gate.kind == "rules":
            folder.asked.add("rules")
            done.findings += unasked_rules(gate, examination, folder.files["rules"])


def _without_rows(folder: _Folder, done: Checked) -> None:
    """What is wrong with expectations and rules that no rows could be asked, so that nobody waits for them to be."""
    columns, found = declared(folder.files["model"]), list[Finding]()
    for table in ("ingested", "prepared"):
        if folder.suites is not None and table not in folder.asked:
            for index, said in suite_faults(table, getattr(folder.suites, table), columns):
                sentence = said.removeprefix(f"expectations.yaml, {table}, ")
                found.append(folder.files["expectations"].finding((table, index), sentence))
    if folder.rules is not None and columns and "rules" not in folder.asked:
        config = folder.config
        wrong = config is None or any(g.kind == "rules" and g.mandatory for g in config.gates)
        inputs = [c for c in columns if c.served]
        found += misnaming_rules(folder.rules, inputs, folder.files["rules"], wrong)
    done.findings += [f for f in found if not any(repr(name) in f.message for name in folder.doubtful)]


def _expectations(table: str, rows: pd.DataFrame, folder: _Folder, config: TrainingConfig, done: Checked) -> None:
    """Expectations that are broken, or cannot be asked, each by itself."""
    if folder.suites is None:
        return
    folder.asked.add(table)
    suite, document = getattr(folder.suites, table), folder.files["expectations"]
    checks = []
    try:
        checks = list(enumerate(run_suite(table, rows, suite, config.data.columns)))
    except ConfigError:  # one that cannot be computed must not take the others with it
        for index, item in enumerate(suite):
            try:
                checks += [(index, answer) for answer in run_suite(table, rows, (item,), config.data.columns)]
            except ConfigError as error:
                sentence = str(error).removeprefix(f"expectations.yaml, {table}, ")
                done.findings.append(document.finding((table, index), sentence))
    broken = [(index, f"the {table} table breaks it: {c['sentence']}") for index, c in checks if not c["success"]]
    done.findings += [document.finding((table, index), sentence) for index, sentence in broken]
