"""Homes that are not as a developer's: odd paths, full or read-only disks, no HOME, another user's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.spec.settings import Settings
from tests.cli.test_system import assay
from tests.conftest import ROOT

NAMES = ["a?b", "a,b#c?d 100% \"Ümlaut's"]


@pytest.mark.parametrize("name", NAMES)
def test_the_log_lies_in_the_home_whatever_its_path(name: str, tmp_path: Path) -> None:
    """A URL ends its path at a ``?``: the log would be another file, in another folder."""
    settings = Settings(home=tmp_path / name)
    settings.home.mkdir()
    log = PredictionLog(settings.log_database)
    log.append([Prediction("1", "care", "v1.0.0", "2026-11-29T00:00:00+00:00", {}, 0.5, True)])
    log.close()
    files = {"predictions.db", "predictions.db-gate", "predictions.db-turn"}  # the latter two hold nothing
    assert {f.name for f in tmp_path.rglob("*") if f.is_file()} == files
    assert (tmp_path / name / "predictions.db").stat().st_size > 0
    code = (
        "import sys, sqlalchemy as sa; sa.create_engine(sys.argv[1]).connect().execute(sa.text('CREATE TABLE t (x)'))"
    )
    subprocess.run([sys.executable, "-c", code, settings.sqlite("prefect.db")], check=True)
    assert (tmp_path / name / "prefect.db").exists()


@pytest.mark.parametrize("home", ["a\nb", "a%(b)sc"])
def test_a_path_that_no_home_can_have_is_refused(home: str, tmp_path: Path) -> None:
    done = assay(tmp_path, "monitor", "care", ASSAY_HOME=home)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: ASSAY_HOME is {home!r}: a home is the path of a folder; allowed are all characters but '%(' and "
        "control characters.\n",
    )


def test_a_home_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = assay(tmp_path / "file/home", "up")
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (
        1,
        f"error: {tmp_path}/file/home cannot be used (Not a directory). Make room, or change its permissions; or set "
        "ASSAY_HOME to another folder.",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize(("options", "says"), [("ro", "Read-only file system"), ("size=4k", "No space left on device")])
def test_a_full_or_read_only_disk_is_named(options: str, says: str, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "assay", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        if options != "ro":
            with (tmp_path / "fills").open("wb") as file:
                os.write(file.fileno(), b"x" * 4096)
        done = assay(tmp_path / "home", "up")
        assert done.returncode == 1 and f"({says}). Make room" in done.stderr and "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_home_is_where_it_was_said_to_be_not_where_a_command_starts(tmp_path: Path) -> None:
    """Parts of a system have other working directories, and a second clone may use the commands of the first."""
    code = "from tasks.spec.settings import Settings; print(Settings().home)"
    known = {k: v for k, v in os.environ.items() if k not in ("HOME", "ASSAY_HOME")}

    def home(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=known | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert home() == str(ROOT / ".assay")
    assert home(ASSAY_HOME="here") == str(tmp_path / "here")
    assert home(ASSAY_HOME="~/x", HOME=str(tmp_path)) == str(tmp_path / "x")


def test_every_path_of_a_setting_is_the_same_wherever_a_part_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    paths = [
        name for name, found in Settings.model_fields.items() if Path in (*get_args(found.annotation), found.annotation)
    ]
    assert {"home", "examiner_key", "tls_key"} <= {*paths}
    for name in paths:
        assert getattr(Settings(**{name: "~/k"}), name) == tmp_path / "k", name
        assert getattr(Settings(**{name: "a/k"}), name) == tmp_path / "a/k", name
