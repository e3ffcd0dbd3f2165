"""What a verdict says, in every case, and that each door says the same."""

from __future__ import annotations

import pytest

from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.spec.evidence import GateResult, State, Verdict
from tasks.spec.verdicts import verdict_sentence
from tasks.spec.waivers import Waiver


def gate(name: str, state: State = "pass", mandatory: bool = True, waived: bool = False) -> GateResult:
    waiver = Waiver(gate=name, version="v1.0.0", reason="known and small", who="kim@example.org", expires="2026-12-01")
    return GateResult(
        gate=name, kind="floor", mandatory=mandatory, state=state, reason="r", waiver=waiver if waived else None
    )


def verdict(*gates: GateResult) -> Verdict:
    passed = bool(gates) and all(g.state == "pass" or g.waiver for g in gates if g.mandatory)
    return Verdict(
        model="care", commit="a" * 40, champion=None, model_digest="sha256:b", created="t", passed=passed, gates=gates
    )


GOOD = tuple(gate(f"good-{i}") for i in range(3))
ADVISORY = gate("calibration-by-sex", "fail", mandatory=False)
UNKNOWN = gate("opportunity-by-race", "insufficient_evidence", mandatory=False)
FAILED = gate("auc-floor", "fail")
CASES = [
    (verdict(), "no gate was run, so nothing is known about the candidate"),
    (verdict(*GOOD), "all 3 gates passed"),
    (verdict(GOOD[0]), "the only gate passed"),
    (verdict(FAILED), "the only gate did not pass; it is mandatory: auc-floor"),
    (verdict(*GOOD, ADVISORY), "3 of 4 gates passed; the one that did not is advisory: calibration-by-sex"),
    (
        verdict(*GOOD, ADVISORY, UNKNOWN),
        "3 of 5 gates passed; both that did not are advisory: "
        "calibration-by-sex and opportunity-by-race (insufficient evidence)",
    ),
    (
        verdict(*GOOD, FAILED, gate("rules", "insufficient_evidence"), gate("auc-champion", "fail")),
        "3 of 6 gates passed; all 3 that did not are mandatory: "
        "auc-floor, rules (insufficient evidence) and auc-champion",
    ),
    (
        verdict(*GOOD, gate("rules", "fail", waived=True)),
        "3 of 4 gates passed; the one that did not is waived: rules",
    ),
    (
        verdict(*GOOD, FAILED, gate("rules", "fail", waived=True), ADVISORY, UNKNOWN),
        "3 of 7 gates passed; of the 4 that did not, 1 is mandatory: auc-floor; 1 is waived: rules; "
        "2 are advisory: calibration-by-sex and opportunity-by-race (insufficient evidence)",
    ),
]


@pytest.mark.parametrize(("said", "sentence"), CASES, ids=[c[1][:40] for c in CASES])
def test_page_and_markdown_say_what_a_verdict_says(said: Verdict, sentence: str) -> None:
    assert verdict_sentence(said) == sentence
    shown = f"{sentence[0].upper()}{sentence[1:]}."
    assert shown in verdict_page(said, "Care", {}) and shown in verdict_markdown(said, {})
