"""Which entries count, by the rules of docs/ledger.md: whoever writes one and whoever reads it ask here."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from tasks.records.registry import verdicts
from tasks.records.registry.verdicts import Listed, Waits
from tasks.records.registry.waivers import BOUND
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import AssayError, CorruptionError
from tasks.spec.ledger import (
    AssignedDetails,
    AwaitingDetails,
    Entry,
    Policy,
    PolicyDetails,
    Role,
    StoppedDetails,
    Warrant,
    WindowDetails,
)
from tasks.spec.line import one_line, person
from tasks.spec.waivers import is_head, is_over

AUTOMATIC = {"rolled_back": "roll_back", "stopped": "stop"}
"""What monitoring must have decided for an entry that no person ordered."""
VERBS = {"promoted": "promote", "rolled_back": "roll_back", "stopped": "stop"}


class Registered(BaseModel):
    commit: str
    registered: str
    evidence: str | None


class ModelState(BaseModel):
    """What the entries that count say of one model."""

    versions: dict[str, Registered] = {}
    tenures: list[tuple[str, str]] = []
    """Version and kind of every assignment, oldest first."""
    stopped: str = ""
    height: int = 0
    """Sequence of the entry that decided what serves; ``entry`` is its digest."""
    entry: str = ""
    waiting: dict[str, Waits] = {}
    """By commit."""
    decided: list[str] = []
    """What monitoring decided about the present champion."""

    @property
    def highest(self) -> int:
        """The greatest version number that was ever given."""
        return max((number_of(tag) for tag in self.versions), default=0)

    @property
    def champion(self) -> str | None:
        return self.tenures[-1][0] if self.tenures else None


class State(BaseModel):
    """What the entries up to ``sequence`` say; a clone keeps it, and reads on from there."""

    form: int = 4
    tip: str = ""
    """The newest commit that was read; where the chain breaks, the newest before that."""
    sequence: int = 0
    digest: str | None = None
    newest: str = ""
    """When the newest entry was written."""
    bound: int = 0
    """Sequence of the first entry since waivers are bound to a list and a ledger; 0 before there is one."""
    root: str = ""
    """Fingerprint of the first list."""
    lists: list[Listed] = []
    """Oldest first; the last is in force."""
    models: dict[str, ModelState] = {}
    refused: dict[int, str] = {}
    """Why entries do not count, by sequence."""
    problems: list[str] = Field(default_factory=list)
    """Why the chain could not be read to its end, in a sentence; what the clone remembers, too."""
    remembered: list[str] = []
    """What contradicts that which this clone knows: the newest tip that it saw, and the first list that it was told."""
    unproven: str = ""
    """Why nothing of it may be believed; no model is proven then."""

    @property
    def policy(self) -> Policy | None:
        """The list in force; None before the first."""
        return self.lists[-1].policy if self.lists else None

    @property
    def policy_digest(self) -> str:
        return self.lists[-1].digest if self.lists else ""

    def of(self, model: str) -> ModelState:
        return self.models.get(model) or ModelState()


class Source(Protocol):
    """What the rules look up in the branch."""

    def evidence(self, digest: str) -> dict[str, Any]: ...

    def digest_of(self, sequence: int) -> str | None:
        """Digest of the entry at a place; None where there is none."""


def refusal(state: State, entry: Entry, source: Source, root: str = "") -> str:
    """Why an entry does not count after those that a state is made of; empty where it does.

    Args:
        root: the fingerprint of the first list that somebody was told; a new root of it holds.
    """
    if entry.kind == "policy":
        return _policy_refusal(state, entry, source, root)
    if state.policy is None:
        return ""  # the root vouches for what was written before it
    why = _unsigned(state.policy, entry) or _unseemly(entry)
    if why or entry.kind not in VERBS:
        return why
    return _misplaced(state.of(entry.model), entry) or _unwarranted(state, entry, source)


def apply(state: State, entry: Entry, source: Source) -> None:
    """Take an entry that counts into the state."""
    if isinstance(entry.read, PolicyDetails):
        document = source.evidence(str(entry.evidence))
        policy = Policy.model_validate(document["policy"], strict=False)
        state.lists.append(Listed(policy=policy, digest=entry.read.policy, time=entry.time))
        if policy.previous is None:
            state.root = entry.read.policy
        return
    model = state.models.setdefault(entry.model, ModelState())
    if entry.kind == "awaiting_signature" and entry.commit and entry.evidence:
        model.waiting[entry.commit] = _waits(state, entry)
    elif isinstance(entry.read, WindowDetails):
        if entry.version == model.champion and entry.read.action not in model.decided:
            model.decided.append(entry.read.action)
    elif entry.kind == "stopped":
        model.stopped, model.height, model.entry = entry.sentence, entry.sequence, entry.digest()
    elif entry.kind in ("promoted", "rolled_back") and entry.version and entry.commit:
        model.versions.setdefault(
            entry.version, Registered(commit=entry.commit, registered=entry.time, evidence=entry.evidence)
        )
        model.tenures.append((entry.version, entry.kind))
        model.waiting.pop(entry.commit, None)
        model.stopped, model.decided, model.height, model.entry = "", [], entry.sequence, entry.digest()


def reached(state: State, entry: Entry) -> None:
    """Take the place of an entry into the state, whether it counts or not."""
    state.sequence, state.digest, state.newest = entry.sequence, entry.digest(), entry.time
    if not state.bound and entry.time >= BOUND:
        state.bound = entry.sequence


def adopted(state: State) -> dict[str, Any]:
    """What a first list vouches for: the entry before it, and the champion of each model there."""
    champions = {name: model.champion for name, model in sorted(state.models.items()) if model.champion}
    return {"sequence": state.sequence, "digest": state.digest, "champions": champions}


def number_of(version: str | None) -> int:
    """12 of ``v12.0.0``; 0 of what is no version."""
    head = (version or "").removeprefix("v").split(".")[0]
    return int(head) if head.isascii() and head.isdecimal() and len(head) < 10 else 0


def policy_signatures_missing(old: Policy, new: Policy, signed: list[dict[str, Any]]) -> str:
    """Whose signatures a list still needs; empty where those of both lists' thresholds are there."""
    document = new.model_dump(mode="json")
    for name, policy in (("the list before", old), ("the new list", new)):
        found = {
            p.name
            for p in policy.voters
            for s in signed
            if s.get("signer") == p.name and signatures.holds(document, str(s.get("armor")), p.keys, signatures.POLICY)
        }
        if len(found) < policy.threshold:
            names = ", ".join(p.name for p in policy.voters)
            return f"{name} asks for {policy.threshold} of {names} to sign it, and {len(found)} did"
    return ""


def approval(state: State, model: str, commit: str, signer: str, because: str, expires: str) -> dict[str, Any]:
    """What an approver puts the name to: this candidate, on this evidence, by this list, until then."""
    return {
        "statement": "approve",
        "model": model,
        "commit": commit,
        "evidence": state.of(model).waiting[commit].evidence,
        "list": state.policy_digest,
        "head": {"sequence": state.sequence, "digest": state.digest},
        "expires": expires,
        "signer": signer,
        "because": because,
    }


def order(state: State, verb: str, model: str, version: str | None, signer: str, because: str, expires: str) -> Any:
    """What an operator puts the name to: this step of this model, now, and once."""
    now = state.of(model)
    return {
        "statement": verb,
        "model": model,
        "version": version,
        "from": now.champion,
        "tenure": len(now.tenures),
        "list": state.policy_digest,
        "expires": expires,
        "signer": signer,
        "because": because,
    }


def _unsigned(policy: Policy, entry: Entry) -> str:
    keys = tuple(k for p in policy.who("examiner") for k in p.keys)
    if entry.signature is None:
        return "no examiner signed it"
    if not signatures.holds(entry.signed(), entry.signature.armor, keys, signatures.ENTRY):
        return f"it is not signed by an examiner of the list in force (it names {entry.signature.key})"
    return ""


def _unseemly(entry: Entry) -> str:
    try:
        for text in (entry.actor, entry.reason, entry.sentence):
            one_line(text)
    except ValueError:
        return "it holds text that is not one line of visible text"
    return ""


def _policy_refusal(state: State, entry: Entry, source: Source, root: str) -> str:
    try:
        document = source.evidence(str(entry.evidence))
        new = Policy.model_validate(document["policy"], strict=False)
        if canonical_json(new.model_dump(mode="json")) != canonical_json(document["policy"]):
            return "its evidence holds no list"
    except (AssayError, KeyError, TypeError, ValidationError):
        return "its evidence holds no list"
    digest = digest_json(new.model_dump(mode="json"))
    if canonical_json(entry.details) != canonical_json({"policy": digest, "counter": new.counter}):
        return "it names another list than its evidence holds"
    if new.counter == 1 and new.previous is None and (state.policy is None or root == digest != state.root):
        if document.get("adopts") not in (None, adopted(state)):
            return "it adopts another ledger than the one before it"
        return _unsigned(new, entry) or _unseemly(entry)
    if state.policy is None:
        return "it is no first list, and none is in force"
    if (new.counter, new.previous) != (state.policy.counter + 1, state.policy_digest):
        return f"it does not follow the list in force, which has counter {state.policy.counter}"
    given = document.get("signatures")
    signed = [s for s in given if isinstance(s, dict)] if isinstance(given, list) else []
    missing = policy_signatures_missing(state.policy, new, signed)
    if missing or (_unsigned(state.policy, entry) and (why := _unsigned(new, entry))):  # the old key may be lost
        return missing or why
    return _unseemly(entry)


def _misplaced(model: ModelState, entry: Entry) -> str:
    """Whether it fits the versions and the champion before it."""
    if entry.kind == "stopped":
        return "" if entry.version == model.champion else f"the champion is {model.champion or 'none'}"
    known = model.versions.get(str(entry.version))
    if not entry.details or not isinstance(entry.read, AssignedDetails) or not entry.version or not entry.commit:
        return "it names no version and commit"
    if entry.read.previous != model.champion:
        return f"it was made after {entry.read.previous or 'none'}, and the champion is {model.champion or 'none'}"
    if known is not None:
        return "" if known.commit == entry.commit else f"{entry.version} is another commit"
    if entry.kind == "rolled_back":
        return f"there is no version {entry.version} to go back to"
    used = next((tag for tag, v in model.versions.items() if v.commit == entry.commit), "")
    if used:
        return f"its commit is {used} already"
    return "" if number_of(entry.version) > model.highest else f"the number of {entry.version} was used before"


def _unwarranted(state: State, entry: Entry, source: Source) -> str:
    assert state.policy is not None
    model, details = state.of(entry.model), entry.read if entry.details else None
    warrant = details.warrant if isinstance(details, AssignedDetails | StoppedDetails) else None
    if entry.kind == "promoted" and entry.version not in model.versions:
        waits = model.waiting.get(str(entry.commit))
        why = _approval_refusal(state, entry, waits, warrant, source) if waits else ""
        return why or _verdict_refusal(state, entry, waits, source)
    if not state.policy.orders_are_signed:
        return ""
    if warrant is None:
        if entry.kind in AUTOMATIC and AUTOMATIC[entry.kind] in model.decided:
            return ""
        names = ", ".join(p.name for p in state.policy.who("approver", "operator"))
        return f"nobody who may order it signed it ({names})"
    wanted = order(state, VERBS[entry.kind], entry.model, entry.version, "", "", "")
    return _warrant_refusal(state.policy, entry, warrant, wanted, ("approver", "operator"))


def _approval_refusal(state: State, entry: Entry, waits: Waits, warrant: Warrant | None, source: Source) -> str:
    assert state.policy is not None
    if warrant is None:
        return "its commit waits for an approver's signature, and it carries none"
    if warrant.signer.casefold() in {person(r).casefold() for r in waits.requesters}:
        return f"{warrant.signer} asked for it or wrote it, and nobody signs for themselves"
    head: Any = warrant.statement.get("head")
    if not is_head(head):
        return "its approval names no head of the ledger"
    sequence = head["sequence"]
    if not waits.sequence <= sequence < entry.sequence or source.digest_of(sequence) != head["digest"]:
        return "its approval was signed on another ledger"
    if entry.evidence != waits.evidence:
        return "its evidence is not what waited for a signature"
    wanted = approval(state, entry.model, str(entry.commit), "", "", "") | {"head": head}
    return _warrant_refusal(state.policy, entry, warrant, wanted, ("approver",))


def _verdict_refusal(state: State, entry: Entry, waits: Waits | None, source: Source) -> str:
    asked = waits or _waits(state, entry)
    try:
        evidence = source.evidence(str(entry.evidence))
    except CorruptionError:
        evidence = {}
    return verdicts.refusal(entry, evidence, asked, state.lists, source.digest_of, state.bound)


def _waits(state: State, entry: Entry) -> Waits:
    """What is known of a candidate from the entry that first brings its verdict."""
    author = (entry.read.author, *entry.read.authors) if isinstance(entry.read, AwaitingDetails) else ()
    return Waits(
        sequence=entry.sequence, evidence=str(entry.evidence), requesters=(entry.actor, *author), time=entry.time,
        list=state.policy_digest,
    )  # fmt: skip


def _warrant_refusal(
    policy: Policy, entry: Entry, warrant: Warrant, wanted: dict[str, Any], roles: tuple[Role, ...]
) -> str:
    """Whether a statement says what is wanted, is not over, and is signed by somebody of the roles."""
    said = warrant.statement
    for key in ("signer", "because", "expires"):
        wanted = wanted | {key: said.get(key)}
    for key in sorted(set(said) | set(wanted)):
        if key in said and key in wanted and canonical_json([said[key]]) == canonical_json([wanted[key]]):
            continue  # to Python 1, 1.0 and True are one, and to who signs they are three
        return (
            f"what {warrant.signer} signed says {key} {said.get(key)!r}, and {wanted.get(key)!r} holds now; sign again"
        )
    if is_over(said["expires"], verdicts.day_of(entry.time)):
        return f"what {warrant.signer} signed expired on {said['expires']}; sign again"
    people = {p.name: p for p in policy.who(*roles)}
    person = people.get(warrant.signer)
    if why := signatures.unreadable(warrant.armor):
        return why
    if person is None or not signatures.holds(said, warrant.armor, person.keys):
        return (
            f"the signature is not {warrant.signer or 'nobody'}'s over exactly this statement. Who may sign: "
            f"{', '.join(people) or 'nobody yet; add somebody with assay policy'}"
        )
    return ""
