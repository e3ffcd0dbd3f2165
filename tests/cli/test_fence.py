"""The hook before a push to the home's own origin: the ledger's branch takes what an examiner signed, and no junk."""

from __future__ import annotations

import json
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.records.registry import ledger
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.settings import Settings
from tests.cli.test_status import DRAFT, stopped_home
from tests.conftest import git
from tests.keys import reserved

LEDGER = "refs/heads/assay/ledger"


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    made = stopped_home(tmp_path)
    git(developer, "remote", "set-url", "origin", str(made / "origin.git"))
    ledger.append(Settings(home=made), DRAFT)
    git(developer, "fetch", "--quiet", "origin")
    return made


def commit(clone: Path, content: str, parent: str, evidence: str = "") -> str:
    def told(stdin: str, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=clone, input=stdin, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    files = {"entry.json": content} | ({"evidence.json": evidence} if evidence else {})
    blobs = {name: told(text, "hash-object", "-w", "--stdin") for name, text in files.items()}
    tree = told("".join(f"100644 blob {blob}\t{name}\n" for name, blob in blobs.items()), "mktree")
    return git(clone, "commit-tree", tree, "-p", parent, "-m", "junk")


def refused(clone: Path, *what: str) -> str:
    done = subprocess.run(["git", "push", "origin", *what], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    return " ".join(line.removeprefix("remote: ").strip() for line in done.stderr.splitlines() if "remote: " in line)


def test_a_push_to_the_ledger_by_accident_is_refused(home: Path, developer: Path) -> None:
    settings, origin = Settings(home=home), home / "origin.git"
    tip = git(origin, "rev-parse", LEDGER)
    entry = json.loads(git(origin, "cat-file", "blob", f"{LEDGER}:entry.json"))
    stolen = json.dumps({**entry, "reason": "person"}, sort_keys=True, separators=(",", ":"))
    following = {**entry, "sequence": entry["sequence"] + 1, "previous": digest_json(entry)}
    bare = {key: value for key, value in following.items() if key != "signature"}
    armor = signatures.sign_as_examiner(bare, signatures.examiner_key(settings.examiner), signatures.ENTRY)
    odd = canonical_json({**following, "signature": {**entry["signature"], "armor": reserved(armor)}}).decode()
    for content in ('{"a":1}', "junk", "[]", json.dumps(entry), stolen, odd):
        new = commit(developer, content, tip)
        assert refused(developer, f"{new}:{LEDGER}") == (
            f"assay: the branch assay/ledger is written by Assay alone, and commit {new[:12]} adds no entry that an "
            "examiner of this home signed. Nothing was pushed. Look at what you push: git push ORIGIN BRANCH names one "
            "branch"
        )
    assert "and this would remove it. " in refused(developer, f":{LEDGER}")
    assert f"and this would take off commit {tip[:12]}, which adds an entry. " in refused(
        developer, f"+{tip}~1:{LEDGER}"
    )
    assert "adds no entry" in refused(developer, f"+main:{LEDGER}", "main:refs/heads/other")
    git(developer, "push", "--quiet", "origin", "main:refs/heads/other")
    assert git(origin, "rev-parse", LEDGER) == tip and ledger.append(settings, DRAFT).sequence == entry["sequence"] + 1


def test_what_was_cut_off_or_put_on_past_the_hook_is_pushed_back(home: Path, developer: Path) -> None:
    """As the sentence about a rewritten ledger says it."""
    origin = home / "origin.git"
    tip = git(origin, "rev-parse", LEDGER)
    junk = commit(origin, "junk", tip)
    for there in (f"{tip}~1", junk):
        git(origin, "update-ref", LEDGER, there)
        git(home / "clone", "push", "--quiet", "--force", "origin", f"{tip}:{LEDGER}")
        assert git(origin, "rev-parse", LEDGER) == tip


def test_a_list_by_a_key_that_nobody_knows_and_another_view_of_objects_are_refused(home: Path, developer: Path) -> None:
    """Either stopped every rollback until somebody pushed by force."""
    origin = home / "origin.git"
    tip = git(origin, "rev-parse", LEDGER)
    before = git(origin, "cat-file", "blob", f"{LEDGER}:entry.json")
    theirs = Ed25519PrivateKey.generate()
    me = {"name": "me", "roles": ["examiner"], "keys": [signatures.public_line(theirs)]}
    previous = f"sha256:{sha256(before.encode()).hexdigest()}"
    for evidence in ({}, {"policy": {"people": [me]}, "signatures": []}):
        bare = {"kind": "policy", "previous": previous, "evidence": digest_json(evidence)}
        armor = signatures.sign_as_examiner(bare, theirs, "assay-ledger")
        entry = canonical_json({**bare, "signature": {"armor": armor}}).decode()
        new = commit(developer, entry, tip, canonical_json(evidence).decode())
        assert f"commit {new[:12]} adds no entry that an examiner" in refused(developer, f"{new}:{LEDGER}"), evidence
    junk = commit(developer, "junk", tip)
    assert refused(developer, f"{junk}:refs/replace/{tip}") == (
        f"assay: refs/replace/{tip} would show others another object than its name says, so nothing was pushed. Leave "
        "it out"
    )
    git(developer, "push", "--quiet", "origin", f"{junk}:refs/heads/junk")
    git(origin, "update-ref", f"refs/replace/{tip}", junk)  # as an older origin may have one
    assert f"this would take off commit {tip[:12]}" in refused(developer, f"+{tip}~1:{LEDGER}")
    assert ledger.append(Settings(home=home), DRAFT).sequence == json.loads(before)["sequence"] + 1
