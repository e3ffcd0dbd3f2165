"""Git, by its own command, with an identity of our own, unsigned, never a prompt, and no habit of its user's.

What says how to reach another machine stays as the user has it: credentials, proxies, SSH, rewritten URLs.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from tasks.records.repository import process
from tasks.spec.errors import CheckoutError, UnreachableError
from tasks.spec.settings import anonymous

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Assay"), ("EMAIL", "assay@localhost"))
}
UNSIGNED = ("commit.gpgsign=false", "tag.gpgsign=false", "push.gpgsign=false")
"""A person's key is not ours to sign with, and asking for its passphrase would be a prompt."""
OURS = {
    **dict(setting.split("=") for setting in UNSIGNED),
    "tag.forceSignAnnotated": "false",
    "core.hooksPath": os.devnull,  # theirs would run at each of our commits; those of an origin are its own
    "core.autocrlf": "false",  # the bytes of a worktree are what was committed
    "core.quotePath": "true",  # a path is told as git's own rules tell it, and none can look like another's
    "core.excludesFile": os.devnull,
    "core.attributesFile": os.devnull,
    "core.fsmonitor": "false",
    "color.ui": "false",
    "log.showSignature": "false",
    "status.showUntrackedFiles": "normal",
    "i18n.commitEncoding": "UTF-8",
    "i18n.logOutputEncoding": "UTF-8",
    "init.defaultObjectFormat": "sha1",
    "init.defaultRefFormat": "files",
    "fetch.fsckObjects": "false",  # one odd commit of anybody's would end each fetch
    "receive.fsckObjects": "false",
    "transfer.fsckObjects": "false",
    "clone.defaultRemoteName": "origin",
    "clone.rejectShallow": "false",
    "push.followTags": "false",
    "remote.origin.followRemoteHEAD": "never",  # a branch of the origin may be called HEAD, and would move another's
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
    "protocol.file.allow": "always",
}
"""What a person's configuration must not change; nothing of it reaches the other side of a push."""
ELSEWHERE = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|PREFIX|NAMESPACE|"
    r"GRAFT_FILE|SHALLOW_FILE|CONFIG|CONFIG_PARAMETERS|DEFAULT_HASH|DEFAULT_REF_FORMAT|REF_FORMAT|ATTR_SOURCE|"
    r"REPLACE_REF_BASE|NO_REPLACE_OBJECTS|CEILING_DIRECTORIES|LITERAL_PATHSPECS|GLOB_PATHSPECS|NOGLOB_PATHSPECS|"
    r"ICASE_PATHSPECS)"
)
"""Variables that point git at another repository than the one of its working directory, or at another form of one."""
NETWORK = ("clone", "fetch", "ls-remote", "push")
PATIENCE = 300.0
"""Seconds that one command may take which talks to the origin."""
UNREACHABLE = re.compile(
    r"does not appear to be a git repository|repository '.*' does not exist|repository '.*' not found|Could not "
    r"read from remote|(unable to access|Authentication failed for) '\w+://"
    r"|Could not resolve host|unable to connect to|Connection (timed out|refused|reset)|hung up unexpectedly"
)
DECLINED = re.compile(r"hook declined")
FOREIGN = re.compile(r"detected dubious ownership in repository at '([^']+)'")
OCCUPIED = re.compile(r"'refs/heads/([^']+)' exists; cannot create 'refs/heads/([^']+)'")
OVERTAKEN = re.compile(
    r"\[rejected\]|cannot lock ref|failed to update ref|reference already exists|incorrect old value"
)


USER, PASSWORD = "ASSAY_GIT_USER", "ASSAY_GIT_PASSWORD"
"""Variables of git's own environment in which it finds what a URL of the origin held."""
HELPER = f'!told() {{ test "$1" != get || printf "username=%s\\npassword=%s\\n" "${USER}" "${PASSWORD}"; }}; told'
"""A helper for credentials by git's own protocol; its text, which is in a command line, holds names alone."""


def _credentials(url: str) -> dict[str, str]:
    """The variables of git's environment for what an HTTP URL says before its host."""
    found = re.match(r"https?://([^/?#\s]+)@", url, re.IGNORECASE)
    if found is None:
        return {}
    user, colon, password = found[1].partition(":")
    return {USER: unquote(user)} | ({PASSWORD: unquote(password)} if colon else {})


def _asked(secret: Mapping[str, str]) -> list[tuple[str, str]]:
    """Settings by which git asks for it; where the URL had no password, the user's own helpers know it."""
    if PASSWORD in secret:
        return [("helper", ""), ("helper", HELPER)]
    return [("username", secret[USER])] if secret else []


def _host(url: str) -> str:
    return "/".join(url.split("/")[:3])


class GitError(CheckoutError):
    """Git refused; ``output`` is what it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


class Overtaken(GitError):
    """A push came second: the origin holds something newer than this clone had seen."""


class Declined(GitError):
    """A hook of the origin refused a push; ``words`` is what the hook said."""

    @property
    def words(self) -> str:
        lines = self.output.split("\n")
        said = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
        return "; ".join(line for line in said if line) or "it gave no reason"


class Git:
    """Commands in one repository or worktree; ``origin`` is its other side, which no rule of a user's renames.

    A user and a password in its URL reach git by its environment alone: command lines are open to every process, so
    that a stage could read them there.
    """

    def __init__(self, path: Path, origin: str | None = None) -> None:
        self.path = path
        self.origin = origin

    def run(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run one git command and give what it printed, without the blanks at both ends; errors as of :meth:`read`."""
        return self.read(*arguments, stdin=stdin, env=env).decode(errors="replace").strip()

    def read(self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        """Run one git command and give the bytes it printed.

        Raises:
            UnreachableError: the remote does not answer.
            Declined: a hook of the remote refused a push.
            Overtaken: the remote moved before a push.
            GitError: git refused for another reason.
        """
        patience = PATIENCE if arguments[0] in NETWORK else None
        try:
            code, out, err = process.run(
                ["git", *arguments], self.path, self._environment() | dict(env or {}), patience, stdin
            )
        except subprocess.TimeoutExpired:
            raise self._unreachable(f"no answer to git {arguments[0]} within {PATIENCE:.0f} s") from None
        if code == 0:
            return out
        said = anonymous(err.decode(errors="replace").strip())
        message = f"git {' '.join(arguments[:2])} failed in {self.path}: {said}"
        if foreign := FOREIGN.search(said):
            raise GitError(
                f"{foreign[1]} belongs to another user, and git does not work there. Run Assay as that user, or trust "
                f"the folder: git config --global --add safe.directory '{foreign[1]}'",
                said,
            )
        if occupied := OCCUPIED.search(said):
            raise self._occupied(occupied[1], occupied[2], said)
        if DECLINED.search(said):
            raise Declined(message, said)
        if arguments[0] == "push" and OVERTAKEN.search(said):  # the origin hangs up on such a push, too
            raise Overtaken(message, said)
        if UNREACHABLE.search(said):
            first = next(line for line in said.split("\n") if UNREACHABLE.search(line))
            raise self._unreachable(first.removeprefix("fatal: ").removesuffix("."))
        raise GitError(message, said)

    def lines(self, *arguments: str, stdin: bytes | None = None, end: str = "\n") -> list[str]:
        """Run one git command and give what it printed, cut at one character alone; errors as of :meth:`read`.

        Names of branches, tags and files are a stranger's. Git forbids this character in them, and allows others that
        Python takes for the end of a line or for a blank, such as U+2028. Bytes that are no UTF-8 stay apart, too.
        """
        found = self.read(*arguments, stdin=stdin).decode("utf-8", "surrogateescape").split(end)
        return found if found[-1] else found[:-1]

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not ELSEWHERE.fullmatch(k)}
        rules, secret = list(OURS.items()), _credentials(self.origin or "")
        if self.origin and (secret or self.origin.startswith("/")):
            named = anonymous(self.origin)
            rules += [(f"url.{named}.{kind}", named) for kind in ("insteadOf", "pushInsteadOf")]
            rules += [(f"credential.{_host(named)}.{key}", value) for key, value in _asked(secret)]
        count = kept.get("GIT_CONFIG_COUNT") or "0"
        if not re.fullmatch(r"[0-9]{1,4}", count):
            raise CheckoutError(
                f"the variable GIT_CONFIG_COUNT is {count!r}, and must be the number of variables GIT_CONFIG_KEY_0, "
                "GIT_CONFIG_KEY_1 and so on. Unset it: unset GIT_CONFIG_COUNT"
            )
        first = int(count)
        for number, (key, value) in enumerate(rules, first):
            kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        own = {"GIT_CONFIG_COUNT": str(first + len(rules)), "GIT_TERMINAL_PROMPT": "0", "GIT_TEMPLATE_DIR": ""}
        own["GIT_NO_REPLACE_OBJECTS"] = "1"  # an object is what its name says, whatever was pushed to refs/replace
        return kept | IDENTITY | own | secret | {"LC_ALL": "C"}

    def _occupied(self, branch: str, wanted: str, said: str) -> GitError:
        return GitError(
            f"the origin has a branch {branch!r}, and beside it there can be no {wanted!r}, which Assay writes. Give "
            f"that branch another name: git push ORIGIN origin/{branch}:refs/heads/OTHER :refs/heads/{branch}",
            said,
        )

    def _unreachable(self, why: str) -> UnreachableError:
        url = self.origin or self.run("config", "--default", "origin", "--get", "remote.origin.url")
        named, why = anonymous(url), anonymous(why)
        return UnreachableError(
            f"the origin {named} does not answer ({why}). Set ASSAY_ORIGIN to a git repository that can be "
            "reached, or start the host it is on."
        )

    def rev_parse(self, revision: str) -> str:
        """The full commit id of a revision.

        Raises:
            CheckoutError: there is no such commit here.
        """
        try:
            return self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except GitError:
            raise CheckoutError(
                f"revision {revision!r} is not a commit that the origin knows. Push it first, or name a branch, a "
                "tag or a full commit id."
            ) from None

    def has(self, commit: str) -> bool:
        """Whether a commit is there, by its full id."""
        try:
            self.run("cat-file", "-e", f"{commit}^{{commit}}")
        except GitError:
            return False
        return True

    def changed_files(self) -> list[str]:
        """Paths with uncommitted changes, untracked ones included."""
        return [record[3:] for record in self.lines("status", "--porcelain", "--no-renames", "-z", end="\0")]
