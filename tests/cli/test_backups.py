"""A home in one file and back: a disk that is lost, a release that went wrong, a file that was damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.cli import backups, dumps, upgrading
from tasks.cli.homes import number_of
from tasks.records.log.answers import Override
from tasks.records.log.outbox import Decision
from tasks.records.log.predictions import Prediction, PredictionLog
from tasks.records.registry import ledger, pointers, releases
from tasks.records.registry.branch import SEEN
from tasks.records.registry.registry import Registry
from tasks.records.registry.verification import verify
from tasks.records.repository import leftovers, workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import AssayError, LogUnavailable
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.cli.test_status import DRAFT, parts, stopped_home
from tests.cli.test_system import assay
from tests.conftest import ROOT, git
from tests.proof.ledgers import candidate, verdict
from tests.records.log.logs import report
from tests.serving.running import start


@pytest.fixture
def home(tmp_path: Path, developer: Path) -> Path:
    (tmp_path / "a%41 b").mkdir()  # git decodes what looks like an address
    made = stopped_home(tmp_path).rename(tmp_path / "a%41 b/home")
    kept = made / "dvc-cache/files/md5/ab"
    kept.mkdir(parents=True)
    (kept / "cdef").write_bytes(b"rows that no stage can make again")
    return made


def predicted(number: int) -> Prediction:
    return Prediction(str(number), "care", "v1.0.0", "2026-11-29T00:00:00+00:00", {"xage": number}, 0.5, True)


def logged(home: Path) -> list[str]:
    log = PredictionLog(Settings(home=home).log_database)
    try:
        return list(log.frame("care", 0, 2**62)["_id"])
    finally:
        log.close()


def test_a_disk_that_is_lost_comes_back_from_one_file(home: Path, tmp_path: Path) -> None:
    """The backup is made while predictions are logged and decisions recorded; it is restored to another place."""
    settings, file, now = Settings(home=home), tmp_path / "assay.tar", tmp_path / "another disk, #2"
    log, stop = PredictionLog(settings.log_database), threading.Event()
    log.append([predicted(n) for n in range(100)])

    def goes_on() -> None:
        number = 100
        while not stop.is_set():
            log.append([predicted(number)])
            if number % 50 == 0:
                ledger.append(settings, DRAFT)
            number += 1

    writer = threading.Thread(target=goes_on)
    writer.start()
    try:
        done = assay(home, "backup", str(file))
    finally:
        stop.set()
        writer.join()
        log.close()
    assert done.returncode == 0, done.stderr
    assert "only its owner may read it (mode 0600)" in done.stdout and file.stat().st_mode & 0o777 == 0o600
    acknowledged, root = logged(home), ledger.begin(settings).root
    shutil.rmtree(home)

    done = assay(now, "restore", str(file))
    assert done.returncode == 0 and "start the system with: assay up" in done.stdout, done.stderr
    rows = logged(now)
    assert len(rows) >= 100 and rows == acknowledged[: len(rows)]
    assert assay(now, "ledger", "--verify").stdout == (
        f"the ledger holds: chain, evidence, signatures and tags are as written; first list {root}\n"
    )
    restored = Settings(home=now)
    assert ledger.append(restored, DRAFT).sequence == len(ledger.entries(restored)) <= len(acknowledged)
    assert (now / "dvc-cache/files/md5/ab/cdef").read_bytes() == b"rows that no stage can make again"
    assert os.access(now / "origin.git/hooks/post-receive", os.X_OK) and parts(now)[0] == 0
    service = start(now, load_model(ROOT, "care"))
    try:
        assert asking.get(f"{service.url}/models").json() == {"care": "v1.0.0"}
        assert service.predict(rows=service.rows(2)).status_code == 200
    finally:
        service.process.terminate()
        service.process.wait()
    assert len(logged(now)) == len(rows) + 2


def test_a_backup_that_is_killed_leaves_nothing_for_long(home: Path, tmp_path: Path) -> None:
    """It waits for a flow that writes its record, and is killed meanwhile."""
    settings, file = Settings(home=home), tmp_path / "assay.tar"
    with workspace.lock(settings):
        command = [sys.executable, "-c", "from tasks.cli.app import main; main()", "backup", str(file)]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"ASSAY_HOME": str(home)})
        end = time.monotonic() + 60
        while not list(tmp_path.glob(".assay.tar-*")) and time.monotonic() < end:
            time.sleep(0.05)
        (draft,) = tmp_path.glob(".assay.tar-*")
        backups._clear(file)
        assert draft.exists() and leftovers.clear(settings) == [], "it lives"
        process.kill()
        process.wait(10)
    (staged,) = [path for path in settings.worktrees.iterdir() if path.is_dir()]
    assert leftovers.clear(settings) == [staged] and not any(settings.worktrees.iterdir())
    assert assay(home, "backup", str(file)).returncode == 0
    assert file.is_file() and not draft.exists() and not any(settings.worktrees.iterdir())


def test_a_ledger_that_was_cut_off_before_it_is_restored_is_still_seen(home: Path, tmp_path: Path) -> None:
    """What the clone had seen comes along: a new clone of a shortened ledger would find that it holds."""
    settings, file, now = Settings(home=home), tmp_path / "assay.tar", tmp_path / "now"
    ledger.append(settings, DRAFT)
    git(home / "origin.git", "update-ref", "refs/heads/assay/ledger", "refs/heads/assay/ledger~1")
    git(home / "origin.git", "update-ref", "refs/heads/kept", Git(settings.clone).run("rev-parse", SEEN))
    assert assay(home, "backup", str(file)).returncode == 0
    assert assay(now, "restore", str(file)).returncode == 0
    done = assay(now, "ledger", "--verify")
    assert done.returncode == 3 and "cut off since this clone last saw it" in done.stdout + done.stderr


def test_what_is_no_whole_backup_changes_nothing(home: Path, tmp_path: Path) -> None:
    file, now = tmp_path / "assay.tar", tmp_path / "now"
    assert assay(home, "backup", str(file)).returncode == 0
    content = file.read_bytes()

    def refused(content: bytes | None, into: Path = now) -> str:
        (tmp_path / "try.tar").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "try.tar").write_bytes(content)
        with pytest.raises(AssayError) as told:
            backups.restore(Settings(home=into), tmp_path / "try.tar")
        return str(told.value)

    name = f"{tmp_path}/try.tar"
    assert refused(None) == f"{name} is not there. Name a file that 'assay backup' wrote."
    assert refused(b"not a tar").startswith(f"{name} cannot be read as a backup")
    assert refused(content[: len(content) // 2]).startswith(name)
    assert refused(content.replace(b"rows that no stage", b"rows that one stage"[:18])) == (
        f"{name} is damaged: dvc-cache/files/md5/ab/cdef is not what was backed up."
    )
    newer = content.replace(b'{"format": 1, "created"', b'{"format": 9, "created"')
    assert "the backup has format 9, a newer one" in refused(newer)
    assert [path.name for path in now.iterdir()] == ["system.lock"]
    before = sorted(p.name for p in home.iterdir())
    told = refused(content, into=home)
    assert (
        "holds keys, ledger-memory.json, ledger-state.json, origin.git, predictions.db, releases already" in told
        and "assay restore --replace" in told
    )
    assert sorted({p.name for p in home.iterdir()} - {"system.lock"}) == sorted(set(before) - {"system.lock"})
    again = assay(home, "backup", str(file))
    assert (again.returncode, again.stderr) == (2, f"error: {file} exists. Name another file, or move it away.\n")
    inside = assay(home, "backup", str(home / "assay.tar"))
    assert inside.returncode == 2 and "lies in the home that is lost with its disk" in inside.stderr


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of a log in PostgreSQL, in a fixed order."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = {
            name: sorted((tuple(row) for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))), key=repr)
            for name in sa.inspect(connection).get_table_names()
        }
    engine.dispose()
    return found


def dropped(url: str, postgres: str) -> None:
    engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)"))
    engine.dispose()


def programs(folder: Path, *names: str) -> Path:
    """A folder for PATH that has these programs alone; pg_dump and pg_restore note how they were asked."""
    folder.mkdir()
    for name in names:
        real = shutil.which(name)
        assert real is not None, name
        (folder / name).write_text(f'#!/bin/sh\necho "$0 $*" >> {folder}/asked\nexec {real} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("pg_restore") is None, reason="no PostgreSQL client is installed here")
def test_a_log_in_postgresql_is_lost_with_its_database_and_comes_back(
    home: Path, tmp_path: Path, postgres: str, new_postgres: Callable[[], str]
) -> None:
    """Rows, answers, windows, reports and what waits in the outbox are the same, and numbers go on from there."""
    url, file, now = new_postgres(), tmp_path / "assay.tar", tmp_path / "now"
    told = url.replace("assay@", "assay:secret@")
    log = PredictionLog(url)
    log.append([predicted(n) for n in range(30)])
    log.outcomes("care", [(str(n), n % 2 == 0) for n in range(20)])
    log.overrides("care", [Override("3", False, "a clerk", "knows the 'case'")])
    (window, *_) = log.next_windows("care", 10, 5, 10)
    log.save_report(report(window))
    log.decide(Decision(DRAFT.model_copy(update={"evidence": {"x": 1}}), 1))
    log.close()
    before = content(url)
    assert {name for name, rows in before.items() if rows} >= {
        "predictions", "outcomes", "overrides", "windows", "reports", "outbox", "log_revision",
    }  # fmt: skip
    path = programs(tmp_path / "bin", "git", "ssh-keygen", "pg_dump", "pg_restore")
    done = assay(home, "backup", str(file), ASSAY_LOG_URL=told, PATH=str(path))
    assert done.returncode == 0 and "the prediction log is in it, as pg_dump took it" in done.stdout, done.stderr
    dropped(url, postgres)
    shutil.rmtree(home)

    done = assay(now, "restore", str(file))
    assert (done.returncode, done.stderr) == (
        2,
        "error: the backup holds a log of PostgreSQL, and ASSAY_LOG_URL names none. Make an empty database (createdb "
        "NAME), and name it: ASSAY_LOG_URL=postgresql://USER@HOST/NAME\n",
    )
    done = assay(now, "restore", str(file), ASSAY_LOG_URL=told)
    assert done.returncode != 0 and "does not exist). Start it, or name another one in ASSAY_LOG_URL." in done.stderr
    assert not (now / "origin.git").exists(), "nothing was changed"
    again = new_postgres()
    told = again.replace("assay@", "assay:secret@")
    done = assay(now, "restore", str(file), ASSAY_LOG_URL=told, PATH=str(path))
    assert done.returncode == 0, done.stderr
    assert content(again) == before and (now / "origin.git").exists() and not (now / dumps.NAME).exists()
    asked = (path / "asked").read_text()
    assert "pg_dump --no-password" in asked and "pg_restore --no-password" in asked and "secret" not in asked
    done = assay(now, "restore", str(file), "--replace", ASSAY_LOG_URL=told)
    assert done.returncode == 2 and "holds a log already (appeals, findings, log_revision, ...)" in done.stderr
    assert content(again) == before and "secret" not in done.stderr
    log = PredictionLog(again)
    log.append([predicted(30)])
    assert [w.number for w in log.next_windows("care", 10, 5, 10)] == [2, 3], "none is cut a second time"
    assert log.newest_seq("care") > 30 - 1 and len(log.frame("care", 0, 2**62)) == 31
    log.close()


def test_a_log_in_postgresql_that_cannot_be_taken_says_how_to_do_without(home: Path, tmp_path: Path) -> None:
    url, file = "postgresql://assay:secret@127.0.0.1:1/log", tmp_path / "assay.tar"
    bare = programs(tmp_path / "bare", "git", "ssh-keygen")
    done = assay(home, "backup", str(file), ASSAY_LOG_URL=url, PATH=str(bare))
    assert (done.returncode, done.stderr) == (
        LogUnavailable.exit_code,
        "error: the log is in PostgreSQL, and there is no pg_dump here. Install PostgreSQL's client (Debian: "
        "postgresql-client); or leave the log out and copy it yourself: assay backup FILE --no-log\n",
    )
    if shutil.which("pg_dump"):
        done = assay(home, "backup", str(file), ASSAY_LOG_URL=url)
        assert done.returncode == 8 and done.stderr.startswith("error: pg_dump could not do it for postgresql://assay:")
        assert "Connection refused" in done.stderr and "assay backup FILE --no-log" in done.stderr
        assert "secret" not in done.stderr
    assert not file.exists()
    done = assay(home, "backup", str(file), "--no-log", ASSAY_LOG_URL=url)
    assert done.returncode == 0
    assert 'pg_dump --format=custom --file=LOG.dump "$ASSAY_LOG_URL"' in done.stdout and "secret" not in done.stdout


def test_an_older_home_is_upgraded_with_a_way_back_and_a_newer_one_refused(home: Path, tmp_path: Path) -> None:
    """A home without a number is of format 1, in which processes were known by other files."""
    settings = Settings(home=home)
    (home / "run").mkdir()
    (home / "run/worker.json").write_text('{"pid": 1, "created": 1.0}')
    git(home / "origin.git", "config", "--unset", "core.hooksPath")
    assert number_of(home) == 1 and number_of(tmp_path / "new") == 2
    entries = ledger.entries(settings)
    said = upgrading.upgrade(settings)
    copy = home / "backups/before-format-2.tar"
    assert said == (
        f"the home {home} was upgraded from format 1 to 2; the way back is: assay down; assay restore {copy} "
        "--replace; then use the older release"
    )
    assert number_of(home) == 2 and not (home / "run").exists() and upgrading.upgrade(settings) is None
    assert git(home / "origin.git", "config", "core.hooksPath") == "hooks"
    assert ledger.entries(settings) == entries

    (home / "format.json").write_text(json.dumps({"format": 3}))
    for command in (("up",), ("ledger",)):
        done = assay(home, *command)
        assert (done.returncode, done.stderr) == (
            2,
            f"error: the home {home} has format 3, and this release of Assay knows formats up to 2: a newer release "
            f"wrote it. Use that release, or go back to before its upgrade: assay restore {home}/backups/"
            "before-format-3.tar --replace\n",
        )
    done = assay(home, "restore", str(copy), "--replace")
    assert done.returncode == 0, done.stderr
    assert number_of(home) == 1 and ledger.entries(settings) == entries and verify(settings) == []
    assert (home / "dvc-cache/files/md5/ab/cdef").exists() and parts(home)[0] == 0
    (home / "format.json").write_text("{}")
    assert "does not say which format the home has" in assay(home, "status").stderr


def test_what_an_older_release_pointed_at_is_signed_where_the_ledger_proves_it(home: Path, tmp_path: Path) -> None:
    """Else the service of an upgraded home is degraded until monitoring comes by."""
    settings = Settings(home=home)
    pointed = releases.current(settings, "care")
    assert pointed is not None
    unsigned = pointed.model_copy(update={"signature": "", "model": "", "height": 0, "entry": ""})
    (settings.releases / "care/champion.json").write_text(unsigned.model_dump_json())
    assert pointers.align(settings) == [], "the ledger proves no version so far"
    commit = candidate(settings, "care", "one")
    evidence = verdict(tmp_path, "care", commit, None, "v1.0.0")
    Registry(settings).promote("care", commit, evidence, "dana", "push", None)
    assert pointers.align(settings) == ["care"] and pointers.align(settings) == []
    now, entry = releases.current(settings, "care"), ledger.entries(settings)[-1]
    assert now is not None and now.signature and (now.height, now.entry) == (entry.sequence, entry.digest())
    assert (now.version, now.model_digest) == (unsigned.version, unsigned.model_digest)
