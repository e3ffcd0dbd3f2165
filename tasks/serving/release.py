"""One version of a model as files: written once, checked by digest, loaded without pickle."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tasks.serving.trusted import TRUSTED
from tasks.spec.base import digest_file
from tasks.spec.errors import CorruptionError
from tasks.spec.evidence import Manifest

EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Release:
    manifest: Manifest
    pipeline: Any

    def score(self, rows: pd.DataFrame) -> np.ndarray:
        """Score (n,) of the positive class; columns beyond the features are ignored."""
        return np.asarray(self.pipeline.predict_proba(rows[list(self.manifest.features)])[:, 1], dtype=float)


def save_model(pipeline: Any, path: Path) -> None:
    """Write a skops file whose bytes depend on the model alone.

    skops puts object ids, dates and members in the order of the day into its archive; the ids are renumbered in
    order of appearance, dates are fixed and members ordered, so that equal models have equal digests.
    """
    from skops import io as skops

    source = zipfile.ZipFile(io.BytesIO(skops.dumps(pipeline)))
    schema = source.read("schema.json").decode()
    renamed: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return match[1] + renamed.setdefault(match[2], str(len(renamed) + 1))

    schema = re.sub(r'("__id__": )(\d+)', number, schema)
    schema = re.sub(r'("file": ")(\d+)(?=\.\w+")', number, schema)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        _write(target, "schema.json", schema.encode())
        members = {re.sub(r"^\d+", lambda m: renamed.get(m[0], m[0]), n): n for n in source.namelist() if n != "schema.json"}
        for name in sorted(members):
            _write(target, name, source.read(members[name]))


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, content)


def load_release(folder: Path) -> Release:
    """Load ``model.skops`` and ``manifest.json``: the digest first, then types from the repository's allow-list.

    Raises:
        CorruptionError: a file is missing, was changed, or holds a type that is not on the list.
    """
    path, described = folder / "model.skops", folder / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(described.read_text())
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise CorruptionError(f"{described} cannot be read as a manifest ({type(error).__name__}). Publish the version again.") from None
    if not path.exists():
        raise CorruptionError(f"{path} is missing. Publish the version again.")
    found = digest_file(path)
    if found != manifest.model_digest:
        raise CorruptionError(f"{path} has digest {found}, and its manifest says {manifest.model_digest}. It was not opened; publish the version again.")
    from skops import io as skops

    strange = sorted(set(skops.get_untrusted_types(file=path)) - set(TRUSTED))
    if strange:
        raise CorruptionError(f"{path} holds types that are not on the allow-list: {', '.join(strange)}. Add them to tasks/serving/trusted.py on purpose, or train without them.")
    return Release(manifest, skops.load(path, trusted=list(TRUSTED)))


def read_pointer(folder: Path) -> dict[str, Any] | None:
    """``champion.json`` of one model's folder in the release store; None where there is none."""
    try:
        pointer: dict[str, Any] = json.loads((folder / "champion.json").read_text())
    except FileNotFoundError:
        return None
    return pointer
