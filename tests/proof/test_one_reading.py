"""Assay and the verifier read what people and examiners sign alike: whatever one refuses, the other does, too."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.proof.verify import ORDER, main
from tasks.records.registry import authority
from tasks.records.registry.state import state
from tasks.records.registry.verification import told
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.settings import Settings
from tests.keys import armored, as_fido, fido_line, key, public, reserved
from tests.proof import ledgers
from tests.proof.by_envelope import look_alikes
from tests.proof.by_verdict import listed, promoted
from tests.proof.ledgers import LATER, Document, Ledger, files, following, mail
from tests.proof.test_forgeries import REFUSED

BEGIN, END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
KINDS = {"ed25519": (), "ecdsa": ("-b", "384"), "rsa": ("-b", "2048")}


@dataclass
class Chain:
    """Entries after those of a ledger, each signed by its examiner, and which of them are as they should be."""

    made: Ledger
    entries: list[Document] = field(default_factory=list)
    commits: list[ledgers.Commit] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)

    @property
    def last(self) -> Document:
        return self.entries[-1] if self.entries else self.made.entries[-1]

    def add(self, name: str, entry: Document, evidence: Document | None = None, good: bool = False) -> None:
        self.entries.append(entry)
        self.commits.append(files(self.made, entry, evidence))
        self.names[entry["sequence"]] = name
        if good:
            self.good.add(name)


@pytest.fixture(scope="module")
def keys(honest: Ledger) -> dict[str, str]:
    """Lines of the list for more keys of Kim's, by name; a certificate of one, and lines that are none."""
    folder, found = honest.folder, {}
    for kind, more in KINDS.items():
        path = folder / f"kim-{kind}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-f", str(path)], check=True)
        found[f"kim-{kind}"] = public(path)
    for name in ("ca", "certified", "mistyped", "dangling"):
        key(folder, name)
    words = ("-s", str(folder / "ca"), "-I", "kim", "-n", "kim", str(folder / "certified.pub"))
    subprocess.run(["ssh-keygen", "-q", *words], check=True)
    found["certified"] = " ".join((folder / "certified-cert.pub").read_text().split()[:2])
    found["mistyped"] = f"ssh-rsa {public(folder / 'mistyped').split()[1]}"
    found["dangling"] = public(folder / "dangling") + "="
    words = ("-s", str(folder / "ca"), "-I", "kim", "-n", "kim", str(folder / "kim-ed25519.pub"))
    subprocess.run(["ssh-keygen", "-q", *words], check=True)
    found["software"] = fido_line()
    return found


def spellings(armor: str) -> dict[str, str]:
    """The same signature, otherwise written: what editors, formatters and other readers make of it."""
    body = "".join(armor.split("\n")[1:-2])
    chance = random.Random(7)
    found = {
        "crlf": armor.replace("\n", "\r\n"),
        "blanks for line ends": armor.replace("\n", " ").strip(),
        "one line of base64": f"{BEGIN}\n{body}\n{END}\n",
        "76 columns": "\n".join([BEGIN, *(body[i : i + 76] for i in range(0, len(body), 76)), END, ""]),
        "blank behind the head": armor.replace(f"{BEGIN}\n", f"{BEGIN} "),
        "blank before the end": armor.replace(f"\n{END}", f" {END}"),
        "more padding": armor.replace(f"\n{END}", f"====\n{END}"),
        "padding inside": f"{BEGIN}\n{body[:40]}=={body[40:]}\n{END}\n",
        "indented": armor.replace("\n", "\n  ").rstrip() + "\n",
        "lines before": f"\n{armor}",
        "text behind": f"{armor}x\n",
        "empty": "",
        "no base64": f"{BEGIN}\n{END}\n",
        "twice": armor * 2,
        "long": armor + "\n" * 20_000,
        "urlsafe": armor.replace("+", "-").replace("/", "_") if set("+/") & set(body) else "-",
    }
    for blank in "\t\v\f\x1c\x85\xa0\u2028\u200b":
        found[f"U+{ord(blank):04X} inside"] = f"{BEGIN}\n{body[:70]}{blank}{body[70:]}\n{END}\n"
    for number in range(24):
        at, one = chance.randrange(len(armor)), chance.choice("\n\r \t=-Aa0/+\x00é")
        changed = armor[:at] + one + armor[at + chance.randrange(2) :]
        if changed.rstrip("\n") != armor.rstrip("\n"):
            found[f"random {number}"] = changed
    return found


def stops(chain: Chain, keys: dict[str, str], now: str) -> None:
    """Stops of what serves, each by an order that was signed, or written, in another way."""
    made = chain.made
    right = authority.order(state(made.settings), "stop", "income", "v3.0.0", mail("kim"), "b", LATER) | {"list": now}

    def stop(name: str, armor: str, good: bool = False, said: Document = right) -> None:
        details = {"because": "b", "warrant": {"statement": said, "armor": armor}}
        chain.add(name, following(made, chain.last, kind="stopped", version="v3.0.0", details=details), None, good)

    for name in keys.keys() - {"software"}:
        path = made.folder / name
        armor = signatures.sign(right, path)
        stop(name, armor, name.startswith("kim-"))
        if name.startswith("kim-"):
            stop(f"{name}: no line end", armor.rstrip("\n"), True)
            stop(f"{name}: more line ends", armor + "\n\n", True)
            for how, text in spellings(armor).items():
                stop(f"{name}: {how}", text)
    for name in ("kim-ed25519", "kim-rsa"):
        stop(f"{name}: reserved", reserved(signatures.sign(right, made.folder / name)))
    stop("by a FIDO key", as_fido(right), True)
    stop("by a FIDO key whose counter was changed", as_fido(right, b"\x01\0\0\0\x06"))
    stop("by a FIDO key, cut", as_fido(right, b""))
    kim = made.folder / "kim-ed25519"
    stop("by a certificate", signatures.sign(right, made.folder / "kim-ed25519-cert.pub"))
    stop("other namespace", signatures.sign(right, kim, signatures.ENTRY))
    raw = signatures.as_written(signatures.sign(right, kim))
    scalar = int.from_bytes(raw[-32:], "little") + ORDER
    stop("malleated", armored(raw[:-32] + scalar.to_bytes(32, "little")))
    for at in (6, 9, 13, 20, 40, 70, 80, 90, len(raw) - 70, len(raw) - 1):
        stop(f"byte {at}", armored(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]))
    for digest in ("sha256", "sha512"):
        words = ("-Y", "sign", "-q", "-n", "assay", "-O", f"hashalg={digest}", "-f", str(made.folder / "kim-rsa"))
        done = subprocess.run(["ssh-keygen", *words], input=canonical_json(right), capture_output=True, check=True)
        stop(digest, done.stdout.decode(), True)
    for name, change in STATEMENTS.items():
        said = {key: value for key, value in (right | change).items() if value is not ...}
        stop(name, signatures.sign(said, kim), name.startswith("fine"), said)
    for details in ({}, {"because": "b"}, {"because": "b", "warrant": None}):
        sentence = "v3.0.0 was taken out of service: b"
        entry = following(made, chain.last, kind="stopped", version="v3.0.0", details=details, sentence=sentence)
        chain.add(f"details {details}", entry)


STATEMENTS: dict[str, Document] = {
    "fine expires in another spelling": {"expires": "29990101"},
    "fine expires by week": {"expires": "2999-W01-1"},
    "expires loosely": {"expires": "2999-1-1"},
    "expires in other digits": {"expires": "٢٩٩٩-01-01"},
    "fine expires as a number": {"expires": 29990101},
    "expires with an hour": {"expires": "2999-01-01T00:00"},
    "expires true": {"expires": True},
    "no expires": {"expires": None},
    "tenure as a fraction": {"tenure": 4.0},
    "tenure as text": {"tenure": "4"},
    "tenure true": {"tenure": True},
    "more keys": {"tenant": 1},
    "fewer keys": {"from": ...},
    "null for a version": {"version": None},
    "signer in capitals": {"signer": mail("KIM")},
    "signer with a blank": {"signer": mail("kim") + " "},
    "signer null": {"signer": None},
    "verb in capitals": {"statement": "Stop"},
    "fine because is a list": {"because": ["b"]},
}


def approvals(chain: Chain, now: str) -> None:
    """Approvals of a candidate that waits, on heads that only look like one."""
    made = chain.made
    evidence = ledgers.verdict(made.folder, "care", made.spare, "v1.0.0", "v2.0.0")
    waits = following(made, chain.last, kind="awaiting_signature", model="care", commit=made.spare,
                      evidence=digest_json(evidence), details={"author": mail("eve")})  # fmt: skip
    chain.add("waits", waits, evidence, True)
    number, name = waits["sequence"], digest_json(waits)
    heads: list[Any] = [
        {"sequence": str(number), "digest": name}, {"sequence": float(number), "digest": name},
        {"sequence": number, "digest": name, "more": 1}, {"sequence": number}, {"sequence": True, "digest": name},
        {"sequence": number, "digest": [name]}, {"sequence": f" {number} ", "digest": name}, [number, name], None,
        {"sequence": number, "digest": name.upper()}, {"sequence": -number, "digest": name}, str(number),
        {"sequence": number + 0.5, "digest": name}, {"sequence": 10**30, "digest": name},
    ]  # fmt: skip
    for head in heads:
        said = {"statement": "approve", "model": "care", "commit": made.spare, "evidence": digest_json(evidence),
                "list": now, "head": head, "expires": LATER, "signer": mail("cy"), "because": "b"}  # fmt: skip
        warrant = {"statement": said, "armor": signatures.sign(said, made.folder / "cy")}
        entry = promoted(made, chain.last, model="care", version="v2.0.0", evidence=digest_json(evidence),
                         details={"previous": "v1.0.0", "warrant": warrant})  # fmt: skip
        chain.add(f"head {head}", entry, evidence)


def waivers(chain: Chain, now: str) -> None:
    """Promotions on waivers that were signed or written otherwise."""
    made, last = chain.made, chain.last
    there = {"list": now, "head": {"sequence": last["sequence"], "digest": digest_json(last)}}

    def promotion(name: str, change: Callable[[Document], None]) -> None:
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", "v4.0.0", there, by="ann")
        change(evidence["verdict"]["gates"][0])
        entry = promoted(made, chain.last, evidence=digest_json(evidence), actor="dana")
        chain.add(f"waiver {name}", entry, evidence)

    def said(**change: Any) -> Callable[[Document], None]:
        def sign(gate: Document) -> None:
            gate["waiver"] |= change
            gate["gate"] = change.get("gate", gate["gate"])
            words = {key: gate["waiver"][key] for key in ("version", "reason", "who", "expires", "list", "head")}
            words |= {"waive": gate["gate"], "model": "income"}
            gate["waiver"]["signature"] = signatures.sign(words, made.folder / "ann")

        return sign

    armor: list[str] = []
    promotion(
        "that reads the armor", lambda gate: (armor.append(gate["waiver"]["signature"]), gate.update(gate="x"))[1]
    )
    for how, text in spellings(armor[0]).items():
        if "random" not in how:
            promotion(how, lambda gate, text=text: gate["waiver"].update(signature=text))  # type: ignore[misc]
    for name, change in {
        "gate is a number": {"gate": 5}, "gate is null": {"gate": None}, "expires loosely": {"expires": "2999-1-1"},
        "head as text": {"head": {**there["head"], "sequence": str(last["sequence"])}},
        "head as a fraction": {"head": {**there["head"], "sequence": float(last["sequence"])}},
        "who is a list": {"who": [mail("ann")]}, "version null": {"version": None},
    }.items():  # fmt: skip
        promotion(name, said(**change))
    for value in (5, [], {}, [armor], True, None):
        promotion(f"signature {value}", lambda gate, value=value: gate["waiver"].update(signature=value))  # type: ignore[misc]
    for sentence in ("became champion: v4.0.0, after v3.0.0", "x"):
        evidence = ledgers.verdict(made.folder, "income", made.spare, "v3.0.0", "v4.0.0")
        entry = promoted(made, chain.last, evidence=digest_json(evidence), sentence=sentence)
        entry = following(made, chain.last, **{k: v for k, v in entry.items() if k not in CHAINED} | {"details": {}})
        chain.add(f"its sentence alone: {sentence}", entry, evidence)


def envelopes(chain: Chain, now: str) -> None:
    """Promotions inside envelopes that look like one that holds, and then inside one that does."""
    made, last = chain.made, chain.last
    there = {"list": now, "head": {"sequence": last["sequence"], "digest": digest_json(last)}}
    right = {"after": {"authors": mail("ann"), "checks": [{"state": "pass"}, "x"]}}
    for name, how in (*look_alikes(there), ("that holds", right)):
        at, how = there | how.get("at", {}), {key: value for key, value in how.items() if key != "at"}
        evidence = ledgers.enveloped(made.folder, made.spare, at, **how)
        entry = promoted(made, chain.last, evidence=digest_json(evidence), actor="assay", reason="retrain")
        chain.add(f"envelope {name}", entry, evidence, how == right)


CHAINED = ("sequence", "previous", "time", "signature")


def lists(chain: Chain, policy: Document) -> None:
    """Next lists that look like one that holds."""
    made, right = chain.made, {"ann": "ann", "cy": "cy"}
    new = {**policy, "counter": policy["counter"] + 1, "previous": digest_json(policy)}

    def brought(name: str, change: Callable[[Document], Any] = lambda _: None, **fields: Any) -> None:
        document = {**new, **fields}
        armors = [
            {"signer": mail(who), "armor": signatures.sign(document, made.folder / path, signatures.POLICY)}
            for who, path in right.items()
        ]
        evidence: Document = {"policy": document, "signatures": armors, "adopts": None}
        details = {"policy": digest_json(document), "counter": document["counter"]}
        made_of = change(evidence)
        entry = following(made, chain.last, kind="policy", model="", evidence=digest_json(evidence),
                          details=made_of if isinstance(made_of, dict) else details)  # fmt: skip
        chain.add(f"list {name}", entry, evidence)

    for how, text in spellings(signatures.sign(new, made.folder / "ann", signatures.POLICY)).items():
        if "random" not in how:
            brought(how, lambda e, text=text: e["signatures"][0].update(armor=text))  # type: ignore[misc]
    for value in (None, {}, [], ["x"], 5, [5, None], {"signer": mail("ann")}, [{"signer": [mail("ann")], "armor": 1}]):
        brought(f"signatures {value}", lambda e, value=value: e.update(signatures=value) or None)  # type: ignore[misc]
    brought("signer in capitals", lambda e: e["signatures"][0].update(signer=mail("ANN")))
    brought("one signer twice", lambda e: e["signatures"].__setitem__(0, e["signatures"][1]))
    counter = new["counter"]
    brought("counter as a fraction", counter=float(counter))
    brought("details with a fraction", lambda e: {"policy": digest_json(e["policy"]), "counter": float(counter)})
    brought("details with text", lambda e: {"policy": digest_json(e["policy"]), "counter": str(counter)})
    for name, value in {"format": True, "counter": str(counter), "threshold": 1.0, "more": 1}.items():
        brought(f"{name} {value}", **{name: value})
    for name in ("-ann", " ann", "ann ", "a" * 101, "", "a\u200bnn", "ann\n", 5):
        person = {"name": name, "roles": ["auditor"], "keys": [public(made.folder / "mallory")]}
        brought(f"person {name!r}", people=[*new["people"], person])
    for line in ("ssh-ed25519", "ssh-ed25519  AAAA", "ssh-ed25519 AAAA\n", "ssh-ed25519 AÄAA", "SSH-RSA AAAA", 5):
        person = {"name": "eve", "roles": ["auditor"], "keys": [line]}
        brought(f"key {line!r}", people=[*new["people"], person])
    for roles in ([], ["Approver"], "approver", [5], None):
        person = {"name": "eve", "roles": roles, "keys": [public(made.folder / "mallory")]}
        brought(f"roles {roles}", people=[*new["people"], person])


def monitored(chain: Chain) -> None:
    """A feed that is silent, with the sentence that once decided; then a rollback that nobody ordered."""
    made = chain.made
    entry = following(made, chain.last, kind="monitored", version="v3.0.0", sentence="window 9: roll back; drift",
                      details={"subject": "feed", "silent": ["x"]})  # fmt: skip
    chain.add("feed", entry, None, True)
    entry = following(made, chain.last, kind="rolled_back", version="v1.0.0", details={"previous": "v3.0.0"},
                      commit=made.of("promoted", at=0)["commit"])  # fmt: skip
    chain.add("rollback after a feed", entry)


def test_both_readers_refuse_the_same(
    honest: Ledger, keys: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All in one ledger: what does not count changes nothing for what comes after it."""
    chain = Chain(honest)
    people = [p if p["name"] != mail("kim") else {**p, "keys": [*p["keys"], *keys.values()]} for p in listed(honest)]
    taken, evidence = ledgers.policy(honest, {"ann": "ann", "bo": "bo-new", "cy": "cy"}, people=people)
    chain.add("the list", taken, evidence, True)
    stops(chain, keys, taken["details"]["policy"])
    approvals(chain, taken["details"]["policy"])
    waivers(chain, taken["details"]["policy"])
    lists(chain, evidence["policy"])
    monitored(chain)
    envelopes(chain, taken["details"]["policy"])
    repository = ledgers.copy(honest, tmp_path / "other.git")
    ledgers.write(repository, honest.commits[-1], chain.commits)
    theirs, champions = verified(repository, honest, capsys)
    ours, served = read(repository, honest)
    everything = set(chain.names.values())
    assert everything - {chain.names[n] for n in theirs} == chain.good
    assert {chain.names[n] for n in ours ^ theirs} == set() and served == champions
    assert len(everything) == len(chain.entries) >= 250


def verified(repository: Path, made: Ledger, capsys: pytest.CaptureFixture[str]) -> tuple[set[int], Document]:
    main([str(repository), "--json", "--root", made.root])
    found = json.loads(capsys.readouterr().out)
    others = [p for p in found["problems"] if not REFUSED.match(p) and not p.startswith("tag income")]
    assert others == []
    return {int(m[1]) for p in found["problems"] if (m := REFUSED.match(p))}, found["champions"]


def read(repository: Path, made: Ledger) -> tuple[set[int], Document]:
    now, problems = told(Settings(home=repository.with_suffix(".home"), origin=str(repository), root=made.root))
    served = {model: held.champion for model, held in sorted(now.models.items()) if held.champion}
    return {int(m[1]) for p in problems if (m := REFUSED.match(p))}, served


def unreadable() -> Iterator[tuple[str, Callable[[Document], bytes]]]:
    """Entries that are none, by name."""

    def changed(**change: Any) -> Callable[[Document], bytes]:
        return lambda entry: canonical_json({**entry, **change})

    yield "no parts of a signature", changed(signature={})
    yield "a null signature", changed(signature=None)
    yield "an empty warrant", changed(kind="stopped", details={"because": "b", "warrant": {}})
    said = {"statement": {"because": "a\nb"}, "armor": "x"}
    yield "two lines in a warrant", changed(kind="stopped", details={"because": "b", "warrant": said})
    yield "a true number", changed(sequence=True)
    yield "a fraction", changed(sequence=15.0)
    yield "two values of a key", lambda entry: canonical_json(entry)[:-1] + b',"version":null}'
    yield "beyond numbers", lambda entry: canonical_json({**entry, "details": {"x": 7}}).replace(b":7}", b":1e999}")
    yield "half a character", lambda entry: canonical_json(entry).replace(b'"x"', b'"\\ud800"')
    yield "an escape", lambda entry: canonical_json(entry).replace(b'"x"', b'"\\u0078"')
    yield "no UTF-8", lambda entry: canonical_json(entry).replace(b'"x"', b'"\xff"')


@pytest.mark.parametrize(("name", "make"), [pytest.param(n, m, id=n) for n, m in unreadable()])
def test_both_readers_stop_at_what_is_no_entry(
    honest: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, make: Callable[[Document], bytes]
) -> None:
    entry = following(honest)
    repository = ledgers.copy(honest, tmp_path / "other.git")
    ledgers.write(repository, honest.commits[-1], [{"entry.json": make(entry), "evidence.json": None}])
    assert main([str(repository), "--json", "--root", honest.root]) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    settings = Settings(home=repository.with_suffix(".home"), origin=str(repository), root=honest.root)
    problems = told(settings)[1]
    assert "cannot be read as an entry" in problem
    assert any("of the ledger cannot be read as an entry" in said for said in problems)
