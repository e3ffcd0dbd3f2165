"""Check a ledger of Assay without Assay: this one file, Python 3.11, ``git`` and ``ssh-keygen``.

    python verify.py REPO [--root FINGERPRINT] [--anchor HEAD | --anchor TOKEN --tsa CA] [--json]

REPO is a clone of the origin, best ``git clone --mirror``; none of its settings, hooks and replacements is used.
TOKEN is a timestamp (RFC 3161) of an entry, checked with the PEM file CA by ``openssl``, which nothing else needs.
docs/ledger.md says what a ledger is. Exit codes: 0 it holds, 3 there are problems, 2 it cannot be asked like this.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import category

Document = dict[str, Any]
Step = tuple[str, int, str, str, str, set[str]]
"""Commit and its date, path and blob of an entry, blob of its evidence in the present form, paths of evidence there."""
BRANCHES = ("refs/heads/assay/ledger", "refs/remotes/origin/assay/ledger")
OURS, OLD = re.compile(r"entry\.json|evidence\.json"), re.compile(r"entries/\d{6}\.json|evidence/[0-9a-f]{64}\.json")
"""Files of a commit, which holds what it adds; and those of commits before 2026-11-29, which held all so far."""
FACE, TAG = re.compile(r"[^@#]*[@#].*"), re.compile(r"(?a)[a-z][a-z0-9_]*(@v\d+\.\d+\.\d+|#champion#\d{1,9})")
KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*")
BOUND, OLD_WINDOW = "2026-11-29", re.compile(r"window \d+: (roll back|stop); ")
ORDER = 2**252 + 27742317777372353535851937790883648493  # of ed25519's group; OpenSSH takes a signature with it added
LARGEST, AT_ONCE, BYTES_AT_ONCE, COMMITS, SECONDS, TOLD = 1 << 25, 2048, 1 << 26, 10**6, 900, 500
"""Bytes of a file; commits and bytes read at once; commits; seconds of one command; problems that are told."""
CLOCK, FAR = 3600.0, 10**8
"""Seconds that the date of a commit may be off the time of its entry; numbers that a champion tag may leave out."""
MAYBE, HIDDEN = (str, type(None)), ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
ENTRY: Document = {**dict.fromkeys(("time", "kind", "model", "actor", "reason", "sentence"), str), "sequence": int,
    **dict.fromkeys(("version", "commit", "evidence", "previous"), MAYBE), "details": dict, "signature": dict,
}  # fmt: skip
KINDS = ("policy", "trained", "examined", "rejected", "awaiting_signature", "promoted", "rolled_back", "monitored",
         "stopped", "forgotten")  # fmt: skip
HEAD, VERBS = {"sequence": int, "digest": str}, {"promoted": "promote", "rolled_back": "roll_back", "stopped": "stop"}
SELF = "a whole ledger made by somebody else, since no --root was given: what was found is self-consistent only"
TAIL = "that the newest entries were cut off together with their tags, since no --anchor was given"
LATER = "that entries after the one that --anchor names were cut off together with their tags"


def cut(out: bytes, end: str = "\n") -> list[str]:
    """What git told, cut where git ends a line: names may hold what Python takes for such an end, or for a blank."""
    return [line for line in out.decode("utf-8", "surrogateescape").split(end) if line]


class Unusable(Exception):
    """What was asked cannot be looked at."""


@dataclass
class Found:
    """What a check found; notices are strange, and change nothing."""

    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    tip: str = ""
    root: str = ""
    head: str = ""
    timestamp: str = ""
    entries: int = 0
    champions: dict[str, str] = field(default_factory=dict)


class Model:
    """What the entries that count say of one model: commits by version, and entries that wait by commit."""

    def __init__(self) -> None:
        self.versions, self.waiting, self.decided = dict[str, str](), dict[str, Document](), list[str]()
        self.champion, self.tenures = "", 0


def need(holds: object, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def parsed(content: bytes) -> Document:
    """The document that bytes are the canonical JSON of; ValueError where they are none's."""
    value: Document = json.loads(content)
    need(isinstance(value, dict) and canonical(value) == content, "it is no document in canonical JSON")
    return value


def typed(found: Any, types: Document, *optional: str) -> bool:
    """Whether a document has keys of these types, without other keys."""
    fits = isinstance(found, dict) and {*types} - {*optional} <= {*found} <= {*types}
    return fits and all(isinstance(v, types[k]) and not isinstance(v, bool) for k, v in found.items())


def visible(text: str) -> bool:
    """Whether it is one line that reads as it is written."""
    return text.isprintable() or all(category(c) not in HIDDEN or c in "\u200c\u200d" for c in text)


def entry_of(where: str, content: bytes) -> Document:
    """The entry that a file holds; ValueError where it holds none."""
    entry = parsed(content)
    need(typed(entry, ENTRY, "signature") and entry["kind"] in KINDS, "it has other keys")
    need(where[:8] != "entries/" or int(where[8:14]) == entry["sequence"], "its number is not that of its file")
    warrant, parts = entry["details"].get("warrant"), {"signer": str, "key": str, "armor": str}
    need(warrant is None or typed(warrant, {"statement": dict, "armor": str}), "its warrant has other keys")
    said = [v for v in warrant["statement"].values() if isinstance(v, str)] if warrant else []
    need(all(map(visible, said)), "its warrant holds text that is not one visible line")
    need("signature" not in entry or typed(entry["signature"], parts), "its signature has other keys")
    return entry


def content_of(entry: Document) -> bytes:
    """What the signature of an entry covers."""
    return canonical({key: value for key, value in entry.items() if key != "signature"})


def dicts(document: Any, key: str) -> list[Document]:
    found = document.get(key) if isinstance(document, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def run(command: list[str], stdin: bytes, environment: dict[str, str] | None = None) -> Any:
    try:
        return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise Unusable(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"{command[0]} takes longer than {SECONDS} s") from None


@lru_cache(maxsize=1 << 13)
def signer_of(content: bytes, armor: str, namespace: str) -> str:
    """The key, ``TYPE BASE64``, whose signature over exactly this content it is; empty where it is none's."""
    try:
        raw = base64.b64decode("".join(armor.split("\n")[1:]).partition("-")[0]) if len(armor) <= 10_000 else b""
        public = raw[14 : 14 + int.from_bytes(raw[10:14])]
        kind, rest = public[4 : 4 + int.from_bytes(public[:4])].decode(), raw[14 + len(public) :]
    except ValueError:
        return ""
    text = re.sub("(.{1,70})", r"\1\n", base64.b64encode(raw).decode())
    other = raw[:10] != b"SSHSIG\0\0\0\1" or (kind == "ssh-ed25519" and int.from_bytes(raw[-32:], "little") >= ORDER)
    other = other or rest[4 + int.from_bytes(rest[:4]) :][:4] != bytes(4)  # what is reserved is empty, and not signed
    if other or armor.rstrip("\n") != f"-----BEGIN SSH SIGNATURE-----\n{text}-----END SSH SIGNATURE-----":
        return ""
    with tempfile.NamedTemporaryFile() as file:
        file.write(armor.encode())
        file.flush()
        done = run(["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", file.name], content)
    return "" if done.returncode or "-cert-" in kind else f"{kind} {base64.b64encode(public).decode()}"


def signed(keys: list[str], content: bytes, armor: Any, namespace: str) -> bool:
    """Whether one of the keys of a list signed exactly this."""
    return isinstance(armor, str) and signer_of(content, armor, namespace) in keys


def who(people: Document, *roles: str) -> dict[str, list[str]]:
    """Names and keys of everybody on a list with one of the roles."""
    return {p["name"]: p["keys"] for p in people["people"] if {*p["roles"]} & {*roles}}


def people_of(raw: Any) -> Document:
    """The list that a document is; ValueError where it is none."""
    shape = {"format": int, "counter": int, "previous": MAYBE, "threshold": int, "people": list}
    need(typed(raw, shape) and raw["format"] == 1 and min(raw["counter"], raw["threshold"]) > 0, "it has other keys")
    for p in raw["people"]:
        need(typed(p, {"name": str, "roles": list, "keys": list}) and p["name"] and visible(p["name"]), "no person")
        need(p["roles"] and {*map(str, p["roles"])} <= {"examiner", "approver", "operator", "auditor"}, "no such role")
        need(p["name"] == p["name"].strip()[:100] and p["name"][0] != "-", "it holds a name that nobody may have")
        need(p["keys"] and all(isinstance(k, str) and KEY.fullmatch(k) for k in p["keys"]), "it holds what is no key")
    names = [p["name"].casefold() for p in raw["people"]]
    keys = [k.split()[1] for p in raw["people"] for k in p["keys"]]
    need(len({*names}) == len(names) and len({*keys}) == len(keys), "a name or a key is listed twice")
    enough = raw["threshold"] <= len(who(raw, "approver") or who(raw, "examiner"))
    need(who(raw, "examiner") and enough, "no examiner, or fewer than its threshold")
    return dict(raw)


def stamped(token: Path, authority: Path) -> tuple[str, str]:
    """Digest and moment that a timestamp token vouches for; ValueError where it does not, by the authority's file."""
    for path in (token, authority):
        if not path.is_file():
            raise Unusable(f"{path} is no file; name a timestamp token with --anchor, and a PEM file with --tsa")
    shown = run(["openssl", "ts", "-reply", "-text", "-in", str(token)], b"").stdout.decode(errors="replace")
    dump = "".join(re.findall(r"^    [0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", shown, re.MULTILINE))
    named, moment = re.sub("[ -]", "", dump), "".join(re.findall(r"^Time stamp: (.+)$", shown, re.MULTILINE))
    need(moment and len(named) == 64 and "Hash Algorithm: sha256\n" in shown, f"{token} is no timestamp of a SHA-256")
    done = run(["openssl", "ts", "-verify", "-digest", named, "-in", str(token), "-CAfile", str(authority)], b"")
    why = re.findall(r":error:[0-9A-F]+:[^:]+:[^:]+:([^:]+):[^:]+:\d+:(.*)", done.stderr.decode(errors="replace"))
    said = "; ".join(": ".join(filter(None, one)) for one in why) or "it says no more"
    need(done.returncode == 0, f"the timestamp {token} does not hold by {authority}; openssl says: {said}")
    return "sha256:" + named, moment


def over(expires: Any, moment: str) -> bool:
    try:
        return date.fromisoformat(str(expires)) < date.fromisoformat(moment[:10])
    except ValueError:
        return True


def number_of(version: str) -> int:
    found = re.match(r"v?([0-9]{1,9})(\.|$)", version)
    return int(found[1]) if found else 0


class Repository:
    """References and objects; git runs in an empty repository beside them, so that no setting of theirs is read."""

    def __init__(self, path: Path, scratch: Path) -> None:
        homes = [p for p in (path, path / ".git") if (p / "objects").is_dir() and (p / "HEAD").is_file()]
        if not homes:
            where = f", since its .git is a file that says {path / '.git'}" * (path / ".git").is_file()
            raise Unusable(f"{path} is no git repository{where}; name a clone of the origin: git clone --mirror")
        (scratch / "refs").mkdir()
        (scratch / "HEAD").write_text("ref: refs/heads/none\n")
        self.home, self.scratch = homes[0].absolute(), scratch
        self.shallow = (self.home / "shallow").is_file()
        out = self.git("for-each-ref", "--format=%(objectname) %(refname)", home=self.home)
        self.names = {line[41:]: line[:40] for line in cut(out)}

    def git(self, *arguments: str, home: Path | None = None, stdin: bytes = b"") -> bytes:
        environment = {
            **dict.fromkeys(("GIT_CONFIG_NOSYSTEM", "GIT_NO_REPLACE_OBJECTS", "GIT_NO_LAZY_FETCH"), "1"),
            **dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_GRAFT_FILE"), os.devnull), "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0", "PATH": os.environ.get("PATH", os.defpath),
            "GIT_DIR": str(home or self.scratch), "GIT_OBJECT_DIRECTORY": str(self.home / "objects"),
        }  # fmt: skip
        command = ["git", "-c", "core.commitGraph=false", "-c", "core.multiPackIndex=false", "--no-pager", *arguments]
        done = run(command, stdin, environment)
        need(done.returncode == 0, f"git {arguments[0]} says: {done.stderr.decode(errors='replace').strip()[:300]}")
        return bytes(done.stdout)

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Type and content of objects; the content is empty where one is not there, or too large."""
        asked = "".join(f"{name}\n" for name in names).encode()
        said = cut(self.git("cat-file", "--batch-check", stdin=asked)) if names else []
        rows = [(name, kind, int((*rest, "-1")[0])) for name, kind, *rest in map(str.split, said)]
        while rows:
            count = total = 0
            while count < len(rows) and (total := total + min(rows[count][2], LARGEST)) <= BYTES_AT_ONCE:
                count += 1
            part, rows = rows[:count], rows[count:]
            asked = "".join(f"{name}\n" for name, _, size in part if 0 <= size <= LARGEST).encode()
            out, at = self.git("cat-file", "--batch", stdin=asked) if asked else b"", 0
            for name, kind, size in part:
                there = 0 <= size <= LARGEST
                begin = out.index(b"\n", at) + 1 if there else at
                content, at = (out[begin : begin + size], begin + size + 1) if there else (b"", at)
                own = hashlib.sha1(f"{kind} {size}\0".encode() + content, usedforsecurity=False).hexdigest()
                need(own == name or not there, f"object {name} holds something else than its name says; see git fsck")
                yield kind if there or size < 0 else "large", content


class Check:
    """Goes through the entries in order, says of each whether it counts, and compares commits and tags with them."""

    def __init__(self, repository: Repository, root: str) -> None:
        self.repository, self.root, self.found = repository, root, Found()
        self.tell, self.since = self.found.problems.append, ""
        self.place, self.intact, self.present, self.files = 0, True, False, dict[str, str]()
        self.previous: str | None = None
        self.digests, self.assigned, self.refused = dict[int, str](), list[Document](), set[int]()
        self.bound = float("inf")  # the first entry since waivers name list and head
        self.lists: list[tuple[Document, str, str]] = []  # each with its digest, and the time of its entry
        self.models, self.evidence, self.held = dict[str, Model](), Document(), set[str]()

    def run(self, anchor: str) -> Found:
        found, names = self.found, self.repository.names
        found.tip = next((names[name] for name in BRANCHES if name in names), "")
        try:
            if found.tip:
                self.commits()
                if anchor and anchor not in {*self.held, *self.digests.values()}:
                    self.tell(f"the ledger does not hold {anchor}: what was written up to there was changed or cut off")
            self.tags()
            all(self.repository.contents([*{e["commit"]: 0 for e in self.assigned if e["commit"]}]))
        except ValueError as error:
            why = "; it is a shallow clone: take a whole one by git clone --mirror" * self.repository.shallow
            self.tell(f"the repository cannot be read to its end: {error}{why}")
        found.champions = {name: m.champion for name, m in sorted(self.models.items()) if m.champion}
        if self.root not in ("", found.root) and not (found.problems and not found.root):
            self.tell(f"the first list is {found.root or 'missing'}, and {self.root} was named: nothing is proven")
            found.champions = {}
        return found

    def commits(self) -> None:
        """Go through the commits: each adds the next entry with its evidence, and does nothing else."""
        how = ("--raw", "--no-abbrev", "--no-renames", "--first-parent", "--diff-merges=first-parent", "--reverse")
        asked = f"{self.since}..{self.found.tip}" if self.since else self.found.tip
        listed = cut(self.repository.git("rev-list", "--objects", "--no-object-names", "--filter=blob:none", asked))
        all(self.repository.contents(listed))  # compares each with its name, which git does not as it reads
        records = cut(self.repository.git("log", "--format=%x01%H %ct %P", *how, f"--max-count={COMMITS}", asked), "\1")
        for part in (records[at : at + AT_ONCE] for at in range(0, len(records), AT_ONCE)):
            self.read([step for record in part for step in self.added(record)])
        self.found.head = self.previous or ""

    def added(self, record: str) -> Iterator[Step]:
        """The entries that a commit adds, not looked at yet; tells what else it does."""
        head, *lines = record.strip("\n").split("\n")
        commit, moment, *parents = head.split()
        self.held.add(commit)
        rows = [(path, *meta.split()) for meta, _, path in (line.partition("\t") for line in lines if line)]
        put = {path: new for path, _, mode, _, new, sign in rows if sign != "D" and mode == "100644"}
        self.present = self.present or "entry.json" in put
        form, start = (OURS, "entry.json") if self.present else (OLD, "entries/")
        strange = [path for path, *_, sign in rows if sign != "D" and not (path in put and form.fullmatch(path))]
        wrong = [path for path, *_, sign in rows if sign != "A" and not self.present]
        self.files |= {path: "" for path, *_, sign in rows if sign == "D" and path == "evidence.json"} | put
        added = [path for path in put if path.startswith(start) and path not in (*wrong, *strange)]
        if wrong:
            self.tell(f"commit {commit[:12]} changes or removes {', '.join(wrong)}, and what is written stays as it is")
        elif strange or len(added) != 1 or parents[1:]:
            what = "".join(f" and {path}" for path in strange) + " by a merge" * (len(parents) > 1)
            what += ", and a commit of the ledger adds one entry with its evidence"
            self.tell(f"commit {commit[:12]} adds {len(added)} entries{what}")
        for path in added:
            document = self.files.get("evidence.json", "")
            beside = {"evidence.json"} if document else {*put} - {*added}
            yield commit, int(moment), path, put[path], document, beside

    def read(self, steps: list[Step]) -> None:
        """Check entries that commits add, in their order."""
        texts, new = self.repository.contents([step[3] for step in steps]), []
        for (commit, moment, path, _, document, beside), (_, content) in zip(steps, texts, strict=True):
            old, where = path != "entry.json", f"commit {commit[:12]}"
            entry = self.chained(path if old else where, content)
            if entry is None:
                continue
            number, named, off = entry["sequence"], entry["evidence"], apart(entry["time"], moment)
            place = f"evidence/{named[7:]}.json" if old and named else "evidence.json" if named else ""
            if beside - {place}:
                self.tell(f"{where} adds evidence that its entry {number} does not name")
            if entry.get("signature") and off > CLOCK:
                self.tell(f"{where} is dated {off / CLOCK:.0f} hours off its entry {number}")
            new.append((entry, self.intact, self.files.get(place, "") if old else document * bool(named)))
        made_by = [(content_of(e), e["signature"]["armor"]) for e, intact, _ in new if intact and "signature" in e]
        with ThreadPoolExecutor() as pool:  # nearly all time goes into ssh-keygen
            list(pool.map(lambda one: signer_of(*one, "assay-ledger"), made_by))
        documents = self.repository.contents([name for _, _, name in new if name])
        for entry, intact, name in new:
            self.evidence = self.document(entry, *(next(documents) if name else ("", None)))
            if intact:
                self.judge(entry)
            if entry["kind"] in ("promoted", "rolled_back") and entry["version"]:
                brief = {key: value for key, value in entry.items() if key not in ("details", "signature")}
                self.assigned.append({**brief, "digest": digest(canonical(entry)), "signed": "signature" in entry})

    def chained(self, where: str, content: bytes) -> Document | None:
        """The entry of a file, which has to follow the one before; None where it cannot be read."""
        try:
            entry = entry_of(where, content)
        except (ValueError, RecursionError) as error:
            self.tell(f"{where} of the ledger cannot be read as an entry: {error}")
            self.previous, self.intact = "unknown", False
            return None
        number, before, name = entry["sequence"], entry["previous"], digest(content)
        if number != self.place + 1 and self.previous != "unknown":
            self.tell(f"entry {self.place + 1} is missing: {number} stands in its place")
        if before != self.previous != "unknown":
            self.tell(f"entry {number} does not follow from the one before: it was changed or put in later")
        self.intact = self.intact and before == self.previous and number == self.place + 1
        self.place, self.previous, self.digests[number] = max(number, self.place), name, name
        self.bound = min(self.bound, number) if entry["time"] >= BOUND else self.bound
        self.found.entries += 1
        return entry

    def document(self, entry: Document, kind: str, content: bytes | None) -> Document:
        """The evidence that an entry names; empty where it is not there, was changed or cannot be read."""
        named = entry["evidence"]
        if named is None:
            return {}
        if content is None:
            self.tell(f"entry {entry['sequence']}: the ledger holds no evidence {named}")
        elif kind == "large":
            self.tell(f"entry {entry['sequence']}: evidence {named} is too large to be read here ({LARGEST} bytes)")
        elif (there := digest(content)) != named:
            self.tell(f"entry {entry['sequence']}: evidence {named} was changed: its content has digest {there}")
        else:
            try:
                return parsed(content)
            except (ValueError, RecursionError) as error:
                self.tell(f"evidence {named} of the ledger cannot be read: {error}")
        return {}

    def judge(self, entry: Document) -> None:
        """Take an entry into account where it counts; tells why where it does not."""
        kind, version, commit = entry["kind"], entry["version"], entry["commit"]
        model = self.models.setdefault(entry["model"], Model())
        try:
            if kind == "policy":
                self.listed(entry)
            elif self.lists:
                self.examined(entry, self.lists[-1][0])
                if kind in VERBS:
                    self.placed(entry, model)
        except ValueError as error:
            self.refused.add(entry["sequence"])
            self.tell(f"entry {entry['sequence']} does not count: {error}")
            return
        if kind == "awaiting_signature":
            model.waiting[commit] = {**entry, "list": self.lists[-1][1] if self.lists else ""}
        elif kind == "monitored" and version == model.champion:
            old = not entry["details"] and OLD_WINDOW.match(entry["sentence"])
            model.decided.append(str(entry["details"].get("action", old and old[1].replace(" ", "_"))))
        elif kind in ("promoted", "rolled_back") and version and commit:
            model.versions.setdefault(version, commit)
            model.waiting.pop(commit, None)
            model.champion, model.tenures, model.decided = version, model.tenures + 1, []

    def examined(self, entry: Document, *lists: Document) -> None:
        """Need the signature of an examiner of one of the lists."""
        need(entry.get("signature"), "no examiner signed it")
        keys = [key for people in lists for listed in who(people, "examiner").values() for key in listed]
        holds = signed(keys, content_of(entry), entry["signature"]["armor"], "assay-ledger")
        need(holds, f"it is not signed by an examiner of the list in force (it names {entry['signature']['key']})")
        lines = all(visible(entry[key]) for key in ("actor", "reason", "sentence"))
        need(lines, "it holds text that is not one line of visible text")

    def listed(self, entry: Document) -> None:
        """Need that the list holds that an entry brings."""
        try:
            new = people_of(self.evidence.get("policy"))
        except ValueError as error:
            raise ValueError(f"its evidence holds no list: {error}") from None
        name, counter, before = digest(canonical(new)), new["counter"], new["previous"]
        named = {"policy": name, "counter": counter}
        need(canonical(entry["details"]) == canonical(named), "it names another list than its evidence holds")
        old, old_name, _ = self.lists[-1] if self.lists else (new, "", "")
        if before is None and counter == 1 and (not self.lists or self.root == name != self.found.root):
            champions = {model: found.champion for model, found in self.models.items() if found.champion}
            there = {"sequence": entry["sequence"] - 1, "digest": entry["previous"], "champions": champions}
            need(self.evidence.get("adopts") in (None, there), "it adopts another ledger than the one before it")
        else:
            need(self.lists, "it is no first list, and none is in force")
            follows = (counter, before) == (old["counter"] + 1, old_name)
            need(follows, f"it does not follow the list in force, which has counter {old['counter']}")
            for which, people in (("the list before", old), ("the new list", new)):
                names, given = who(people, "approver") or who(people, "examiner"), dicts(self.evidence, "signatures")
                asked = [(str(s.get("signer")), s.get("armor")) for s in given]
                found = {n for n, a in asked if signed(names.get(n, []), canonical(new), a, "assay-policy")}
                asks = f"{which} asks for {people['threshold']} of {', '.join(names)} to sign it"
                need(len(found) >= people["threshold"], f"{asks}, and {len(found)} did")
        self.examined(entry, new, *(people for people, _, _ in self.lists[-1:] if before))
        self.lists.append((new, name, entry["time"]))
        self.found.root = name if before is None else self.found.root

    def placed(self, entry: Document, model: Model) -> None:
        """Need that what decides fits the versions and the champion before it, and that who may ordered it."""
        kind, version, commit, details = entry["kind"], entry["version"], entry["commit"], entry["details"]
        champion, known = model.champion or "none", model.versions.get(version)
        if kind == "stopped":
            need(version == model.champion, f"the champion is {champion}")
        else:
            need(version and commit and "previous" in details, "it names no version and commit")
            before = details["previous"] or "none"
            need(before == champion, f"it was made after {before}, and the champion is {champion}")
            need(known or kind == "promoted", f"there is no version {version} to go back to")
            need(known in (None, commit), f"{version} is another commit")
        if kind == "promoted" and not known:
            used = [v for v, c in model.versions.items() if c == commit]
            need(not used, f"its commit is {used[0] if used else ''} already")
            higher = number_of(version) > max(map(number_of, model.versions), default=0)
            need(higher, f"the number of {version} was used before")
            if commit in model.waiting:
                self.approved(entry, model.waiting[commit])
            self.passed(entry, model.waiting.get(commit) or {**entry, "list": self.lists[-1][1]})
            return
        orderers = who(self.lists[-1][0], "approver", "operator")
        if orderers and (details.get("warrant") or kind == "promoted" or VERBS[kind] not in model.decided):
            need(details.get("warrant"), f"nobody who may order it signed it ({', '.join(orderers)})")
            now = {"version": version, "from": model.champion or None, "tenure": model.tenures}
            self.warranted(entry, {**now, "statement": VERBS[kind]}, orderers)

    def approved(self, entry: Document, asked: Document) -> None:
        need(entry["details"].get("warrant"), "its commit waits for an approver's signature, and it carries none")
        said = entry["details"]["warrant"]["statement"]
        signer, head = str(said.get("signer", "")), said.get("head")
        others = signer.casefold() not in requesters(asked)
        need(others, f"{signer} asked for it or wrote it, and nobody signs for themselves")
        need(typed(head, HEAD), "its approval names no head of the ledger")
        within = asked["sequence"] <= head["sequence"] and self.holds(head, entry["sequence"])
        need(within, "its approval was signed on another ledger")
        need(entry["evidence"] == asked["evidence"], "its evidence is not what waited for a signature")
        now = {"statement": "approve", "commit": entry["commit"], "evidence": asked["evidence"], "head": head}
        self.warranted(entry, now, who(self.lists[-1][0], "approver"))

    def warranted(self, entry: Document, now: Document, people: dict[str, list[str]]) -> None:
        """Need a statement that says what holds now, is not over, and is signed by one of the people."""
        warrant = entry["details"]["warrant"]
        said, signer = warrant["statement"], str(warrant["statement"].get("signer", ""))
        free = {key: said.get(key) for key in ("signer", "because", "expires")}
        now = {**now, **free, "model": entry["model"], "list": self.lists[-1][1]}
        for key in sorted({*said, *now}):
            same = key in said and key in now and canonical([said[key]]) == canonical([now[key]])
            need(same, f"what {signer} signed says {key} {said.get(key)!r}, and {now.get(key)!r} holds now; sign again")
        need(not over(said["expires"], entry["time"]), f"what {signer} signed expired on {said['expires']}; sign again")
        holds = signed(people.get(signer, []), canonical(said), warrant["armor"], "assay")
        names = ", ".join(people) or "nobody yet; add somebody with assay policy"
        need(holds, f"the signature is not {signer or 'nobody'}'s over exactly this statement. Who may sign: {names}")

    def passed(self, entry: Document, asked: Document) -> None:
        """Need a verdict that passed this candidate; ``asked`` is the entry that first brought it."""
        verdict = self.evidence.get("verdict")
        own = {"model": entry["model"], "commit": entry["commit"], "passed": True}
        fits = isinstance(verdict, dict) and {key: verdict.get(key) for key in own} == own
        need(fits, "its evidence holds no verdict that passed this candidate")
        for gate in dicts(verdict, "gates"):
            if isinstance(gate.get("waiver"), dict):
                self.waived(entry, asked, gate, gate["waiver"])
            elif gate.get("mandatory"):
                need(gate.get("state") == "pass", f"gate {gate.get('gate')} did not pass, and nobody waived it")
            elif gate.get("kind") == "sources" and gate.get("state") != "pass" and asked["kind"] == "promoted":
                self.enveloped(entry, asked, gate, self.evidence["verdict"].get("envelope"))

    def enveloped(self, entry: Document, asked: Document, gate: Document, envelope: Any) -> None:
        """Need an envelope that holds, and that a run which nobody asked for stayed inside, as no person signed."""
        envelope = envelope if isinstance(envelope, dict) else {}
        said: Any = envelope.get("signed")
        name = f"gate {gate.get('gate')} did not pass, and neither a person nor an envelope lets the candidate through"
        need(isinstance(said, dict), name)
        signer, states = str(said.get("who")), [check.get("state") for check in dicts(envelope, "checks")]
        named, shared = f"the envelope by {signer}", str(entry["actor"]).endswith(" (shared login)")
        alone = entry["reason"] in ("retrain", "schedule", "monitor") and not shared
        inside = alone and states and all(state == "pass" for state in states) and not envelope.get("problem")
        need(inside and gate.get("state") == "insufficient_evidence", f"{named} does not reach what this run did")
        need(said.get("list") == asked["list"], f"{named} was signed under another list than the one in force")
        need(self.holds(said.get("head"), asked["sequence"]), f"{named} was signed on another ledger")
        others = requesters({**entry, "details": {"authors": envelope.get("authors")}})
        need(signer.casefold() not in others, f"{named} is signed by who asked for the candidate or wrote a part of it")
        need(not over(said.get("expires"), asked["time"]), f"{named} expired on {said.get('expires')}")
        words = {key: said.get(key) for key in ("who", "reason", "expires", "list", "head")}
        words |= {"model": entry["model"], "envelope": digest(canonical(envelope.get("terms")))}
        keys = who(self.lists[-1][0], "approver").get(signer, [])
        holds = signed(keys, canonical(words), said.get("signature"), "assay")
        need(holds, f"{named} has no signature of an approver of that name over these terms")

    def waived(self, entry: Document, asked: Document, gate: Document, waiver: Document) -> None:
        """Need a waiver of this gate and version that holds where the verdict was brought, by a key that still may."""
        signer, head = str(waiver.get("who")), waiver.get("head")
        named = f"the waiver of {gate.get('gate')} by {signer}"
        if bound := waiver.get("list") is not None or head is not None:
            need(waiver.get("list") == asked["list"], f"{named} was signed under another list than the one in force")
            need(self.holds(head, asked["sequence"]), f"{named} was signed on another ledger")
            lists = [people for people, name, _ in self.lists if name == asked["list"]][-1:] + [self.lists[-1][0]]
        else:
            need(asked["sequence"] < self.bound, f"{named} names no list and no head, as none does since {BOUND}")
            lists = [people for people, _, _ in self.lists[-2 if self.lists[-1][2] > asked["time"] else -1 :]]
        own = (str(gate.get("gate")), entry["version"]) == (waiver.get("gate"), waiver.get("version"))
        need(own, f"{named} is for {waiver.get('gate')} of {waiver.get('version')}")
        others = signer.casefold() not in requesters(asked) | requesters(entry)
        need(others, f"{named} is signed by who asked for the candidate or wrote it")
        need(not over(waiver.get("expires"), asked["time"]), f"{named} expired on {waiver.get('expires')}")
        said = {key: waiver.get(key) for key in ("version", "reason", "who", "expires")}
        said |= {key: waiver[key] for key in ("list", "head") if waiver.get(key) is not None}
        said |= {"model": entry["model"], "waive": gate.get("gate")}
        keys = [who(people, "approver").get(signer, []) for people in lists]
        mine = [key for key in keys[0] if key in keys[-1]] if bound else sum(keys, [])
        holds = signed(mine, canonical(said), waiver.get("signature"), "assay")
        need(holds, f"{named} has no signature of an approver of that name")

    def holds(self, head: Any, number: int) -> bool:
        """Whether a head is an entry of this ledger before the one with a number."""
        before = typed(head, HEAD) and 0 < head["sequence"] < number
        return before and self.digest_of(head["sequence"]) == head["digest"]

    def digest_of(self, number: int) -> str | None:
        return self.digests.get(number)

    def tags(self) -> None:
        """Tags against the entries that count, both ways."""
        names = self.repository.names
        shown = sorted((n[10:] for n in names if n[:10] == "refs/tags/" and FACE.fullmatch(n[10:])), key=by_number)
        objects = self.repository.contents([names[f"refs/tags/{name}"] for name in shown])
        there = {name: tag_of(name, *found) for name, found in zip(shown, objects, strict=True)}
        free: dict[tuple[str, str], list[str]] = {}
        for name, (commit, _) in there.items():
            free.setdefault((name if "@" in name else name.rpartition("#")[0], commit), []).append(name)
        seen, tenures, newest = set[str](), dict[str, int](), dict[str, int]()
        for entry in (e for e in self.assigned if e["sequence"] not in self.refused):
            model, version = f"{entry['model']}#champion", f"{entry['model']}@{entry['version']}"
            tenures[model] = tenures.get(model, 0) + 1
            for start, name in [(version, version)][version in seen :] + [(model, f"{model}#{tenures[model]}")]:
                near = [n for n in free.get((start, entry["commit"]), []) if made(n, there[n][1], entry)]
                fitting = [n for n in near if by_number(n)[1] <= newest.get(start, 0) + FAR]
                named = f"of entry {entry['sequence']}"
                if not fitting:
                    why = "is missing or moved, and what serves stays as it is. Put it back with: assay ledger --mend"
                    self.tell(f"tag {name} {named} {why}")
                    continue
                free[start, entry["commit"]].remove(fitting[0])
                if start == model and by_number(fitting[0])[1] < newest.setdefault(model, 0):
                    self.tell(f"tag {fitting[0]} of entry {entry['sequence']} stands before tags of earlier entries")
                newest[start] = by_number(fitting[0])[1]
            seen.add(version)
        for name in sorted((n for rest in free.values() for n in rest), key=by_number):
            tell, (commit, lines) = self.tell, there[name]
            if not TAG.fullmatch(name):
                tell = self.found.notices.append
                why = "is none that Assay makes; it changes nothing. Remove it from the origin"
            elif any(e["commit"] == commit and made(name, lines, e) for e in self.assigned):
                why = "repeats another tag of its entry: it was not made by Assay, and changes nothing"
            elif not any(line.startswith("Evidence: ") for line in lines):
                why = "names no evidence: it was not made by Assay, and changes nothing"
            else:
                why = f"names an entry for commit {commit[:12]} that the ledger does not hold: entries were changed or "
                why += "cut off, or the tag was set past the ledger; it changes nothing"
            tell(f"tag {name} {why}")
        for name in (n for n in names if n.startswith("refs/replace/")):
            self.tell(f"{name} shows others another object than {name[13:25]}; it is not looked at here. Remove it")


def by_number(name: str) -> tuple[str, int, str]:
    return name.partition("#")[0], number_of(re.split("[#@]", name)[-1]), name


def requesters(e: Document) -> set[str]:
    authors = e["details"].get("authors", [])
    named = (e["actor"], e["details"].get("author", ""), *(authors if isinstance(authors, list) else ()))
    return {str(n).removesuffix(" (shared login)").casefold() for n in named}


def apart(time: str, moment: int) -> float:
    try:
        return abs(datetime.fromisoformat(time).timestamp() - moment)
    except ValueError:
        return 2 * CLOCK


def tag_of(name: str, kind: str, content: bytes) -> tuple[str, list[str]]:
    """The commit of a tag, and the lines of the last paragraph of its message; empty where it is no such tag."""
    head, _, text = content.decode(errors="replace").partition("\n\n")
    found = re.match(r"object ([0-9a-f]{40})\ntype commit\ntag (.*)\n", head + "\n") if kind == "tag" else None
    return (found[1], text.strip().split("\n\n")[-1].split("\n")) if found and found[2] == name else ("", [])


def made(name: str, lines: list[str], entry: Document) -> bool:
    """Whether an entry made a tag of its commit; tags of entries from before the first list name less."""
    fits = TAG.fullmatch(name) and ("@" not in name or entry["kind"] == "promoted")
    known, said = str(entry["digest"]), dict(line.split(": ", 1) for line in lines if ": " in line)
    full = [f"Evidence: {entry['evidence']}", f"Entry: {known}", f"Kind: {entry['kind']}"]
    old = said.get("Evidence") == entry["evidence"] and said.get("Entry", known) == known
    return bool(fits and (lines in (full, full[:2]) if entry["signed"] else old))


def check(path: Path, root: str = "", anchor: str = "") -> Found:
    with tempfile.TemporaryDirectory() as scratch:
        return Check(Repository(path, Path(scratch)), root).run(anchor)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check a ledger of Assay without Assay.")
    parser.add_argument("repository", type=Path, help="a clone of the origin: git clone --mirror")
    parser.add_argument("--root", default="", help="digest of the first list, as you were told it")
    parser.add_argument("--anchor", default="", help="a commit or an entry's digest as you noted it, or a timestamp")
    parser.add_argument("--tsa", type=Path, help="PEM file of the certificates that a timestamp is checked with")
    parser.add_argument("--json", action="store_true", help="all that was found, as one document")
    asked = parser.parse_args(words)
    root, anchor, moment, unproven = asked.root, asked.anchor, "", list[str]()
    try:
        try:
            anchor, moment = stamped(Path(anchor), asked.tsa) if asked.tsa else (anchor, "")
        except ValueError as error:
            anchor, unproven = "", [str(error)]
        for given in filter(None, (root, anchor)):
            if not re.fullmatch(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}", given) or (given == root and len(given) == 40):
                text = "is no digest (sha256: and 64 digits), nor for --anchor 40 of a commit or a token with --tsa"
                raise Unusable(f"{given} {text}")
        found = check(asked.repository, root, anchor)
    except (Unusable, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    missing = [] if found.tip else [f"there is no ledger: the branch {BRANCHES[0][11:]} is missing"]
    found.problems[:] = [*missing, *found.problems, *unproven]
    found.timestamp = f"{anchor} was there on {moment}" if moment else ""
    open_ends = [text for given, text in ((root, SELF), (anchor, TAIL)) if not given]
    open_ends += [LATER] if anchor and anchor not in (found.tip, found.head) else []
    if asked.json:
        print(json.dumps({"holds": not found.problems, **asdict(found), "not_excluded": open_ends}, indent=2))
    else:
        more, held = len(found.problems) - TOLD, "it holds" if root else "it is self-consistent only"
        serving = ", ".join(f"{name} {version}" for name, version in found.champions.items()) or "none"
        told = [
            *found.problems[:TOLD], *([f"... and {more} more"] if more > 0 else []),
            *(f"notice: {text}" for text in found.notices), *(f"not excluded: {text}" for text in open_ends),
            *([f"timestamp: {found.timestamp}"] if moment else []),
            f"{found.entries} entries to {found.head or 'none'}, commit {found.tip or 'none'}",
            f"first list (root): {found.root or 'none'}", f"champions: {serving}",
            "it does not hold" if found.problems else held,
        ]  # fmt: skip
        print("\n".join("".join(c if visible(c) else f"U+{ord(c):04X}" for c in t.replace("\n", " ")) for t in told))
    return 3 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
