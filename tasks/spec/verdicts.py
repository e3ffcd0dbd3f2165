"""What a verdict says, in one sentence for the command line, the demo, the pages, Prefect and the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.spec.evidence import GateResult, Verdict


def verdict_sentence(verdict: Verdict) -> str:
    """How many gates passed, and which did not, by what that means for the candidate.

    Returns:
        A sentence without its full stop, such as ``20 of 22 gates passed; both that did not are advisory: a and b``.
    """
    held = verdict.envelope
    inside = f"; {held.sentence}" if held is not None and held.inside and not verdict.doubted else ""
    return _gates_sentence(verdict) + inside


def _gates_sentence(verdict: Verdict) -> str:
    total, missed = len(verdict.gates), [g for g in verdict.gates if g.state != "pass"]
    if not total:
        return "no gate was run, so nothing is known about the candidate"
    if not missed:
        return f"all {total} gates passed" if total > 1 else "the only gate passed"
    passed = f"{total - len(missed)} of {total} gates passed"
    waived = [g for g in missed if g.waiver is not None]
    groups = {
        "mandatory": list(verdict.failed),
        "waived": waived,
        "advisory": [g for g in missed if g.waiver is None and not g.mandatory],
    }
    found = {meaning: gates for meaning, gates in groups.items() if gates}
    if len(found) == 1:
        ((meaning, gates),) = found.items()
        if total == 1:
            return f"the only gate did not pass; it is {meaning}: {_names(gates)}"
        return f"{passed}; {_all_that_missed(len(gates))} {meaning}: {_names(gates)}"
    parts = [f"{len(g)} {'is' if len(g) == 1 else 'are'} {meaning}: {_names(g)}" for meaning, g in found.items()]
    return f"{passed}; of the {len(missed)} that did not, {'; '.join(parts)}"


def _all_that_missed(count: int) -> str:
    if count == 1:
        return "the one that did not is"
    return "both that did not are" if count == 2 else f"all {count} that did not are"


def _names(gates: Sequence[GateResult]) -> str:
    """The gates' names; one that lacks evidence says so, for it did not fail."""
    named = [g.gate + ("" if g.state == "fail" else " (insufficient evidence)") for g in gates]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
