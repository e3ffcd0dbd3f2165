"""A fresh Python environment from a lock file, and nothing else in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.records.repository import process, sandbox
from tasks.spec.errors import StageError
from tasks.spec.line import flat
from tasks.spec.settings import ROOT

SECONDS, PREFIX = 1800, "rebuild-"


@contextmanager
def environment(lock: Path, home: Path) -> Iterator[Path]:
    """Make an environment of exactly the pinned packages, by their hashes; gives its folder, which is gone at the end.

    By uv, where it is installed or came with ``make setup``; else by pip, which takes minutes.

    Raises:
        StageError: a package cannot be had, or is another one than was pinned.
    """
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    try:
        for command in _commands(lock, folder / "environment"):
            _run(command, lock, folder)
        yield folder / "environment"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def python(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "bin/python"


def _commands(lock: Path, folder: Path) -> list[list[str]]:
    uv = next((str(p) for p in (ROOT / ".assay/tools/bin/uv", shutil.which("uv")) if p and Path(p).exists()), None)
    base = getattr(sys, "_base_executable", sys.executable)
    if uv is None:
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        return [[base, "-m", "venv", str(folder)], [str(python(folder)), *install, "-r", str(lock)]]
    alone = [uv, "--system-certs", "--no-config"]  # a home may lie in a checkout, whose settings are none of this
    own = [*alone, "pip", "install", "--quiet", "--python", str(python(folder)), "--require-hashes"]
    made = [*alone, "venv", "--no-project", "--quiet", "--clear", "--python", base, str(folder)]
    return [made, [*own, "--no-deps", "-r", str(lock)]]


def _run(command: list[str], lock: Path, folder: Path) -> None:
    """Run an installer kept to one folder: a package that is built from source runs code of whoever wrote it."""
    cache = {
        "UV_CACHE_DIR": str(folder / "packages"),
        "PIP_CACHE_DIR": str(folder / "packages"),
        "UV_LINK_MODE": "copy",
    }
    read = [lock, *(Path(os.path.realpath(word)).parent for word in command[:1])]
    with sandbox.kept_to([folder], read, cache, ports=()) as words:
        try:
            code, out, err = process.run([*words, *command], folder, {}, SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StageError(f"the environment of {lock.name} was not made: {flat(str(error))[:200]}.") from None
    if code:
        said = [line.strip() for line in (out + err).decode(errors="replace").splitlines()]
        said = [line for line in said if line and not line.startswith(("WARNING", "warning", "hint"))]
        why = flat(" ".join(said[:4]))[:400] or f"exit code {code}"
        raise StageError(f"the environment of {lock.name} cannot be made: {why}")
