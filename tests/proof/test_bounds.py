"""Ledgers of before waivers named a list, and documents that are too large: what holds, and what is said of it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tasks.proof.verify import LARGEST, main
from tasks.records.registry import ledger
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.verification import told
from tasks.spec.base import digest_json
from tasks.spec.errors import PromotionRefused
from tasks.spec.ledger import EntryDraft, TrainedDetails
from tasks.spec.settings import Settings
from tests.conftest import git
from tests.proof import ledgers
from tests.proof.by_verdict import promoted
from tests.proof.ledgers import Document, Ledger, chained, files, following, mail, sealed, write

UNBOUND = "names no list and no head, as none does since 2026-11-29"


def seconds(entry: Document) -> int:
    return int(datetime.fromisoformat(entry["time"]).timestamp())


def test_a_waiver_of_old_counts_before_the_day_that_bound_them_and_never_after(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first four entries of a ledger, with its second list, as of May; then promotions on such waivers."""
    old = [{**e, "time": f"2026-05-0{n}T10:00:00.000+00:00"} for n, e in enumerate(honest.entries[:4], 1)]
    entries = chained(old, honest.examiner)
    assert [e["kind"] for e in entries] == ["policy", "trained", "promoted", "policy"]
    documents: list[Document | None] = [None] * 4

    def add(version: str, previous: str, time: str, expires: str = ledgers.LATER, created: str = "") -> None:
        commit = ledgers.candidate(honest.settings, "income", f"{version}-of-old")
        evidence = ledgers.verdict(honest.folder, "income", commit, previous, version, by="ann", expires=expires)
        evidence["verdict"]["created"] = created or time
        entry = promoted(honest, entries[-1], version=version, commit=commit, evidence=digest_json(evidence),
                         time=time, details={"previous": previous})  # fmt: skip
        entries.append(entry)
        documents.append(evidence)

    add("v2.0.0", "v1.0.0", "2026-05-10T10:00:00.000+00:00", "2026-05-31")
    add("v3.0.0", "v2.0.0", "2026-06-10T10:00:00.000+00:00", "2026-05-31", "2026-05-20T10:00:00.000+00:00")
    add("v4.0.0", "v2.0.0", "2026-11-28T23:59:59.000+00:00")
    add("v5.0.0", "v4.0.0", "2026-11-29T00:00:00.000+00:00", created="2026-05-20T10:00:00.000+00:00")
    add("v6.0.0", "v4.0.0", "2026-11-28T10:00:00.000+00:00")
    repository = ledgers.copy(honest, tmp_path / "old.git")
    commits = [files(honest, e, d) for e, d in zip(entries, documents, strict=True)]
    write(repository, None, commits, [seconds(e) for e in entries])
    main([str(repository), "--json", "--root", honest.root])
    found = json.loads(capsys.readouterr().out)
    refused = [p.removeprefix("the waiver of auc-floor by ") for p in found["problems"] if "does not count" in p]
    named = f"does not count: the waiver of auc-floor by {mail('ann')}"
    assert refused == [
        f"entry 6 {named} expired on 2026-05-31", f"entry 8 {named} {UNBOUND}", f"entry 9 {named} {UNBOUND}",
    ]  # fmt: skip
    now, problems = told(Settings(home=tmp_path / "home", origin=str(repository), root=honest.root))
    assert now.models["income"].champion == found["champions"]["income"] == "v4.0.0"
    assert sorted(now.refused) == [6, 8, 9] and now.bound == 8, problems


def test_what_is_too_large_is_not_appended_and_said_to_be_so(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = ledgers.copy(honest, tmp_path / "large.git")
    settings = Settings(home=tmp_path / "home", origin=str(repository), examiner_key=honest.settings.examiner,
                        root=honest.root)  # fmt: skip
    draft = EntryDraft(
        kind="trained", model="income", actor="dana", reason="push", sentence="trained",
        evidence={"x": "a" * ledger.LARGEST}, details=TrainedDetails(base="a" * 40, branch="assay/candidates/income/x"),
    )  # fmt: skip
    with pytest.raises(PromotionRefused) as caught:
        ledger.append(settings, draft)
    assert str(caught.value) == (
        "the evidence of this trained entry has 16,777,224 bytes, and allowed are 16,777,216, so that everybody can "
        "check the ledger. Make what it is made of smaller."
    )
    assert ledger.append(settings, draft.model_copy(update={"evidence": {"x": 1}})).sequence == len(honest.entries) + 1

    evidence = {"x": "a" * LARGEST}  # as an older release appended it
    last = ledger.entries(settings)[-1].stored()
    entry = following(honest, last, kind="trained", evidence=digest_json(evidence), details=draft.details.model_dump())
    write(repository, git(repository, "rev-parse", BRANCH), [files(honest, sealed(entry, honest.examiner), evidence)])
    assert main([str(repository), "--json", "--root", honest.root]) == 3
    assert json.loads(capsys.readouterr().out)["problems"] == [
        f"entry {entry['sequence']}: evidence {entry['evidence']} is too large to be read here (33554432 bytes)"
    ]
