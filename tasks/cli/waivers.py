"""Write a signed waiver into a model's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tasks.signing import signatures
from tasks.spec.base import load_yaml, validate
from tasks.spec.errors import ConfigError
from tasks.spec.model import load_model
from tasks.spec.models import model_folder
from tasks.spec.waivers import Waiver, Waivers

HEAD = "# Gates that somebody let go, each for one version; written by 'assay waive', and worth nothing when edited.\n"


def add_waiver(root: Path, model: str, values: dict[str, Any], key: Path) -> Path:
    """Sign one waiver and append it; gives the file.

    Raises:
        ConfigError: the model has no such gate, a value is wrong, or the key cannot sign.
    """
    gates = [g.name for g in load_model(root, model).gates]
    if values["gate"] not in gates:
        raise ConfigError(f"{model} has no gate {values['gate']!r}; allowed: {', '.join(gates)}.")
    waiver = validate(values, Waiver, "the waiver")
    signed = waiver.model_copy(update={"signature": signatures.sign(waiver.statement(model), key)})
    path = model_folder(root, model) / "waivers.yaml"
    before = load_yaml(path, Waivers).waivers if path.exists() else ()
    document = {"waivers": [w.model_dump(mode="json") for w in (*before, signed)]}
    path.write_text(HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=160))
    return path
