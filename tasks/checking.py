"""Check a model's folder, as it stands in a checkout, before anything is pushed, trained or started."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.checks.documents import Document, Finding, read, repeated, understood
from tasks.checks.dry_run import Scratch, fitted, ingested, prepared
from tasks.checks.needs import counts, likely_gaps, unanswered, unasked_rules
from tasks.data import run_suite
from tasks.evaluation import laid_out
from tasks.spec.data_record import DataRecord
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tasks.spec.model import ModelConfig, nobody_looked_after
from tasks.spec.models import model_file, model_folder
from tasks.spec.rules import ExpertRules
from tasks.spec.training import NOT_OF_TRAINING, TrainingConfig, beside, misfits
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
    if documents["model"].node is not None:
        _check(root, name, documents, done)
    order = {document.name: place for place, document in enumerate(documents.values())}
    done.findings.sort(key=lambda f: (order.get(f.file, -1), f.line or 0))
    return done


def _check(root: Path, name: str, files: dict[str, Document], done: Checked) -> None:
    model = files["model"]
    done.findings += [model.finding(place, said) for place, said in beside(model.raw)]
    config, doubtful = understood(model, ModelConfig, done.findings)
    training: TrainingConfig | None = config
    if training is None:  # the gates are beyond reading, and the data may not be
        part = {key: value for key, value in model.raw.items() if key not in NOT_OF_TRAINING}
        training, more = understood(Document(model.path, model.name, part, model.node), TrainingConfig, done.findings)
        doubtful |= more
    suites, _ = understood(files["expectations"], Expectations, done.findings)
    rules = understood(files["rules"], ExpertRules, done.findings)[0] if files["rules"].node is not None else None
    if config is not None:
        done.findings += [model.finding(place, said) for place, said in nobody_looked_after(config)]
        asked = missing_gates(config.materiality, config.gates, grouped=bool(config.protected))
        done.findings += [model.finding(("materiality",), gate.reason) for gate in asked]
    if training is None:
        return
    done.findings += [model.finding(place, said) for place, said in misfits(training, name)]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit on few rows
        _try_out(Scratch(root, name, Path(folder)), training, config, suites, rules, files, doubtful, done)


def _try_out(
    paths: Scratch,
    training: TrainingConfig,
    config: ModelConfig | None,
    suites: Expectations | None,
    rules: ExpertRules | None,
    files: dict[str, Document],
    doubtful: set[str],
    done: Checked,
) -> None:
    """Run what the stages and gates run, as far as it goes."""
    model = files["model"]
    training, found = ingested(paths, training, model, doubtful)
    done.findings += found
    if not paths.ingested.exists():
        return
    table = pd.read_parquet(paths.ingested)
    if config is not None:
        done.findings += [f for f in likely_gaps(config, table, model) if f.key not in {g.key for g in done.findings}]
    training, found = prepared(paths, training, model)
    done.findings += found
    ready = (paths.prepared / "holdout.parquet").exists()
    if suites is not None:
        done.findings += _expectations("ingested", table, suites, files["expectations"], training)
        if ready:
            both = [pd.read_parquet(paths.prepared / f"{side}.parquet") for side in ("train", "holdout")]
            done.findings += _expectations("prepared", pd.concat(both), suites, files["expectations"], training)
    if not ready:
        return
    sides = {side: len(pd.read_parquet(paths.prepared / f"{side}.parquet")) for side in ("train", "holdout", "replay")}
    record = DataRecord.model_validate_json(paths.record.read_text())
    done.counted = {"read": record.rows, "dropped": record.dropped, "rows": sides}
    done.findings += fitted(paths, training, model) if training.features else []
    scored = paths.evaluation / "holdout_scored.parquet"
    if config is None or not scored.exists():
        return
    config = config.model_copy(update={"data": training.data, "features": training.features})
    try:
        examination = laid_out(paths, config, pd.read_parquet(scored), rules)
    except ConfigError as error:
        done.findings.append(model.finding(("protected",), str(error)))
        return
    done.counted |= counts(config, examination)
    done.findings += unanswered(config, examination, model)
    for gate in config.gates:
        if gate.kind == "rules":
            done.findings += unasked_rules(gate, examination, files["rules"])


def _expectations(
    table: str, rows: pd.DataFrame, suites: Expectations, document: Document, config: TrainingConfig
) -> list[Finding]:
    """Expectations that are broken, or cannot be asked, each by itself."""
    suite, found = getattr(suites, table), []
    try:
        checks = list(enumerate(run_suite(table, rows, suite, config.data.columns)))
    except ConfigError:  # one that cannot be computed must not take the others with it
        checks = []
        for index, item in enumerate(suite):
            try:
                checks += [(index, answer) for answer in run_suite(table, rows, (item,), config.data.columns)]
            except ConfigError as error:
                sentence = str(error).removeprefix(f"expectations.yaml, {table}, ")
                found.append(document.finding((table, index), sentence))
    broken = [(index, f"the {table} table breaks it: {c['sentence']}") for index, c in checks if not c["success"]]
    return found + [document.finding((table, index), sentence) for index, sentence in broken]
