"""Git, by its own command, with an identity of our own and never a prompt."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tasks.spec.errors import CheckoutError, UnreachableError

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Assay"), ("EMAIL", "assay@localhost"))
}
UNREACHABLE = ("does not appear to be a git repository", "Could not read from remote", "unable to access", "Could not resolve host")


class GitError(CheckoutError):
    """Git refused; ``output`` is what it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


class Git:
    """Commands in one repository or worktree."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run one git command and give what it printed.

        Raises:
            UnreachableError: the remote does not answer.
            GitError: git refused.
        """
        environment = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
        environment |= {**IDENTITY, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(env or {})}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=environment, input=stdin, capture_output=True, check=False)
        if done.returncode == 0:
            return done.stdout.decode().strip()
        said = done.stderr.decode(errors="replace").strip()
        if any(sign in said for sign in UNREACHABLE):
            raise UnreachableError(f"the git repository that {self.path} works with does not answer: {said.splitlines()[0]}. Check ASSAY_ORIGIN.")
        raise GitError(f"git {' '.join(arguments[:2])} failed in {self.path}: {said}", said)

    def rev_parse(self, revision: str) -> str:
        """The full commit id of a revision.

        Raises:
            CheckoutError: there is no such commit here.
        """
        try:
            return self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except GitError:
            raise CheckoutError(f"revision {revision!r} is not a commit that the origin knows. Push it first, or name a branch, a tag or a full commit id.") from None

    def changed_files(self) -> list[str]:
        """Paths with uncommitted changes, untracked ones included."""
        records = self.run("status", "--porcelain", "--no-renames", "-z").split("\0")
        # run() strips its output, and with it a leading blank of the first record's two status letters
        return [record.lstrip().split(" ", 1)[1].lstrip() for record in records if record]
