"""A commit that nobody pushed is examined by command, and leaves no trace of its own in the origin."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.system import EDITS, Running, require_package_index, set_value

pytestmark = pytest.mark.acceptance


def test_an_unpushed_commit_of_a_checkout_is_examined(running: Running) -> None:
    require_package_index()
    running.git("pull", "--quiet", "--rebase", "origin", "main")
    path = running.clone / EDITS["model"]
    path.write_text(set_value("max_iter", "78")(path.read_text()))
    running.git("commit", "--quiet", "--all", "-m", "care: not pushed yet")
    commit = running.git("rev-parse", "HEAD")
    main = running.git("ls-remote", "origin", "refs/heads/main")
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from tasks.cli.app import main; main()", "examine", "care", "--json"],
            capture_output=True,
            text=True,
            cwd=running.clone,
            env=os.environ | {"ASSAY_HOME": str(running.settings.home)},
            check=False,
            timeout=280,
        )
        told = json.loads(done.stdout)
        # how fit it is depends on the fit; that every gate was asked does not
        assert (done.returncode, told["state"]) in ((0, "Examined"), (2, "Insufficient evidence")), (told, done.stderr)
        examined = [e for e in running.ledger() if e.kind in ("examined", "rejected")][-1]
        running.git("fetch", "--quiet", "origin", str(examined.commit))
        assert running.git("rev-parse", f"{examined.commit}^") == commit
        assert running.git("ls-remote", "origin", "refs/heads/main") == main
        assert running.git("ls-remote", "origin", "refs/assay/unpushed/*") == ""
    finally:
        running.git("reset", "--quiet", "--hard", "origin/main")
