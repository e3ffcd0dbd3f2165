"""What an auditor does who distrusts Assay: the verifier alone, on the bare origin, and on a copy with a forged tag."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tasks.demo.story import expect
from tasks.proof import verify
from tasks.records.registry.state import state
from tasks.records.repository.git import Git
from tasks.spec.settings import Settings


def shown(settings: Settings) -> str:
    """Verify the origin with root and anchor, then a copy with a version tag set by hand; a sentence on both."""
    origin = Path(settings.origin_url).absolute()
    now = state(settings)
    words = ("--root", now.root, "--anchor", str(now.digest))
    code, found = _alone(origin, *words)
    expect(code == 0, f"the ledger does not hold: {found['problems']}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(origin, Path(folder) / "origin.git"))
        forged = _forge(Git(copy))
        code, wrong = _alone(copy, *words)
    expect(code == 3 and forged in " ".join(wrong["problems"]), f"a forged tag {forged} was not named: {wrong}")
    return (
        f"{found['entries']} ledger entries hold by verify.py alone, with root and anchor; on a copy, {forged} set by "
        "hand on a commit that was never promoted was named"
    )


def _alone(origin: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-I", str(verify.__file__), str(origin), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expect(done.returncode in (0, 3), f"verify.py could not be asked: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def _forge(git: Git) -> str:
    """Give the next version number to the newest commit of the main branch, in the words of a true tag."""
    true = git.run("for-each-ref", "--sort=-creatordate", "--count=1", "--format=%(refname:strip=2)", "refs/tags/*@v*")
    message = git.run("for-each-ref", "--format=%(contents)", f"refs/tags/{true}")
    name = f"{true.partition('@')[0]}@v99.0.0"
    git.run("tag", "--annotate", "--file", "-", name, "HEAD", stdin=message.encode())
    return name
