"""The clone that flows work in, and clean worktrees of it; nobody's own checkout is ever touched."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from tasks.records.repository import dvc_settings, lockfile
from tasks.records.repository.git import Declined, Git, GitError, Overtaken
from tasks.records.repository.links import refuse_links
from tasks.spec.errors import CheckoutError
from tasks.spec.settings import Settings

ATTEMPTS = 3
CUT = "assay.cut"
"""The key of the clone's git config that keeps what the origin lacked when the clone was completed last."""
LEFT_OUT = "assay-left-out"
"""The file of the clone's git folder that keeps which names of the origin the clone cannot have, a line each."""
VERBATIM = "* -text !eol !ident !filter !working-tree-encoding !export-subst\n"
"""Attributes of every file of the clone, whatever a commit's own say."""
LONGEST = 1000
"""Characters of a branch or tag that Assay leans on: far below what a file of git's may be called."""
UNPUSHED = "refs/assay/unpushed"
"""Where an origin on this machine holds commits that are examined before anybody pushed them to a branch."""


def lock(settings: Settings) -> FileLock:
    """Held while refs of the clone are changed; several flow runs share one clone."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.home / "clone.lock", timeout=120, is_singleton=True)


def turn(settings: Settings, model: str) -> FileLock:
    """Held by whoever delivers a model's decisions, or adds to one that waits."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.home / f"outbox-{model}.lock", timeout=600, is_singleton=True)


def ensure_clone(settings: Settings, tags: bool = True) -> Git:
    """Clone the origin once, then bring branches and tags up to what the origin has.

    Args:
        tags: False: who asks leans on branches alone, so that the origin is not asked for its tags, which grow with
            every promotion. Where a branch has moved, tags come along all the same.

    Raises:
        UnreachableError: the origin does not answer.
    """
    with lock(settings):
        if not (settings.clone / ".git").exists():
            _begin(settings)
        git = Git(settings.clone, settings.origin_url)
        known = git.run("config", "--default", "", "--get", "remote.origin.url")
        if known != settings.origin_named:  # a home was moved
            git.run("config", "--replace-all", "remote.origin.url", settings.origin_named)
        _as_committed(git)
        _complete(git)
        _forget_head(git)
        if not _differing(git, tags) - _left_out(git):
            return git
        _fetch(git, settings.branch)
    return git


def _as_committed(git: Git) -> None:
    """Files of a checkout have the bytes of the commit, whatever its ``.gitattributes`` say.

    Else a commit chooses among the filters of the user's git, which run as the user, and ends of lines change.
    """
    rules = git.path / ".git/info/attributes"
    if not rules.is_file() or rules.read_text("utf-8", "replace") != VERBATIM:
        rules.parent.mkdir(exist_ok=True)
        rules.write_text(VERBATIM, "utf-8")


def _begin(settings: Settings) -> None:
    """Make the clone, which stands under its name only once it is whole.

    ``git clone`` would give up where the origin has a branch below ``HEAD/``.
    """
    draft = settings.home / f"clone-{uuid.uuid4().hex[:8]}"
    git = Git(draft, settings.origin_url)
    try:
        Git(settings.home).run("init", "--quiet", "--initial-branch", settings.branch, str(draft))
        git.run("remote", "add", "origin", settings.origin_named)
        _fetch(git, settings.branch)
        draft.rename(settings.clone)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fetch(git: Git, branch: str) -> None:
    """Take over what the origin has.

    A branch may have a name that this clone cannot have: too long for a file here, or one but for the case of its
    letters with another. Git then takes over all others and fails, which is none of theirs: such names are left out.
    """
    rules = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", f"+{UNPUSHED}/*:{UNPUSHED}/*")
    kept = git.path / ".git" / LEFT_OUT
    for attempt in range(ATTEMPTS):
        try:
            git.run("fetch", "--quiet", "--update-shallow", "--prune", "--prune-tags", "--force", "origin", *rules)
        except GitError:
            left = _differing(git, True)
            if any(_is_needed(name, branch) for _, name in left):
                if attempt + 1 < ATTEMPTS:
                    continue  # it may have moved between the two
                raise
            kept.write_text("".join(f"{commit} {name}\n" for commit, name in sorted(left)), "utf-8", "surrogateescape")
        else:
            kept.unlink(missing_ok=True)
        return


def _is_needed(name: str, branch: str) -> bool:
    """Whether Assay leans on a reference of the origin; on a longer one it never does."""
    own = (f"refs/heads/{branch}", "refs/heads/assay", f"{UNPUSHED}/")
    return len(name) <= LONGEST and (
        name in own[:2] or name.startswith((f"{own[1]}/", own[2])) or bool(TAG.search(name))
    )


def left_out(git: Git) -> list[str]:
    """Branches and tags of the origin that this clone cannot have, as the origin calls them."""
    left = _left_out(git)
    return sorted({name.split("/", 2)[2] for _, name in left & _differing(git, True)}) if left else []


def _left_out(git: Git) -> set[tuple[str, str]]:
    kept = git.path / ".git" / LEFT_OUT
    lines = kept.read_text("utf-8", "surrogateescape").split("\n")[:-1] if kept.exists() else []
    return {(line.partition(" ")[0], line.partition(" ")[2]) for line in lines}


def _complete(git: Git) -> None:
    """Fetch what a truncated clone lacks; of a truncated origin something stays away, which is asked for once."""
    cut = git.path / ".git/shallow"
    if not cut.exists() or git.run("config", "--default", "", "--get", CUT) == _digest(cut):
        return
    git.run("fetch", "--quiet", "--unshallow", "--update-shallow", "origin")
    if cut.exists():
        git.run("config", CUT, _digest(cut))


def _forget_head(git: Git) -> None:
    """Remove the alias that a clone has for the origin's default branch: a branch of the origin may be called HEAD."""
    head = git.path / ".git/refs/remotes/origin/HEAD"
    if head.is_file() and head.read_bytes().startswith(b"ref:"):
        git.run("symbolic-ref", "--delete", "refs/remotes/origin/HEAD")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _differing(git: Git, tags: bool) -> set[tuple[str, str]]:
    """Commit and name of branches and tags that only the origin or only the clone has so; empty where all is the same.

    Asking is cheaper than fetching nothing.
    """
    asked = ("refs/heads/", *(("refs/tags/", f"{UNPUSHED}/") if tags else ()))
    lines = (line.split("\t") for line in git.lines("ls-remote", "--refs", *([] if tags else ["--heads"]), "origin"))
    ours = ("refs/remotes/origin", *(("refs/tags", UNPUSHED) if tags else ()))
    listed = git.lines("for-each-ref", "--format=%(objectname)%09%(refname)%09%(symref)", *ours)
    here = (line.rstrip("\t").split("\t") for line in listed)
    names = {
        name.replace("refs/remotes/origin/", "refs/heads/", 1): commit for commit, name, *other in here if not other
    }
    there = {name: commit for commit, name in lines if name.startswith(asked)}
    return {(commit, name) for name, commit in names.items() ^ there.items()}


TAG = re.compile(r"^refs/tags/[a-z][a-z0-9_]*[@#]")
"""Of versions and champions (``tasks/records/registry/tags.py``)."""
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Git takes such a name for the object's, whatever references are called so."""


def resolve(git: Git, revision: str) -> str:
    """A commit id for a branch of the origin, a tag or a commit; a branch may be called anything but a whole id."""
    if COMMIT.fullmatch(revision):
        return git.rev_parse(revision)
    try:
        return git.rev_parse(f"refs/remotes/origin/{revision}")
    except CheckoutError:
        return git.rev_parse(revision)


@contextmanager
def lent(settings: Settings, checkout: Git, commit: str) -> Iterator[None]:
    """A commit of a checkout within the origin's reach, under a name of its own that is taken back at the end.

    Only an origin on this machine takes one, and nothing that a branch or tag of it holds is lent. Neither a branch nor
    the hook sees it.
    """
    origin = Path(settings.origin_url)
    if not origin.is_dir() or _held(Git(origin), commit):
        yield
        return
    name = f"{UNPUSHED}/{uuid.uuid4().hex}"
    Git(checkout.path, str(origin)).run("push", "--quiet", str(origin), f"{commit}:{name}")
    try:
        yield
    finally:
        Git(origin).run("update-ref", "-d", name)


def prepare_origin(origin: Git) -> None:
    """Settings of an origin on this machine, which hold whoever pushes, and whatever they have set for themselves."""
    origin.run("config", "receive.shallowUpdate", "true")  # CI's checkouts often hold one commit
    origin.run("config", "core.hooksPath", "hooks")
    origin.run("config", "core.logAllRefUpdates", "true")  # the keeper reads there what was pushed
    (origin.path / "hooks").mkdir(exist_ok=True)


def take_back(origin: Git) -> None:
    """Remove what commands that were killed have lent."""
    for name in origin.lines("for-each-ref", "--format=%(refname)", UNPUSHED):
        origin.run("update-ref", "-d", name)


def _held(origin: Git, commit: str) -> bool:
    try:
        return bool(origin.run("for-each-ref", "--contains", commit, "refs/heads", "refs/tags"))
    except GitError:  # it has no such commit
        return False


@contextmanager
def worktree(settings: Settings, revision: str, name: str | None = None) -> Iterator[Path]:
    """A clean, detached checkout of one commit with the shared DVC cache; removed at the end.

    Whoever made it holds a lock beside it, which the system takes back where that process dies
    (:func:`tasks.records.repository.leftovers.clear`).

    Args:
        name: twelve hexadecimal digits that say whose it is; by default nobody's.

    Raises:
        CheckoutError: there is no such commit, or one of its links leads to where Assay must not write or read.
    """
    git = ensure_clone(settings)
    commit = resolve(git, revision)
    path = settings.worktrees / (name or uuid.uuid4().hex[:12])
    settings.worktrees.mkdir(parents=True, exist_ok=True)
    with owned(path):
        with lock(settings):
            if path.exists():  # a run that was started again finds what it left when it died
                shutil.rmtree(path)
                git.run("worktree", "prune")
            git.run("worktree", "add", "--quiet", "--detach", str(path), commit)
        try:
            refuse_links(path)
            lockfile.make_folder(path, path / ".dvc")
            dvc_settings.write(path, settings.cache, settings.home / "dvc-site")
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            with lock(settings):
                git.run("worktree", "prune")


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Hold the lock of a worktree.

    Raises:
        Timeout: a process that lives holds it.
    """
    mark = path.with_name(f"{path.name}.lock")
    with FileLock(mark, timeout=0):
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


def commit_run(settings: Settings, tree: Path, message: str) -> str:
    """Commit everything in a worktree, whether it differs or not; gives the commit, which nobody else has yet."""
    return _commit(settings, tree, message, "--allow-empty").rev_parse("HEAD")


def push_data(settings: Settings, tree: Path, message: str) -> str:
    """Commit in a worktree and move the origin's main branch forward to it; gives the commit.

    Raises:
        CheckoutError: the branch has moved since the worktree was made, or a hook refused; nothing was pushed.
    """
    git = _commit(settings, tree, message)
    try:
        with lock(settings):
            git.run("push", "--quiet", "origin", f"HEAD:refs/heads/{settings.branch}")
    except Overtaken as error:
        raise CheckoutError(
            f"branch {settings.branch} of the origin moved while data were collected, and nothing was pushed. "
            f"Start the run again. ({error.output.rpartition(chr(10))[2]})"
        ) from None
    except Declined as error:
        raise CheckoutError(
            f"a hook of the origin refused the new data on branch {settings.branch}, and nothing was pushed. It "
            f"says: {error.words}."
        ) from None
    return git.rev_parse("HEAD")


def _commit(settings: Settings, tree: Path, message: str, *options: str) -> Git:
    git = Git(tree, settings.origin_url)
    git.run("add", "--all")
    # worktree() wrote our own settings there: they go into no commit, whether the repository ignores or tracks them
    git.run("reset", "--quiet", "HEAD", "--", ".dvc/config.local", ".dvc/config")
    git.run("commit", "--quiet", "--no-verify", *options, "--message", message)
    return git
