"""What a waiver is worth: real keys, every way in which it must not hold, and what a valid one does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.checking import check
from tasks.cli.waivers import add_waiver
from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.records.registry import ledger
from tasks.records.registry.state import Branch, state
from tasks.records.repository.git import Git
from tasks.signing import signatures
from tasks.spec.base import load_yaml
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Verdict
from tasks.spec.ledger import EntryDraft
from tasks.spec.settings import Settings
from tasks.spec.waivers import Head, Waiver, Waivers
from tasks.validation import apply_waivers, waiver_problem
from tests.cli.test_system import assay
from tests.conftest import ROOT
from tests.keys import key, public
from tests.proof.ledgers import place
from tests.records.registry.test_trust import appoint

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
TERMS = {
    "gate": "auc-floor",
    "version": "v3.0.0",
    "reason": "the benchmark is being replaced",
    "who": "jo@example.org",
    "expires": TOMORROW,
}
EXAMINED = EntryDraft(kind="examined", model="care", commit="0" * 40, actor="a", reason="push", sentence="Examined.")


class Signed:
    """A waiver by Jo on a real ledger whose list names Jo alone as approver, and what examination says of others."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        path = key(folder, "jo")
        ledger.begin(settings)
        appoint(
            settings,
            folder,
            {"name": "jo@example.org", "roles": ["approver"], "keys": [public(path)]},
            sign={"jo": path},
        )
        self.waiver = self.sign(TERMS | place(settings))

    def sign(self, terms: dict[str, Any], model: str = "care", by: str = "jo") -> Waiver:
        waiver = Waiver.model_validate(terms)
        return waiver.model_copy(update={"signature": signatures.sign(waiver.statement(model), self.folder / by)})

    def problem(
        self, waiver: Waiver, model: str = "care", requesters: tuple[str, ...] = ("dana@example.org",), newest: str = ""
    ) -> str:
        now = state(self.settings)
        now = now.model_copy(update={"newest": newest or now.newest})
        return waiver_problem(waiver, model, "v3.0.0", requesters, now, Branch(Git(self.settings.clone), now.tip))


@pytest.fixture
def signed(settings: Settings, tmp_path: Path) -> Signed:
    return Signed(settings, tmp_path)


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"gate": "opportunity-by-sex"}, "is not jo@example.org's over exactly this statement"),
    ({"reason": "because I can, thank you"}, "is not jo@example.org's"),
    ({"who": "mallory@example.org"}, "Who may sign: jo@example.org"),
    ({"signature": ""}, "is not signed; sign it with: assay waive care auc-floor"),
    ({"version": "v4.0.0"}, "does not hold for this candidate, which would be v3.0.0"),
    ({"expires": "2026-01-01"}, "expired on 2026-01-01"),
    ({"expires": "2027-02-31"}, "expired on 2027-02-31"),
    ({"expires": (datetime.now(UTC) + timedelta(days=300)).date().isoformat()}, "is not jo@example.org's"),
    ({"list": None, "head": None}, "names neither the list nor the ledger that it was signed on; sign it again with: "),
    ({"list": None}, "was signed under list None, and list sha256:"),
    ({"list": "sha256:0"}, "was signed under list sha256:0, and list sha256:"),
    ({"head": None}, "names no entry of the ledger that it was signed on; sign it again with: assay waive care auc-fl"),
    ({"head": Head(sequence=2, digest="sha256:0")}, "was signed on another ledger, whose entry 2 is sha256:0; sign it"),
    ({"head": Head(sequence=1, digest="sha256:0")}, "was signed on another ledger, whose entry 1 is sha256:0; sign it"),
    ({"head": Head(sequence=99, digest="sha256:0")}, "was signed on another ledger, whose entry 99 is sha256:0; sign "),
    ({"head": Head(sequence=-1, digest="sha256:0")}, "was signed on another ledger, whose entry -1 is sha256:0; sign "),
]


def test_a_waiver_holds_as_it_was_signed_alone(signed: Signed) -> None:
    assert signed.problem(signed.waiver) == ""
    for change, says in CHANGES:
        assert says in signed.problem(signed.waiver.model_copy(update=change)), change
    assert "asked for the promotion or wrote the change" in signed.problem(
        signed.waiver, requesters=("dana@example.org", "JO@example.org")
    )
    assert "over exactly this statement" in signed.problem(signed.waiver, model="income")
    late = "2999-01-01T00:00:00.000+00:00"  # of the newest entry: this machine's clock was set back
    assert f"expired on {TOMORROW}" in signed.problem(signed.waiver, newest=late)
    old = signed.sign(TERMS)  # as before 2026-11-29
    assert "names neither the list nor the ledger that it was signed on" in signed.problem(old)


def test_a_waiver_is_judged_by_the_list_it_was_signed_under(signed: Signed, tmp_path: Path) -> None:
    """Later entries change nothing; a later list does, also where it names its signer still."""
    ledger.append(signed.settings, EXAMINED)
    assert signed.problem(signed.waiver) == ""
    kim = key(tmp_path, "kim")
    person = {"name": "kim@example.org", "roles": ["operator"], "keys": [public(kim)]}
    appoint(signed.settings, tmp_path, person, sign={"jo": tmp_path / "jo"})
    assert "was signed under list sha256:" in signed.problem(signed.waiver)
    now = TERMS | place(signed.settings)
    assert signed.problem(signed.sign(now)) == ""
    assert "Who may sign: jo@example.org" in signed.problem(signed.sign(now | {"who": "kim@example.org"}, by="kim"))


def test_where_nobody_is_named_nobody_waives(settings: Settings, tmp_path: Path) -> None:
    key(tmp_path, "jo")
    ledger.begin(settings)
    now = state(settings)
    waiver = Waiver.model_validate(TERMS | place(settings))
    waiver = waiver.model_copy(update={"signature": signatures.sign(waiver.statement("care"), tmp_path / "jo")})
    said = waiver_problem(waiver, "care", "v3.0.0", (), now, Branch(Git(settings.clone), now.tip))
    assert "Who may sign: nobody yet; add somebody with assay policy" in said


def test_a_waiver_reaches_its_gate_alone_and_stands_in_red() -> None:
    waiver = Waiver.model_validate(TERMS)
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


def test_the_command_signs_what_stands_in_the_file_and_refuses_what_is_wrong(signed: Signed, tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    for name in ("models.yaml", "models/care/model.yaml"):
        (copy / "deployments" / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / "deployments" / name).write_text((ROOT / "deployments" / name).read_text())
    path, settings = tmp_path / "jo", signed.settings
    for gate in ("auc-floor", "opportunity-by-sex"):
        file = add_waiver(settings, copy, "care", TERMS | {"gate": gate}, path)
    found = load_yaml(file, Waivers).waivers
    assert [signed.problem(w) for w in found] == ["", ""]
    file.write_text(file.read_text().replace("\n\n", " "))  # as who folds lines leaves it
    folded = load_yaml(file, Waivers).waivers[0]
    assert signed.problem(folded) == (
        "the waiver of auc-floor for v3.0.0 by jo@example.org does not hold: the signature is not as ssh-keygen wrote "
        "it: blanks, line ends or padding are others, as where an editor folds lines. Paste it unchanged, or sign again"
    )
    findings = [f for f in check(copy, "care").findings if f.file.endswith("waivers.yaml")]
    assert [(f.key, f.message) for f in findings] == [
        (f"waivers.{n}.signature", signatures.UNREADABLE) for n in range(2)
    ]
    assert [w.model_dump(mode="json", include={"list", "head"}) for w in found] == [place(settings)] * 2
    with pytest.raises(ConfigError, match="care has no gate 'nothing'; allowed: data-expectations, auc-floor"):
        add_waiver(settings, copy, "care", TERMS | {"gate": "nothing"}, path)
    with pytest.raises(ConfigError, match="version is '3': string should match pattern"):
        add_waiver(settings, copy, "care", TERMS | {"version": "3"}, path)
    with pytest.raises(ConfigError, match="does not exist. Make one with: ssh-keygen"):
        add_waiver(settings, copy, "care", TERMS, tmp_path / "none")


def test_the_command_says_where_it_knows_no_list(settings: Settings, tmp_path: Path) -> None:
    """A checkout that no system was started from, and an origin whose ledger has no list."""
    path = key(tmp_path, "jo")
    for home, origin in ((tmp_path / "none", ""), (settings.home, settings.origin)):
        words = ["--version", "v3.0.0", "--reason", TERMS["reason"], "--as", "jo@example.org", "--expires", TOMORROW]
        done = assay(home, "waive", "care", "auc-floor", *words, "--key", str(path), ASSAY_ORIGIN=origin)
        assert done.stderr.startswith(
            f"error: the home {home} knows no list of people that a waiver could be signed on: it is of no system that "
            "was ever started. Set ASSAY_ORIGIN to the URL of the origin whose candidates are examined, or ASSAY_HOME"
        )
        assert (done.returncode, done.stdout) == (2, "")
    assert not (ROOT / "deployments/models/care/waivers.yaml").exists()
