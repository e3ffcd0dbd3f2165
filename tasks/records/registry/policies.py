"""The list of who may sign what, as people change it: drafted, signed by whom it takes, and entered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.records.registry import keys, ledger
from tasks.records.registry.authority import State, policy_signatures_missing
from tasks.records.registry.state import state
from tasks.signing import signatures
from tasks.spec.base import canonical_json, digest_json, validate
from tasks.spec.errors import ConfigError, CorruptionError, PromotionRefused
from tasks.spec.ledger import Policy
from tasks.spec.settings import Settings


def shown(settings: Settings) -> dict[str, Any]:
    """The list in force, and the fingerprint of the first one.

    Raises:
        CorruptionError: it is none that this home may believe.
    """
    now = state(settings)
    if now.unproven:
        raise CorruptionError(now.unproven)
    return _shown(now)


def _shown(now: State) -> dict[str, Any]:
    policy = now.policy.model_dump(mode="json") if now.policy else None
    return {"root": now.root, "list": now.policy_digest, "policy": policy}


def text(found: dict[str, Any]) -> str:
    """The same for a person."""
    if not found["policy"]:
        return "there is no list yet; the first start of the system writes it: make up"
    policy = Policy.model_validate(found["policy"], strict=False)
    lines = [f"list {policy.counter}, {found['list']}", f"first list (root) {found['root']}"]
    lines += [
        f"  {p.name}: {', '.join(p.roles)}; {', '.join(signatures.fingerprint(k) for k in p.keys)}"
        for p in policy.people
    ]
    voters = ", ".join(p.name for p in policy.voters)
    lines.append(f"the next list needs {policy.threshold} of: {voters}" + quorum(policy))
    if not policy.orders_are_signed:
        lines.append("nobody is named who orders promotions, rollbacks or stops: the system does what it is told")
    return "\n".join(lines)


def quorum(policy: Policy) -> str:
    """Said where one key alone decides."""
    return " (a quorum of one)" if policy.threshold == 1 else ""


def quorum_said(settings: Settings) -> str:
    """The same of the list in force, for who starts a system."""
    policy = state(settings).policy
    return "; a quorum of one so far" if policy is not None and quorum(policy) else ""


def draft(settings: Settings, path: Path, new_root: bool) -> dict[str, Any]:
    """Write the next list into a file, as it is now but for its counter.

    Raises:
        ConfigError: the file exists.
    """
    now = ledger.begin(settings)
    if path.exists():
        raise ConfigError(f"{path} exists; name another file.")
    if now.policy is None:
        raise ConfigError(f"there is no list to go on from: {now.problems[0]}.")
    change = (
        {"counter": 1, "previous": None}
        if new_root
        else {"counter": now.policy.counter + 1, "previous": now.policy_digest}
    )
    document = {"policy": now.policy.model_copy(update=change).model_dump(mode="json"), "signatures": []}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return document


def sign(path: Path, signer: str, key: Path) -> list[str]:
    """Add a signature to an edited list; gives who has signed by now.

    Raises:
        ConfigError: the file holds no list, a key or a signature that nobody could read, or the key cannot sign.
    """
    policy, signed = _read(path)
    document = policy.model_dump(mode="json")
    made = {"signer": signer, "armor": signatures.sign(document, key, signatures.POLICY)}
    kept = [*(s for s in signed if s.get("signer") != signer), made]
    path.write_text(json.dumps({"policy": document, "signatures": kept}, indent=2) + "\n")
    return [str(s["signer"]) for s in kept]


def enter(settings: Settings, path: Path, actor: str) -> dict[str, Any]:
    """Put a list into force, where all have signed that it takes; this home's examiner signs by itself.

    Raises:
        ConfigError: the file holds no list, or a key or a signature that nobody could read.
        PromotionRefused: signatures are missing, or another list came first.
    """
    policy, signed = _read(path)
    now = ledger.begin(settings)
    document, digest = policy.model_dump(mode="json"), digest_json(policy.model_dump(mode="json"))
    if policy.counter == 1 and digest != settings.root:
        raise PromotionRefused(
            f"a new root holds for those alone who were told its fingerprint. Set ASSAY_ROOT={digest} here and "
            "wherever this ledger is read, then enter it again."
        )
    key = signatures.examiner_key(settings.examiner)
    public = signatures.public_line(key)
    for person in policy.who("examiner"):
        if public in person.keys:
            armor = signatures.sign_as_examiner(document, key, signatures.POLICY)
            signed = [*(s for s in signed if s.get("signer") != person.name), {"signer": person.name, "armor": armor}]
    if policy.counter > 1 and now.policy is not None:
        missing = policy_signatures_missing(now.policy, policy, signed)
        if missing:
            raise PromotionRefused(f"the list is not in force: {missing}. Sign with: assay policy --sign {path}")
    sentence = f"list {policy.counter} of who may sign what is in force"
    ledger.append(settings, keys.policy_draft(policy, signed, actor, sentence))
    return _shown(ledger.begin(settings))


def _read(path: Path) -> tuple[Policy, list[dict[str, Any]]]:
    try:
        found = json.loads(path.read_text())
        raw, signed = dict(found["policy"]), [dict(s) for s in found["signatures"]]
        canonical_json(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is no drafted list ({type(error).__name__}: {error}). Write one with: assay policy --draft {path}"
        ) from None
    policy = validate(raw, Policy, str(path))
    for why in filter(None, (signatures.wrong_key(key) for person in policy.people for key in person.keys)):
        raise ConfigError(f"{path}: {why}.")
    for one in signed:
        if why := signatures.unreadable(str(one.get("armor"))):
            raise ConfigError(f"{path}: of {one.get('signer')}, {why}.")
    return policy, signed
