"""A running system has its ledger timestamped, by an authority on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.proof import verify
from tasks.records.repository.git import Git
from tests.system import Running


def test_a_promotion_is_timestamped_and_an_auditor_needs_no_other_anchor(
    running: Running, released: dict[str, Any], tmp_path: Path
) -> None:
    if running.settings.timestamp_ca is None:
        pytest.skip("no openssl on this machine; Debian's openssl has it")
    promoted = next(e for e in running.ledger() if e.kind == "promoted" and e.model == "care")
    done = [
        run["state"]["name"]
        for run in running.call("/task_runs/filter", {"limit": 200})
        if "timestamped" in run["name"]
    ]
    assert "Timestamped" in done
    running.git("clone", "--quiet", "--mirror", running.system.origin, str(tmp_path / "origin.git"))
    names = running.git("ls-remote", running.system.origin, "refs/assay/timestamps/*").split()[1::2]
    assert int(names[0].rpartition("/")[2]) >= promoted.sequence
    (tmp_path / "head.tsr").write_bytes(Git(tmp_path / "origin.git").read("show", names[0]))
    words = ["--root", running.system.root, "--anchor", "head.tsr", "--tsa", str(running.settings.timestamp_ca)]
    command = [sys.executable, "-I", verify.__file__, "origin.git", *words]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "\ntimestamp: sha256:" in f"\n{found.stdout}" and found.stdout.endswith("it holds\n"), found.stdout
