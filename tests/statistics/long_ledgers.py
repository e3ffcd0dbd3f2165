"""Origins with long ledgers, written by git's fast import in the forms that the registry itself writes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.records.registry import keys, ledger, tags
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.settled import CANDIDATES, gather
from tasks.records.registry.state import state
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.ledger import AssignedDetails, Details, Entry, EntryKind, Policy, RejectedDetails, TrainedDetails
from tasks.spec.ledger import WindowDetails as Window
from tasks.spec.models import model_names
from tasks.spec.settings import ROOT, Settings
from tests.proof.ledgers import verdict

FIRST, BLOCK = 20, 100
"""Entries of one training: its windows, itself, and what became of it; the first are short, one for each model."""
SIGNED = 50
"""One entry in so many comes after the first list, and is signed."""
MODELS = model_names(ROOT)
WINDOW: dict[str, Any] = {"columns": {f"column {n}": {"drift": n / 64, "p": 1 / (n + 1)} for n in range(64)}}
"""Evidence of a window beside its number: 3 kB."""


@dataclass
class Chain:
    """Entries in their order, with what the next one needs to know."""

    candidates: list[str]
    """Commits, one for each training."""
    begun: datetime
    sequence: int = 0
    previous: str | None = None
    champions: dict[str, str] = field(default_factory=dict)
    tenures: dict[str, int] = field(default_factory=dict)
    trainings: bool = True
    """Whether there are more than the first ones."""
    models: list[str] = field(default_factory=lambda: MODELS)

    def next(self, settings: Settings | None, policy: Policy | None) -> tuple[Entry, dict[str, Any]]:
        """The next entry and its evidence; signed where there is a list."""
        first = self.sequence < BLOCK
        block, left = divmod(self.sequence - (0 if first else BLOCK), FIRST if first else BLOCK)
        left = FIRST - 1 - left if first else BLOCK - 1 - left if self.trainings else BLOCK
        promoted = block < len(self.models) if first else block % 2
        model = self.models[(block if first else block // 2) % len(self.models)]
        commit = self.candidates[block if first else block + BLOCK // FIRST if self.trainings else 0]
        champion = self.champions.get(model)
        kind: EntryKind = "monitored"
        details: Details = Window(window=self.sequence, action="nothing")
        version: str | None = champion
        evidence = WINDOW | {"window": self.sequence}
        if left == 1:
            kind, details = "trained", TrainedDetails(base=commit, branch=f"assay/candidates/{model}/{block}")
            evidence = {"files": [model, block]}
        elif left == 0 and not promoted:
            kind, details = "rejected", RejectedDetails(trained=True, gates={"auc-floor": "fail"})
            evidence = verdict(Path(), model, commit, champion, "v1.0.0")
        elif left == 0:
            kind, details = "promoted", AssignedDetails(previous=champion)
            version = f"v{self.tenures.get(model, 0) + 1}.0.0"
            evidence = verdict(Path(), model, commit, champion, version)
            self.champions[model], self.tenures[model] = version, self.tenures.get(model, 0) + 1
        self.sequence += 1
        moment = datetime.now(UTC) if policy else self.begun + timedelta(minutes=self.sequence)
        entry = Entry(
            sequence=self.sequence, previous=self.previous, time=moment.isoformat(timespec="milliseconds"), kind=kind,
            model=model, version=version if kind in ("monitored", "promoted") else None, commit=commit,
            actor="schedule", reason="schedule", sentence=f"{kind}: {model}", evidence=digest_json(evidence),
            details=details.model_dump(mode="json"),
        )  # fmt: skip
        if settings is not None and policy is not None:
            entry = keys.signed(settings, entry, policy)
        self.previous = entry.digest()
        return entry, evidence


def long_ledger(folder: Path, count: int, trainings: bool = True) -> Settings:
    """A home and an origin whose ledger has so many entries, one in ``SIGNED`` of them signed, with their refs.

    Args:
        trainings: of all models time after time; without, they were trained once, and windows follow.
    """
    origin = folder / "origin.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch", "main", str(origin)], check=True)
    candidates = _candidates(origin, BLOCK // FIRST + (count // BLOCK if trainings else 0))
    chain = Chain(candidates, datetime.now(UTC) - timedelta(minutes=count), trainings=trainings)
    signed = count // SIGNED
    _write(origin, chain, count - signed - 1, None, None)
    settings = Settings(home=folder / "home", origin=str(origin))
    policy = ledger.begin(settings).policy
    chain.sequence, chain.previous = chain.sequence + 1, state(settings).digest
    _write(origin, chain, signed, settings, policy)
    while gather(settings):
        pass
    for command in (("repack", "-adq"), ("pack-refs", "--all")):
        subprocess.run(["git", "-C", str(origin), *command], check=True)
    return settings


def _candidates(origin: Path, count: int) -> list[str]:
    """Commits of so many trainings, each on a branch of its own after the main branch."""
    marks = origin / "marks"
    stream = [b"commit refs/heads/main\nmark :1\n" + _commit("first", 1_700_000_000)]
    for number in range(count):
        name = f"refs/heads/{CANDIDATES}/{MODELS[number % len(MODELS)]}/run-{number}"
        head = f"commit {name}\nmark :{number + 2}\n".encode()
        stream.append(head + _commit(f"candidate {number}", 1_700_000_000 + number) + b"from :1\n")
        stream.append(f"M 100644 inline model.txt\ndata {len(str(number))}\n{number}\n".encode())
    _import(origin, iter(stream), f"--export-marks={marks}")
    names = dict(line.split() for line in marks.read_text().splitlines())
    return [names[f":{number + 2}"] for number in range(count)]


def _write(origin: Path, chain: Chain, count: int, settings: Settings | None, policy: Policy | None) -> None:
    """Add so many entries to the branch, and the tags of promotions among them."""

    def stream() -> Iterator[bytes]:
        for place in range(count):
            entry, evidence = chain.next(settings, policy)
            moment = int(datetime.fromisoformat(entry.time).timestamp())
            yield f"commit refs/heads/{BRANCH}\n".encode()
            yield _commit(f"{entry.sequence}: {entry.model} {entry.kind}", moment)
            if place == 0 and policy is not None:
                yield f"from refs/heads/{BRANCH}^0\n".encode()
            for path, document in (("entry.json", entry.stored()), ("evidence.json", evidence)):
                content = canonical_json(document)
                yield f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
            if entry.kind == "promoted":
                text = tags.message(entry).encode()
                for name in (f"@{entry.version}", f"#{tags.CHAMPION}#{chain.tenures[entry.model]}"):
                    yield f"tag {entry.model}{name}\nfrom {entry.commit}\n".encode()
                    yield f"tagger Assay <assay@localhost> {moment} +0000\ndata {len(text)}\n".encode() + text

    _import(origin, stream())


def _commit(subject: str, moment: int) -> bytes:
    return f"committer Assay <assay@localhost> {moment} +0000\ndata {len(subject)}\n{subject}\n".encode()


def _import(origin: Path, stream: Iterator[bytes], *options: str) -> None:
    command = ["git", "-C", str(origin), "fast-import", "--quiet", *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.writelines(stream)
        process.stdin.close()
        if process.wait():
            raise RuntimeError(f"git fast-import ended with {process.returncode}")
