"""Write a signed waiver, or the signature of an envelope, into a model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tasks.records.registry.state import state
from tasks.signing import signatures
from tasks.spec.base import load_yaml, validate
from tasks.spec.errors import ConfigError
from tasks.spec.model import load_model
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.spec.waivers import EnvelopeSignature, Waiver, Waivers, envelope_statement

HEAD = "# Gates that somebody let go, each for one version; written by 'assay waive', and worth nothing when edited.\n"
ENVELOPE_HEAD = (
    "# The signature of the envelope in model.yaml; written by 'assay envelope', and worth nothing when edited.\n"
)


def sign_envelope(settings: Settings, root: Path, model: str, values: dict[str, Any], key: Path) -> Path:
    """Sign the envelope of a checkout, on the list and the newest entry of the ledger; gives the file.

    Args:
        settings: name the origin whose ledger it is.
        root: the checkout whose file it is.

    Raises:
        ConfigError: model.yaml has no envelope, a value is wrong, the key cannot sign, or there is no list.
    """
    envelope = load_model(root, model).envelope
    if envelope is None:
        raise ConfigError(f"model.yaml of {model} has no envelope to sign; write one as docs/envelope.md says.")
    terms = envelope.model_dump(mode="json")
    signed = validate(
        values | _place(settings) | {"envelope": envelope.digest()}, EnvelopeSignature, "the signature"
    ).model_dump(mode="json")
    signed["signature"] = signatures.sign(envelope_statement(signed, model, terms), key)
    path = model_folder(root, model) / "envelope.yaml"
    path.write_text(ENVELOPE_HEAD + yaml.safe_dump(signed, sort_keys=False, allow_unicode=True, width=160))
    return path


def add_waiver(settings: Settings, root: Path, model: str, values: dict[str, Any], key: Path) -> Path:
    """Sign one waiver, on the list and the newest entry of the ledger, and append it; gives the file.

    Args:
        settings: name the origin whose ledger it is.
        root: the checkout whose file it is.

    Raises:
        ConfigError: the model has no such gate, a value is wrong, the key cannot sign, or there is no list.
    """
    gates = [g.name for g in load_model(root, model).gates]
    if values["gate"] not in gates:
        raise ConfigError(f"{model} has no gate {values['gate']!r}; allowed: {', '.join(gates)}.")
    waiver = validate(values | _place(settings), Waiver, "the waiver")
    signed = waiver.model_copy(update={"signature": signatures.sign(waiver.statement(model), key)})
    path = model_folder(root, model) / "waivers.yaml"
    before = load_yaml(path, Waivers).waivers if path.exists() else ()
    document = {"waivers": [w.model_dump(mode="json", exclude_none=True) for w in (*before, signed)]}
    path.write_text(HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=160))
    return path


def _place(settings: Settings) -> dict[str, Any]:
    """The list in force and the newest entry, which a waiver is signed on."""
    now = state(settings) if settings.has_origin else None
    if now is None or now.policy is None or now.problems:
        why = now.problems[0] if now is not None and now.problems else "it is of no system that was ever started"
        raise ConfigError(
            f"the home {settings.home} knows no list of people that a waiver could be signed on: {why}. Set "
            "ASSAY_ORIGIN to the URL of the origin whose candidates are examined, or ASSAY_HOME to the system's home."
        )
    return {"list": now.policy_digest, "head": {"sequence": now.sequence, "digest": now.digest}}
