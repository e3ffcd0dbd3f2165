"""One version of a model as files: written once, checked by digest, loaded without pickle."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from tasks.serving.trusted import TRUSTED, refuse_untrustworthy
from tasks.spec.errors import CorruptionError
from tasks.spec.manifest import Manifest, Pointer
from tasks.spec.metrics import TargetKind

EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Release:
    manifest: Manifest
    pipeline: Any

    def fits(self, rows: pd.DataFrame) -> bool:
        """Whether the rows have every feature; a version may need one that is not logged any more."""
        return set(self.manifest.features) <= set(rows.columns)

    def score(self, rows: pd.DataFrame) -> np.ndarray:
        """Scores of raw rows, by the kind of the target; columns beyond the features are ignored.

        Returns:
            binary: (n,) probability of the positive class; multiclass: (n, k) probabilities in the order of the
            manifest's ``classes``; regression: (n,) predicted numbers.
        """
        return pipeline_scores(
            self.manifest.kind, self.pipeline, rows[list(self.manifest.features)], len(self.manifest.classes)
        )

    def decide(self, scores: np.ndarray) -> list[bool | str | None]:
        """Decisions from scores: selected or not, the most probable class, or None for a number without threshold."""
        if self.manifest.kind == "multiclass":
            return [self.manifest.classes[code] for code in scores.argmax(axis=1)]
        threshold = self.manifest.decision_threshold
        return [None if threshold is None else bool(s >= threshold) for s in scores]


def pipeline_scores(kind: TargetKind, pipeline: Any, rows: pd.DataFrame, classes: int = 0) -> np.ndarray:
    """Scores of a fitted pipeline, as :meth:`Release.score` returns them; training and the service both use this.

    Args:
        classes: number of classes of a multiclass model, fitted on codes 0 to ``classes`` - 1; a class that training
            never saw has probability 0.
    """
    if kind == "regression":
        return np.asarray(pipeline.predict(rows), dtype=float)
    found = np.asarray(pipeline.predict_proba(rows), dtype=float)
    if kind == "binary":
        return found[:, 1]
    scores = np.zeros((len(found), classes))
    scores[:, np.asarray(pipeline.classes_, dtype=int)] = found
    return scores


def save_model(pipeline: Any, path: Path) -> None:
    """Write a skops file whose bytes depend on the model alone.

    The archive that skops writes holds object ids, dates and an order of members that differ from run to run. The ids
    are renumbered in order of appearance, dates are fixed and members ordered, so that equal models have equal digests.
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
        members = {
            re.sub(r"^\d+", lambda m: renamed.get(m[0], m[0]), n): n for n in source.namelist() if n != "schema.json"
        }
        for name in sorted(members):
            _write(target, name, source.read(members[name]))


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, content)


def load_release(folder: Path, pointer: Pointer | None = None) -> Release:
    """Load ``model.skops`` and ``manifest.json``: the digests first, then types from the repository's allow-list.

    Each file is read once; what was checked is what is loaded, whatever happens to the file meanwhile.

    Args:
        folder: where the two files are.
        pointer: the digests that the registry's side asked for; None where DVC vouches for the files.

    Raises:
        CorruptionError: a file is missing, was changed, or holds a type that is not on the list.
    """
    path, described = folder / "model.skops", folder / "manifest.json"
    manifest = read_manifest(folder, pointer)
    content = _read(path)
    found = _digest(content)
    if found != manifest.model_digest:
        raise CorruptionError(
            f"{path} has digest {found}, and its manifest says {manifest.model_digest}. It was not opened; publish "
            "the version again."
        )
    if pointer is not None and found != pointer.model_digest:
        raise CorruptionError(
            f"{path} has digest {found}, and champion.json says {pointer.model_digest}. It was not opened; publish "
            "the version again."
        )
    from skops import io as skops

    allowed = [*TRUSTED, *manifest.trusted]
    strange = sorted(set(skops.get_untrusted_types(data=content)) - set(allowed))
    if strange:
        raise CorruptionError(
            f"{path} holds types that are not on the allow-list: {', '.join(strange)}. Add them to "
            f"deployments/models/{manifest.model}/code/trusted.yaml on purpose, or train without them."
        )
    try:
        refuse_untrustworthy(manifest.trusted)
    except ValueError as error:
        raise CorruptionError(f"{described} trusts {error}. It was not opened; publish the version again.") from None
    return Release(manifest, skops.loads(content, trusted=allowed))


def read_manifest(folder: Path, pointer: Pointer | None = None) -> Manifest:
    """``manifest.json`` of a release.

    Raises:
        CorruptionError: it is missing, is no manifest, or not the one that the pointer names.
    """
    path = folder / "manifest.json"
    text = _read(path)
    if pointer is not None and _digest(text) != pointer.manifest_digest:
        raise CorruptionError(
            f"{path} has digest {_digest(text)}, and champion.json says {pointer.manifest_digest}. It was not opened; "
            "publish the version again."
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise CorruptionError(
            f"{path} cannot be read as a manifest ({type(error).__name__}). Publish the version again."
        ) from None


def read_pointer(folder: Path) -> Pointer | None:
    """``champion.json`` of one model's folder in the release store; None where there is none.

    Raises:
        CorruptionError: it is not a pointer.
    """
    path = folder / "champion.json"
    try:
        return Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptionError(
            f"{path} is not a champion pointer ({where}: {first['msg']}). The next monitoring run, promotion or "
            "rollback writes it anew."
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptionError(f"{path} cannot be read ({error.strerror}). Publish the version again.") from None


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
