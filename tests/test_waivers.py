"""What a waiver is worth: real keys, every way in which it must not hold, and what a valid one does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.cli.waivers import add_waiver
from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.signing import signatures
from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.waivers import Waiver, Waivers
from tasks.validation import apply_waivers, waiver_problem
from tests.conftest import ROOT
from tests.keys import key, public

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
TERMS = {
    "gate": "auc-floor",
    "version": "v3.0.0",
    "reason": "the benchmark is being replaced",
    "who": "jo@example.org",
    "expires": TOMORROW,
}


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Waiver, dict[str, tuple[str, ...]]]:
    """A waiver by Jo, and the approvers: Jo alone."""
    path = key(tmp_path, "jo")
    waiver = Waiver(**TERMS)
    return waiver.model_copy(update={"signature": signatures.sign(waiver.statement("care"), path)}), {
        "jo@example.org": (public(path),)
    }


def problem(
    waiver: Waiver,
    allowed: dict[str, tuple[str, ...]],
    model: str = "care",
    version: str = "v3.0.0",
    requesters: tuple[str, ...] = ("dana@example.org",),
    today: str = "",
) -> str:
    return waiver_problem(waiver, model, version, requesters, allowed, today or str(datetime.now(UTC).date()))


def test_a_waiver_as_it_was_signed_holds(signed: tuple[Waiver, dict[str, tuple[str, ...]]]) -> None:
    assert problem(*signed) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gate": "opportunity-by-sex"}, "is not jo@example.org's over exactly this statement"),
        ({"reason": "because I can, thank you"}, "is not jo@example.org's"),
        ({"who": "mallory@example.org"}, "Who may sign: jo@example.org"),
        ({"signature": ""}, "is not signed; sign it with: assay waive care auc-floor"),
        ({"version": "v4.0.0"}, "does not hold for this candidate, which would be v3.0.0"),
        ({"expires": "2026-01-01"}, "expired on 2026-01-01"),
        ({"expires": "2027-02-31"}, "expired on 2027-02-31"),
        ({"expires": (datetime.now(UTC) + timedelta(days=300)).date().isoformat()}, "is not jo@example.org's"),
    ],
)
def test_a_waiver_that_was_changed_or_is_over_does_not(
    signed: tuple[Waiver, dict[str, tuple[str, ...]]], change: dict[str, Any], says: str
) -> None:
    waiver, allowed = signed
    assert says in problem(waiver.model_copy(update=change), allowed)


def test_nobody_waives_for_themselves_or_another_model_or_unlisted(
    signed: tuple[Waiver, dict[str, tuple[str, ...]]],
) -> None:
    waiver, allowed = signed
    assert "asked for the promotion or wrote the change" in problem(
        waiver, allowed, requesters=("dana@example.org", "JO@example.org")
    )
    assert "over exactly this statement" in problem(waiver, allowed, model="income")
    assert "Who may sign: nobody yet; add somebody with assay policy" in problem(waiver, {})


def test_a_waiver_reaches_its_gate_alone_and_stands_in_red(signed: tuple[Waiver, dict[str, tuple[str, ...]]]) -> None:
    waiver, _ = signed
    failed = GateResult(gate="auc-floor", kind="floor", mandatory=True, state="fail", reason="too low")
    other = failed.model_copy(update={"gate": "other"})
    passing = failed.model_copy(update={"gate": "fine", "state": "pass"})
    results, refused = apply_waivers(
        (failed, other, passing),
        [(waiver, ""), (waiver, "it is old"), (waiver.model_copy(update={"gate": "nonsense"}), "")],
    )
    assert [r.waiver is not None for r in results] == [True, False, False]
    assert refused == (
        "it is old",
        "a waiver names gate 'nonsense', which this model does not have; allowed: auc-floor, other, fine",
    )
    verdict = Verdict(
        model="care",
        commit="a" * 40,
        champion=None,
        model_digest="sha256:0",
        created="2026-01-01",
        passed=False,
        gates=results,
        refused_waivers=refused,
    )
    assert [g.gate for g in verdict.failed] == ["other"]
    page = verdict_page(verdict, "Care", {})
    assert (
        '<p class="waiver"><strong>Waived: auc-floor</strong> by jo@example.org until' in page
        and "Not accepted: It is old." in page
    )
    assert "**WAIVED: auc-floor** by jo@example.org" in verdict_markdown(verdict, {})


def test_the_command_signs_what_stands_in_the_file_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    root = ROOT
    copy = tmp_path / "checkout"
    for name in ("models.yaml", "models/care/model.yaml"):
        (copy / "deployments" / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / "deployments" / name).write_text((root / "deployments" / name).read_text())
    path = key(tmp_path, "jo")
    for gate in ("auc-floor", "opportunity-by-sex"):
        file = add_waiver(copy, "care", TERMS | {"gate": gate}, path)
    allowed = {"jo@example.org": (public(path),)}
    assert [problem(w, allowed) for w in load_yaml(file, Waivers).waivers] == ["", ""]
    with pytest.raises(ConfigError, match="care has no gate 'nothing'; allowed: data-expectations, auc-floor"):
        add_waiver(copy, "care", TERMS | {"gate": "nothing"}, path)
    with pytest.raises(ConfigError, match="version is '3': string should match pattern"):
        add_waiver(copy, "care", TERMS | {"version": "3"}, path)
    with pytest.raises(ConfigError, match="does not exist. Make one with: ssh-keygen"):
        add_waiver(copy, "care", TERMS, tmp_path / "none")
