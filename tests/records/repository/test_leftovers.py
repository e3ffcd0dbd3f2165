"""What a killed process leaves in a home is removed; what lives, and what is somebody else's, stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tasks.records.repository import workspace
from tasks.records.repository.leftovers import clear
from tasks.spec.settings import Settings
from tests.conftest import git

HOLD = """
import subprocess, sys, time
import pytest

from tasks.records.repository import workspace
from tasks.spec.settings import Settings

with workspace.worktree(Settings(), "main") as tree:
    child = subprocess.Popen(["sleep", "300"], cwd=tree, start_new_session=True)
    print(tree, child.pid, flush=True)
    time.sleep(300)
"""


def holder(settings: Settings) -> tuple[subprocess.Popen[str], Path, int]:
    environment = os.environ | {"ASSAY_HOME": str(settings.home), "ASSAY_ORIGIN": settings.origin}
    process = subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path, child = process.stdout.readline().split()
    return process, Path(path), int(child)


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_worktree_goes_with_its_owner_and_ends_what_works_in_it(settings: Settings) -> None:
    process, tree, child = holder(settings)
    try:
        assert clear(settings) == [] and tree.is_dir() and lives(child), "its owner lives"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert clear(settings) == [tree] and not tree.exists() and clear(settings) == []
        end = time.monotonic() + 10
        while lives(child) and time.monotonic() < end:
            time.sleep(0.05)
        assert not lives(child)
        assert str(tree) not in git(settings.clone, "worktree", "list")
    finally:
        process.kill()
        process.wait()
        subprocess.run(["kill", "-9", str(child)], check=False, capture_output=True)


def test_a_lock_of_git_goes_once_it_is_old_and_other_folders_stay(settings: Settings) -> None:
    workspace.ensure_clone(settings)
    lock = settings.clone / ".git/config.lock"
    lock.touch()
    copied = settings.worktrees / "backup-12345678"
    copied.mkdir(parents=True)
    assert clear(settings) == [] and lock.exists(), "git may be at work on it"
    for moment in (0.0, time.time() + 86_400):  # or of before a clock was set back
        lock.touch()
        os.utime(lock, (moment, moment))
        assert clear(settings) == [lock] and copied.is_dir()
    with workspace.worktree(settings, "main") as tree:
        assert tree.is_dir(), "and the clone works again"


def test_a_temporary_folder_that_nobody_could_hold_goes_after_a_day_and_what_only_looks_like_one_stays(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    names = ("assay-apart-a1b2", "assay-model-x9", "assay-model-young", "assay-model-used", "assay-notes-mine")
    for path in (elsewhere, *(tmp_path / name for name in names)):
        path.mkdir()
        (path / "file").write_text("text")
    (tmp_path / "assay-apart-link").symlink_to(elsewhere)
    old = time.time() - 90_000
    for name in set(names) - {"assay-model-young"}:
        os.utime(tmp_path / name, (old, old))
    os.utime(tmp_path / "assay-apart-link", (old, old), follow_symlinks=False)
    user = subprocess.Popen(["sleep", "60"], cwd=tmp_path / "assay-model-used")
    try:
        assert sorted(p.name for p in clear(settings)) == ["assay-apart-a1b2", "assay-model-x9"]
    finally:
        user.kill()
        user.wait()
    left = {path.name for path in tmp_path.iterdir()}
    assert left >= {*names[2:], "assay-apart-link"} and not left & set(names[:2]) and (elsewhere / "file").exists()


OWN = """
import sys, time

from tasks.records.repository.temporary import own_folder

with own_folder("model") as folder:
    print(folder, flush=True)
    time.sleep(300)
"""


def test_a_folder_of_whoever_lives_stays_however_old_the_clock_calls_it_and_goes_once_it_is_killed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's model of its own answers for weeks, and a clock may jump by days."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", OWN], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    try:
        for moment in (time.time() - 900_000, time.time() + 900_000):
            os.utime(folder, (moment, moment))
            assert clear(settings) == [] and folder.is_dir()
    finally:
        process.kill()
        process.wait()
    assert clear(settings) == [folder] and not folder.exists() and clear(settings) == []
