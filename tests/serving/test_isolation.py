"""A release cannot hurt its neighbours: whatever is put into the store, others answer, and a stop is obeyed at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tasks.signing import signatures
from tasks.spec.base import digest_file
from tasks.spec.manifest import Manifest, Pointer
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests import asking
from tests.conftest import ROOT
from tests.serving.running import Service, point, release, start, until

OTHER = "wages"
"""The name under which the hostile release lies beside the model that answers."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    config = load_model(ROOT, "care")
    release(home, config, "v1.0.0", 1)
    point(home, "v1.0.0")
    running = start(home, config)
    yield running
    running.process.kill()
    running.process.wait()


def put(home: Path, change: Callable[[Path], None]) -> None:
    """A release of another model's name, spoiled, and then pointed at with digests that fit what lies there."""
    model = home / "releases" / OTHER
    folder = model / "versions/v1.0.0"
    folder.mkdir(parents=True)
    for file in (home / "releases/care/versions/v1.0.0").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    rewrite(folder, model=OTHER)
    named = Manifest.model_validate_json((folder / "manifest.json").read_text()).model_digest
    described = digest_file(folder / "manifest.json")
    change(folder)
    if (folder / "manifest.json").is_file():
        described = digest_file(folder / "manifest.json")
        named = Manifest.model_validate_json((folder / "manifest.json").read_text()).model_digest
    if not (model / "champion.json").exists():
        pointer = Pointer(version="v1.0.0", model_digest=named, manifest_digest=described, assigned="now", model=OTHER)
        key = signatures.examiner_key(Settings(home=home).examiner)
        signed = signatures.sign_as_examiner(pointer.signed(), key, signatures.POINTER)
        pointer = pointer.model_copy(update={"signature": signed})
        (model / "champion.json").write_text(pointer.model_dump_json())


def rewrite(folder: Path, **update: Any) -> None:
    """Write the manifest anew, with the digest of the model file that lies there."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    made = manifest.model_copy(update={"model_digest": digest_file(folder / "model.skops"), **update})
    (folder / "manifest.json").write_text(made.model_dump_json())


def another_name(folder: Path) -> None:
    rewrite(folder, model="care")


def another_kind(folder: Path) -> None:
    rewrite(folder, kind="multiclass", classes=("a", "b", "c"))


def fifo(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name if name != "champion.json" else folder.parents[1] / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return change


def device(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").symlink_to("/dev/zero")


def unix_socket(folder: Path) -> None:
    (folder / "model.skops").unlink()
    here = os.getcwd()
    os.chdir(folder)  # a path of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("model.skops")
    finally:
        os.chdir(here)


def folder_instead(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").mkdir()


def circle(folder: Path) -> None:
    (folder / "model.skops").unlink()
    (folder / "model.skops").symlink_to("model.skops")


def bomb(folder: Path) -> None:
    """8 GiB of zeros in 8 MB."""
    path = folder / "model.skops"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("schema.json", "w", force_zip64=True) as member,
    ):
        for _ in range(1024):
            member.write(bytes(1 << 23))
    rewrite(folder)


def huge(folder: Path) -> None:
    os.truncate(folder / "model.skops", 1 << 40)


def deep(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", "[" * 200_000)
    rewrite(folder)


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "another model's manifest": (another_name, "is the manifest of care, and wages is asked for"),
    "another kind": (another_kind, ""),
    "a pipe for a model file": (fifo("model.skops"), "is no plain file"),
    "a pipe for a manifest": (fifo("manifest.json"), "is no plain file"),
    "a pipe for a pointer": (fifo("champion.json"), "is no plain file"),
    "a device": (device, "is no plain file"),
    "a socket": (unix_socket, "cannot be read"),
    "a folder": (folder_instead, ""),
    "a link to itself": (circle, "cannot be read"),
    "a bomb": (bomb, "unpacks to 8,589,934,592 bytes"),
    "a terabyte": (huge, "has 1,099,511,627,776 bytes"),
    "nested without end": (deep, ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_and_another_models_stop_is_obeyed(name: str, service: Service) -> None:
    change, says = HOSTILE[name]
    put(service.home, change)
    try:
        until(lambda: says in problems(service).get(OTHER, "") != "", seconds=20)
        assert "Traceback" not in problems(service)[OTHER]
        assert service.predict(rows=service.rows(1)).status_code == 200
        point(service.home, "v1.0.0", stopped="a person says so")
        begun = time.monotonic()
        until(lambda: service.predict(rows=service.rows(1)).status_code == 503, seconds=10)
        assert time.monotonic() - begun < 2
        assert service.process.poll() is None
    finally:
        point(service.home, "v1.0.0")
        until(lambda: service.predict(rows=service.rows(1)).status_code == 200)
        remove(service.home / "releases" / OTHER)
        until(lambda: OTHER not in problems(service))


def problems(service: Service) -> dict[str, str]:
    found: dict[str, str] = asking.get(f"{service.url}/health", timeout=10).json()["problems"]
    return found


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        with suppress(IsADirectoryError, PermissionError):
            path.unlink()
            continue
        path.rmdir()
    folder.rmdir()


def test_a_release_that_ends_whoever_loads_it_is_tried_elsewhere_first(tmp_path: Path) -> None:
    """What takes too much memory or time ends in the trial's limits."""
    config = load_model(ROOT, "care")
    folder = release(tmp_path, config, "v1.0.0", 1)
    fine = subprocess.run([sys.executable, "-m", "tasks.serving.trial", str(folder)], cwd=ROOT, capture_output=True)
    assert fine.returncode == 0, fine.stderr
    (folder / "model.skops").write_bytes(b"no archive")
    broken = subprocess.run(
        [sys.executable, "-m", "tasks.serving.trial", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert broken.returncode == 3 and "its manifest says" in broken.stderr and "Traceback" not in broken.stderr
