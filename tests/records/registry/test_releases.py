"""The release store: whole files, durable, and never missing while somebody reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.records.registry import releases
from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings
from tests.conftest import ROOT


@pytest.fixture
def store(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def files(folder: Path, content: str = "model", **manifest: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.skops").write_text(content)
    (folder / "manifest.json").write_text(json.dumps({"model_digest": digest_file(folder / "model.skops")} | manifest))
    return folder


def test_a_published_version_is_pointed_at_with_both_digests(store: Settings, tmp_path: Path) -> None:
    assert releases.current(store, "care") is None
    releases.publish(store, "care", "v1.0.0", files(tmp_path / "a"))
    releases.point(store, "care", "v1.0.0")
    pointer, folder = releases.current(store, "care"), store.releases / "care/versions/v1.0.0"
    assert pointer is not None and pointer.version == "v1.0.0"
    assert (pointer.model_digest, pointer.manifest_digest) == (
        digest_file(folder / "model.skops"),
        digest_file(folder / "manifest.json"),
    )
    before = (store.releases / "care/champion.json").stat()
    releases.point(store, "care", "v1.0.0")
    assert (store.releases / "care/champion.json").stat().st_ino == before.st_ino


def test_a_pointer_of_another_time_is_laid_anew(store: Settings, tmp_path: Path) -> None:
    releases.publish(store, "care", "v1.0.0", files(tmp_path / "a"))
    (store.releases / "care/champion.json").write_text(json.dumps({"version": "v1.0.0", "digest": "", "assigned": ""}))
    assert releases.current(store, "care") is None
    releases.point(store, "care", "v1.0.0")
    assert releases.current(store, "care") is not None


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_bad_files_leave_the_good_folder_alone(store: Settings, tmp_path: Path, harm: str) -> None:
    releases.publish(store, "care", "v1.0.0", files(tmp_path / "a"))
    bad = files(tmp_path / "b")
    if harm == "changed":
        (bad / "model.skops").write_text("other")
    else:
        (bad / "manifest.json").unlink()
    with pytest.raises(CorruptionError, match="from the registry"):
        releases.publish(store, "care", "v1.0.0", bad)
    folder = store.releases / "care/versions"
    assert (folder / "v1.0.0/model.skops").read_text() == "model"
    assert [p.name for p in folder.iterdir()] == ["v1.0.0"]
    releases.point(store, "care", "v1.0.0")


def test_equal_files_are_kept_and_spoiled_ones_mended(store: Settings, tmp_path: Path) -> None:
    source = files(tmp_path / "a")
    releases.publish(store, "care", "v1.0.0", source)
    folder = store.releases / "care/versions/v1.0.0"
    inodes = [(folder / name).stat().st_ino for name in releases.FILES]
    releases.publish(store, "care", "v1.0.0", source)
    assert [(folder / name).stat().st_ino for name in releases.FILES] == inodes
    (folder / "model.skops").write_text("spoiled")
    (folder / "manifest.json").unlink()
    with pytest.raises(CorruptionError, match="does not hold a model and its manifest"):
        releases.point(store, "care", "v1.0.0")
    releases.publish(store, "care", "v1.0.0", source)
    releases.point(store, "care", "v1.0.0")


def test_a_reader_never_misses_a_file(store: Settings, tmp_path: Path) -> None:
    one, two = files(tmp_path / "a", "one" * 1000), files(tmp_path / "b", "two" * 1000)
    releases.publish(store, "care", "v1.0.0", one)
    folder, missing, stop = store.releases / "care/versions/v1.0.0", [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            for name in releases.FILES:
                try:
                    (folder / name).read_bytes()
                except OSError as error:
                    missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    publishers = [
        threading.Thread(
            target=lambda: [releases.publish(store, "care", "v1.0.0", source) for source in [two, one] * 20]
        )
        for _ in range(2)
    ]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    stop.set()
    reader.join()
    assert missing == []
    assert [p.name for p in folder.parent.iterdir()] == ["v1.0.0"]


def test_what_is_published_is_forced_to_the_disk_before_it_has_its_name(store: Settings, tmp_path: Path) -> None:
    """Seen from outside, by the system calls of a process of its own."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed here")
    source = files(tmp_path / "a")
    call = f"releases.publish(Settings(home=Path({str(store.home)!r})), 'care', 'v1.0.0', Path({str(source)!r}))"
    code = (
        "from pathlib import Path; from tasks.spec.settings import Settings; from tasks.records.registry import "
        f"releases; {call}"
    )
    command = ["strace", "-f", "-y", "-e", "trace=fsync,/rename", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if "PTRACE" in done.stderr or "ptrace(" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in done.stderr.splitlines() if "care/versions" in line]
    renamed = next(n for n, line in enumerate(calls) if "rename" in line.split("(")[0])
    assert {
        name
        for name in ("model.skops", "manifest.json")
        for line in calls[:renamed]
        if "fsync(" in line and name in line
    } == {"model.skops", "manifest.json"}
    assert any("fsync(" in line and line.rstrip().split(">")[0].endswith("versions") for line in calls[renamed + 1 :])
