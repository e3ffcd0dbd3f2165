"""What an envelope is worth: real keys, every way in which it counts as none, who wrote it, and its bounds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.checking import check
from tasks.cli.waivers import sign_envelope
from tasks.envelopes import _chosen, _data, _nothing_else, envelope_use, writers
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.pages.verdict import verdict_markdown, verdict_page
from tasks.records.registry import ledger
from tasks.records.registry.envelopes import UNATTENDED, unattended
from tasks.records.registry.registry import Version
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.serving.keys import KeyFile
from tasks.signing import signatures
from tasks.spec.base import validate
from tasks.spec.columns import to_table
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import EnvelopeCheck, EnvelopeUse, GateResult, Verdict
from tasks.spec.line import shared
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings
from tasks.spec.verdicts import verdict_sentence
from tasks.spec.waivers import Envelope
from tasks.versions import Candidate
from tests.cli.test_system import assay
from tests.conftest import ROOT, git
from tests.keys import key, public
from tests.records.registry.test_trust import appoint

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
TERMS: dict[str, Any] = {
    "sources": ["claims office"],
    "rows": 500,
    "until": TOMORROW,
    "estimator": {"C": [0.5, 2.0]},
    "performance": [
        {"name": "still-good", "kind": "floor", "metric": "roc_auc", "limit": 0.6},
        {"name": "as-good", "kind": "comparison", "metric": "brier", "margin": 0.01},
    ],
}
DOUBT = GateResult(gate="label-sources", kind="sources", mandatory=False, state="insufficient_evidence", reason="one")
HOLDS = "nothing serves yet that it could be compared with"


def with_terms(text: str, **change: Any) -> str:
    return yaml.safe_dump(yaml.safe_load(text) | {"envelope": TERMS | change}, sort_keys=False)


@dataclass
class Main:
    """A main branch with the shipped models, whose list names Jo as approver and Kim as operator."""

    settings: Settings
    clone: Path
    keys: Path

    @property
    def folder(self) -> Path:
        return self.clone / "deployments/models/care"

    def commit(self, who: str, message: str = "a change") -> None:
        git(self.clone, "add", ".")
        git(self.clone, "-c", f"user.email={who}@example.org", "commit", "--quiet", "-m", message)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")

    def write(self, who: str, edit: Callable[[str], str], name: str = "model.yaml", message: str = "a change") -> None:
        path = self.folder / name
        path.write_text(edit(path.read_text() if path.exists() else ""))
        self.commit(who, message)

    def sign(self, who: str = "jo", **terms: str) -> None:
        values = {"who": f"{who}@example.org", "reason": "the yearly update", "expires": TOMORROW} | terms
        sign_envelope(self.settings, self.clone, "care", values, self.keys / who)
        self.commit(who, "sign")

    def use(self, *requesters: str, doubt: GateResult = DOUBT, sealed: bool = False) -> EnvelopeUse:
        with workspace.worktree(self.settings, "main") as tree:
            made = Candidate("care", Git(tree).rev_parse("HEAD"), "b", tree, "sha256:0")
            return envelope_use(made, requesters, (doubt,), sealed, lambda gates: [])


@pytest.fixture
def main(settings: Settings, developer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Main]:
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    shutil.copytree(ROOT / "deployments", developer / "deployments")
    found = Main(settings, developer, tmp_path)
    found.commit("old", "models")
    ledger.begin(settings)
    people = [
        {"name": f"{name}@example.org", "roles": [role], "keys": [public(key(tmp_path, name))]}
        for name, role in (("jo", "approver"), ("kim", "operator"))
    ]
    appoint(settings, tmp_path, *people, sign={"jo": tmp_path / "jo"})
    yield found


def test_an_envelope_that_does_not_hold_counts_as_none_and_says_why(main: Main) -> None:
    assert main.use().sentence == (
        "no envelope says what it may do without a person (envelope in model.yaml of the branch main)"
    )
    main.write("ann", with_terms)
    assert main.use().problem == "the envelope of care is not signed; an approver signs it with: assay envelope care"
    main.sign()
    right = main.use("dana@example.org")
    assert right.problem == HOLDS and not right.inside and right.authors == ("dana@example.org", "ann@example.org")
    assert main.use(doubt=DOUBT.model_copy(update={"state": "fail"})).problem.startswith(
        "no envelope answers for labels"
    )
    assert main.use(sealed=True).problem.startswith("the holdout is sealed, so what the retraining did is not told")
    assert "is signed by the one who asked for the candidate or wrote a part" in main.use("JO@example.org").problem
    signature = (main.folder / "envelope.yaml").read_text()
    for edit, says in (
        (lambda text: text.replace(TOMORROW, "2999-01-01"), "is not jo@example.org's over exactly these terms. Who m"),
        (lambda text: f"{text}limits: none\n", "could not be looked at: deployments/models/care/envelope.yaml of the"),
        (lambda text: text.split("signature:")[0], "the envelope by jo@example.org is not signed; sign it with: assay"),
        (lambda text: text.replace("list: sha256:", "list: sha256:0"), "was signed under list sha256:0"),
        (lambda text: text.replace("sequence: ", "sequence: 1"), "was signed on another ledger, whose entry 1"),
    ):  # fmt: skip
        main.write("jo", lambda _, edit=edit: edit(signature), "envelope.yaml")  # type: ignore[misc]
        assert says in main.use().problem
    main.write("jo", lambda _: signature, "envelope.yaml")
    main.write("ann", lambda text: with_terms(text, rows=9000))
    assert main.use().problem == (
        "the envelope by jo@example.org was changed after it was signed; sign it again with: assay envelope care"
    )
    main.sign("kim")
    assert "the signature is not kim@example.org's over exactly these terms. Who may sign: jo@ex" in main.use().problem
    main.sign(expires=YESTERDAY)
    assert f"the envelope by jo@example.org expired on {YESTERDAY}; sign it again with" in main.use().problem
    main.sign()
    assert main.use().problem == HOLDS
    pat = {"name": "pat@example.org", "roles": ["auditor"], "keys": [public(key(main.keys, "pat"))]}
    appoint(main.settings, main.keys, pat, sign={"jo": main.keys / "jo"})
    assert "the envelope by jo@example.org was signed under list sha256:" in main.use().problem


def test_a_branch_with_other_terms_than_main_is_held_to_none(main: Main) -> None:
    main.write("ann", with_terms)
    main.sign()
    with workspace.worktree(main.settings, "main") as tree:
        path = tree / "deployments/models/care/model.yaml"
        path.write_text(with_terms(path.read_text(), rows=9000))
        made = Candidate("care", Git(tree).rev_parse("HEAD"), "b", tree, "sha256:0")
        found = envelope_use(made, (), (DOUBT,), False, lambda gates: [])
    assert found.problem == "the candidate's envelope is another than that of the branch main"


def test_whoever_ever_wrote_a_part_of_the_terms_may_not_sign(main: Main) -> None:
    main.write("ann", with_terms, message="terms\n\nCo-authored-by: Pat <pat@example.org>")
    main.write("bo", lambda text: with_terms(text, rows=900))
    main.write("cy", lambda text: text.replace("seed: ", "seed: 1"))  # beside the envelope
    main.write("jo", lambda text: yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != "envelope"}))
    git(main.clone, "checkout", "--quiet", "-b", "work")
    main.folder.joinpath("model.yaml").write_text(with_terms(main.folder.joinpath("model.yaml").read_text()))
    git(main.clone, "add", ".")
    git(main.clone, "-c", "user.email=dee@example.org", "commit", "--quiet", "-m", "on a branch")
    git(main.clone, "checkout", "--quiet", "main")
    git(main.clone, "-c", "user.email=merger@example.org", "merge", "--quiet", "--no-ff", "-m", "merge", "work")
    git(main.clone, "push", "--quiet", "origin", "HEAD:main")
    workspace.ensure_clone(main.settings)
    assert sorted(set(writers("care"))) == [f"{name}@example.org" for name in ("ann", "bo", "dee", "pat")]


def test_what_differs_from_the_serving_version_is_named_and_within_its_bounds() -> None:
    before, terms = load_model(ROOT, "care"), validate(TERMS | {"threshold": [0.4, 0.6]}, Envelope, "terms")

    def moved(terms: Envelope, threshold: float = before.threshold, **parameters: Any) -> list[tuple[str, str, str]]:
        target = before.data.target.model_copy(update={"decision_threshold": threshold})
        estimator = before.estimator.model_copy(update={"parameters": before.estimator.parameters | parameters})
        now = before.model_copy(
            update={"data": before.data.model_copy(update={"target": target}), "estimator": estimator}
        )
        return [(c.name, c.state, f"{c.found}; {c.allowed}") for c in _chosen(before, now, terms)]

    assert moved(terms) == []
    assert moved(terms, C=2.0) == [("estimator.C", "pass", "it goes from None to 2.0; allowed is 0.5 to 2")]
    assert moved(terms, C=2.5) == [("estimator.C", "fail", "it goes from None to 2.5; allowed is 0.5 to 2")]
    assert [state for _, state, _ in moved(terms, C="2.0")] == ["fail"] == [s for _, s, _ in moved(terms, C=True)]
    assert moved(terms, tol=0.1) == [("estimator.tol", "fail", "it goes from None to 0.1; it may not change")]
    assert [c[:2] for c in moved(terms, threshold=0.55)] == [("threshold", "pass")]
    assert [c[:2] for c in moved(terms, threshold=0.65)] == [("threshold", "fail")]
    assert [c[:2] for c in moved(terms.model_copy(update={"threshold": None}), threshold=0.55)] == [
        ("threshold", "fail")
    ]


def test_a_run_that_anybody_with_the_login_may_have_started_is_a_persons() -> None:
    assert unattended("retrain", "monitoring") and not unattended("person", "monitoring")
    assert not any(unattended(reason, shared("monitoring")) for reason in UNATTENDED)


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"sources": ["a student"]},
        "envelope.sources names 'a student'; allowed are those of labels.sources: claims o",
    ),
    ({"row": 5}, "envelope.row is not a known key; did you mean 'rows'?"),
    ({"until": "2027-02-31"}, "envelope.until: "),
    ({"threshold": [0.6, 0.4]}, "threshold is 0.6 to 0.4; write the smaller one first"),
    ({"performance": TERMS["performance"][1:]}, "performance has no floor; each retraining may be a little worse than"),
    ({"performance": TERMS["performance"][:1] * 2}, "two criteria share a name; give each its own: still-good, still"),
    ({"performance": [TERMS["performance"][0] | {"metric": "mae"}]}, "criterion still-good names the metric 'mae'; al"),
    ({"performance": [TERMS["performance"][0] | {"benchmark": "x"}]}, "names the benchmark 'x'; allowed: holdout, new"),
]


def test_terms_that_name_what_is_not_there_are_refused() -> None:
    text = (ROOT / "deployments/models/care/model.yaml").read_text()
    for change, says in WRONG:
        with pytest.raises(ConfigError) as refused:
            validate(yaml.safe_load(with_terms(text, **change)), ModelConfig, "model.yaml")
        assert says in str(refused.value), change


def test_a_signature_that_no_reader_would_take_is_found_before_it_is_pushed(main: Main) -> None:
    main.write("ann", with_terms)
    main.sign()
    path = main.folder / "envelope.yaml"
    path.write_text(path.read_text().replace("\n\n", " ") + "limits: none\n")  # as who folds lines leaves it
    found = [(f.key, f.message[:23]) for f in check(main.clone, "care").findings if f.file.endswith("envelope.yaml")]
    assert found == [("signature", signatures.UNREADABLE[:23]), ("limits", "limits is not a known k")]


def test_the_command_says_where_there_is_nothing_to_sign(settings: Settings, tmp_path: Path) -> None:
    words = ["--as", "jo@example.org", "--reason", "the yearly update", "--expires", TOMORROW]
    done = assay(settings.home, "envelope", "care", *words, "--key", str(key(tmp_path, "jo")))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: model.yaml of care has no envelope to sign; write one as docs/envelope.md says.\n"


def test_the_verdict_shows_what_was_allowed_and_what_was_done(main: Main) -> None:
    main.write("ann", with_terms)
    main.sign()
    checks = [EnvelopeCheck(name="rows", allowed="allowed are 500", found="it adds 60 rows", state="pass")]
    held = main.use().model_copy(update={"problem": "", "checks": tuple(checks)})
    verdict = Verdict(
        model="care", commit="a" * 40, champion="v1.0.0", model_digest="sha256:0", created="2026-01-01", passed=True,
        gates=(DOUBT,), envelope=held,
    )  # fmt: skip
    said = f"it stayed inside the envelope that jo@example.org signed until {TOMORROW}"
    assert verdict.doubted == () and verdict_sentence(verdict).endswith(f"(insufficient evidence); {said}")
    left = checks[0].model_copy(update={"state": "fail", "found": "it adds 600 rows"})
    outside = verdict.model_copy(update={"envelope": held.model_copy(update={"checks": (*checks, left)})})
    assert outside.doubted == (DOUBT,) and said not in verdict_sentence(outside)
    failed = verdict.model_copy(update={"gates": (DOUBT.model_copy(update={"state": "fail"}),)})
    assert failed.doubted == failed.gates
    for shown in (verdict_page(outside, "Care", {}), verdict_markdown(outside, {})):
        assert "by rows: it adds 600 rows; allowed are 500. A person signs." in shown
        assert "It adds 60 rows" in shown or "✓ pass: it adds 60 rows; allowed are 500." in shown
    assert "A person signs" not in verdict_page(verdict, "Care", {})


def test_rows_that_the_log_does_not_have_and_files_that_no_retraining_writes_are_outside(main: Main) -> None:
    collected, keys = main.clone / "data/care/collected", KeyFile(main.settings.access_folder)
    (_, office), (_, yearly) = (keys.add(name, ("outcomes",)) for name in ("claims office", "yearly interview"))
    log = PredictionLog(main.settings.log_database)
    config = load_model(main.clone, "care")

    def inputs(i: int) -> dict[str, Any]:
        found: dict[str, Any] = {c.name: "1" if c.type == "category" else i + 0.25 for c in config.inputs}
        return found | {"xage": None, "income": 0.1 * i}

    moment = "2026-11-30T00:00:00+00:00"
    log.append([Prediction(f"p{i}", "care", "v1.0.0", moment, inputs(i), 0.5, True) for i in range(1, 9)])
    log.outcomes("care", [(f"p{i}", True) for i in range(1, 9)], office.id)
    log.outcomes("care", [("p6", False)], yearly.id)

    def rows(
        name: str, *ids: int, source: str = "claims office", label: bool = True, pointer: str | None = None,
        **changed: object,
    ) -> None:  # fmt: skip
        collected.mkdir(parents=True, exist_ok=True)
        table = to_table(config.inputs, pd.DataFrame([inputs(i) | changed for i in ids]))
        key = [f"p{i}" for i in ids]
        table.assign(_id=key, _source=source, _label=label).to_parquet(collected / name, index=False)
        named = pointer or f"outs: [{{md5: {'a' * 32}, path: {name}}}]\n"
        (collected / f"{name}.dvc").write_text(named)
        (collected / ".gitignore").write_text("*.parquet\n")

    shutil.copy(ROOT / "dvc.yaml", main.clone)
    rows("rows-1-4.parquet", 1, 2, 3, 4)
    main.commit("ann")
    champion = Version("v1.0.0", git(main.clone, "rev-parse", "HEAD"), "", None)
    before = load_model(main.clone, "care")

    def asked(make: Callable[[], object]) -> dict[str, str]:
        make()
        main.commit("ann")
        workspace.ensure_clone(main.settings)
        made = Candidate("care", git(main.clone, "rev-parse", "HEAD"), "b", main.clone, "sha256:0")
        terms = validate(TERMS | {"rows": 3}, Envelope, "terms")
        checks = [*_data(made, champion, terms), _nothing_else(made, champion, before)]
        git(main.clone, "reset", "--quiet", "--hard", champion.commit)
        git(main.clone, "push", "--quiet", "--force", "origin", "HEAD:main")
        for path in collected.glob("*.parquet"):
            if path.name != "rows-1-4.parquet":
                path.unlink()
        return {check.name: check.found for check in checks if check.state != "pass"}

    honest = partial(rows, "rows-5-8.parquet", 5, 6, 8)
    assert asked(honest) == {}
    extra = asked(lambda: (honest(), rows("extra.parquet", *range(100, 150))))
    assert extra["rows"] == "it adds 53 rows from production"
    assert extra["log"] == "50 of its 53 new rows are otherwise"
    assert extra["anything else"] == "it changes data/care/collected/extra.parquet.dvc"
    other = "rows-5-8.parquet"
    for make, found in (
        (partial(rows, other, 5, 6, 9), {"log"}),  # unknown
        (partial(rows, other, 5, 5), {"log"}),  # twice
        (partial(rows, other, 5, label=False), {"log"}),
        (partial(rows, other, 5, income=0.51), {"log"}),  # other inputs than those that were answered
        (partial(rows, other, 5, xage=44.0), {"log"}),
        (partial(rows, other, 5, source="yearly interview"), {"sources", "log"}),
        (partial(rows, other, 4), {"log"}),  # known before
        (partial(rows, "rows-3-8.parquet", 5), {"anything else"}),
        (partial(rows, "rows-5-8b.parquet", 5), {"log", "anything else"}),
        (partial(rows, other, 5, pointer=f"outs: [{{md5: {'a' * 32}, path: x.parquet}}]\n"), {"anything else"}),
        (partial(rows, other, 5, pointer=f"wdir: ..\nouts: [{{md5: {'a' * 32}, path: {other}}}]\n"), {"anything else"}),
    ):  # fmt: skip
        assert set(asked(make)) - {"until"} == found, (make, found)
