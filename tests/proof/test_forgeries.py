"""Forgeries of a real ledger, with and without the examiner's stolen key: the verifier names each."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.demo.proof import shown
from tasks.proof import verify
from tasks.proof.verify import main
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import told
from tasks.spec.base import digest_json
from tasks.spec.settings import Settings
from tests.conftest import git
from tests.proof import ledgers
from tests.proof.by_envelope import BY_ENVELOPE
from tests.proof.by_git import BY_GIT, cut_with_tags
from tests.proof.by_position import BY_POSITION
from tests.proof.by_tree import OLD, PRESENT
from tests.proof.by_verdict import BY_VERDICT
from tests.proof.forging import KINDS, ODD, Forgery
from tests.proof.ledgers import Document, Ledger
from tests.proof.with_stolen_key import STOLEN


def asked(capsys: pytest.CaptureFixture[str], repository: Path, *words: str) -> tuple[int, Document]:
    code = main([str(repository), "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def cases(*others: dict[str, tuple[Forgery, str]]) -> Iterator[tuple[str, Forgery, str]]:
    for kind, (positions, forge, says) in BY_POSITION.items():
        for at in positions:
            yield f"{kind}: {at}", forge(at), says.replace("{at}", str(at))
    for name, (forgery, says) in {k: v for other in others for k, v in other.items()}.items():
        yield name, forgery, says


CASES = list(cases(STOLEN, BY_VERDICT, BY_GIT, PRESENT))


def test_each_forgery_is_named(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every_one_is_named(honest, CASES, tmp_path, capsys)


def test_each_envelope_that_does_not_hold_is_named(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = [(name, forgery, says) for name, (forgery, says) in BY_ENVELOPE.items()]
    every_one_is_named(honest, alone, tmp_path, capsys)


def test_each_forgery_of_a_ledger_of_the_old_form_is_named(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = ledgers.of_old(honest, tmp_path / "old.git", KINDS)
    every_one_is_named(old, list(cases(BY_GIT, OLD)), tmp_path, capsys)


def every_one_is_named(
    honest: Ledger, cases: list[tuple[str, Forgery, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--root", honest.root, "--anchor", honest.commits[-1])
    assert len(honest.entries) == KINDS and asked(capsys, honest.origin, *words)[1]["problems"] == []
    missed: list[str] = []
    others: list[str] = []
    anchored = 0
    for number, (name, forge, says) in enumerate(cases):
        repository = ledgers.copy(honest, tmp_path / f"{number}.git")
        forge(Ledger(**{**vars(honest), "evidence": dict(honest.evidence)}), repository)
        code, found = asked(capsys, repository, *words)
        says = says.replace("{anchor}", honest.commits[-1]).replace("{root}", honest.root)
        if code != 3 or not any(says in problem for problem in found["problems"]):
            missed.append(f"{name}: {says!r} is not in {found['problems']}")
        others += other_answers(honest, repository, name, found)
        anchored += all(honest.commits[-1] in problem for problem in found["problems"])
    assert missed == [] and others == []
    assert anchored <= 6  # seen by the anchor alone: tails that were cut off with their tags, and main as the ledger
    print(f"{len(cases)} forgeries named, {anchored} of them by the anchor alone")


REFUSED = re.compile(r"entry (\d+) does not count: ")


def other_answers(honest: Ledger, repository: Path, name: str, found: Document) -> Iterator[str]:
    """What a home that sees a ledger for the first time would serve, where the verifier names another champion."""
    home = Settings(home=repository.with_suffix(".home"), origin=str(repository), root=honest.root)
    now, problems = told(home)
    served = {model: held.champion for model, held in sorted(now.models.items()) if held.champion}
    if served != found["champions"]:
        yield f"{name}: {served} would serve, and the verifier names {found['champions']}"
    for model, champion in found["champions"].items():
        version = Registry(home).champion(model)
        if version is None or version.tag != champion:
            yield f"{name}: {version} of {model} would serve, and the verifier names {champion}"
    ours, theirs = ({m[1] for p in said if (m := REFUSED.match(p))} for said in (problems, found["problems"]))
    if ours != theirs:
        yield f"{name}: readers refuse entries {ours}, and the verifier refuses {theirs}"


@pytest.mark.parametrize("what", ["the tip", "its tree", "an entry", "a tag", "the commit of a version"])
def test_an_object_that_is_another_one_than_its_name_says_is_named(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """Git reads an object without a look at its name, so that whoever hands out a clone could swap two."""
    repository, last, before = ledgers.copy(honest, tmp_path / "swapped.git"), honest.commits[-1], honest.commits[-3]
    name, other = {
        "the tip": (last, before),
        "its tree": (f"{last}^{{tree}}", f"{before}^{{tree}}"),
        "an entry": (f"{last}:entry.json", f"{before}:entry.json"),
        "a tag": ("refs/tags/income@v3.0.0", "refs/tags/income@v2.0.0"),
        "the commit of a version": ("income@v3.0.0^{commit}", honest.spare),
    }[what]
    name, other = (git(repository, "rev-parse", one) for one in (name, other))
    kind, said = git(repository, "cat-file", "-t", other), tmp_path / "object"
    content = subprocess.run(["git", "cat-file", kind, other], cwd=repository, capture_output=True, check=True).stdout
    said.write_bytes(zlib.compress(f"{kind} {len(content)}\0".encode() + content))
    for pack in list((repository / "objects/pack").glob("*.pack")):
        (tmp_path / "packs").mkdir(exist_ok=True)
        moved = pack.rename(tmp_path / "packs" / pack.name)
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as stream:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=repository, stdin=stream, check=True)
    loose = repository / "objects" / name[:2] / name[2:]
    loose.unlink()
    said.rename(loose)
    code, found = asked(capsys, repository, "--root", honest.root, "--anchor", last)
    says = f"object {name} holds something else than its name says; see git fsck"
    assert code == 3 and any(says in problem for problem in found["problems"]), found["problems"]


def test_what_no_clone_is_and_a_damaged_one_is_one_sentence(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = ledgers.copy(honest, tmp_path / "damaged.git")
    (damaged / "config").write_text("[core\n")
    git(tmp_path, "clone", "--quiet", "--separate-git-dir", str(tmp_path / "apart"), str(honest.origin), "work")
    for path, says in ((damaged, "bad config line"), (tmp_path / "work", "since its .git is a file that says")):
        assert main([str(path), "--root", honest.root]) == 2
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1


def test_a_shallow_clone_is_told_to_be_one(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"file://{honest.origin}"
    git(tmp_path, "clone", "--quiet", "--mirror", "--depth", "1", "--no-single-branch", where, "shallow.git")
    code, found = asked(capsys, tmp_path / "shallow.git", "--root", honest.root)
    assert code == 3
    assert found["problems"][-1].endswith("; it is a shallow clone: take a whole one by git clone --mirror")


def test_there_are_at_least_a_hundred() -> None:
    assert len({name for name, _, _ in CASES}) == len(CASES) >= 100


def test_no_honest_history_is_accused(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ledgers as they were after each entry, any anchor of the past, clones of all kinds, and others' tags."""
    for at in range(2, KINDS):
        repository = ledgers.copy(honest, tmp_path / f"after-{at}.git")
        cut_with_tags(at)(honest, repository)
        anchor = honest.commits[at - 1] if at % 2 else digest_json(honest.entries[at - 1])
        code, found = asked(capsys, repository, "--root", honest.root, "--anchor", anchor)
        assert (code, found["problems"], found["entries"], found["head"]) == (
            0, [], at, digest_json(honest.entries[at - 1]),
        )  # fmt: skip
    for at in range(KINDS):
        assert asked(capsys, honest.origin, "--root", honest.root, "--anchor", honest.commits[at])[0] == 0
    git(tmp_path, "clone", "--quiet", "--mirror", f"file://{honest.origin}", "mirror.git")
    git(tmp_path / "mirror.git", "gc", "--quiet", "--aggressive", "--prune=now")
    git(tmp_path, "clone", "--quiet", "--shared", str(honest.origin), "work")
    ledgers.copy(honest, tmp_path / "tagged.git")
    odd = ("income@v2.0.0!", "income#champion#5!", "income!", "income@v2.0.0#7!", "release-1", "v1")
    for name in odd:
        git(tmp_path / "tagged.git", "tag", name, "main")
    ledgers.copy(honest, tmp_path / "odd.git")
    for name in ODD:
        for place in ("heads/", "tags/", "tags/income@v9.0.0"):
            git(tmp_path / "odd.git", "update-ref", f"refs/{place}{name}", "main")
    for name, notices in (("mirror.git", 0), ("work", 0), ("tagged.git", 3), ("odd.git", len(ODD))):
        code, found = asked(capsys, tmp_path / name, "--root", honest.root, "--anchor", honest.commits[-1])
        assert (code, found["problems"], len(found["notices"])) == (0, [], notices)
        assert found["champions"] == {"care": "v1.0.0", "income": "v3.0.0"} and found["not_excluded"] == []


def test_what_was_not_told_is_said(honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(honest.origin)]) == 0
    said = capsys.readouterr().out
    assert "self-consistent only" in said and "cut off together with their tags" in said
    assert f"first list (root): {honest.root}" in said and said.endswith("it is self-consistent only\n")
    assert main([str(honest.origin), "--root", honest.root, "--anchor", honest.commits[3]]) == 0
    told = capsys.readouterr().out
    assert told.endswith("champions: care v1.0.0, income v3.0.0\nit holds\n")
    assert "not excluded: that entries after the one that --anchor names were cut off" in told
    code, found = asked(capsys, honest.origin, "--root", f"sha256:{'0' * 64}")
    assert code == 3 and found["problems"] == [
        f"the first list is {honest.root}, and sha256:{'0' * 64} was named: nothing is proven"
    ]
    for words in ((str(tmp_path),), (str(honest.origin), "--root", "abc"), (str(honest.origin), "--anchor", "HEAD")):
        assert main([*words]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_it_stands_alone_and_runs_nothing_of_the_repository(honest: Ledger, tmp_path: Path) -> None:
    """The file alone, in another folder, without site packages, on a repository whose settings name programs."""
    repository = ledgers.copy(honest, tmp_path / "hostile.git")
    (repository / "hooks").mkdir()
    harm = tmp_path / "harm"
    program = repository / "hooks/program"
    program.write_text(f"#!/bin/sh\ntouch {harm}\n")
    program.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "gpg.program", "diff.external", "core.sshCommand", "core.askPass"):
        git(repository, "config", name, str(program))
    for name, value in {
        "extensions.partialClone": "origin", "core.repositoryFormatVersion": "1", "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{program}", "protocol.ext.allow": "always", "log.showSignature": "true",
    }.items():  # fmt: skip
        git(repository, "config", name, value)
    git(repository, "update-ref", "refs/tags/income@v9.0.0", honest.commits[0])
    packed = (repository / "packed-refs").read_text()
    (repository / "packed-refs").write_text(f"{packed}{'1' * 40} refs/tags/income@v8.0.0\n")  # nobody has that object
    shutil.copy(verify.__file__, tmp_path / "alone.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "alone.py", "hostile.git", "--root", honest.root, "--anchor", honest.commits[-1]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:2]] == [
        "tag income@v8.0.0 names no evidence", "tag income@v9.0.0 names no evidence",
    ]  # fmt: skip
    assert not harm.exists()


def test_the_demo_shows_the_proof_and_a_forgery(honest: Ledger) -> None:
    assert shown(honest.settings).startswith(
        "14 ledger entries hold by verify.py alone, with root and anchor; on a copy"
    )
    assert "@v99.0.0" not in git(honest.origin, "tag")
