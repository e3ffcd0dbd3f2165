"""The README's way of bringing a model, line by line as it stands there, in a developer's clone of a running system."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.system import Running

MADE = """
python() { "$PYTHON" "$@"; }
assay() { "$PYTHON" -c 'from tasks.cli.app import main; main()' "$@"; }
make() { assay "$@"; }
source() { :; }
set -e
"""
"""The README's commands as those of the clone, which has no environment of its own; what `make up` starts runs."""

pytestmark = pytest.mark.acceptance


def test_the_commands_of_the_readme_bring_a_model_into_service(running: Running) -> None:
    block = re.search(r"\*\*Bring a model\*\*.*?```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None and "assay new" in block[1] and "git push" in block[1]
    running.git("pull", "--quiet", "--rebase", "origin", "main")
    assert running.system.origin == str(running.settings.home / "origin.git")
    # `make up` in this very checkout would have made its system below it, and .dvc/config names that system's cache.
    (running.clone / ".assay").symlink_to(running.settings.home)
    done = subprocess.run(
        ["bash", "-c", MADE + block[1]],
        cwd=running.clone,
        env=os.environ | {"PYTHON": sys.executable, "ASSAY_HOME": str(running.settings.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    (running.clone / ".assay").unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loans: nothing is wrong" in done.stdout
    assert "assay: training of loans at" in done.stderr and "assay: loans is watched every" in done.stderr
    state = running.finished("train/training", running.git("rev-parse", "HEAD"))
    assert state["name"] == "Promoted", state["message"]
    running.until(lambda: running.serves("loans") == "v1.0.0", "loans in the service")
