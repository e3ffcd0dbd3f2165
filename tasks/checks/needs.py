"""What the gates of a model cannot ask of its rows, and values that look like gaps: seen before anything is trained.

The gates themselves are run, on all rows of the holdout and the scores of a small fit. How good these scores are says
nothing; what a gate could not measure at all would be missing from a real examination too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tasks.checks.documents import Document, Finding
from tasks.science.examination.examination import Examination
from tasks.science.gates.leakage import suspected
from tasks.science.gates.leakage_tables import codes_at_the_ends
from tasks.science.gates.run import run_gate
from tasks.science.rules.check import check_rule, rule_faults
from tasks.science.rules.tools import Unchecked
from tasks.spec.data import Column
from tasks.spec.evidence import GateResult
from tasks.spec.gates import GateConfig, RulesGate
from tasks.spec.leakage_gate import LeakageGate
from tasks.spec.model import ModelConfig
from tasks.spec.rules import ExpertRules
from tasks.tables.gaps import MISSING

COPIED = 0.5
"""Share of rows from which on copies are told."""
ASKED_OF_ROWS = ("floor", "comparison", "fairness", "calibration", "slices")
"""Kinds of gates that a lack of rows, classes or groups can leave without an answer, and that cost little."""


def unanswered(config: ModelConfig, examination: Examination, document: Document) -> list[Finding]:
    """Gates that cannot be answered by these rows, whatever the scores are."""
    found = []
    for index, gate in enumerate(config.gates):
        if gate.kind in ASKED_OF_ROWS:
            for said in _lacking(gate, examination):
                found.append(document.finding(("gates", index), f"gate {gate.name}: {said}", wrong=gate.mandatory))
    return found


def _lacking(gate: GateConfig, examination: Examination) -> list[str]:
    if gate.kind == "slices":
        if not gate.slices:
            return []
        gate = gate.model_copy(update={"search": False})
    try:
        answer: GateResult = run_gate(gate, examination)
    except Exception as error:  # as in an examination, where one that crashes fails alone and by name
        return [f"the gate itself crashed: {type(error).__name__}: {error}"]
    without = [m.label for m in answer.measurements if m.limit is not None and m.value is None]
    judged = any(m.limit is not None and m.value is not None for m in answer.measurements)
    return without or ([] if judged or answer.state == "pass" else [answer.reason])


def unasked_rules(gate: RulesGate, examination: Examination, document: Document) -> list[Finding]:
    """Rules that cannot be asked of this model: a name that it does not have, a value that its column cannot hold."""
    if examination.rules is None or not examination.rules.rules:
        return [document.finding((), "there is no rule, and model.yaml has a gate of kind rules", wrong=gate.mandatory)]
    found = []
    for index, rule in enumerate(examination.rules.rules):
        measured = check_rule(rule, examination, gate.confidence)
        if isinstance(measured, Unchecked):
            found.append(document.finding(("rules", index), measured.why, wrong=gate.mandatory))
    return found


def misnaming_rules(rules: ExpertRules, columns: Sequence[Column], document: Document, wrong: bool) -> list[Finding]:
    """Rules that cannot be asked whatever the rows are, where there are no scores to ask them of."""
    found = [(index, said) for index, rule in enumerate(rules.rules) for said in rule_faults(rule, columns)]
    return [document.finding(("rules", index), said, wrong) for index, said in found]


def likely_leaks(config: ModelConfig, examination: Examination, document: Document) -> list[Finding]:
    """Leaks that show without a full training, by the model's own gate or, where it has none, the gate's defaults."""
    gates = [(("gates", i), gate) for i, gate in enumerate(config.gates) if isinstance(gate, LeakageGate)]
    place, gate = gates[0] if gates else (("features",), LeakageGate(name="leakage", kind="leakage"))
    said = suspected(gate, examination)
    return [document.finding(place, f"this looks like a leak: {sentence}", wrong=False) for sentence in said]


def likely_gaps(config: ModelConfig, table: pd.DataFrame, document: Document) -> list[Finding]:
    """Names and codes that often stand for a missing value and are read as values."""
    found = []
    for index, column in enumerate(config.data.columns):
        for value, rows in _gaps(column, table[column.name].dropna()):
            said = f"column {column.name} holds {value} in {rows:,} rows; where it means that the value is missing, "
            fix = f"declare missing: [{value}]" if column.nullable else f"declare missing: [{value}] and nullable: true"
            found.append(document.finding(("data", "columns", index), said + fix, wrong=False))
    return found


def likely_copies(config: ModelConfig, table: pd.DataFrame, document: Document) -> list[Finding]:
    """Rows of persons that stand in the table more than once: the leakage gate cannot tell them from honest repeats."""
    if config.data.entity is None or config.data.entity not in table:
        return []
    copies = int(table.duplicated(keep=False).sum())
    if copies < COPIED * len(table):
        return []
    said = (
        f"{copies:,} of {len(table):,} rows stand in the source more than once, alike in every column, "
        f"{config.data.entity} included. Where they are copies, remove them"
    )
    return [document.finding(("data", "source"), said, wrong=False)]


def _gaps(column: Column, known: pd.Series) -> list[tuple[str, int]]:
    if known.empty:
        return []
    if column.kind.numeric:
        ends = codes_at_the_ends(known.to_numpy(float), column)
        return [(", ".join(f"'{column.kind.to_json(code)}'" for code in codes), rows) for codes, _, rows in ends]
    counted = known.value_counts()
    return [(f"'{n}'", int(rows)) for n, rows in counted.items() if n in MISSING and n not in (column.categories or ())]


def counts(config: ModelConfig, examination: Examination) -> dict[str, Any]:
    """How many rows of the holdout there are of each class and group."""
    if config.kind == "regression":
        classes: dict[str, int] = {}
    elif config.classes:
        by_code = Counter(examination.label.tolist())
        classes = {name: by_code[code] for code, name in enumerate(config.classes)}
    else:
        positive, negative = (getattr(config.data.target, key) for key in ("positive", "negative"))
        chosen = int(examination.label.sum())
        classes = {positive: chosen, negative: len(examination.label) - chosen}
    groups = {
        str(attribute): {str(name): int(rows) for name, rows in names.value_counts().items()}
        | ({"(none)": int(names.isna().sum())} if names.isna().any() else {})
        for attribute, names in examination.groups.items()
    }
    return {"classes": classes, "groups": groups}
