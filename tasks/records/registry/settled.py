"""Candidates of long ago, gathered below one branch: git goes through all references at each push and fetch.

Every run leaves its candidate on a branch of its own. All but the newest of each model are made parents of a commit of
``assay/settled``, and their branches are removed. So a commit that the ledger names stays within reach of every clone,
under one reference, whatever kind of origin it is. The commit's message says which branch each was.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from tasks.records.repository.git import Git
from tasks.records.repository.workspace import ensure_clone, lock
from tasks.spec.settings import Settings

CANDIDATES, SETTLED = "assay/candidates", "assay/settled"
KEPT = 10
"""Candidates of each model whose branches stay: what is at work, and what people still look at."""
TOGETHER = 20
"""So many are gathered in one go at least."""
MOST = 500
"""So many at most: their names have to fit on a command line."""
TIP = f"refs/remotes/origin/{SETTLED}"


def gather(settings: Settings) -> int:
    """Gather the candidates that are not among the newest; gives how many.

    Whoever else does so at the same time, or writes to one of the branches, comes first, and nothing is gathered.

    Raises:
        UnreachableError: the origin does not answer.
        GitError: it refuses.
    """
    git = ensure_clone(settings, tags=False)
    with lock(settings):
        found = _older(git)
        if len(found) < TOGETHER:
            return 0
        before = git.run("for-each-ref", "--format=%(objectname)", TIP)
        parents = [word for commit in dict.fromkeys([before, *found.values()]) if commit for word in ("-p", commit)]
        text = "\n".join(f"{commit} {name}" for name, commit in found.items())
        tree = git.run("mktree", stdin=b"")
        said = f"{len(found)} candidates\n\n{text}\n".encode("utf-8", "surrogateescape")
        tip = git.run("commit-tree", tree, *parents, stdin=said)
        leases = [f"--force-with-lease=refs/heads/{name}:{commit}" for name, commit in found.items()]
        gone = [f":refs/heads/{name}" for name in found]
        git.run("push", "--quiet", "--atomic", *leases, "origin", f"{tip}:refs/heads/{SETTLED}", *gone)
    return len(found)


def _older(git: Git) -> dict[str, str]:
    """Branch and commit of candidates that are not among the newest of their model, newest first."""
    place = f"refs/remotes/origin/{CANDIDATES}"
    form = "--format=%(objectname) %(refname:strip=3)"
    listed = [line.split(" ", 1) for line in git.lines("for-each-ref", form, place)]
    # for-each-ref ends at the first commit whose date no clock has, which anybody can push
    asked = "".join(f"{commit}\n" for commit, _ in listed).encode()
    newest = git.lines("rev-list", "--no-walk=sorted", "--stdin", stdin=asked) if listed else []
    rank = {commit: at for at, commit in enumerate(newest)}
    listed.sort(key=lambda pair: rank[pair[0]])
    seen: Counter[str] = Counter()
    found = {}
    for commit, name in listed:
        model = name.removeprefix(f"{CANDIDATES}/").partition("/")[0]
        seen[model] += 1
        if seen[model] > KEPT:
            found[name] = commit
    return dict(islice(found.items(), MOST))
