"""Every kind of stored document, as the code of 2026-11-27 wrote it, is read by today's code (docs/formats.md)."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from tasks.card import read_card
from tasks.cli.homes import number_of
from tasks.records.log.predictions import PredictionLog
from tasks.records.log.tables import PROFILES, REPORTS
from tasks.records.pages.card import card_page
from tasks.science.data.asked_rows import keys_digest, row_keys, shared_rows
from tasks.science.data.same_rows import Declared, Table
from tasks.science.monitors.drift.reference import load_drift_reference
from tasks.science.monitors.groupings.reference import load_groupings
from tasks.science.monitors.profiles.layout import load_layout
from tasks.science.monitors.profiles.profile import load_profile
from tasks.science.windows.reference import load_reference
from tasks.serving.keys import KeyFile
from tasks.spec.base import digest_json, load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.estimator import Epochs
from tasks.spec.evidence import Verdict
from tasks.spec.expectations import Expectations
from tasks.spec.formats import BACKUP, CARD, NUMBERED, refuse_other_format
from tasks.spec.ledger import Entry
from tasks.spec.manifest import Manifest, Pointer
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules
from tasks.spec.waivers import EnvelopeSignature, Waivers
from tests.conftest import ROOT

OLD = ROOT / "tests/formats"
UNNUMBERED = "unnumbered"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    opened = PredictionLog(f"sqlite:///{tmp_path}/predictions.db")
    yield opened
    opened.close()


def text(name: str) -> str:
    path = OLD / name
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def stored(log: PredictionLog, kind: str, number: int, name: str) -> PredictionLog:
    """The log with an old row of the table ``profiles`` in it."""
    values = {"model": "care", "kind": kind, "number": number, "format": 1, "document": text(name)}
    with log.database.writing() as connection:
        connection.execute(sa.insert(PROFILES).values(**values))
    return log


def _reference(log: PredictionLog) -> dict[str, Any]:
    kept = stored(log, "reference:v1.0.0", 0, "fitted-reference.json.gz").reference("care", "v1.0.0")
    assert kept is not None
    return kept


def fitted_reference(log: PredictionLog) -> None:
    found = load_reference(_reference(log), pd.DataFrame())
    assert found.layout.model == "care" and max(found.importance, key=lambda n: found.importance[n]) == "xage"


def profile_layout(log: PredictionLog) -> None:
    found = load_layout(_reference(log)["drift"]["layout"])
    assert (found.kind, found.reference_rows) == ("binary", 4000) and "xage" in found.inputs


def drift_reference(log: PredictionLog) -> None:
    document = _reference(log)["drift"]
    assert document["format"] == 2 and load_drift_reference(document).layout.model == "care"
    with pytest.raises(ConfigError, match="has format 1, an older one; this code reads format 2 only. Fit it again"):
        load_drift_reference(document | {"format": 1})


def groupings(log: PredictionLog) -> None:
    found = load_groupings(_reference(log)["groups"])
    assert [g.name for g in found.groups] == ["A", "B"] and found.fitted.shape == (20, 13)


def profile(log: PredictionLog) -> None:
    kept = stored(log, "profile", 2, "profile.json").profile("care", 2)
    assert kept is not None and load_profile(kept).rows == 500


def feed_facts(log: PredictionLog) -> None:
    (found,) = stored(log, "feed", 2, "feed-facts.json").feed_facts("care", before=3, last=5)
    assert (found.rows, found.versions, found.columns[0]) == (500, ("v1.0.0",), "site")


def p_values(log: PredictionLog) -> None:
    (found,) = stored(log, "p_values:v1.0.0", 2, "p-values.json").p_values("care", "v1.0.0", before=3, last=5)
    assert {"data_drift", "prediction_drift"} <= set(found) and all(0 <= p <= 1 for p in found.values())


def pictures(log: PredictionLog) -> None:
    found = stored(log, "pictures", 2, "pictures.json").pictures("care", 2)
    assert found.plots[0].x_label == "share of the mean absolute attribution" and found.map is not None
    assert len(found.map.points) == 20


def silent_feeds(log: PredictionLog) -> None:
    assert stored(log, "silence", 0, "silent-feeds.json").silent_feeds("care") == ["outcomes"]


def window_report(log: PredictionLog) -> None:
    facts = {"model": "care", "number": 2, "version": "v1.0.0", "last": "", "rows": 500, "labelled": 0}
    with log.database.writing() as connection:
        values = facts | {"action": "nothing", "report": text("window-report.json")}
        connection.execute(sa.insert(REPORTS).values(**values))
    (found,) = log.reports("care")
    assert (found.window, found.findings[0].kind, found.findings[0].subject) == (2, "data_quality", "xage")
    assert found.decision.action == json.loads(text("window-report.json"))["decision"]["action"]


def ledger_entry(log: PredictionLog) -> None:
    found = Entry.model_validate_json(text("ledger-entry.json"))
    assert (found.sequence, found.kind, found.window) == (7, "monitored", 3), "the window is read from the old sentence"
    assert found.digest() == digest_json(json.loads(text("ledger-entry.json"))), "the chain of digests still holds"


def evidence(log: PredictionLog) -> None:
    found = Verdict.model_validate(json.loads(text("evidence.json"))["verdict"], strict=False)
    performance, fairness = found.gates
    assert (found.passed, performance.plots[0].y_label) == (True, "true positive rate")
    assert fairness.waiver is not None and found.waived == (fairness,) and found.failed == ()


def model_config(log: PredictionLog) -> None:
    found = load_yaml(OLD / "model.yaml", ModelConfig)
    assert (found.name, found.kind, found.monitoring.window_rows > 0) == ("care", "binary", True)


def expert_rules(log: PredictionLog) -> None:
    assert load_yaml(OLD / "rules.yaml", ExpertRules).rules


def expectations(log: PredictionLog) -> None:
    assert load_yaml(OLD / "expectations.yaml", Expectations)


def envelope(log: PredictionLog) -> None:
    assert load_yaml(OLD / "envelope.yaml", EnvelopeSignature).who == "jo@example.org"


def waivers(log: PredictionLog) -> None:
    assert [w.gate for w in load_yaml(OLD / "waivers.yaml", Waivers).waivers] == ["fairness"]


def manifest(log: PredictionLog) -> None:
    found = Manifest.model_validate_json(text("manifest.json"))
    assert (found.features, found.decision_threshold, found.trained_rows) == (("xage", "educdec"), 0.5, 2000)


def pointer(log: PredictionLog) -> None:
    found = Pointer.model_validate_json(text("pointer.json"))
    assert (found.version, found.stopped) == ("v1.1.0", "")


def home(log: PredictionLog) -> None:
    """Those of before have no number, and are of format 1."""
    folder = Path(str(log.database.file)).parent
    assert number_of(folder) == 1
    (folder / "format.json").write_text(text("home.json"))
    assert number_of(folder) == 2


def backup(log: PredictionLog) -> None:
    refuse_other_format(json.loads(text("backup.json")), BACKUP, "")


def access_keys(log: PredictionLog) -> None:
    folder = Path(str(log.database.file)).parent
    (folder / "keys.json").write_text(text("access-keys.json"))
    (found,) = KeyFile(folder).keys().values()
    assert (found.id, found.roles, found.models, found.revoked) == (
        "4f1d8a0c92be",
        ("predict", "read"),
        ("care",),
        None,
    )


def losses_by_epoch(log: PredictionLog) -> None:
    found = Epochs.model_validate_json(text("loss.json"))
    assert (found.kept, found.validation, found.by, found.stopped) == (2, (0.7, 0.61, 0.65), "period", "patience")


def holdout_keys(log: PredictionLog) -> None:
    """The same rows have the same keys whatever pandas is installed, or all of them would count as fresh."""
    rows = pd.DataFrame({"age": [41, None, 41], "job": ["smith", None, "smith"], "_label": [1, 0, 1]})
    columns, keys = row_keys(rows)
    stored = np.load(OLD / "holdout-keys.npy", allow_pickle=False)
    assert np.array_equal(keys, stored) and shared_rows(keys, stored) == 3
    assert keys_digest(columns, stored) == "sha256:067060494a38e8aea611407e8794bc3497814fabb0099623d719dc6a77489d81"
    declared = [Declared((name,), "alike") for name in rows]
    assert (
        Table(declared, rows).sample(2).digest
        == "sha256:74fc7f37e44c57b892ce9a68a6ea14c8a5dc913b1a00b111e33184c5babc80eb"
    )


def model_card(log: PredictionLog) -> None:
    document, shown = read_card(OLD / "card.json")
    refuse_other_format(document, CARD, "")
    said = {one["id"]: one for one in document["statements"]}
    assert shown == [] and said["card.risks"]["state"] == "missing"
    assert said["gate.auc-floor.0"]["sources"][0]["pointer"] == "/verdict/gates/1/measurements/0"
    assert card_page(document).count('data-statement="gate.auc-floor.0"') == 3


READ: tuple[Callable[[PredictionLog], None], ...] = (
    fitted_reference,
    profile_layout,
    drift_reference,
    groupings,
    profile,
    feed_facts,
    p_values,
    pictures,
    silent_feeds,
    window_report,
    ledger_entry,
    evidence,
    model_config,
    expert_rules,
    expectations,
    waivers,
    envelope,
    manifest,
    losses_by_epoch,
    holdout_keys,
    pointer,
    home,
    backup,
    access_keys,
    model_card,
)
"""One check a kind of ``docs/formats.md``, named as it is there."""


@pytest.mark.parametrize("check", READ, ids=lambda check: check.__name__)
def test_an_old_document_is_read(log: PredictionLog, check: Callable[[PredictionLog], None]) -> None:
    check(log)


def test_the_list_in_the_docs_is_whole_and_its_numbers_are_the_codes() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d+|unnumbered) \|", (ROOT / "docs/formats.md").read_text(), re.MULTILINE)
    assert sorted(name.replace("-", "_").replace(" ", "_") for name, _ in rows) == sorted(c.__name__ for c in READ)
    assert {name: int(n) for name, n in rows if n != UNNUMBERED} == {known.name: known.number for known in NUMBERED}


def test_all_old_documents_are_read_by_a_check() -> None:
    source = Path(__file__).read_text()
    assert [path.name for path in OLD.iterdir() if f'"{path.name}"' not in source] == []
