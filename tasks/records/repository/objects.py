"""Files of many commits, read from git in a few calls; a file that several commits share is read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.records.repository.git import Git
from tasks.spec.errors import CheckoutError

NOTHING = "0" * 40


@dataclass(frozen=True)
class Change:
    """A file that differs between two commits; ``old`` or ``new`` is None where it is not there."""

    path: str
    old: str | None
    new: str | None


class Objects:
    """What a clone holds, by git's names of it."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self._kept: dict[str, bytes] = {}
        self._trees: dict[str, dict[str, str]] = {}

    def lacking(self, commits: Iterable[str]) -> set[str]:
        """Those commits that the clone does not have, as one of a shallow origin."""
        asked = list(dict.fromkeys(commits))
        if not asked:
            return set()
        told = self.git.lines("cat-file", "--batch-check", stdin="".join(f"{c}^{{tree}}\n" for c in asked).encode())
        return {commit for commit, line in zip(asked, told, strict=True) if line.split(" ")[1:2] != ["tree"]}

    def changes(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Change]]:
        """What differs between each older and newer commit, which the clone has."""
        found: dict[tuple[str, str], list[Change]] = {pair: [] for pair in pairs}
        rounds: list[dict[str, tuple[str, str]]] = []
        for pair in found:  # an answer names the newer commit alone, so that each is asked once in a call
            place = next((one for one in rounds if pair[1] not in one), None)
            if place is None:
                rounds.append(place := {})
            place[pair[1]] = pair
        for asked in rounds:
            words = "".join(f"{new} {old}\n" for old, new in asked.values()).encode()
            how = ("--stdin", "-r", "--raw", "-z", "--no-renames", "--no-abbrev")
            parts = iter(self.git.lines("diff-tree", *how, stdin=words, end="\0"))
            pair = ("", "")
            for part in parts:
                if not part.startswith(":"):
                    pair = asked[part]
                    continue
                _, _, old, new, _ = part.split(" ")
                blobs = (None if name == NOTHING else name for name in (old, new))
                found[pair].append(Change(next(parts), *blobs))
        return found

    def tree(self, commit: str) -> dict[str, str]:
        """Path and git's name of each plain file of a commit."""
        if commit not in self._trees:
            rows = (line.split("\t", 1) for line in self.git.lines("ls-tree", "-r", "-z", commit, end="\0"))
            self._trees[commit] = {path: about.split(" ")[2] for about, path in rows if about.startswith("100")}
        return self._trees[commit]

    def read(self, blobs: Iterable[str]) -> None:
        """Read files ahead, in one call."""
        asked = [blob for blob in dict.fromkeys(blobs) if blob not in self._kept]
        if not asked:
            return
        answer = self.git.read("cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in asked).encode())
        at = 0
        for blob in asked:
            end = answer.index(b"\n", at)
            words = answer[at:end].split()
            if words[-1] == b"missing":
                raise CheckoutError(
                    f"the clone {self.git.path} lacks the file {blob[:12]} of a commit; its origin is incomplete. "
                    "Complete the origin: git fetch --unshallow there."
                )
            size = int(words[-1])
            self._kept[blob] = answer[end + 1 : end + 1 + size]
            at = end + size + 2

    def bytes_of(self, blob: str) -> bytes:
        """The content of a file.

        Raises:
            CheckoutError: the clone lacks it.
        """
        self.read([blob])
        return self._kept[blob]

    def text(self, blob: str | None) -> str:
        """The content of a file as text; empty where there is none."""
        return "" if blob is None else self.bytes_of(blob).decode(errors="replace")
