"""Forgeries of tags, commits, trees and bytes, by who may push to the origin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tasks.records.registry.branch import BRANCH
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tests.conftest import git
from tests.proof.forging import KINDS, Forgery, own, rewritten
from tests.proof.ledgers import Document, Ledger, chained, entry_file, files, write


def tag(name: str, source: str, to: str = "") -> Forgery:
    """A tag with the message of another one, of the commit of that one or of another."""

    def forge(made: Ledger, repository: Path) -> None:
        message = git(repository, "for-each-ref", "--format=%(contents)", f"refs/tags/{source}")
        commit = made.spare if to == "spare" else f"{to or source}^{{commit}}"
        git(repository, "tag", "--force", "-a", "-m", message, name, commit)

    return forge


def git_does(*commands: tuple[str, ...]) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        words = {"tip": made.commits[-1], "before": made.commits[-2], "spare": made.spare, "first": made.commits[0]}
        for command in commands:
            git(repository, *(word.format(**words) for word in command))

    return forge


def both(*forgeries: Forgery) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        for one in forgeries:
            one(made, repository)

    return forge


def planted(name: str, what: str, end: str = "\u2028") -> Forgery:
    """A tag whose name looks, to who cuts lines as Python does, like the end of one reference and another as it was."""

    def forge(made: Ledger, repository: Path) -> None:
        was = git(made.origin, "rev-parse", what)
        git(repository, "update-ref", f"refs/tags/x{end}{was}X{name}", made.commits[-1])

    return forge


def adds(path: str, content: bytes | tuple[str, bytes] | None) -> Forgery:
    return lambda made, repository: write(repository, made.commits[-1], [{path: content}])


def newest(change: Callable[[bytes], bytes | tuple[str, bytes]]) -> Forgery:
    """The newest entry's file with other bytes, in place of the newest commit."""

    def forge(made: Ledger, repository: Path) -> None:
        path = entry_file(made, KINDS)
        what = {**files(made, made.entries[-1]), path: change(canonical_json(made.entries[-1]))}
        write(repository, made.commits[-2], [what])

    return forge


def merged(parents: int) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        tree, more = f"{made.commits[-1]}^{{tree}}", [p for c in made.commits[:parents] for p in ("-p", c)]
        made_by = git(repository, "commit-tree", tree, "-p", made.commits[-1], *more, "-m", "merge")
        git(repository, "update-ref", f"refs/heads/{BRANCH}", made_by)

    return forge


def graph(made: Ledger, repository: Path) -> None:
    """Replace references show another newest entry to everybody who reads with git alone."""
    write(repository, made.commits[-2], [files(made, {**made.entries[-1], "actor": "them"})])
    git(repository, "update-ref", f"refs/replace/{made.commits[-1]}", f"refs/heads/{BRANCH}")
    git(repository, "update-ref", f"refs/heads/{BRANCH}", made.commits[-1])


def others_evidence(made: Ledger, repository: Path) -> None:
    name = str(made.of("promoted")["evidence"])
    evidence = {**made.evidence, name: made.evidence[name].replace(b"true", b"null")}
    altered = Ledger(**{**vars(made), "evidence": evidence})
    write(repository, made.commits[-2], [files(altered, made.entries[-1])])


def cut_with_tags(at: int) -> Forgery:
    def forge(made: Ledger, repository: Path) -> None:
        write(repository, made.commits[at - 1], [])
        for entry in made.entries[at:]:
            for name in git(repository, "tag", "--points-at", entry["commit"] or "HEAD").split():
                if f"Entry: {digest_json(entry)}" in git(
                    repository, "for-each-ref", "--format=%(contents)", f"refs/tags/{name}"
                ):
                    git(repository, "tag", "--delete", name)

    return forge


def redated(made: Ledger, repository: Path) -> None:
    moments = [1_600_000_000 + 60 * n for n in range(KINDS)]
    write(repository, None, [files(made, e) for e in made.entries], moments)


def resigned(made: Ledger) -> list[Document]:
    """Everything from the first list on is chained and signed by somebody else's key."""
    first = json.loads(made.evidence[made.entries[0]["evidence"]])
    first["policy"]["people"][0]["keys"] = [signatures.public_line(own())]
    made.evidence[digest_json(first)] = canonical_json(first)
    details = {"policy": digest_json(first["policy"]), "counter": 1}
    return chained([{**made.entries[0], "evidence": digest_json(first), "details": details}, *made.entries[1:3]], own())


def trailers(made: Ledger) -> str:
    newest = made.entries[-1]
    return f"Evidence: {newest['evidence']}\u2028Entry: {digest_json(newest)}\u2028Kind: promoted"


DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
BY_GIT: dict[str, tuple[Forgery, str]] = {
    "tag on a rejected candidate": (tag("income@v4.0.0", "income@v3.0.0", "spare"), "income@v4.0.0 names an entry for"),
    "champion tag on a rejected candidate": (
        tag("income#champion#9", "income@v3.0.0", "spare"),
        "#champion#9 names an",
    ),
    "champion tag repeated": (tag("income#champion#9", "income#champion#6"), "income#champion#9 repeats another tag"),
    "version tag moved": (tag("income@v3.0.0", "income@v3.0.0", "spare"), "tag income@v3.0.0 of entry 14 is missing"),
    "version tag of another version": (
        tag("income@v2.0.0", "income@v3.0.0"),
        "tag income@v2.0.0 of entry 7 is missing",
    ),
    "two champion tags swapped": (
        both(
            tag("x", "income#champion#5"), tag("income#champion#5", "income#champion#6"), tag("income#champion#6", "x")
        ),
        "stands before tags of earlier entries",
    ),
    "tag without a message": (
        git_does(("tag", "--force", "income@v3.0.0", "{spare}")),
        "income@v3.0.0 names no evidence",
    ),
    "light tag on the right commit": (
        git_does(("tag", "--force", "income@v3.0.0", "income@v3.0.0^{{commit}}")),
        "income@v3.0.0 of entry 14 is missing",
    ),
    "tag under another name": (
        git_does(("update-ref", "refs/tags/income@v7.0.0", "refs/tags/income@v3.0.0")),
        "tag income@v7.0.0 names no",
    ),
    "tag of a blob": (git_does(("tag", "income@v7.0.0", "main:model.txt")), "tag income@v7.0.0 names no"),
    "trailers planted in a tag": (
        lambda m, r: (
            git(
                r,
                "tag",
                "-f",
                "-a",
                "-m",
                "x\n\nEvidence: sha256:0\nEntry: sha256:0\nKind: promoted",
                "income@v3.0.0",
                "income@v3.0.0^{commit}",
            )
            and None
        ),
        "tag income@v3.0.0 of entry 14 is missing",
    ),
    **{
        f"tag {name} deleted": (git_does(("tag", "--delete", name)), f"tag {name} of entry")
        for name in ("income@v1.0.0", "income@v2.0.0", "care@v1.0.0", "income#champion#1", "income#champion#6")
    },
    "all tags deleted": (
        lambda m, r: git(r, "tag", "--delete", *git(r, "tag").split()) and None,
        "#champion#1 of entry 3",
    ),
    "branch deleted": (git_does(("update-ref", "-d", f"refs/heads/{BRANCH}")), "there is no ledger"),
    **{
        f"another ledger, and the old one in a tag's name after U+{ord(end):04X}": (
            both(rewritten(resigned), planted(f"refs/heads/{BRANCH}", BRANCH, end)),
            "and {root} was named: nothing is proven",
        )
        for end in "\x85\u2028\u2029"
    },
    "a moved tag, and the old one in a tag's name": (
        both(
            tag("income@v3.0.0", "income@v3.0.0", "spare"),
            planted("refs/tags/income@v3.0.0", "refs/tags/income@v3.0.0"),
        ),
        "tag income@v3.0.0 of entry 14 is missing",
    ),
    "trailers after a line end that is git's no end": (
        lambda m, r: (
            git(r, "tag", "-f", "-a", "-m", f"x\n\n{trailers(m)}", "income@v3.0.0", "income@v3.0.0^{commit}") and None
        ),
        "tag income@v3.0.0 of entry 14 is missing",
    ),
    "branch moved to main": (git_does(("update-ref", f"refs/heads/{BRANCH}", "main")), "does not hold {anchor}"),
    "another ledger with its own first list": (rewritten(resigned), "and {root} was named: nothing is proven"),
    "all commits with other dates": (redated, "hours off its entry"),
    **{
        f"tail from entry {at + 1} on cut off with its tags": (cut_with_tags(at), "does not hold {anchor}")
        for at in (3, 6, 8, 10, 13)
    },
    "evidence of another content": (others_evidence, "was changed: its content has digest"),
    "blanks in an entry": (newest(lambda c: c.replace(b'":', b'": ')), "cannot be read as an entry: it is no document"),
    "keys in another order": (
        newest(lambda c: json.dumps(dict(reversed(json.loads(c).items()))).encode()),
        "in canonical",
    ),
    "a key twice": (newest(lambda c: b'{"actor":"them",' + c[1:]), "in canonical JSON"),
    "a line break at the end": (newest(lambda c: c + b"\n"), "in canonical JSON"),
    "escapes for letters": (newest(lambda c: c.replace(b'"dana"', b'"d\\u0061na"')), "in canonical JSON"),
    "bytes of UTF-16": (newest(lambda c: c.decode().encode("utf-16")), "cannot be read as an entry"),
    "no JSON": (newest(lambda c: c[:-1]), "cannot be read as an entry"),
    "NaN": (newest(lambda c: c.replace(b'"details":{', b'"details":{"a":NaN,')), "cannot be read as an entry"),
    "a number of 5,000 digits": (
        newest(lambda c: c.replace(b":14,", b":" + b"9" * 5000 + b",")),
        "cannot be read as an",
    ),
    "a number with a point": (newest(lambda c: c.replace(b":14,", b":14.0,")), "it has other keys"),
    "20,000 levels": (newest(lambda c: DEEP), "cannot be read as an entry"),
    "40 MB": (newest(lambda c: b"0" * 40_000_000), "cannot be read as an entry"),
    "a key more": (newest(lambda c: c.replace(b'"actor"', b'"Actor":1,"actor"')), "it has other keys"),
    "a kind that does not exist": (newest(lambda c: c.replace(b'"promoted"', b'"crowned"')), "it has other keys"),
    "a commit without an entry": (
        lambda m, r: write(r, m.commits[-1], [{}]),
        "adds 0 entries, and a commit of the ledger adds one entry",
    ),
    "a merge": (merged(1), "adds 0 entries by a merge"),
    "an octopus": (merged(3), "adds 0 entries by a merge"),
    "replace references": (graph, "shows others another object than"),
}
