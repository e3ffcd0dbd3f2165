"""The demo as a person runs it; then its records are verified, forged and verified again, and its pages measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.records.registry.branch import BRANCH, ENTRY, EVIDENCE
from tests.browser import page_measured
from tests.conftest import ROOT, git
from tests.system import require_package_index

pytestmark = pytest.mark.acceptance

HOME = ROOT / ".assay/demo"
FORGERIES = {
    "an entry tells another actor": ("promoted", lambda tree: rewrite(tree / ENTRY, '"actor":"', '"actor":"not-')),
    "an entry is told once more": ("rejected", lambda tree: None),
    "a verdict is made to pass": (
        "rejected",
        lambda tree: rewrite(tree / EVIDENCE, '"state":"fail"', '"state":"pass"'),
    ),
    "evidence is removed": ("promoted", lambda tree: (tree / EVIDENCE).unlink()),
}
"""What somebody with write access to the ledger's branch could do on the files of a commit, as one more commit."""


def assay(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments],
        cwd=ROOT,
        env=os.environ | {"ASSAY_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def newest(tree: Path, kind: str) -> str:
    """The newest commit with an entry of a kind."""
    commits = git(tree, "rev-list", f"origin/{BRANCH}").split()
    return next(c for c in commits if json.loads(git(tree, "show", f"{c}:{ENTRY}"))["kind"] == kind)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} does not hold {old}"
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    """``make demo``, which clears and refills its own home."""
    require_package_index()
    return subprocess.run(
        [sys.executable, "-m", "tasks.demo"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=2400
    )


@pytest.fixture
def copy(demo: subprocess.CompletedProcess[str], tmp_path: Path) -> Path:
    """A copy of the demo's origin, to be forged: a foreign host, whose hooks refuse nothing."""
    ignored = shutil.ignore_patterns("hooks")
    return Path(shutil.copytree(HOME / "origin.git", tmp_path / "origin.git", ignore=ignored))


def test_every_act_comes_out(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    acts = re.findall(r"^(\w+) +Act (\d)", demo.stdout, re.MULTILINE)
    assert acts == [("ok", str(number)) for number in range(1, 7)]


def test_its_records_are_verified_also_by_who_never_saw_them(copy: Path, tmp_path: Path) -> None:
    for home, origin in ((HOME, HOME / "origin.git"), (tmp_path / "home", copy)):
        done = assay(home, "ledger", "--verify", ASSAY_ORIGIN=str(origin))
        assert done.returncode == 0 and done.stdout.startswith("the ledger holds: chain, evidence, signatures and tags")


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_record_is_found_by_who_never_saw_the_original(forgery: str, copy: Path, tmp_path: Path) -> None:
    kind, change = FORGERIES[forgery]
    tree = cloned(copy, tmp_path / "forger")
    git(tree, "checkout", "--quiet", newest(tree, kind), "--", ".")
    change(tree)
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "-m", "tidy")
    git(tree, "push", "--quiet", "origin", f"HEAD:{BRANCH}")
    done = assay(tmp_path / "home", "ledger", "--verify", ASSAY_ORIGIN=str(copy))
    assert done.returncode == 3 and re.search(r"entry \d+ is missing: \d+ stands", done.stdout), (
        done.stdout + done.stderr
    )


def test_a_history_rewritten_to_its_beginning_is_found_by_the_tags(copy: Path, tmp_path: Path) -> None:
    """A new chain that is sound in itself, in which the newest release never happened."""
    tree = cloned(copy, tmp_path / "forger")
    promoted = newest(tree, "promoted")
    version = json.loads(git(tree, "show", f"{promoted}:{ENTRY}"))["version"]
    git(tree, "push", "--quiet", "--force", "origin", f"{promoted}~1:refs/heads/{BRANCH}")
    done = assay(tmp_path / "home", "ledger", "--verify", ASSAY_ORIGIN=str(copy))
    assert done.returncode == 3 and f"tag income@{version} names an entry for commit" in done.stdout, done.stdout


def cloned(origin: Path, tree: Path) -> Path:
    git(tree.parent, "clone", "--quiet", "--branch", BRANCH, str(origin), str(tree))
    return tree


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_a_phone_and_a_desk(demo: subprocess.CompletedProcess[str], width: int, tmp_path: Path) -> None:
    pages = sorted((HOME / "reports").rglob("*.html"))
    assert len(pages) > 15 and {"account.html", "watching.html", "index.html"} <= {p.name for p in pages}
    wrong = {}
    for number, page in enumerate(pages):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = page.read_text()
        assert "<script" not in text and 'src="http' not in text, page
        measured = page_measured(text, width, folder)
        if measured["scroll"] > width or measured["over"] or measured["cut"]:
            wrong[str(page.relative_to(HOME))] = measured
    assert wrong == {}
