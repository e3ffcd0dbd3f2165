"""One version of a model as files: written once, checked by digest, loaded without pickle.

Array code answers where training proved that it gives the bits of scikit-learn's pipeline (:mod:`tasks.answering`);
else the pipeline does, which is the general path. What a score is, is decided here for everybody: the service,
readiness, evaluation and monitoring.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from tasks.answering.asking import one_by_one
from tasks.answering.compiling import Answering
from tasks.answering.contents import Unsound
from tasks.answering.proving import opened, prove
from tasks.serving.trusted import TRUSTED, refuse_untrustworthy
from tasks.spec.columns import to_table
from tasks.spec.errors import CorruptionError
from tasks.spec.manifest import Manifest, Pointer

if TYPE_CHECKING:  # a service whose models are all compiled needs no pandas here
    import pandas as pd

EPOCH = (1980, 1, 1, 0, 0, 0)
LARGEST = 2**30
"""Bytes of a file of a release."""


@dataclass(frozen=True)
class Release:
    manifest: Manifest
    source: Any
    """The fitted pipeline, or the checked bytes of its file."""
    answering: Answering | None = None
    """The model as array code; None where the pipeline answers."""
    general: str = ""
    """Why the pipeline answers, half a sentence."""

    @cached_property
    def pipeline(self) -> Any:
        """scikit-learn's pipeline, for what needs more than scores; loaded when it is asked for.

        Raises:
            CorruptionError: its file holds a type that is not on the allow-list.
        """
        return load_pipeline(self.source, self.manifest) if isinstance(self.source, bytes) else self.source

    @property
    def trouble(self) -> str:
        """Why it does not answer now, a sentence; empty while it does."""
        return ""

    def close(self) -> None:
        """End what answers elsewhere, where anything does."""

    def fits(self, rows: pd.DataFrame) -> bool:
        """Whether the rows have every feature; a version may need one that is not logged any more."""
        return set(self.manifest.features) <= set(rows.columns)

    def score(self, rows: pd.DataFrame) -> np.ndarray:
        """Scores of rows in table form, by the kind of the target; columns beyond the features are ignored.

        A row's score never depends on the rows beside it.

        Returns:
            binary: (n,) probability of the positive class; multiclass: (n, k) probabilities in the order of the
            manifest's ``classes``; regression: (n,) predicted numbers.
        """
        if self.answering is not None:
            return self.answering.of_table(rows)
        features = rows[list(self.manifest.features)]
        return one_by_one(self.manifest.kind, self.pipeline, features, len(self.manifest.classes))

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Scores of rows of valid JSON values, each with every input column; as :meth:`score`."""
        if self.answering is not None:
            return self.answering.of_rows(rows)
        return self.score(table(rows, self.manifest))

    def decide(self, scores: np.ndarray) -> list[bool | str | None]:
        """Decisions from scores: selected or not, the most probable class, or None for a number without threshold."""
        if self.manifest.kind == "multiclass":
            return [self.manifest.classes[code] for code in scores.argmax(axis=1)]
        threshold = self.manifest.decision_threshold
        return [None if threshold is None else bool(s >= threshold) for s in scores]


def table(rows: Sequence[Mapping[str, Any]], manifest: Manifest) -> pd.DataFrame:
    """Validated rows as the table that a pipeline scores."""
    import pandas as pd

    return to_table(manifest.columns, pd.DataFrame(rows, columns=[c.name for c in manifest.columns]))


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


def load_release(
    folder: Path,
    pointer: Pointer | None = None,
    first: Callable[[Path], None] | None = None,
    elsewhere: Callable[[Path, Manifest, str], Release] | None = None,
) -> Release:
    """Load ``model.skops`` and ``manifest.json``: the digests first, then the trees, then what answers.

    Array code is read from the file's arrays. Only without it are scikit-learn's objects built, of types from the
    repository's allow-list.

    Each file is read once; what was checked is what is loaded, whatever happens to the file meanwhile.

    Args:
        folder: where the two files are.
        pointer: the digests that the registry's side asked for; None where DVC vouches for the files.
        first: what is done before scikit-learn's objects are built here, where they have to be; it may raise.
        elsewhere: makes the release where a pipeline has to answer, from its folder, its manifest and the reason.
            None: the pipeline answers in this process.

    Raises:
        CorruptionError: a file is missing, was changed, holds what no training writes, or a type that is not on the
            list.
    """
    path = folder / "model.skops"
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
    try:
        found_code = opened(content, manifest)
    except Unsound as error:
        raise CorruptionError(f"{path} {error}. It was not loaded; train and publish the version again.") from None
    release = Release(manifest, content, found_code.answering, found_code.why)
    if release.answering is not None:
        return release
    if elsewhere is not None and manifest.answering is not None:
        return elsewhere(folder, manifest, release.general)
    if first is not None:
        first(folder)
    pipeline = release.pipeline  # now, so that a file that cannot be loaded is refused now
    if manifest.answering is None:  # of an earlier release: what training proves is proven here
        found_code = opened(content, manifest.model_copy(update={"answering": prove(content, manifest, pipeline)}))
        if elsewhere is not None and found_code.answering is None:
            return elsewhere(folder, manifest, found_code.why)
    return Release(manifest, pipeline, found_code.answering, found_code.why)


def load_pipeline(content: bytes, manifest: Manifest) -> Any:
    """Build scikit-learn's objects from the bytes of a model file whose trees were checked.

    Raises:
        CorruptionError: they hold a type that is not on the allow-list, or the manifest trusts what it may not.
    """
    from skops import io as skops

    allowed = [*TRUSTED, *manifest.trusted]
    strange = sorted(set(skops.get_untrusted_types(data=content)) - set(allowed))
    if strange:
        raise CorruptionError(
            f"model.skops holds types that are not on the allow-list: {', '.join(strange)}. Add them to "
            f"deployments/models/{manifest.model}/code/trusted.yaml on purpose, or train without them."
        )
    try:
        refuse_untrustworthy(manifest.trusted)
    except ValueError as error:
        raise CorruptionError(f"manifest.json trusts {error}. It was not opened; publish the version again.") from None
    return skops.loads(content, trusted=allowed)


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
        return Pointer.model_validate_json(plain_bytes(path))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptionError(
            f"{path} is not a champion pointer ({where}: {first['msg']}). The next monitoring run, promotion or "
            "rollback writes it anew."
        ) from None


def blank(release: Release) -> dict[str, Any]:
    """A row that every model of these columns can be asked."""
    return {column.name: column.kind.to_json(column.kind.placeholder) for column in release.manifest.columns}


def plain_bytes(path: Path) -> bytes:
    """What a file holds; a pipe or a device, whose reading might never end, is refused.

    Raises:
        OSError: it cannot be opened.
        CorruptionError: it is no plain file, or a larger one than any release has.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(number, "rb") as file:
        about = os.fstat(number)
        if not stat.S_ISREG(about.st_mode):
            raise CorruptionError(f"{path} is no plain file. Remove it, and publish the version again.")
        if about.st_size > LARGEST:
            raise CorruptionError(f"{path} has {about.st_size:,} bytes; at most {LARGEST:,} are read.")
        return file.read(LARGEST)


def _read(path: Path) -> bytes:
    try:
        return plain_bytes(path)
    except OSError as error:
        raise CorruptionError(f"{path} cannot be read ({error.strerror}). Publish the version again.") from None


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
