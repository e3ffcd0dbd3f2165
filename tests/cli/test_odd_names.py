"""Names that a stranger chose for branches, tags and files, through git: they stop nothing and hide nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cli.pushes import Pushes
from tasks.proof.verify import check
from tasks.records.registry import ledger, settled
from tasks.records.repository.changes import changed_paths, collected_until
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone
from tasks.spec.settings import Settings
from tests.cli.test_status import DRAFT, stopped_home
from tests.cli.test_system import assay
from tests.conftest import ROOT, git
from tests.proof.forging import ODD


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    made = stopped_home(tmp_path)
    git(developer, "remote", "set-url", "origin", str(made / "origin.git"))
    return made


def pushed(developer: Path, *names: str) -> None:
    git(developer, "push", "--quiet", "origin", *(f"main:{name}" for name in names))


def test_odd_branches_and_tags_stop_no_command(home: Path, developer: Path) -> None:
    pushed(developer, *(f"refs/heads/{name}" for name in ODD), *(f"refs/tags/{name}" for name in ODD))
    pushed(developer, *(f"refs/heads/assay/candidates/care/{name}" for name in ODD))
    status = assay(home, "status")
    assert (status.returncode, "Traceback" in status.stderr) == (0, False), status.stdout + status.stderr
    verified = assay(home, "ledger", "--verify")
    assert verified.returncode == 0 and verified.stdout.startswith("the ledger holds: "), verified.stderr
    settings = Settings(home=home)
    clone = ensure_clone(settings)
    here = clone.lines("for-each-ref", "--format=%(refname:strip=3)", "refs/remotes/origin")
    assert {*ODD} <= {*here} and clone.rev_parse("refs/remotes/origin/main") == git(developer, "rev-parse", "main")
    fetched = (clone.path / ".git/FETCH_HEAD").stat().st_mtime_ns
    assert (ensure_clone(settings).path / ".git/FETCH_HEAD").stat().st_mtime_ns == fetched, "it is known to be the same"
    assert settled.gather(settings) == 0 and ledger.append(settings, DRAFT).sequence == 3
    found = check(home / "origin.git", ledger.begin(settings).root)
    assert (found.problems, found.notices) == ([], [])


def test_names_that_the_clone_cannot_have_stop_nothing_and_are_named(home: Path, developer: Path) -> None:
    """An origin may pack names that are too long for a file, or that only a shorter path leaves room for."""
    settings = Settings(home=home)
    ensure_clone(settings)
    first, packed = git(developer, "rev-parse", "main"), home / "origin.git/packed-refs"
    long = "z" + 20 * f"/{'a' * 200}"
    names = [f"heads/{long}/{'b' * 40}", f"heads/{'c' * 254}", f"tags/{long}/{'b' * 60}"]
    packed.write_text("# pack-refs with: sorted \n" + "".join(f"{first} refs/{name}\n" for name in names))
    (developer / "more.txt").write_text("more\n")
    git(developer, "add", "more.txt")
    git(developer, "commit", "--quiet", "-m", "more")
    pushed(developer, "refs/heads/main", "refs/heads/other", "refs/heads/a")
    tip, clone = git(developer, "rev-parse", "main"), ensure_clone(settings)
    assert {clone.rev_parse(f"refs/remotes/origin/{name}") for name in ("main", "other")} == {tip}
    assert "c" * 254 not in clone.lines("for-each-ref", "--format=%(refname:strip=3)", "refs/remotes/origin")
    fetched = (clone.path / ".git/FETCH_HEAD").stat().st_mtime_ns
    assert (ensure_clone(settings).path / ".git/FETCH_HEAD").stat().st_mtime_ns == fetched, "it is known to be the same"
    number = ledger.append(settings, DRAFT).sequence
    assert [e.sequence for e in ledger.entries(settings)][-1] == number
    status = assay(home, "status")
    said = f"3 branches or tags of it cannot be had here, such as '{'c' * 60}'... (254 characters): the name is"
    assert status.returncode == 1 and said in status.stdout, status.stdout + status.stderr
    packed.unlink()
    git(developer, "push", "--quiet", "origin", ":refs/heads/a")
    pushed(developer, "refs/heads/a/b")  # where a was
    assert ensure_clone(settings).rev_parse("refs/remotes/origin/a/b") == tip
    assert assay(home, "status").returncode == 0


def test_odd_names_that_look_like_ours_are_named_on_one_line(home: Path, developer: Path) -> None:
    names = [f"care@v1.0.0{name.replace('/', '')}" for name in ODD]
    pushed(developer, *(f"refs/tags/{name}" for name in names))
    done = assay(home, "status")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    lines = [line for line in done.stdout.split("\n") if line.startswith("record: tag care@v1.0.0")]
    assert len(lines) == len(names) and all("is none that Assay makes; it changes nothing" in line for line in lines)
    assert not {*"\x85\u2028\u2029\u202e"} & {*done.stdout} and "U+202E" in done.stdout and "U+DCFF" in done.stdout
    alone = [sys.executable, str(ROOT / "tasks/proof/verify.py"), str(home / "origin.git")]
    said = subprocess.run(alone, capture_output=True, check=False).stdout.decode()
    assert sum("is none that Assay makes" in line for line in said.split("\n")) == len(names)
    assert not {*"\x85\x9b\u2028\u2029\u202e"} & {*said} and "v1.0.0U+202Ex" in said and "v1.0.0U+009B1mx" in said
    found = json.loads(assay(home, "status", "--json").stdout)
    for sentence in found["record_problems"]:
        sentence.encode("utf-8")  # the service answers with it


@pytest.mark.parametrize("name", ["HEAD", "HEAD/x"])
def test_a_branch_called_head_moves_no_other(home: Path, developer: Path, tmp_path: Path, name: str) -> None:
    """A clone of earlier releases has an alias of that name, which git follows and cannot put a branch below."""
    settings, first = Settings(home=home), git(developer, "rev-parse", "main")
    old = ensure_clone(settings)
    old.run("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(developer, "commit", "--quiet", "--allow-empty", "-m", "a stranger's")
    pushed(developer, f"refs/heads/{name}")
    for other in (settings, Settings(home=tmp_path / "new", origin=str(home / "origin.git"))):
        clone = ensure_clone(other)
        assert clone.rev_parse("refs/remotes/origin/main") == first
        assert clone.rev_parse(f"refs/remotes/origin/{name}") == git(developer, "rev-parse", "main")
    assert assay(home, "status").returncode == 0


def test_files_of_odd_names_are_told_as_they_are(home: Path, developer: Path) -> None:
    collected = developer / "data/care/collected"
    collected.mkdir(parents=True)
    paths = [f"data/care/collected/{name.replace('/', '')}rows-1-900.parquet.dvc" for name in ODD]
    own = "data/care/collected/rows-1-20.parquet.dvc"
    before = git(developer, "rev-parse", "main")
    for path in (*paths, own):
        (developer / path).write_text("outs: []\n")
    (developer / "\u2003a").write_text("x")
    assert Git(developer).changed_files() == ["data/", "\u2003a"]
    git(developer, "add", "--all")
    git(developer, "commit", "--quiet", "-m", "odd")
    clone = Git(developer)
    assert {*changed_paths(clone, before, "HEAD")} == {*paths, own, "\u2003a"}
    assert collected_until(clone, "HEAD", "care") == 20


def test_who_pushes_is_no_end_of_a_line(home: Path, developer: Path) -> None:
    """Git's log of the branch names who pushes, as they called themselves."""
    origin = home / "origin.git"
    tips = [git(developer, "rev-parse", "main")]
    for name in ("a\u2028b", "a\x85b", "a\rb"):
        git(developer, "commit", "--quiet", "--allow-empty", "-m", "next")
        os.environ["GIT_COMMITTER_NAME"] = name
        try:
            git(developer, "push", "--quiet", "origin", "main")
        finally:
            del os.environ["GIT_COMMITTER_NAME"]
        tips.append(git(developer, "rev-parse", "main"))
    assert "a\u2028b" in (origin / "logs/refs/heads/main").read_text()
    pushes = Pushes(Settings(home=home), api=None)  # type: ignore[arg-type]
    pushes._first = False
    steps = pushes._steps(tips[0], tips[-1])
    assert [step[:2] for step in steps] == list(zip(tips, tips[1:], strict=False))
    assert all(moment.isdigit() for *_, moment in steps)
