"""What a home has seen of its ledger outlives its clone: no stranger's ledger is believed after it was made anew."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tasks.records.registry import ledger, memory
from tasks.records.registry.registry import Registry
from tasks.records.repository.git import Git
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings
from tests.cli.test_status import DRAFT, stopped_home
from tests.cli.test_system import assay
from tests.conftest import git

LEDGER = "refs/heads/assay/ledger"


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    return stopped_home(tmp_path)


def strangers(home: Path, folder: Path) -> tuple[str, str]:
    """Put in a whole ledger of somebody else, past the hooks; gives its root, and the tip that was there."""
    origin, own = home / "origin.git", git(home / "origin.git", "rev-parse", LEDGER)
    git(folder, "clone", "--quiet", "--mirror", str(origin), "strangers.git")
    git(folder / "strangers.git", "update-ref", "-d", LEDGER)
    theirs = Settings(home=folder / "strangers", origin=str(folder / "strangers.git"))
    for _ in range(3):
        ledger.append(theirs, DRAFT)
    git(origin, "fetch", "--quiet", str(folder / "strangers.git"), f"+{LEDGER}:{LEDGER}")
    return ledger.begin(theirs).root, own


@pytest.mark.parametrize("gone", [["clone"], ["clone", memory.NAME]])
def test_a_clone_made_anew_believes_no_other_ledger(home: Path, tmp_path: Path, gone: list[str]) -> None:
    """Also where the home is of a release that kept no memory but what the entries proved."""
    settings = Settings(home=home)
    keys, root = (home / "keys/examiners").read_bytes(), ledger.begin(settings).root
    theirs, own = strangers(home, tmp_path)
    for name in gone:
        (home / name).rename(tmp_path / f"lost-{name}")
    lost = (
        f"the ledger was rewritten or cut off since this clone last saw it: its newest commit "
        f"{git(home / 'origin.git', 'rev-parse', LEDGER)[:12]} does not come after {own[:12]}. The clone was made anew "
        "and has it no more, so nothing that the ledger says is proven. Bring the home back from a backup: assay "
        "restore FILE --replace"
    )
    done = assay(home, "policy")
    assert done.returncode == CorruptionError.exit_code and done.stderr == f"error: {lost}\n" and not done.stdout
    status = assay(home, "status")
    assert status.returncode == 1 and f"record: {lost}" in status.stdout and "Traceback" not in status.stderr
    assert "nobody knows which version is champion" in status.stdout and "no champion yet" not in status.stdout
    assert assay(home, "ledger", "--verify").returncode == 3
    assert assay(home, "monitor", "care").returncode != 0
    with pytest.raises(CorruptionError, match="nothing that the ledger says is proven"):
        Registry(settings).champion("care")
    with pytest.raises(CorruptionError, match="nothing is written on a ledger that does not hold"):
        ledger.append(settings, DRAFT)
    ledger.begin(settings)
    assert (home / "keys/examiners").read_bytes() == keys and theirs not in (home / memory.NAME).read_text()

    git(tmp_path / "lost-clone", "push", "--quiet", "--force", str(home / "origin.git"), f"{own}:{LEDGER}")
    assert assay(home, "status").returncode == 0 and ledger.begin(settings).root == root
    assert ledger.append(settings, DRAFT).sequence == 3 and assay(home, "ledger", "--verify").returncode == 0


def test_a_damaged_clone_is_moved_as_status_says(home: Path) -> None:
    root = ledger.begin(Settings(home=home)).root
    (home / "clone/.git/HEAD").write_text("no head\n")
    done = assay(home, "status")
    fix = f"mv '{home}/clone' '{home}/replaced-clone'; it is made anew, and held to what {home / memory.NAME} holds"
    assert done.returncode == 1 and f"Mend it: {fix}\n" in done.stdout and "rm " not in done.stdout
    (home / "clone").rename(home / "replaced-clone")
    assert assay(home, "status").returncode == 0
    found = memory.recall(Settings(home=home), Git(home / "clone"))
    assert found.clone == found.home and found.home.root == root and found.home.seen
    (home / "clone/.git/HEAD").write_text("no head\n")
    (home / memory.NAME).unlink()
    done = assay(home, "status")
    assert "the clone alone knows which ledger is this home's" in done.stdout and "mv '" not in done.stdout


def test_memories_that_differ_are_told(home: Path) -> None:
    settings, other = Settings(home=home), f"sha256:{'0' * 64}"
    root = ledger.begin(settings).root
    git(home / "clone", "config", "assay.root", other)
    assert f"this clone knows {other}" in assay(home, "policy").stderr
    git(home / "clone", "config", "assay.root", root)
    kept = json.loads((home / memory.NAME).read_text())
    (home / memory.NAME).write_text(json.dumps(kept | {"root": other}))
    assert f"{home}/ledger-memory.json holds {other}" in assay(home, "policy").stderr
    (home / memory.NAME).write_text("{")  # the clone knows it still
    assert assay(home, "policy").returncode == 0 and json.loads((home / memory.NAME).read_text()) == kept
    (home / memory.NAME).write_text("{")
    shutil.rmtree(home / "clone")
    said = assay(home, "policy").stderr
    assert said.startswith(f"error: {home}/ledger-memory.json cannot be read, and the clone was made anew")


def test_a_backup_carries_the_memory_and_an_older_one_comes_back(home: Path, tmp_path: Path) -> None:
    settings = Settings(home=home)
    (home / memory.NAME).unlink()  # as an earlier release leaves a home
    assert assay(home, "backup", str(tmp_path / "old.tar")).returncode == 0
    ledger.append(settings, DRAFT)
    assert assay(home, "backup", str(tmp_path / "new.tar")).returncode == 0
    with tarfile.open(tmp_path / "old.tar") as old, tarfile.open(tmp_path / "new.tar") as new:
        assert memory.NAME not in old.getnames() and memory.NAME in new.getnames()
    ledger.append(settings, DRAFT)
    for file, entries in (("old.tar", 2), ("new.tar", 3)):
        for now, words in ((home, ["--replace"]), (tmp_path / file[:3], [])):
            assert assay(now, "restore", str(tmp_path / file), *words).returncode == 0
            assert assay(now, "ledger", "--verify").returncode == 0, "no memory of newer entries accuses it"
            assert ledger.begin(Settings(home=now)).sequence == entries and (now / memory.NAME).exists()
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(home / memory.NAME, only)
    done = assay(only, "restore", str(tmp_path / "old.tar"))
    assert done.returncode == 2 and f"{only} holds ledger-memory.json already" in done.stderr


def test_evidence_of_another_form_is_told_and_ends_nothing(home: Path) -> None:
    evidence = {"verdict": {"model": "care", "passed": True}}
    ledger.append(Settings(home=home), DRAFT.model_copy(update={"evidence": evidence}))
    done = assay(home, "status")
    assert "Traceback" not in done.stderr and "holds no verdict that can be read (verdict." in done.stdout
    assert "3 ledger entries" in done.stdout


@pytest.mark.parametrize("count", ["abc", "-1", "1e3"])
def test_a_wrong_variable_of_git_is_told_in_a_sentence(home: Path, count: str) -> None:
    said = f"the variable GIT_CONFIG_COUNT is {count!r}, and must be the number of variables GIT_CONFIG_KEY_0"
    done = assay(home, "status", GIT_CONFIG_COUNT=count)
    assert done.returncode == 1 and said in done.stdout and "Traceback" not in done.stderr
    done = assay(home, "ledger", GIT_CONFIG_COUNT=count)
    assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
