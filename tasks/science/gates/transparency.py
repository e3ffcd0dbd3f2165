"""The gate that asks whether a candidate's model card is whole, and follows from the records."""

from __future__ import annotations

from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import combine_states, result
from tasks.spec.evidence import GateResult, Measurement, State
from tasks.spec.gates import TransparencyGate
from tasks.spec.wording import plural

METHOD = "counted: texts that the materiality asks for, and statements recomputed from the records that they name"
NAMED = 5
"""Statements that no longer follow that a reason names; the command names all."""


def transparency(config: TransparencyGate, examination: Examination) -> GateResult:
    """Every text that the materiality asks for is there, and every statement of a committed card follows."""
    found = examination.card
    if found is None:
        return result(config, "fail", "nobody looked at the candidate's model card, and this gate is there to see it")
    if "error" in found:
        return result(config, "fail", f"the candidate's model card cannot be checked: {found['error']}")
    missing, stale = found["missing"], found["stale"]
    asked = f"{found['materiality']} materiality asks for"
    measured, said, remedy = [_count("texts of the card that are missing", missing, found["asked"])], [], []
    if missing:
        said.append(f"{asked} {', '.join(missing)}, and nobody has written {'it' if len(missing) == 1 else 'them'}")
        remedy.append(f"write {' and '.join(missing)} in model.yaml")
    if found["statements"] is not None:
        measured.append(_count("statements of card.json that no longer follow", stale, found["statements"]))
        if stale:
            more = f"; and {plural(len(stale) - NAMED, 'more statement')}" if len(stale) > NAMED else ""
            said.append(f"card.json does not follow from the records: {'; '.join(stale[:NAMED])}{more}")
            remedy.append("make card.json anew with assay card, or remove it")
    if not said:
        whole = "card.json follows from the records" if found["statements"] is not None else "no card.json is committed"
        said = [
            f"all {plural(found['asked'], 'text')} that {found['materiality']} materiality asks for are there; {whole}"
        ]
    helps = f"to pass, {'; '.join(remedy)}" if remedy else ""
    return result(
        config, combine_states([m.state for m in measured]), "; ".join(said), tuple(measured), METHOD, remedy=helps
    )


def _count(label: str, found: list[str], of: int) -> Measurement:
    state: State = "fail" if found else "pass"
    return Measurement(label=label, value=float(len(found)), limit=0.0, rows=of, state=state)
