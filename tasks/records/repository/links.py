"""Links of a commit, which git lays out as they were pushed: none leads out, and none stands where Assay writes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tasks.records.repository.git import Git
from tasks.spec.errors import CheckoutError

OURS = re.compile(r"(\.dvc|data|deployments)(/.*)?|dvc\.(lock|yaml)")
"""What Assay writes in a checkout, or reads into evidence, with its own rights."""


def refuse_links(tree: Path) -> None:
    """Look at what a fresh checkout has laid out, before anything is written or read there.

    Raises:
        CheckoutError: a link leads out of the repository. A link, or another repository, stands where Assay writes.
    """
    git = Git(tree)
    for line in git.lines("ls-tree", "-r", "-z", "HEAD", end="\0"):
        mode, _, name = line.partition("\t")
        kind = {"120000": "a link", "160000": "another repository"}.get(mode[:6])
        if kind is None:
            continue
        if OURS.fullmatch(name):
            why = "below data, deployments and .dvc, and as dvc.lock and dvc.yaml, Assay takes files alone"
        elif not _inside(tree, tree / name):
            why = f"it leads out of the repository, to {os.readlink(tree / name)!r}"
        else:
            continue
        raise CheckoutError(
            f"commit {git.rev_parse('HEAD')[:12]} is not laid out: {name!r} is {kind}, and {why}. Commit the file "
            "itself in its place."
        )


def _inside(folder: Path, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
