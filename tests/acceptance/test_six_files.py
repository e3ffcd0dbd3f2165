"""Six files of strangers in one whole system, by commands alone: new, check, push, train, predict, monitor."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from tasks.spec.model import load_model
from tests.scaffold.files import FILES
from tests.system import Running

pytestmark = pytest.mark.acceptance
SAID = tuple(
    word
    for flag in ("purpose", "intended-use", "limits", "out-of-scope", "ethics", "contact")
    for word in (f"--{flag}", "It is a test's own.")
)
"""What no file says, and the model card asks for."""
ENOUGH = 20
"""Rows beyond a window, so that one is whole."""


def assay(running: Running, *arguments: str) -> dict[str, object]:
    """One command in the developer's clone, without a terminal; gives its JSON."""
    done = subprocess.run(
        [sys.executable, "-c", "from tasks.cli.app import main; main()", *arguments, "--json"],
        cwd=running.clone, capture_output=True, text=True, check=False, timeout=900, stdin=subprocess.DEVNULL,
        env=os.environ | {"ASSAY_HOME": str(running.settings.home)},
    )  # fmt: skip
    assert done.returncode == 0, f"assay {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_rows(source: Path, rows: int, folder: Path) -> Path:
    """The first rows of a file, byte for byte where it is text."""
    path = folder / f"rows{source.suffix}"
    if source.suffix == ".parquet":
        parquet.write_table(parquet.read_table(source).slice(0, rows), path)
        return path
    with source.open("rb") as stream:
        path.write_bytes(b"".join(itertools.islice(stream, rows + 1)))
    return path


def trained(running: Running, name: str, commit: str) -> dict[str, object]:
    """The final state of the run that the push started."""
    end = time.monotonic() + 120
    while True:
        for run in running.api.runs("train/training"):
            request = run["parameters"]["request"]
            if (request["model"], request["revision"]) == (name, commit):
                state: dict[str, object] = running.api.wait(run["id"], seconds=900)
                return state
        assert time.monotonic() < end, f"no run of {name} came; the push said: {running.said}"
        time.sleep(1)


@pytest.mark.parametrize("name", FILES)
def test_a_strangers_file_is_served_and_watched(name: str, running: Running, tmp_path: Path) -> None:
    """DVC keeps what the developer adds where this machine's system looks for it."""
    cache = ("config", "--local", "cache.dir", str(running.settings.cache))
    subprocess.run([sys.executable, "-m", "dvc", *cache], cwd=running.clone, check=True)
    path, arguments = FILES[name].write(tmp_path), FILES[name].arguments
    assay(running, "new", name, f"sqlite:///{path}" if "--query" in arguments else str(path), *arguments, *SAID)
    assert assay(running, "check", name)["wrong"] == 0
    commit = running.push(f"Bring {name}")
    state = trained(running, name, commit)
    assert state["name"] == "Promoted", state["message"]

    config = load_model(running.clone, name)
    running.until(lambda: running.serves(name) == "v1.0.0", f"{name} v1.0.0 in the service")
    source = running.clone / config.data.source.places[0]
    rows = config.monitoring.window_rows + ENOUGH
    assay(running, "predict", name, str(first_rows(source, rows, tmp_path)))
    looked = assay(running, "monitor", name)
    assert looked["state"] not in ("Failed", "Crashed"), looked
